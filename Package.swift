// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// A storage driver is one folder below `drivers/` and one row here.
struct Driver {
    var folder: String
    var module: String
    /// A C target at `drivers/<folder>/<name>`, with this driver's own calls.
    var cModule: String?
    /// A C target beside it that its tests alone use, and the library that it needs.
    var testModule: (name: String, library: String)?
    /// Further modules that its tests use.
    var testedModules: [String] = []
}

let allDrivers: [Driver] = [
    Driver(folder: "overlay2", module: "Overlay2Driver"),
    Driver(folder: "btrfs", module: "BtrfsDriver", cModule: "CBtrfs", testModule: ("CBtrfsOracle", "btrfs")),
    Driver(folder: "devicemapper", module: "DeviceMapperDriver", cModule: "CDevMapper"),
    Driver(folder: "unionfs", module: "UnionFSDriver", testedModules: ["UnionJournal", "CFuse"]),
    Driver(folder: "vfs", module: "VFSDriver"),
]

let skippedDrivers = (Context.environment["SKIP_DRIVERS"] ?? "").split(separator: ",").map(String.init)
let drivers = allDrivers.filter { !skippedDrivers.contains($0.folder) }

let testSettings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

/// Without the library of regular expressions, which a search for a string in a string brings in unasked: it makes each
/// program a tenth larger, and what the loader relocates at each start.
let swiftSettings =
    testSettings + [.unsafeFlags(["-Xfrontend", "-disable-implicit-string-processing-module-import"])]

/// How release programs are linked, since every command is a new process.
///
/// libstdc++ and libgcc come from their archives
/// (loading the shared ones costs 0.5 ms) and relocations are packed (0.1 ms); of the linkers only lld does both. The
/// toolchain exports every symbol of a program, 6,000 here, which the runtime searches at each start.
let programLinking: [LinkerSetting] = [
    .unsafeFlags(
        [
            "-use-ld=lld", "-L\(Context.packageDirectory)/scripts/link", "-Xlinker", "-z", "-Xlinker",
            "pack-relative-relocs", "-Xlinker", "--no-export-dynamic",
        ],
        .when(configuration: .release)
    )
]

let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")

/// A Swift library target at `Sources/<name>`.
func library(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}

/// A test target at `Tests/<name>`.
func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: testSettings)
}

var targets: [Target] = [
    .target(name: "CLinux"),
    library("LinuxSys", ["CLinux", system]),
    library("JSON", []),
    library("Storage", ["LinuxSys", "CLinux", system]),
    .target(name: "CCodecs"),
    library("LayerDiff", ["Storage", "LinuxSys", "CLinux", "CCodecs", system]),
    library("Overlay", ["Storage", "LayerDiff", "LinuxSys", "CLinux", system]),
    // The archive, not the shared object: 0.5 ms less for each command that opens the store.
    .target(name: "CSQLite", linkerSettings: [.linkedLibrary(":libsqlite3.a"), .linkedLibrary("m")]),
    library("StoreRoot", ["CSQLite", "Storage", "LinuxSys", "CLinux", system]),
    library("LayerStore", ["StoreRoot", "Storage", "LayerDiff", "LinuxSys", "JSON", system]),
    library("Images", ["StoreRoot", "Storage", "LayerDiff", "LinuxSys", "CLinux", "JSON", system]),
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
    .target(name: "CSeccomp"),
    library("Runtime", ["Launch", "CSeccomp", "JSON", "LinuxSys", "CLinux", system]),
    library("Supervisor", ["Runtime", "Launch", "JSON", "LinuxSys", "CLinux", system]),
    library("Command", []),
    library("Format", ["JSON"]),
]

var catalog: [Target.Dependency] = ["Storage", "LinuxSys", system]
var catalogDefines: [SwiftSetting] = []
for driver in drivers {
    var dependencies: [Target.Dependency] = ["Storage", "LayerDiff", "Overlay", "LinuxSys", "CLinux", system]
    if let name = driver.cModule {
        targets.append(.target(name: name, path: "drivers/\(driver.folder)/\(name)"))
        dependencies.append(.byName(name: name))
    }
    targets.append(
        .target(
            name: driver.module,
            dependencies: dependencies,
            path: "drivers/\(driver.folder)/Sources",
            swiftSettings: swiftSettings
        )
    )
    var testDependencies: [Target.Dependency] = [
        .byName(name: driver.module), "DriverConformance", "TestGates",
    ]
    testDependencies += driver.testedModules.map { .byName(name: $0) }
    var testLinking: [LinkerSetting] = []
    if let (name, library) = driver.testModule {
        targets.append(.target(name: name, path: "drivers/\(driver.folder)/\(name)"))
        testDependencies.append(.byName(name: name))
        testLinking.append(.linkedLibrary(library))
    }
    targets.append(
        .testTarget(
            name: "\(driver.module)Tests",
            dependencies: dependencies + testDependencies,
            path: "drivers/\(driver.folder)/Tests",
            swiftSettings: swiftSettings,
            linkerSettings: testLinking
        )
    )
    catalog.append(.byName(name: driver.module))
    catalogDefines.append(.define("DRIVER_\(driver.folder.uppercased())"))
}

