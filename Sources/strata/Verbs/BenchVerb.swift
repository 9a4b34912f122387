// SPDX-License-Identifier: Apache-2.0

import Bench
import Command
import Engine
import Glibc
import Images
import JSON
import LayerStore
import LinuxSys
import Storage
import StoreRoot
import SystemPackage

enum BenchVerb: Verb {
    static let declaration = VerbDeclaration(
        "Compare the storage drivers that work on this machine",
        description: """
            Each driver gets a store of its own in a scratch directory and does the same work as the others, in turn. \
            Nothing of your store is changed, and nothing stays. It takes up to three minutes, with --quick half a minute; \
            how often each thing is measured depends on that. Only where one round of all takes longer does the whole. \
            What one that was killed (SIGKILL) has left, the next one in the same directory removes.

            A driver that needs another file system gets one in a loop file. NAME@btrfs and NAME@xfs ask for that: \
            vfs@xfs, where files can share their blocks, is measured by default if they cannot where the stores are.

            Between the rounds it also times work that no driver has a part in. If that shows that the machine itself is \
            faster or slower than at the time of the result given to --compare, a driver's time has to differ by more.

            Figures and groups for --only: \(Figure.Group.allCases.map(\.rawValue).joined(separator: ", ")); \
            \(Figure.all.map(\.name).joined(separator: ", ")).

            With --scaling it measures how the cost of each operation grows instead: with the layers of an image (to 400), \
            with its files (to a million), and with the containers in the store (to 10,000), and says whether that is flat, \
            linear or worse. That takes up to ten minutes a driver, with --quick about one in all; \
            --only takes \(ScalingAxis.allCases.map(\.rawValue).joined(separator: ", ")).
            """,
        usage: ["[IMAGE]"],
        arguments: .atMost(1),
        flags: [
            Flag(
                "drivers",
                .string,
                "Drivers to measure, separated by commas (default all that work)",
                valueName: "list",
                completes: .driver
            ),
            Flag("only", .string, "Figures or groups to measure, separated by commas", valueName: "list"),
            Flag("quick", .bool, "Measure for half a minute, with more noise"),
            Flag("scaling", .bool, "Measure how costs grow with layers, files and containers"),
            Flag(
                "directory",
                "C",
                .string,
                "Where to make the stores (default beside the store)",
                completes: .directory
            ),
            Flag(
                "format",
                .string,
                "Format of the output",
                defaultValue: "table",
                values: ["table", "json", "html"]
            ),
            Flag("verbose", "v", .bool, "Show percentiles, processor time and bytes written too"),
            Flag("output", "o", .string, "Write to a file, instead of STDOUT", completes: .file),
            Flag(
                "compare",
                .string,
                "Compare with the file of an earlier --format json; exit status 3 if something is slower",
                completes: .file
            ),
        ],
        examples: [
            .init("strata bench", "Compare all drivers with a generated image"),
            .init(
                "strata bench --quick --drivers overlay2,btrfs debian",
                "Two drivers with an image of yours"
            ),
            .init("strata bench --format html -o drivers.html", "A page with charts"),
            .init(
                "strata bench --scaling --drivers overlay2 --only containers --format html -o growth.html",
                "What 10,000 containers in a store cost each command"
            ),
        ],
        completes: [.image]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let isScaling = parsed.flag("scaling")
        if isScaling { try refuseWhatScalingHasNot(parsed) }
        let earlier = try parsed.word("compare").map { try read(FilePath($0.bytes)) }
        let engine = try parsed.engine(.read)
        var options = Benchmark.Options(
            directory: try directory(parsed) ?? engine.root.path.removingLastComponent(),
            program: try engine.command(),
            version: Strata.version
        )
        options.drivers = try parsed.names("drivers")
        options.only = try parsed.names("only")
        options.isQuick = parsed.flag("quick")
        if let isQuick = earlier?.isQuick, isQuick != options.isQuick { throw otherWork(isQuick) }
        // Found now: what cannot be written at the end should not cost minutes.
        if let output = parsed.word("output") { try OutputFile.check(FilePath(output.bytes)) }
        if let image = parsed.arguments.first {
            // Found now: a name that does not exist should not cost a minute.
            let found = try engine.images.resolve(image)
            if try engine.images.layers(of: found.id).isEmpty {
                throw StorageError(
                    .invalid,
                    "measure with image \(image): it has no layers",
                    remedy: "name one that has, or none for one that is generated"
                )
            }
            options.image = image
        }
        Interruption.listen(once: false)
        let progress = ProgressLine()
        let observer = Benchmark.Observer(
            progress: progress.show,
            isCancelled: { Interruption.isRequested }
        )
        defer { progress.clear() }
        if isScaling {
            let scaling = try Scaling(options, drivers: engine.layers.entries, observer: observer)
            let report = try scaling.run()
            progress.clear()
            try write(text(report, parsed), parsed)
            return report.isInterrupted ? 128 + Interruption.received : report.curves.isEmpty ? 1 : 0
        }
        let benchmark = try Benchmark(options, drivers: engine.layers.entries, observer: observer)
        let report = try benchmark.run()
        progress.clear()
        return try show(report, earlier, parsed)
    }

