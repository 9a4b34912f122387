// SPDX-License-Identifier: Apache-2.0

import Benchmark
import Launch
import LayerDiff
import LinuxSys
import Runtime
import Storage

/// The hot paths, each by itself, with what surrounds it left out of the time.
let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = .init(
        // Not processor time, which Linux tells to 10 ms.
        metrics: [.wallClock],
        maxDuration: .seconds(2),
        maxIterations: 10_000
    )
    tar()
    for kind in Bench.drivers { layers(kind) }
    for depth in [10, 100] { mountOfChain(depth) }
    launch()
}

private func tar() {
    Benchmark(
        "tar entry parse × 1,000",
        closure: { (benchmark: Benchmark, file: SharedFD) in
            benchmark.startMeasurement()
            blackHole(try TarIndex(file, label: "the layer").members.count)
        },
        setup: { try Bench.tar(files: Bench.files) }
    )
}

private func layers(_ kind: any StorageDriver.Type) {
    let name = kind.name
    Benchmark(
        "entry apply × 1,000, \(name)",
        closure: { (benchmark: Benchmark, state: (Bench, SharedFD)) in
            let (bed, tar) = state
            let stream = try LayerStream(source: FileRegion(tar), options: .init(label: "the layer"))
            let id = LayerID.random()
            benchmark.startMeasurement()
            let undecided = try bed.driver.apply(stream, to: id, over: LayerChain())
            try bed.driver.seal(id, over: LayerChain(), undecided: undecided)
            benchmark.stopMeasurement()
            _ = try stream.finish()
            try bed.discard(id)
        },
        setup: { (try Bench(kind), try Bench.tar(files: Bench.files)) }
    )
    Benchmark(
        "layer prepare, \(name)",
        closure: { (benchmark: Benchmark, bed: Bench) in
            let id = LayerID.random()
            benchmark.startMeasurement()
            try bed.driver.prepare(id, over: bed.chain, options: LayerOptions())
            benchmark.stopMeasurement()
            try bed.discard(id)
        },
        setup: { try Bench(kind, layers: 3) }
    )
    Benchmark(
        "mount, \(name)",
        closure: mount,
        setup: { try Bench(kind, layers: 3) }
    )
    Benchmark(
        "diff of 1,000 changes, \(name)",
        closure: { (benchmark: Benchmark, state: (Bench, LayerID)) in
            let (bed, id) = state
            benchmark.startMeasurement()
            blackHole(try bed.driver.changes(id, over: bed.chain).changes.count)
        },
        setup: {
            let bed = try Bench(kind, layers: 1)
            let id = try bed.prepare()
            try bed.change(id)
            return (bed, id)
        }
    )
}

/// A mount and its end, of a layer that never was mounted before.
private func mount(_ benchmark: Benchmark, _ bed: Bench) throws {
    let id = try bed.prepare()
    benchmark.startMeasurement()
    blackHole(try bed.driver.mount(id, over: bed.chain, access: .scratch).root.raw)
    benchmark.stopMeasurement()
    try bed.discard(id)
}

private func mountOfChain(_ depth: Int) {
    Benchmark(
        "mount over \(depth) layers, overlay2",
        closure: mount,
        setup: { try Bench(Bench.drivers[0], layers: depth, files: 1) }
    )
}

private func launch() {
    var spec = SpecDefaults.container()
    spec.process.args = ["/bin/true"]
    let container = spec
    Benchmark("launch plan") { benchmark in
        benchmark.startMeasurement()
        blackHole(try Container.plan(container, options: StartOptions()).steps.count)
    }
}
