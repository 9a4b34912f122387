// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
package import Storage
import SystemPackage

/// Measures how the cost of each operation grows with the layers and files of an image and the containers in the store.
///
/// Each size and driver gets a store of its own in a scratch directory, as `Benchmark` makes them, and all is gone at the end.
package final class Scaling {
    private let options: Benchmark.Options
    private let drivers: [DriverEntry]
    private let choices: [DriverChoice]
    private let axes: [ScalingAxis]
    private let observer: Benchmark.Observer
    private var report: ScalingReport
    /// Drivers that took too long at one size of an axis for the next.
    private var tooSlow: Set<String> = []
    /// What the last size of an axis took each driver.
    private var times: [String: (size: Int, seconds: Double)] = [:]

    /// - Parameter drivers: the catalog.
    package init(_ options: Benchmark.Options, drivers: [DriverEntry], observer: Benchmark.Observer) throws {
        self.options = options
        self.observer = observer
        self.drivers = drivers
        choices = try DriverChoice.choices(options.drivers, of: drivers)
        axes = try Self.axes(options.only)
        report = ScalingReport(
            date: .now,
            version: options.version,
            machine: Machine(directory: options.directory, fileSystem: "", sharesBlocks: false)
        )
    }

    /// Measures.
    ///
    /// What fails on one driver is in the report and stops no other. Call once, before the process has other threads.
    package func run() throws -> ScalingReport {
        let start = Meter.now()
        try Scratch.with(below: options.directory, drivers) { scratch in
            let places = try BedMaker(scratch, program: options.program[0])
            defer { places.close() }
            report.machine.fileSystem = places.fileSystem
            report.machine.sharesBlocks = places.sharesBlocks
            for axis in axes where !observer.isCancelled() {
                tooSlow = []
                times = [:]
                do {
                    switch axis {
                    case .layers, .files: try measureImages(axis, places, scratch)
                    case .containers: try measureContainers(places, scratch)
                    }
                } catch  where observer.isCancelled() {}
            }
        }
        report.isInterrupted = observer.isCancelled()
        report.duration = Meter.now() - start
        return report
    }

    private static func axes(_ names: [String]) throws -> [ScalingAxis] {
        if names.isEmpty { return ScalingAxis.allCases }
        return try names.map { name in
            guard let axis = ScalingAxis(rawValue: name) else {
                throw StorageError(
                    .notFound,
                    "measure how costs grow with \(name): nothing of that name is varied",
                    remedy: "there are \(ScalingAxis.allCases.map(\.rawValue).joined(separator: ", "))"
                )
            }
            return axis
        }
    }

    // MARK: - What is measured

    static func figures(_ axis: ScalingAxis) -> [Figure] {
        let names =
            axis == .containers
            ? ["run", "diff", "commit", "rm"]
            : ["load", "prepare", "mount", "remove", "run", "diff", "commit", "rm"]
        return names.compactMap(Figure.named) + (axis == .containers ? listings.map(\.figure) : [])
    }

    /// Commands that list, each with its words.
    private static let listings: [(figure: Figure, words: [String])] = [
        (listing("create-container", "create", "A container that does not start."), []),
        (listing("ps", "ps -a", "The list of all containers."), ["ps", "-a"]),
        (listing("images", "images", "The list of images."), ["images"]),
        (
            listing("layer-ls", "layer ls", "The list of all layers, those of containers too."),
            ["layer", "ls"]
        ),
    ]

    private static func listing(_ name: String, _ title: String, _ explanation: String) -> Figure {
        Figure(name: name, group: .container, unit: .nanoseconds, title: title, explanation: explanation)
    }

    private static let workload = Workload(
        files: 0,
        lowerFiles: 0,
        largeBytes: 0,
        operations: 0,
        cold: 0,
        synced: 0,
        containers: 1,
        changes: 300
    )

    /// Rounds of everything at one size, and seconds after which no further one begins.
    private var rounds: (most: Int, seconds: Double) { options.isQuick ? (3, 2) : (9, 8) }

    /// Seconds that one size may take on one driver; the next is left out if it must take longer.
    private var longest: Double { options.isQuick ? 15 : 240 }

    // MARK: - Images

    private func measureImages(_ axis: ScalingAxis, _ places: BedMaker, _ scratch: FilePath) throws {
        let sizes = axis.sizes(isQuick: options.isQuick)
        for (index, size) in sizes.enumerated() {
            if observer.isCancelled() { return }
            observer.progress("making an image: \(size) \(axis.rawValue)")
            let generated =
                axis == .layers
                ? GeneratedImage.plain(layers: size, files: 1000) : .plain(layers: 1, files: size)
            let image = try BenchImage.generated(generated, in: scratch, observer)
            defer { try? Files.removeTree(image.path) }
            for choice in choices where !tooSlow.contains(choice.name) {
                let start = Meter.now()
                onBed(choice, axis, size, places, image) { bed in try measure(axis, size, bed) }
                if observer.isCancelled() { return }
                let next = sizes.dropFirst(index + 1).first
                expect(next, after: size, tookSince: start, choice, axis)
            }
        }
    }

    /// Leaves a driver out of `next` if that would take too long, going by what `size` took more than the one before it.
    private func expect(
        _ next: Int?,
        after size: Int,
        tookSince start: Int64,
        _ choice: DriverChoice,
        _ axis: ScalingAxis
    ) {
        let took = Double(Meter.now() - start) / 1e9
        let before = times.updateValue((size, took), forKey: choice.name)
        guard let next, let before, !tooSlow.contains(choice.name) else { return }
        let each = max(0, took - before.seconds) / Double(size - before.size)
        let expected = took + each * Double(next - size)
        if expected <= longest { return }
        tooSlow.insert(choice.name)
        fail(choice, "\(next) \(axis.rawValue): it would take about \(Int(expected)) s, by what \(size) took")
    }

    private func fail(_ choice: DriverChoice, _ reason: String) {
        report.failures.append(Report.Failure(driver: choice.name, reason: reason))
    }

    private func onBed(
        _ choice: DriverChoice,
        _ axis: ScalingAxis,
        _ size: Int,
        _ places: BedMaker,
        _ image: BenchImage,
        _ body: (Bed) throws -> Void
    ) {
        do {
            let bed = try places.bed(choice, image, label: "-\(axis.rawValue)-\(size)")
            defer { bed.empty() }
            let subject = Report.Subject(driver: choice.name, place: bed.place)
            if !report.subjects.contains(subject) { report.subjects.append(subject) }
            try body(bed)
        } catch {
            if observer.isCancelled() { return }
            tooSlow.insert(choice.name)
            fail(choice, "\(size) \(axis.rawValue): \(error)")
        }
    }

    private func measure(_ axis: ScalingAxis, _ size: Int, _ bed: Bed) throws {
        observer.progress("\(size) \(axis.rawValue): load, \(bed.name)")
        let load = try bed.load()
        var samples = ["load": [load.sample]]
        try repeated("\(size) \(axis.rawValue): \(bed.name)") {
            for pass in [Containers.layer, Containers.run, Containers.changed] {
                if observer.isCancelled() { break }
                let recorder = Recorder()
                try pass.run(bed, Self.workload, recorder)
                for (figure, sample) in recorder.samples { samples[figure, default: []].append(sample) }
            }
        }
        report.add(samples, axis, size, bed.name)
    }

    /// Calls `body` until its time is used, at least once.
    private func repeated(_ title: String, _ body: () throws -> Void) throws {
        let start = Meter.now()
        for round in 0..<rounds.most {
            if observer.isCancelled() { return }
            if round > 0, Double(Meter.now() - start) / 1e9 > rounds.seconds { return }
            observer.progress("\(title), round \(round + 1)")
            try body()
        }
    }

    // MARK: - Containers

    private func measureContainers(_ places: BedMaker, _ scratch: FilePath) throws {
        let image = try BenchImage.generated(.plain(layers: 1, files: 100), in: scratch, observer)
        let sizes = ScalingAxis.containers.sizes(isQuick: options.isQuick)
        for choice in choices where !observer.isCancelled() {
            onBed(choice, .containers, sizes[0], places, image) { bed in
                try bed.ensureImage()
                for (index, size) in sizes.enumerated() {
                    let start = Meter.now()
                    try create(size - (index == 0 ? 0 : sizes[index - 1]), upTo: size, bed)
                    if observer.isCancelled() { break }
                    try measureContainers(size, bed)
                    let next = sizes.dropFirst(index + 1).first
                    expect(next, after: size, tookSince: start, choice, .containers)
                    if tooSlow.contains(choice.name) || observer.isCancelled() { break }
                }
                observer.progress("removing containers: \(choice.name)")
                try removeContainers(bed)
            }
        }
    }

    private static let atOnce = 4

    private func create(_ count: Int, upTo size: Int, _ bed: Bed) throws {
        var missing = count
        while missing > 0, !observer.isCancelled() {
            if missing % 100 < Self.atOnce {
                observer.progress("\(size) containers: \(bed.name), \(missing) to make")
            }
            let batch = min(missing, Self.atOnce)
            _ = try bed.strata.run(["create", "--network", "none", bed.image, "/bin/true"], atOnce: batch)
            missing -= batch
        }
    }

    private func measureContainers(_ size: Int, _ bed: Bed) throws {
        var samples: [String: [Sample]] = [:]
        try repeated("\(size) containers: \(bed.name)") {
            let recorder = Recorder()
            try Containers.run.run(bed, Self.workload, recorder)
            try Containers.changed.run(bed, Self.workload, recorder)
            recorder.record("create-container", try bed.create("strata-bench-one"))
            try bed.strata.run(["rm", "strata-bench-one"])
            for (figure, words) in Self.listings where !words.isEmpty {
                recorder.record(figure.name, try bed.strata.run(words).sample)
            }
            for (figure, sample) in recorder.samples { samples[figure, default: []].append(sample) }
        }
        report.add(samples, .containers, size, bed.name)
    }

    /// In a loop file they go with it.
    private func removeContainers(_ bed: Bed) throws {
        if bed.isInLoopFile { return }
        let ids = try bed.strata("ps", "--all", "--quiet").output.split(separator: "\n").map(String.init)
        for start in stride(from: 0, to: ids.count, by: 500) {
            try bed.strata.run(["rm"] + ids[start..<min(start + 500, ids.count)])
        }
    }
}