    /// Absolute: containers get files of it as volumes.
    private static func directory(_ parsed: Parsed) throws -> FilePath? {
        guard let word = parsed.word("directory") else { return nil }
        if word.bytes.isEmpty {
            throw StorageError(
                .invalid,
                "measure in \"\"",
                remedy: "name a directory, or leave --directory out"
            )
        }
        let path = try doing("find the working directory") { try Files.absolute(FilePath(word.bytes)) }
        guard String(validating: path) != nil else {
            throw StorageError(
                .invalid,
                "measure in \(path.printable): its path is not UTF-8, as the words of the programs that are run are",
                remedy: "give another --directory"
            )
        }
        return path
    }

    private static func otherWork(_ wasQuick: Bool) -> StorageError {
        StorageError(
            .invalid,
            "compare with an earlier result: it was measured \(wasQuick ? "with" : "without") --quick, with other amounts of work",
            remedy: wasQuick ? "add --quick" : "leave --quick out"
        )
    }

    private static func refuseWhatScalingHasNot(_ parsed: Parsed) throws {
        let refused =
            parsed.arguments.isEmpty
            ? ["compare", "verbose"].first { parsed.isSet($0) }.map { "--\($0)" } : "an image"
        guard let refused else { return }
        throw StorageError(
            .invalid,
            "measure how costs grow: it has no use for \(refused)",
            remedy: "leave it out"
        )
    }

    private static func text(_ report: ScalingReport, _ parsed: Parsed) -> String {
        switch parsed.string("format") {
        case "json": String(decoding: report.json.bytes(pretty: true), as: UTF8.self) + "\n"
        case "html": report.html
        default: report.table
        }
    }

    private static func show(_ report: Report, _ earlier: Report?, _ parsed: Parsed) throws -> Int32 {
        let comparison = earlier.map { Comparison(report, with: $0) }
        var text =
            switch parsed.string("format") {
            case "json": String(decoding: report.json.bytes(pretty: true), as: UTF8.self) + "\n"
            case "html": report.html
            default: parsed.flag("verbose") ? report.longTable : report.table
            }
        if let comparison {
            // Beside a form for machines, it goes where people look.
            if parsed.string("format") == "table" {
                text += "\n" + comparison.table
            } else {
                Console.errors.write(comparison.table)
            }
        }
        try write(text, parsed)
        if report.isInterrupted { return 128 + Interruption.received }
        if comparison?.hasRegression == true { return 3 }
        if comparison?.rows.isEmpty == true { return 1 }
        // Of all drivers some may not work here; one that was asked for should have.
        let isIncomplete = parsed.isSet("drivers") && !report.failures.isEmpty
        return report.samples.isEmpty || isIncomplete ? 1 : 0
    }

    private static func write(_ text: String, _ parsed: Parsed) throws {
        guard let output = parsed.word("output") else {
            Console.output.write(text)
            return
        }
        let bytes = Array(text.utf8)
        try OutputFile.write(FilePath(output.bytes)) { try Files.writeAll(bytes, to: $0.raw) }
    }

    private static func read(_ path: FilePath) throws -> Report {
        let bytes = try doing("read \(path)") { try Files.contents(path) }
        do {
            return try Report(json: try JSON.parse(bytes), label: path.printable)
        } catch let error as JSONError {
            throw StorageError(
                .invalid,
                "read \(path): \(error)",
                remedy: "give a file that strata bench --format json wrote"
            )
        }
    }
}

extension Parsed {
    /// The parts of a flag's value between commas.
    fileprivate func names(_ flag: String) throws -> [String] {
        guard let value = string(flag), isSet(flag) else { return [] }
        let names = value.split(separator: ",").map(String.init)
        // As of a variable of a shell that is empty: everything is not what was meant.
        if names.isEmpty {
            throw StorageError(
                .invalid,
                "measure: --\(flag) names nothing",
                remedy: "leave it out to measure all"
            )
        }
        return names
    }
}

/// What happens now, as one line that is rewritten on a terminal; nothing elsewhere.
private final class ProgressLine {
    private let console = Console.errors
    private let isTerminal = Console.errors.isTerminal

    func show(_ text: String) {
        if isTerminal { console.rewriteLine(text) }
    }

    func clear() {
        if isTerminal { console.write("\r\u{1B}[K") }
    }
}
