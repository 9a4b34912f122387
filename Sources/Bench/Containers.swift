// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Storage

/// What images and containers cost.
enum Containers {
    /// The container that is compared and committed.
    static let name = "strata-bench-changed"

    static let layer = Pass(title: "layers", weight: 0.5, figures: ["prepare", "mount", "remove"]) {
        bed,
        _,
        recorder in
        let driver = try bed.driver()
        let meter = Meter()
        let chain = bed.chain
        let id = LayerID.random()
        let path = try bed.imageFiles().small.first
        do {
            try recorder.time("prepare", meter) {
                try driver.prepare(id, over: chain, options: LayerOptions())
            }
            try recorder.time("mount", meter) {
                let mounted = try driver.mount(id, over: chain, access: .scratch)
                guard let path else { return }
                let file = try Files.open(path, below: mounted.root.raw, O_RDONLY)
                var byte: UInt8 = 0
                try system("read") { read(file.raw, &byte, 1) }
            }
            try recorder.time("remove", meter) { try driver.remove(id) }
        } catch {
            bed.discard(id, driver)
            throw error
        }
        try driver.emptyTrash { false }
    }

    static let run = Pass(title: "run", weight: 1, figures: ["run"]) { bed, _, recorder in
        recorder.record("run", try bed.strata.run(bed.runTrue).sample)
    }

    static let runMany = Pass(title: "many at once", weight: 1.2, figures: ["run-many"]) {
        bed,
        workload,
        recorder in
        recorder.record("run-many", try bed.strata.run(bed.runTrue, atOnce: workload.containers))
    }

    static let changed = Pass(title: "diff and commit", weight: 1.5, figures: ["diff", "commit", "rm"]) {
        bed,
        workload,
        recorder in
        _ = try bed.create(name)
        do {
            try change(bed, workload)
            recorder.record("diff", try bed.strata("diff", name).sample)
            recorder.record("commit", try bed.strata("commit", name, "strata-bench-committed").sample)
        } catch {
            _ = try? bed.strata("rm", "--force", name)
            throw error
        }
        recorder.record("rm", try bed.strata("rm", name).sample)
        try bed.strata.run(["rmi", "strata-bench-committed"])
    }

    /// Changes the container's files through its own layer, a third of them files of the image.
    private static func change(_ bed: Bed, _ workload: Workload) throws {
        let layers = try bed.layers(of: name)
        guard let top = layers.last else {
            throw StorageError(.corrupt, "measure commit: inspect of the container names no layer")
        }
        let mounted = try bed.driver().mount(top, over: LayerChain(layers.dropLast()), access: .readWrite)
        let root = mounted.root.raw
        let lower = try bed.imageFiles().small.prefix(workload.changes / 3)
        for path in lower { try FileWork.append(path, below: root) }
        try FileWork(root, files: workload.changes - lower.count).create()
    }
}