if drivers.contains(where: { $0.folder == "unionfs" }) {
    targets += [
        // Debian's libfuse3; linked by this program alone.
        .target(name: "CFuse", path: "drivers/unionfs/CFuse", linkerSettings: [.linkedLibrary("fuse3")]),
        .target(
            name: "UnionJournal",
            dependencies: ["CFuse"],
            path: "drivers/unionfs/Journal",
            swiftSettings: swiftSettings
        ),
        .executableTarget(
            name: "strata-unionfs",
            dependencies: ["UnionJournal", "CFuse", "LayerDiff", "LinuxSys", "CLinux", system],
            path: "drivers/unionfs/Server",
            swiftSettings: swiftSettings,
            linkerSettings: programLinking
        ),
    ]
}

targets += [
    .target(name: "DriverCatalog", dependencies: catalog, swiftSettings: swiftSettings + catalogDefines),
    library(
        "Engine",
        [
            "Images", "Runtime", "Launch", "Supervisor", "LayerStore", "StoreRoot", "DriverCatalog",
            "Storage",
            "LayerDiff", "JSON", "LinuxSys", "CLinux", system,
        ]
    ),
    library(
        "Bench",
        ["Images", "StoreRoot", "LayerDiff", "Storage", "Format", "JSON", "LinuxSys", "CLinux", system]
    ),
    .executableTarget(
        name: "strata",
        dependencies: [
            "Bench", "Engine", "Command", "Format", "JSON", "Images", "LayerStore", "StoreRoot", "Supervisor",
            "LayerDiff",
            "Storage", "LinuxSys", system,
        ],
        swiftSettings: swiftSettings,
        linkerSettings: programLinking
    ),
    .executableTarget(
        name: "strata-supervisor",
        dependencies: ["Supervisor", "Runtime", "LinuxSys", system],
        swiftSettings: swiftSettings,
        linkerSettings: programLinking
    ),
    .target(
        name: "TestGates",
        dependencies: ["LinuxSys", "CLinux", system],
        path: "Tests/Support/TestGates",
        swiftSettings: testSettings
    ),
    .target(
        name: "DriverConformance",
        dependencies: ["Storage", "LayerDiff", "LinuxSys", "CLinux", "TestGates", system],
        path: "Tests/Support/DriverConformance",
        swiftSettings: testSettings
    ),
    tests("LinuxSysTests", ["LinuxSys", "CLinux", "TestGates", system]),
    tests("JSONTests", ["JSON"]),
    tests("CommandTests", ["Command"]),
    tests("FormatTests", ["Format", "JSON"]),
    tests("LayerDiffTests", ["LayerDiff", "Overlay", "Storage", "LinuxSys", "CLinux", "TestGates", system]),
    tests("OverlayTests", ["Overlay", "LayerDiff", "Storage", "LinuxSys", "CLinux", "TestGates", system]),
    tests("StoreRootTests", ["StoreRoot", "CSQLite", "Storage", "LinuxSys", "TestGates", system]),
    tests(
        "LayerStoreTests",
        ["LayerStore", "StoreRoot", "Storage", "LayerDiff", "DriverCatalog", "LinuxSys", "TestGates", system]
    ),
    tests(
        "ImagesTests",
        ["Images", "StoreRoot", "Storage", "LayerDiff", "JSON", "LinuxSys", "TestGates", system]
    ),
    tests("LaunchTests", ["Launch", "LinuxSys", "CLinux", "TestGates", system]),
    tests("RuntimeTests", ["Runtime", "Launch", "JSON", "LinuxSys", "CLinux", "TestGates", system]),
    tests("SupervisorTests", ["Supervisor", "Runtime", "JSON", "LinuxSys", "CLinux", "TestGates", system]),
    tests("BenchTests", ["Bench", "JSON", "Storage", "LinuxSys", system]),
    tests("IntegrationTests", ["TestGates", "JSON", "LinuxSys", "CLinux", system]),
]

let package = Package(
    name: "strata",
    dependencies: [
        .package(url: "https://github.com/apple/swift-system", exact: "1.8.1")
    ],
    targets: targets,
    swiftLanguageModes: [.v6]
)
