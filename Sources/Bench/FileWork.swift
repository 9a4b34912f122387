// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage

/// Work on many small files in a directory of its own.
struct FileWork {
    private static let perDirectory = 100
    static let directory: TreePath = "strata-bench"
    private let root: CInt
    private let files: Int

    init(_ root: CInt, files: Int) {
        self.root = root
        self.files = files
    }

    static let pass = Pass(
        title: "small files",
        weight: 2,
        figures: ["create", "stat", "readdir", "read", "rename", "unlink"]
    ) { bed, workload, recorder in
        try bed.withLayer { root, meter in
            let work = FileWork(root, files: workload.files)
            try recorder.time("create", meter) { try work.create() }
            try recorder.time("stat", meter) { try work.onEach { _ = try Files.status($0, below: root) } }
            try recorder.time("readdir", meter) { try work.list() }
            try recorder.time("read", meter) { try work.onEach { try Self.read($0, below: root) } }
            try recorder.time("rename", meter) {
                try work.onEach { try Files.rename($0, below: root, to: Self.renamed($0), below: root) }
            }
            try recorder.time("unlink", meter) {
                try work.onEach { try Files.unlink(Self.renamed($0), below: root) }
            }
        }
    }

    /// Files of 1 KiB, 100 in a directory.
    func create() throws {
        let content = [UInt8](repeating: UInt8(ascii: "x"), count: 1024)
        try Files.makeDirectory(Self.directory, below: root, mode: 0o755)
        for index in 0...((files - 1) / Self.perDirectory) {
            try Files.makeDirectory(Self.folder(index), below: root, mode: 0o755)
        }
        try onEach { path in
            let file = try Files.open(path, below: root, O_WRONLY | O_CREAT | O_EXCL, mode: 0o644)
            try Files.writeAll(content, to: file.raw)
        }
    }

    private func list() throws {
        for index in 0...((files - 1) / Self.perDirectory) {
            let directory = try Files.openDirectory(Self.folder(index), below: root)
            _ = try Files.list(directory.raw)
        }
    }

    private func onEach(_ body: (TreePath) throws -> Void) throws {
        for index in 0..<files {
            try body(Self.folder(index / Self.perDirectory).appending(TreePath(cleaning: "file-\(index)")))
        }
    }

    private static func folder(_ index: Int) -> TreePath {
        directory.appending(TreePath(cleaning: "dir-\(index)"))
    }

    private static func renamed(_ path: TreePath) -> TreePath {
        TreePath(bytes: path.bytes + [UInt8(ascii: "~")])
    }

    private static func read(_ path: TreePath, below root: CInt) throws {
        let file = try Files.open(path, below: root, O_RDONLY)
        try withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 16) { buffer in
            _ = try Files.read(file.raw, into: buffer)
        }
    }

    /// Changes a file by one byte at its end.
    static func append(_ path: TreePath, below root: CInt) throws {
        let file = try Files.open(path, below: root, O_WRONLY | O_APPEND)
        try Files.writeAll([UInt8(ascii: "+")], to: file.raw)
    }
}
