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
        package var isCancelled: () -> Bool

        package init(progress: @escaping (String) -> Void, isCancelled: @escaping () -> Bool) {
            self.progress = progress
            self.isCancelled = isCancelled
        }
    }

    private let options: Options
    private let entries: [DriverEntry]
    private let observer: Observer
    private let workload: Workload

    /// - Parameter drivers: the catalog.
    package init(_ options: Options, drivers: [DriverEntry], observer: Observer) throws {
        self.options = options
        self.observer = observer
        entries = try Self.chosen(options.drivers, of: drivers)
        workload = options.isQuick ? .quick : .whole
        _ = try Self.wanted(options.only)
    }

    /// Measures.
    ///
    /// What fails on one driver is in the report and stops no other. Call once, before the process has other threads.
    package func run() throws -> Report {
        let scratch = try Scratch(below: options.directory)
        do {
            let report = try measure(in: scratch)
            try scratch.remove()
            return report
        } catch {
            try? scratch.remove()
            throw error
        }
    }

    private static func chosen(_ names: [String], of entries: [DriverEntry]) throws -> [DriverEntry] {
        let known = entries.map(\.name).joined(separator: ", ")
        for name in names where !entries.contains(where: { $0.name == name }) {
            throw StorageError(
                .notFound,
                "measure driver \(name): no such driver was built",
                remedy: "drivers here: \(known)"
            )
        }
        return names.isEmpty ? entries : entries.filter { names.contains($0.name) }
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

    private func measure(in scratch: Scratch) throws -> Report {
        observer.progress("making the image")
        let image = try makeImage(in: scratch.path)
        let places = try BedMaker(scratch.path, image, Array(options.program.prefix(1)))
        var report = Report(
            date: .now,
            version: options.version,
            machine: Machine(directory: options.directory, fileSystem: places.fileSystem),
            image: image.summary,
            subjects: []
        )
        var beds: [Bed] = []
        defer {
            for bed in beds { bed.clear() }
            places.close()
        }
        for entry in entries {
            do {
                beds.append(try places.bed(entry))
            } catch {
                report.failures.append(Report.Failure(driver: entry.name, reason: "\(error)"))
            }
        }
        report.subjects = beds.map { Report.Subject(driver: $0.name, place: $0.place) }
        try measure(&beds, into: &report)
        return report
    }

    private func makeImage(in scratch: FilePath) throws -> BenchImage {
        if let name = options.image {
            return try .saved(name, by: Program(options.program), in: scratch)
        }
        return try .generated(options.isQuick ? .small : .whole, in: scratch)
    }
}

// MARK: - Passes

extension Benchmark {
    private static let load = Pass(title: "load", weight: 3, figures: ["load", "load-memory", "disk"]) {
        bed,
        _,
        recorder in
        let outcome = try bed.load()
        recorder.record("load", outcome.sample)
        recorder.record("load-memory", Sample(value: outcome.memory))
        recorder.record("disk", Sample(value: try bed.usage()))
    }

    private static let passes = [
        load, Containers.layer, Containers.run, Containers.runMany, Containers.changed, FileWork.pass,
        LowerWork.pass,
        LargeFileWork.pass,
    ]

    /// Seconds that all passes together should take, `--only` or not; loading the image first is not in it.
    private var budget: Double { options.isQuick ? 18 : 140 }

    private func measure(_ beds: inout [Bed], into report: inout Report) throws {
        let wanted = try Self.wanted(options.only)
        let passes = Self.passes.filter { !wanted.isDisjoint(with: $0.figures) }
        let weights = Self.passes.reduce(0) { $0 + $1.weight }
        for pass in passes {
            let share = Int64(budget * pass.weight / weights * 1e9)
            rounds(pass, share, &beds, wanted, &report)
            if observer.isCancelled() {
                report.isInterrupted = true
                return
            }
        }
    }

    /// Runs `pass` on each bed in turn until its time is used, each at least once.
    ///
    /// A bed that has used its part of the time already is left out of further rounds; one that failed is left out of
    /// all that follows.
    private func rounds(
        _ pass: Pass,
        _ share: Int64,
        _ beds: inout [Bed],
        _ wanted: Set<String>,
        _ report: inout Report
    ) {
        var used: [String: Int64] = [:]
        let part = share / Int64(max(1, beds.count))
        for round in 0..<Self.maximumRounds {
            let due = beds.indices.filter { used[beds[$0].name, default: 0] < part }
            if due.isEmpty { return }
            var failed: [String] = []
            for position in due.indices {
                if observer.isCancelled() { return }
                let bed = beds[due[(position + round) % due.count]]
                observer.progress("\(pass.title): \(bed.name), round \(round + 1)")
                let start = Meter.now()
                do {
                    let recorder = Recorder()
                    if pass.figures != Self.load.figures { try bed.ensureImage() }
                    try pass.run(bed, workload, recorder)
                    for (figure, sample) in recorder.samples where wanted.contains(figure) {
                        report.samples[figure, default: [:]][bed.name, default: []].append(sample)
                    }
                } catch {
                    if observer.isCancelled() { return }
                    report.failures.append(
                        Report.Failure(driver: bed.name, reason: "\(pass.title): \(error)")
                    )
                    failed.append(bed.name)
                }
                used[bed.name, default: 0] += Meter.now() - start
            }
            for bed in beds where failed.contains(bed.name) { bed.clear() }
            beds.removeAll { failed.contains($0.name) }
        }
    }

    private static let maximumRounds = 25
}
