// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import Storage
import SystemPackage

/// Finds each driver a place where it works: the scratch directory, else another file system in a loop file.
final class BedMaker {
    /// The scratch directory's.
    let fileSystem: String
    /// Whether files there can share their blocks (FICLONE).
    let sharesBlocks: Bool
    private let scratch: FilePath
    private let program: [String]
    private var loops: [LoopFileSystem] = []
    /// Why file systems of these types could not be made here.
    private var failures: [String: any Error] = [:]
    private var isIsolated = false

    /// - Parameter program: what is called as `strata`.
    init(_ scratch: FilePath, program: String) throws {
        self.scratch = scratch
        self.program = [program]
        (fileSystem, sharesBlocks) = try doing("look at \(scratch)") {
            let directory = try Files.openDirectory(scratch)
            return (try Files.fileSystemType(directory.raw), try Self.sharesBlocks(directory.raw))
        }
    }

    private static func sharesBlocks(_ directory: CInt) throws(SystemError) -> Bool {
        let names: (TreePath, TreePath) = ("shared-1", "shared-2")
        let flags = O_RDWR | O_CREAT | O_EXCL
        let source = try Files.open(names.0, below: directory, flags, mode: 0o600)
        let target = try Files.open(names.1, below: directory, flags, mode: 0o600)
        try Files.writeAll([UInt8](repeating: 1, count: 65536), to: source.raw)
        let isShared = clinux_ficlone(target.raw, source.raw) == 0
        _ = try Files.unlink(names.0, below: directory)
        _ = try Files.unlink(names.1, below: directory)
        return isShared
    }

    /// A bed for `choice`, with nothing in it; an error that says why it works nowhere here.
    ///
    /// - Parameter label: of the bed's directory, where one driver gets several.
    func bed(_ choice: DriverChoice, _ image: BenchImage, label: String = "") throws -> Bed {
        if let type = choice.fileSystem {
            let loop = try loop(type)
            let directory = try directory(for: choice, label, below: loop.path)
            try check(choice.entry.type.probe(home: directory.appending("root")))
            return bed(choice, image, directory, loop)
        }
        let directory = try directory(for: choice, label, below: scratch)
        let found = choice.entry.type.probe(home: directory.appending("root"))
        if case .unavailable(let reason, let remedy) = found {
            if let bed = elsewhere(choice, image, label) { return bed }
            // That no other file system could be made may be all that is wrong.
            let others = LoopFileSystem.types.compactMap { failures[$0] }.prefix(1).map {
                "; where else it may work could not be tried: \($0)"
            }
            throw StorageError(.unsupported, reason + others.joined(), remedy: remedy)
        }
        try check(found)
        return bed(choice, image, directory, nil)
    }

    private func check(_ found: ProbeResult) throws {
        switch found {
        case .works: return
        case .unavailable(let reason, let remedy): throw StorageError(.unsupported, reason, remedy: remedy)
        case .failed(let error): throw error
        }
    }

    private func bed(
        _ choice: DriverChoice,
        _ image: BenchImage,
        _ directory: FilePath,
        _ loop: LoopFileSystem?
    ) -> Bed {
        Bed(
            choice,
            image,
            program: program,
            directory: directory,
            place: loop.map { "\($0.type) in a loop file" } ?? fileSystem,
            disk: loop?.file,
            sharesBlocks: loop != nil || sharesBlocks
        )
    }

    private func directory(
        for choice: DriverChoice,
        _ label: String,
        below place: FilePath
    ) throws -> FilePath {
        let directory = place.appending(choice.name + label)
        _ = try doing("make \(directory)") { try Files.ensureDirectory(directory) }
        return directory
    }

    /// What cannot be made here is not worth a word: the reason is the driver's own.
    private func elsewhere(_ choice: DriverChoice, _ image: BenchImage, _ label: String) -> Bed? {
        for type in LoopFileSystem.types where type != fileSystem {
            guard let loop = try? loop(type),
                let directory = try? directory(for: choice, label, below: loop.path),
                case .works = choice.entry.type.probe(home: directory.appending("root"))
            else { continue }
            return bed(choice, image, directory, loop)
        }
        return nil
    }

    private func loop(_ type: String) throws -> LoopFileSystem {
        if let present = loops.first(where: { $0.type == type }) { return present }
        if let failure = failures[type] { throw failure }
        do {
            guard geteuid() == 0 else {
                throw StorageError(
                    .unsupported,
                    "make \(type) in a loop file: only root may",
                    remedy: "run it as root"
                )
            }
            if !isIsolated { try LoopFileSystem.isolate() }
            isIsolated = true
            let loop = try LoopFileSystem.make(type, in: scratch)
            loops.append(loop)
            return loop
        } catch {
            failures[type] = error
            throw error
        }
    }

    /// Unmounts what it mounted; the files go with the scratch directory.
    func close() {
        for loop in loops { loop.unmount() }
        loops = []
    }
}
