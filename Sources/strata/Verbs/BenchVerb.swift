// SPDX-License-Identifier: Apache-2.0

import Bench
import Command
import Engine
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
            Nothing of your store is changed, and nothing stays. It takes about three minutes.

            Figures and groups for --only: \(Figure.Group.allCases.map(\.rawValue).joined(separator: ", ")); \
            \(Figure.all.map(\.name).joined(separator: ", ")).
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
        ],
        completes: [.image]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let earlier = try parsed.word("compare").map { try read(FilePath($0.bytes)) }
        let engine = try parsed.engine(.read)
        var options = Benchmark.Options(
            directory: parsed.word("directory").map { FilePath($0.bytes) }
                ?? engine.root.path.removingLastComponent(),
            program: try engine.command(),
            version: Strata.version
        )
        options.drivers = parsed.names("drivers")
        options.only = parsed.names("only")
        options.isQuick = parsed.flag("quick")
        if let image = parsed.arguments.first {
            // Found now: a name that does not exist should not cost a minute.
            _ = try engine.images.resolve(image)
            options.image = image
        }
        Interruption.listen()
        let progress = ProgressLine()
        let benchmark = try Benchmark(
            options,
            drivers: engine.layers.entries,
            observer: .init(progress: progress.show, isCancelled: { Interruption.isRequested })
        )
        let report = try benchmark.run()
        progress.clear()
        return try show(report, earlier, parsed)
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
        if let output = parsed.word("output") {
            let bytes = Array(text.utf8)
            try OutputFile.write(FilePath(output.bytes)) { try Files.writeAll(bytes, to: $0.raw) }
        } else {
            Console.output.write(text)
        }
        if report.isInterrupted { return 128 + Interruption.received }
        if comparison?.hasRegression == true { return 3 }
        return report.subjects.isEmpty ? 1 : 0
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
    fileprivate func names(_ flag: String) -> [String] {
        (string(flag) ?? "").split(separator: ",").map(String.init)
    }
}

/// What happens now, as one line that is rewritten on a terminal; nothing elsewhere.
private final class ProgressLine {
    private let console = Console.errors
    private let isTerminal = Console.errors.isTerminal

    func show(_ text: String) {
        if isTerminal { console.write("\r\u{1B}[K\(text)") }
    }

    func clear() {
        if isTerminal { console.write("\r\u{1B}[K") }
    }
}
