// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import Storage
import SystemPackage

/// The image that every driver gets, as an archive.
struct BenchImage: Sendable {
    let path: FilePath
    /// A program on the host to be put into the container, for an image that we do not know; else it has one.
    private let program: FilePath?
    /// Files to work on, where they need not be looked for.
    let files: ImageFiles?

    /// One that is made here, in `scratch`.
    static func generated(
        _ image: GeneratedImage,
        in scratch: FilePath,
        _ observer: Benchmark.Observer
    ) throws -> BenchImage {
        let path = scratch.appending("image")
        var image = image
        image.isCancelled = observer.isCancelled
        try doing("write the image to measure with to \(path)") { try image.write(to: path) }
        return BenchImage(path: path, program: nil, files: image.files)
    }

    /// One of the user's store, which `strata` is called on.
    static func saved(_ name: String, by strata: Program, in scratch: FilePath) throws -> BenchImage {
        let path = scratch.appending("image.tar")
        try strata.run(["save", "--output", path.string, name])
        let program = scratch.appending("true")
        try doing("write \(program)") {
            try Files.replace(program, with: TrueProgram.file, mode: 0o755, durable: false)
        }
        return BenchImage(path: path, program: program, files: nil)
    }

    private static let target = "/strata-bench-true"

    /// The last words of a `run` of `image`.
    func runTrue(_ image: String) -> [String] {
        guard let program else { return [image, "/bin/true"] }
        return ["--volume", "\(program):\(Self.target):ro", "--entrypoint", Self.target, image]
    }
}
