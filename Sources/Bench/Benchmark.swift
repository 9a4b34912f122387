// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
package import Storage
package import SystemPackage

/// Measures drivers against each other: each piece of work on all of them in turn, again and again, so that what else the
/// machine does falls on all alike.
///
/// Each driver gets a store of its own in a scratch directory, which nobody else uses; nothing of the user's store is
/// changed. Everything is gone at the end, and a mount that was needed never stands in the machine's table.
package final class Benchmark {
    package struct Options: Sendable {
        /// Where the stores are made: the file system that is measured.
        package var directory: FilePath
        /// The words that call `strata` on the user's store, the program's path first.
        package var program: [String]
        package var version: String
        /// Names of drivers; empty for all that work.
        package var drivers: [String] = []
        /// Names of figures or groups; empty for all.
        package var only: [String] = []
        /// An image of the user's store, else one is generated.
        package var image: String?
        package var isQuick = false

        package init(directory: FilePath, program: [String], version: String) {
            self.directory = directory
            self.program = program
            self.version = version
        }
    }

    /// What whoever started it sees and decides.
    package struct Observer {
        /// One line on what happens now.
        package var progress: (String) -> Void
        package var isCancelled: @Sendable () -> Bool

        package init(progress: @escaping (String) -> Void, isCancelled: @escaping @Sendable () -> Bool) {
            self.progress = progress
            self.isCancelled = isCancelled
        }
    }

    private let options: Options
    private let drivers: [DriverEntry]
    private let choices: [DriverChoice]
    private let observer: Observer
    private let workload: Workload

    /// - Parameter drivers: the catalog.
    package init(_ options: Options, drivers: [DriverEntry], observer: Observer) throws {
        self.options = options
        self.observer = observer
        self.drivers = drivers
        choices = try DriverChoice.choices(options.drivers, of: drivers)
        workload = options.isQuick ? .quick : .whole
        _ = try Self.wanted(options.only)
    }

    /// Measures.
    ///
    /// What fails on one driver is in the report and stops no other. Call once, before the process has other threads.
    package func run() throws -> Report {
        let start = Meter.now()
        LeftBehind.adopt()
        var report = try Scratch.with(below: options.directory, drivers) { try measure(in: $0) }
        report.duration = Meter.now() - start
        return report
    }

    /// The figures that `names` means; all if there is none.
    private static func wanted(_ names: [String]) throws -> Set<String> {
        if names.isEmpty { return Set(Figure.all.map(\.name)) }
        var wanted: Set<String> = []
        for name in names {
            let found = Figure.all.filter { $0.name == name || $0.group.rawValue == name }
            if found.isEmpty {
                let known = (Figure.Group.allCases.map(\.rawValue) + Figure.all.map(\.name)).joined(
                    separator: ", "
                )
                throw StorageError(
                    .notFound,
                    "measure \(name): no such figure or group",
                    remedy: "there are \(known)"
                )
            }
            wanted.formUnion(found.map(\.name))
        }
        return wanted
    }

    private func measure(in scratch: FilePath) throws -> Report {
        let places = try BedMaker(scratch, program: options.program[0])
        var report = Report(
            date: .now,
            version: options.version,
            machine: Machine(
                directory: options.directory,
                fileSystem: places.fileSystem,
                sharesBlocks: places.sharesBlocks
            ),
            image: options.image ?? generated.summary,
            subjects: []
        )
        report.isQuick = options.isQuick
        observer.progress("making the image")
        let image: BenchImage
        do {
            image = try makeImage(in: scratch)
        } catch {
            report.isInterrupted = observer.isCancelled()
            if report.isInterrupted { return report }
            throw error
        }
        var beds: [Bed] = []
        defer {
            observer.progress("cleaning up")
            for bed in beds { bed.clear() }
            places.close()
        }
        for choice in choices + (options.drivers.isEmpty ? reflinked(places) : []) {
            do {
                observer.progress("finding a place for \(choice.name)")
                beds.append(try places.bed(choice, image))
            } catch {
                report.failures.append(Report.Failure(driver: choice.name, reason: "\(error)"))
            }
            if observer.isCancelled() { break }
        }
        report.subjects = beds.map { Report.Subject(driver: $0.name, place: $0.place) }
        try measure(&beds, Yardsticks(in: scratch), into: &report)
        return report
    }

    /// Drivers that copy and work everywhere, once more where files can share blocks, if here they cannot.
    private func reflinked(_ places: BedMaker) -> [DriverChoice] {
        if places.sharesBlocks || geteuid() != 0 { return [] }
        return choices.filter(\.entry.isLastResort).map { DriverChoice(entry: $0.entry, fileSystem: "xfs") }
    }

    private var generated: GeneratedImage { options.isQuick ? .small : .whole }

    private func makeImage(in scratch: FilePath) throws -> BenchImage {
        if let name = options.image {
            return try .saved(name, by: Program(options.program), in: scratch)
        }
        return try .generated(generated, in: scratch, observer)
    }
}

// MARK: - Passes

