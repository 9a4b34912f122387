// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Overlay
import Storage
import SystemPackage
import TestGates
import Testing

/// The upper walk against the walk of the two merged trees, which always compares everything.
@Suite(.requires(.root, .deviceNodes, .overlay))
struct UpperWalkTests {
    private let scratch: TemporaryDirectory
    private let form = OverlayForm(kernelEscapes: { true })
    /// More names than one thread visits alone.
    private let width = 300

    init() throws {
        scratch = try TemporaryDirectory()
        for name in ["lower", "work", "upper", "empty"] {
            try Files.makeDirectory(name, below: scratch.fd, mode: 0o755)
        }
    }

    private func write(_ text: String, to path: String, below root: CInt) throws {
        let file = try Files.open(path, below: root, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
        try Files.writeAll(Array(text.utf8), to: file.raw)
    }

    /// A wide directory of directories, in each some files and a directory with one more.
    private func fill(_ root: CInt) throws {
        try Files.makeDirectory("wide", below: root, mode: 0o755)
        for index in 0..<width {
            try Files.makeDirectory("wide/d\(index)", below: root, mode: 0o755)
            try Files.makeDirectory("wide/d\(index)/e", below: root, mode: 0o755)
            for name in ["a", "b", "c", "e/f"] { try write(name, to: "wide/d\(index)/\(name)", below: root) }
        }
    }

    /// Every kind of change, spread over the directory; many directories stay as they are or are only looked at.
    private func change(_ root: CInt) throws {
        for index in 0..<width {
            let directory = "wide/d\(index)"
            switch index % 7 {
            case 0: try write("changed", to: "\(directory)/a", below: root)
            case 1: try Files.unlink("\(directory)/b", below: root)
            case 2: try write("new", to: "\(directory)/new", below: root)
            case 3: try Files.removeTree(directory, below: root)
            case 4:
                try Files.removeTree("\(directory)/e", below: root)
                try Files.makeDirectory("\(directory)/e", below: root, mode: 0o755)
                try write("other", to: "\(directory)/e/g", below: root)
            case 5: try touch("\(directory)/c", below: root)
            default: break
            }
        }
        for index in 0..<width { try write("\(index)", to: "wide/new\(index)", below: root) }
    }

    /// A copy-up that changes nothing.
    private func touch(_ path: String, below root: CInt) throws {
        _ = try Files.open(path, below: root, O_WRONLY)
    }

    @Test func wideDirectoriesAreSharedWithoutLoss() throws {
        let lower = SharedFD(try Files.openDirectory("lower", below: scratch.fd))
        try fill(lower.raw)
        let mount = OverlayMount(
            directory: scratch.path,
            parents: ["lower"],
            upper: ("upper", "work"),
            empty: "empty"
        )
        let merged = SharedFD(try mount.make(OverlayMount.method))
        try change(merged.raw)
        let upper = try Files.openDirectory("upper", below: scratch.fd)
        let parent = ParentView(layers: [lower], form: form) { lower }
        let walk = try UpperWalk(upper: upper.raw, parent: parent, form: form)
        let oracle = try TreeComparison.changes(parent: lower.raw, tree: merged.raw)
        #expect(walk.changes == oracle)
        #expect(Set(walk.changes.map(\.path)).count == walk.changes.count)
        #expect(walk.changes.count > 2 * width)
    }
}
