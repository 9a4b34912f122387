// SPDX-License-Identifier: Apache-2.0

package import JSON
import LinuxSys
import Storage

/// The form for machines, which `--compare` reads again.
extension Report {
    private static let schema = 1

    package var json: JSON {
        [
            "schema": .integer(Self.schema),
            "date": .string(date.rfc3339),
            "version": .string(version),
            "machine": machine.json,
            "image": .string(image),
            "quick": isQuick.map(JSON.bool) ?? .null,
            "drivers": .array(subjects.map { ["name": .string($0.driver), "place": .string($0.place)] }),
            "failures": .array(
                failures.map { ["driver": .string($0.driver), "reason": .string($0.reason)] }
            ),
            "interrupted": .bool(isInterrupted),
            "duration": .integer(duration),
            "yardsticks": .array(Yardstick.allCases.compactMap(json)),
            "figures": .array(figures.map(json)),
        ]
    }

    private func json(_ figure: Figure) -> JSON {
        let results = subjects.compactMap { subject -> JSON? in
            guard let values = distribution(figure, subject.driver) else { return nil }
            return [
                "driver": .string(subject.driver),
                "median": .integer(values.median), "p10": .integer(values.p10), "p90": .integer(values.p90),
                "cpu": .integer(values.cpu), "written": .integer(values.written),
                "samples": .array((samples[figure.name]?[subject.driver] ?? []).map(Self.json)),
            ]
        }
        return [
            "name": .string(figure.name), "title": .string(figure.title),
            "unit": .string(figure.unit.rawValue),
            "results": .array(results),
        ]
    }

    private func json(_ yardstick: Yardstick) -> JSON? {
        guard let samples = yardsticks[yardstick], let values = Distribution(samples) else { return nil }
        return [
            "name": .string(yardstick.rawValue), "title": .string(yardstick.title),
            "median": .integer(values.median), "samples": .array(samples.map(Self.json)),
        ]
    }

    private static func json(_ sample: Sample) -> JSON {
        ["value": .integer(sample.value), "cpu": .integer(sample.cpu), "written": .integer(sample.written)]
    }

    /// Reads what `json` wrote.
    ///
    /// Figures and drivers that are unknown here are kept out of it: an older or newer program may have others.
    package init(json: JSON, label: String) throws {
        guard json["schema"]?.int == Self.schema else {
            throw StorageError(
                .invalid,
                "read \(label): it is not a result of this version of strata bench",
                remedy: "give a file that strata bench --format json wrote"
            )
        }
        if json["kind"]?.string == "scaling" {
            throw StorageError(
                .invalid,
                "read \(label): it says how costs grow",
                remedy: "give a file that strata bench --format json wrote without --scaling"
            )
        }
        func text(_ value: JSON?) throws -> String {
            // It is shown on terminals.
            guard let text = value?.string.map({ TreePath(bytes: Array($0.utf8)).printable }) else {
                throw StorageError(
                    .invalid,
                    "read \(label): a text is missing in it",
                    remedy: "measure again"
                )
            }
            return text
        }
        date = Timestamp(rfc3339: try text(json["date"])) ?? Timestamp(seconds: 0)
        version = try text(json["version"])
        let machine = json["machine"]
        self.machine = Machine(
            kernel: try text(machine?["kernel"]),
            processor: try text(machine?["processor"]),
            processors: machine?["processors"]?.int ?? 0,
            memory: machine?["memory"]?.int64 ?? 0,
            directory: try text(machine?["directory"]),
            fileSystem: try text(machine?["fileSystem"]),
            sharesBlocks: machine?["reflink"]?.bool ?? false
        )
        image = try text(json["image"])
        subjects = try (json["drivers"]?.array ?? []).map {
            Subject(driver: try text($0["name"]), place: try text($0["place"]))
        }
        isQuick = json["quick"]?.bool
        isInterrupted = json["interrupted"]?.bool ?? false
        duration = json["duration"]?.int64 ?? 0
        for yardstick in json["yardsticks"]?.array ?? [] {
            guard let known = Yardstick(rawValue: try text(yardstick["name"])) else { continue }
            yardsticks[known] = (yardstick["samples"]?.array ?? []).compactMap(Self.sample)
        }
        for figure in json["figures"]?.array ?? [] {
            guard let known = Figure.named(try text(figure["name"])) else { continue }
            for result in figure["results"]?.array ?? [] {
                samples[known.name, default: [:]][try text(result["driver"])] =
                    (result["samples"]?.array ?? []).compactMap(Self.sample)
            }
        }
    }

    /// `nil` where a number is none that can have been measured.
    private static func sample(_ json: JSON) -> Sample? {
        let numbers = ["value", "cpu", "written"].map { json[$0]?.int64 ?? ($0 == "value" ? -1 : 0) }
        // Up to here a Double, with which medians are made, is exact.
        guard numbers.allSatisfy({ (0...1 << 53).contains($0) }) else { return nil }
        return Sample(value: numbers[0], cpu: numbers[1], written: numbers[2])
    }
}

extension Machine {
    var json: JSON {
        [
            "kernel": .string(kernel), "processor": .string(processor), "processors": .integer(processors),
            "memory": .integer(memory), "directory": .string(directory), "fileSystem": .string(fileSystem),
            "reflink": .bool(sharesBlocks),
        ]
    }
}
