// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import Storage
import SystemPackage

@testable import BtrfsDriver

func write(_ text: String, _ name: String, below root: CInt) throws {
    let file = try Files.open(name, below: root, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
    try Files.writeAll(Array(text.utf8), to: file.raw)
    try system("futimens") { clinux_utimensat(file.raw, "", Int64(text.utf8.count), 0, 0) }
}

extension BtrfsDriver {
    /// A sealed layer over nothing.
    func sealedLayer(_ body: (CInt) throws -> Void) throws -> LayerID {
        let id = LayerID.random()
        try prepare(id, over: LayerChain(), options: LayerOptions())
        try change(id, body)
        try seal(id, over: LayerChain(), undecided: Undecided())
        return id
    }

    func change(_ id: LayerID, _ body: (CInt) throws -> Void) throws {
        let mounted = try mount(id, over: LayerChain(), access: .readWrite)
        let tree = try Files.openDirectory(".", below: mounted.root.raw)
        try body(tree.raw)
    }
}

extension Files {
    static func list(_ path: FilePath) throws -> [DirectoryEntry] {
        let directory = try openDirectory(path)
        return try list(directory.raw)
    }
}
