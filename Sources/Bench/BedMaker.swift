// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import SystemPackage

/// Finds each driver a place where it works: the scratch directory, else another file system in a loop file.
final class BedMaker {
    /// The scratch directory's.
    let fileSystem: String
    private let scratch: FilePath
    private let image: BenchImage
    private let program: [String]
    private var loops: [LoopFileSystem] = []
    /// Types of file systems that could not be made here.
    private var failed: Set<String> = []
    private var isIsolated = false

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
        let directory = try directory(for: entry, below: scratch)
        switch entry.type.probe(home: directory.appending("root")) {
        case .works:
            return Bed(entry, image, program: program, directory: directory, place: fileSystem)
        case .unavailable(let reason, let remedy):
            if let bed = elsewhere(entry) { return bed }
            throw StorageError(.unsupported, reason, remedy: remedy)
        case .failed(let error):
            throw error
        }
    }

    private func directory(for entry: DriverEntry, below place: FilePath) throws -> FilePath {
        let directory = place.appending(entry.name)
        _ = try doing("make \(directory)") { try Files.ensureDirectory(directory) }
        return directory
    }

    /// What cannot be made here is not worth a word: the reason is the driver's own.
    private func elsewhere(_ entry: DriverEntry) -> Bed? {
        for type in LoopFileSystem.types where type != fileSystem {
            guard let loop = loop(type), let directory = try? directory(for: entry, below: loop.path),
                case .works = entry.type.probe(home: directory.appending("root"))
            else { continue }
            return Bed(entry, image, program: program, directory: directory, place: "\(type) in a loop file")
        }
        return nil
    }

    private func loop(_ type: String) -> LoopFileSystem? {
        if let present = loops.first(where: { $0.type == type }) { return present }
        if geteuid() != 0 || failed.contains(type) { return nil }
        do {
            if !isIsolated { try LoopFileSystem.isolate() }
            isIsolated = true
            let loop = try LoopFileSystem.make(type, in: scratch)
            loops.append(loop)
            return loop
        } catch {
            failed.insert(type)
            return nil
        }
    }

    /// Unmounts what it mounted; the files go with the scratch directory.
    func close() {
        for loop in loops { loop.unmount() }
        loops = []
    }
}
