// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

// What is measured has `package` access, and the project itself must not depend on a benchmark library: so the sources
// are compiled here once more, by way of the links `Sources` and `drivers`.

let swiftSettings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")

func library(_ name: String, path: String? = nil, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies + [system], path: path, swiftSettings: swiftSettings)
}

let measured: [Target.Dependency] = [
    "LayerDiff", "Storage", "LinuxSys", "Overlay2Driver", "VFSDriver", "Runtime", "Launch", system,
]

let package = Package(
    name: "benchmarks",
    dependencies: [
        .package(url: "https://github.com/apple/swift-system", exact: "1.8.1"),
        // Without its interposers, which do not build on Linux: counts are taken by `Benchmarks/counts`.
        .package(url: "https://github.com/ordo-one/benchmark", exact: "1.38.1", traits: []),
    ],
    targets: [
        .target(name: "CLinux"),
        .target(name: "CCodecs"),
        .target(name: "CSeccomp"),
        library("LinuxSys", ["CLinux"]),
        library("JSON", []),
        library("Storage", ["LinuxSys", "CLinux"]),
        library("LayerDiff", ["Storage", "LinuxSys", "CLinux", "CCodecs"]),
        library("Overlay", ["Storage", "LayerDiff", "LinuxSys", "CLinux"]),
        library(
            "Overlay2Driver",
            path: "drivers/overlay2/Sources",
            ["Storage", "LayerDiff", "Overlay", "LinuxSys", "CLinux"]
        ),
        library(
            "VFSDriver",
            path: "drivers/vfs/Sources",
            ["Storage", "LayerDiff", "Overlay", "LinuxSys", "CLinux"]
        ),
        .executableTarget(name: "embed-interpreter", swiftSettings: swiftSettings),
        .plugin(
            name: "EmbedInterpreter",
            capability: .buildTool(),
            dependencies: ["embed-interpreter"],
            path: "Sources/EmbedInterpreter"
        ),
        .target(
            name: "Launch",
            dependencies: ["LinuxSys", "CLinux", system],
            exclude: ["Interpreter"],
            swiftSettings: swiftSettings,
            plugins: ["EmbedInterpreter"]
        ),
        library("Runtime", ["Launch", "CSeccomp", "JSON", "LinuxSys", "CLinux"]),
        .executableTarget(
            name: "micro",
            dependencies: measured + [.product(name: "Benchmark", package: "benchmark")],
            path: "micro",
            exclude: ["run"],
            swiftSettings: swiftSettings,
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]
        ),
    ],
    swiftLanguageModes: [.v6]
)