extension Benchmark {
    private static let load = Pass(title: "load", weight: 3, figures: ["load", "load-memory", "disk-space"]) {
        bed,
        _,
        recorder in
        // Only the first time: some file systems give back later what the last image had.
        let occupied = bed.image.isEmpty ? try? bed.occupied() : nil
        let outcome = try bed.load()
        recorder.record("load", outcome.sample)
        recorder.record("load-memory", Sample(value: outcome.memory))
        // What may not be looked at is no reason to leave the driver out.
        if let occupied, let now = try? bed.occupied() {
            let taken = now - occupied
            // Unless somebody else has removed more there.
            if taken > 0 { recorder.record("disk-space", Sample(value: taken)) }
        }
    }

    /// What takes longest on slow drivers comes last: what is left out for want of time should be little.
    private static let passes = [
        load, Containers.layer, Containers.run, FileWork.pass, LowerWork.pass, LargeFileWork.pass,
        MemoryWork.pass, Containers.changed, Containers.runMany,
    ]

    /// Seconds that all passes together should take; making the image and cleaning up are not in it.
    private var budget: Double { options.isQuick ? 17 : 140 }

    private func measure(_ beds: inout [Bed], _ yardsticks: Yardsticks, into report: inout Report) throws {
        let wanted = try Self.wanted(options.only)
        let passes = Self.passes.filter { !wanted.isDisjoint(with: $0.figures) }
        if passes.first?.figures != Self.load.figures { loadImages(&beds, yardsticks, &report) }
        let all = Self.passes.reduce(0) { $0 + $1.weight }
        var weight = passes.reduce(0) { $0 + $1.weight }
        let deadline = Deadline(seconds: budget * weight / all, isStrict: options.only.isEmpty)
        for pass in passes {
            if observer.isCancelled() { break }
            let share = Double(max(0, deadline.left)) * pass.weight / weight
            weight -= pass.weight
            rounds(pass, Int64(share), deadline, &beds, wanted, yardsticks, &report)
        }
        report.isInterrupted = observer.isCancelled()
    }

    /// For passes that need the image, where loading it is none of them.
    private func loadImages(_ beds: inout [Bed], _ yardsticks: Yardsticks, _ report: inout Report) {
        let load = Pass(title: "load", weight: 0, figures: []) { bed, _, _ in try bed.ensureImage() }
        rounds(load, 0, Deadline(seconds: .infinity), &beds, [], yardsticks, &report)
    }

    /// Runs `pass` on each bed in turn until `share` nanoseconds are used, each at least once.
    ///
    /// A bed that has used its part of the time already, or would use much more with another round, is left out of further
    /// rounds; one that failed is left out of all that follows.
    private func rounds(
        _ pass: Pass,
        _ share: Int64,
        _ deadline: Deadline,
        _ beds: inout [Bed],
        _ wanted: Set<String>,
        _ yardsticks: Yardsticks,
        _ report: inout Report
    ) {
        var used: [String: Int64] = [:]
        let part = share / Int64(max(1, beds.count))
        for round in 0..<Self.maximumRounds {
            let due = beds.indices.filter { index in
                let before = used[beds[index].name, default: 0]
                return round == 0 || before + before / Int64(2 * round) < part
            }
            if !due.isEmpty { yardsticks.measure(into: &report.yardsticks) }
            var failed: [String] = []
            for position in due.indices {
                if observer.isCancelled() { return }
                let bed = beds[due[(position + round) % due.count]]
                if deadline.isLongOver {
                    report.failures.append(
                        Report.Failure(driver: bed.name, reason: "\(pass.title): the time was over before it")
                    )
                    continue
                }
                observer.progress("\(pass.title): \(bed.name), round \(round + 1)\(deadline.note)")
                let start = Meter.now()
                do {
                    try measure(pass, bed, wanted, &report)
                } catch {
                    if observer.isCancelled() { return }
                    report.failures.append(
                        Report.Failure(
                            driver: bed.name,
                            reason: "\(pass.title): \(error); from here on it was left out"
                        )
                    )
                    failed.append(bed.name)
                }
                used[bed.name, default: 0] += Meter.now() - start
            }
            for bed in beds where failed.contains(bed.name) { bed.clear() }
            beds.removeAll { failed.contains($0.name) }
            if due.isEmpty || deadline.left < 0 { return }
        }
    }

    private func measure(_ pass: Pass, _ bed: Bed, _ wanted: Set<String>, _ report: inout Report) throws {
        let recorder = Recorder()
        // What was measured before a failure is as true as the rest.
        defer {
            for (figure, sample) in recorder.samples where wanted.contains(figure) {
                report.samples[figure, default: [:]][bed.name, default: []].append(sample)
            }
        }
        if pass.figures != Self.load.figures { try bed.ensureImage() }
        try pass.run(bed, workload, recorder)
    }

    private static let maximumRounds = 25
}

/// When the measuring should be over.
struct Deadline {
    private let seconds: Double
    private let isStrict: Bool
    private let start = Meter.now()

    /// - Parameter isStrict: whether work that has not begun may be left out in the end.
    init(seconds: Double, isStrict: Bool = false) {
        self.seconds = seconds
        self.isStrict = isStrict
    }

    /// Nanoseconds; negative when it has passed.
    var left: Int64 {
        seconds.isFinite ? start + Int64(seconds * 1e9) - Meter.now() : .max
    }

    /// Whether so much too long was taken that what has not begun has to be left out.
    var isLongOver: Bool { isStrict && Double(left) < seconds * -0.15e9 }

    /// For the line that shows what happens.
    var note: String { seconds.isFinite ? ", \(max(0, left / 1_000_000_000)) s left" : "" }
}
