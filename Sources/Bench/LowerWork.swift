// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import SystemPackage

/// Files of the image that can be changed: chosen by name, so the same on every driver.
struct ImageFiles {
    /// Regular files of at most 64 KiB, sorted, evenly from the whole image.
    var small: [TreePath] = []
    /// The largest regular file.
    var large: TreePath?
    private static let smallBytes = 64 << 10
    static let kept = 2000

    /// Files that are known without a look.
    init(small: [TreePath]) { self.small = small }

    init(below root: CInt) throws {
        var largest: Int64 = 0
        var candidates: [TreePath] = []
        try LowerWork.walk(root) { path, status in
            guard status.kind == .regular else { return }
            if status.size <= Self.smallBytes { candidates.append(path) }
            if status.size > largest { (largest, large) = (status.size, path) }
        }
        candidates.sort()
        let step = max(1, candidates.count / Self.kept)
        small = stride(from: 0, to: candidates.count, by: step).map { candidates[$0] }
    }
}

/// Work on what the image brought.
enum LowerWork {
    static let pass = Pass(
        title: "files of the image",
        weight: 2,
        figures: ["walk-cold", "walk", "copy-up", "copy-up-large", "unlink-lower"]
    ) { bed, workload, recorder in
        let files = try bed.imageFiles()
        try bed.withLayer { root, meter in
            try recorder.time("walk-cold", meter) { try walk(root) { _, _ in } }
            try recorder.time("walk", meter) { try walk(root) { _, _ in } }
            let changed = files.small.prefix(workload.lowerFiles)
            // Less work than others have, or none, would look like speed.
            if changed.count == workload.lowerFiles {
                try recorder.time("copy-up", meter) {
                    for path in changed { try FileWork.append(path, below: root) }
                }
            }
            if let large = files.large {
                try recorder.time("copy-up-large", meter) { try FileWork.append(large, below: root) }
            }
            let removed = files.small.dropFirst(workload.lowerFiles).prefix(workload.lowerFiles)
            if removed.count == workload.lowerFiles {
                try recorder.time("unlink-lower", meter) {
                    for path in removed { try Files.unlink(path, below: root) }
                }
            }
        }
    }

    /// Each name below `root` once, directories before what is in them; never through a symlink.
    static func walk(_ root: CInt, _ visit: (TreePath, FileStatus) throws -> Void) throws {
        var pending: [TreePath] = [.root]
        while let path = pending.popLast() {
            let directory =
                path.isRoot
                ? try Files.open(".", below: root, O_RDONLY | O_DIRECTORY)
                : try Files.openDirectory(path, below: root)
            for entry in try Files.list(directory.raw) {
                guard let status = try Files.status(entry.name, below: directory.raw) else { continue }
                let child = path.appending(entry.name)
                try visit(child, status)
                if status.kind == .directory { pending.append(child) }
            }
        }
    }
}
