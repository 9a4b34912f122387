// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import SystemPackage

/// Finds each driver a place where it works.
struct BedMaker {
    /// The scratch directory's.
    let fileSystem: String
    private let scratch: FilePath
    private let image: BenchImage
    private let program: [String]

    init(_ scratch: FilePath, _ image: BenchImage, _ program: [String]) throws {
        self.scratch = scratch
        self.image = image
        self.program = program
        fileSystem = try doing("look at \(scratch)") {
            let directory = try Files.openDirectory(scratch)
            return try Files.fileSystemType(directory.raw)
        }
    }

    /// A bed for `entry`; an error that says why it works nowhere here.
    func bed(_ entry: DriverEntry) throws -> Bed {
        let directory = scratch.appending(entry.name)
        _ = try doing("make \(directory)") { try Files.ensureDirectory(directory) }
        switch entry.type.probe(home: directory.appending("root")) {
        case .works:
            return Bed(entry, image, program: program, directory: directory, place: fileSystem)
        case .unavailable(let reason, let remedy):
            throw StorageError(.unsupported, reason, remedy: remedy)
        case .failed(let error):
            throw error
        }
    }
}
