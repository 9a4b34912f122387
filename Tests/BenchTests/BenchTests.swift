// SPDX-License-Identifier: Apache-2.0

import Bench
import JSON
import LinuxSys
import Storage
import SystemPackage
import Testing

@Suite("What the benchmark makes of its samples")
struct BenchTests {
    private func distribution(_ values: Int64...) throws -> Distribution {
        try #require(Distribution(values.map { Sample(value: $0) }))
    }

    private func report(_ samples: [String: [Int64]], figure: String = "run") -> Report {
        var report = Report(
            date: Timestamp(seconds: 1_700_000_000),
            version: "1",
            machine: Machine(
                kernel: "6.1",
                processor: "A <fast> one",
                processors: 2,
                memory: 1 << 30,
                directory: "/var/lib",
                fileSystem: "ext4"
            ),
            image: "generated",
            subjects: samples.keys.sorted().map { .init(driver: $0, place: "ext4") }
        )
        for (driver, values) in samples {
            report.samples[figure, default: [:]][driver] = values.map {
                Sample(value: $0, cpu: $0 / 2, written: 7)
            }
        }
        return report
    }

    @Test("Quantiles lie between the nearest two samples")
    func quantiles() throws {
        let values = try distribution(40, 10, 20, 30)
        #expect(values.median == 25)
        #expect(values.p10 == 13)
        #expect(values.p90 == 37)
        #expect(Distribution([]) == nil)
        #expect(try distribution(5).p90 == 5)
    }

    @Test("A difference counts only where chance would hardly make it")
    func noise() throws {
        let low = try distribution(10, 11, 12, 13, 14, 15)
        #expect(try !low.isWithinNoise(of: distribution(20, 21, 22, 23, 24, 25)))
        #expect(try low.isWithinNoise(of: distribution(9, 11, 12, 14, 15, 16)))
        #expect(try distribution(10).isWithinNoise(of: distribution(12)), "one sample says little")
        #expect(try !distribution(10).isWithinNoise(of: distribution(100)))
        #expect(try !distribution(10, 11).isWithinNoise(of: distribution(20, 21)))
        #expect(try distribution(10, 11).isWithinNoise(of: distribution(12, 13)), "chance does so in 33 %")
        #expect(try distribution(10, 11, 12).isWithinNoise(of: distribution(13, 14, 15)), "in 10 %")
        #expect(try !distribution(10, 11, 12, 13).isWithinNoise(of: distribution(14, 15, 16, 17)), "in 3 %")
        #expect(try !distribution(10, 11, 12).isWithinNoise(of: distribution(14, 15, 16, 17, 18)), "in 4 %")
        #expect(try distribution(10, 20).isWithinNoise(of: distribution(15, 25)))
        let outlier = try distribution(10, 11, 12, 13, 14, 15, 16, 17, 18, 200)
        #expect(try !distribution(100, 110).isWithinNoise(of: outlier), "one value far out is no doubt")
        #expect(try distribution(19, 20).isWithinNoise(of: outlier))
        #expect(
            try !distribution(281).isWithinNoise(of: distribution(198), few: 1.05),
            "space does not vary"
        )
        #expect(try distribution(10, 10, 10, 10, 10).isWithinNoise(of: distribution(10, 10, 10, 10, 10)))
    }

    @Test("The best has the lowest median; what chance may have put behind it is named")
    func best() throws {
        let report = report([
            "a": [10, 11, 12, 13, 14], "b": [10, 12, 12, 13, 15], "c": [50, 51, 52, 53, 54],
        ])
        let figure = try #require(Figure.named("run"))
        let best = try #require(report.best(figure))
        #expect(best.driver == "a")
        #expect(best.equals == ["b"])
        #expect(report.table.contains("12 ns *"))
        #expect(report.table.contains("12 ns ~"))
        #expect(report.longTable.contains("52 ns"))
    }

    @Test("What is written as JSON is read again, with every sample")
    func roundTrip() throws {
        var first = report(["a": [10, 11], "b": [20]])
        first.failures = [.init(driver: "c", reason: "none")]
        let second = try Report(json: try JSON.parse(first.json.bytes()), label: "old.json")
        #expect(second.samples == first.samples)
        #expect(second.machine == first.machine)
        #expect(second.subjects == first.subjects)
        #expect(second.date == first.date)
        #expect(second.isQuick == nil)
        first.isQuick = true
        #expect(try Report(json: try JSON.parse(first.json.bytes()), label: "old.json").isQuick == true)
        #expect(throws: StorageError.self) { try Report(json: ["schema": 99], label: "x") }
        #expect(throws: StorageError.self) { try Report(json: [], label: "x") }
    }

    @Test("A slower median is a regression if it is no chance, and another machine is named")
    func comparison() throws {
        let old = report(["a": [10, 11, 12, 13, 14], "b": [10, 11, 12, 13, 14]])
        var new = report(["a": [20, 21, 22, 23, 24], "b": [9, 11, 12, 13, 14]])
        new.machine.kernel = "6.18"
        let comparison = Comparison(new, with: old)
        #expect(comparison.hasRegression)
        #expect(comparison.rows.map(\.isRegression) == [true, false])
        #expect(comparison.warnings.first == "another kernel: 6.1 then, 6.18 now")
        #expect(comparison.warnings.count == 2)
        #expect(comparison.warnings[1].hasPrefix("the earlier result does not say"))
        #expect(Comparison(old, with: new).rows.map(\.isGain) == [true, false])
        var lost = report(["a": [10]])
        lost.failures = [.init(driver: "b", reason: "it broke")]
        #expect(Comparison(lost, with: old).warnings.first == "b was measured then and is not now: it broke")
        let other = Comparison(report(["c": [1]]), with: old)
        #expect(other.rows.isEmpty && other.warnings.last == "nothing was measured both then and now")
    }

    @Test("What the machine itself became slower or faster is no driver's change")
    func machineOfAnotherSpeed() throws {
        func samples(_ values: ClosedRange<Int64>) -> [Sample] { values.map { Sample(value: $0) } }
        var old = report(["a": [100, 101, 102, 103, 104], "b": [100, 101, 102, 103, 104]])
        old.samples["disk-space"] = ["a": samples(100...104)]
        old.yardsticks = [.computing: samples(1000...1020), .files: samples(500...520)]
        old = try Report(json: JSON.parse(String(decoding: old.json.bytes(), as: UTF8.self)), label: "old")
        #expect(old.yardsticks[.files]?.count == 21)
        var new = report(["a": [140, 141, 142, 143, 144], "b": [170, 171, 172, 173, 174]])
        new.samples["disk-space"] = ["a": samples(140...144)]
        new.yardsticks = [.computing: samples(1000...1021), .files: samples(750...780)]
        let slower = Comparison(new, with: old)
        func verdicts(_ comparison: Comparison) -> [String: [Bool]] {
            Dictionary(
                uniqueKeysWithValues: comparison.rows.map {
                    ("\($0.figure.name) \($0.driver)", [$0.isRegression, $0.isGain])
                }
            )
        }
        // Half as slow again as the machine is no regression; that much more space is.
        #expect(
            verdicts(slower) == [
                "run a": [false, false], "run b": [true, false], "disk-space a": [true, false],
            ]
        )
        #expect(slower.warnings.count == 1 && slower.warnings[0].contains("1.50 of then for making"))
        let faster = Comparison(old, with: new)
        #expect(
            verdicts(faster) == [
                "run a": [false, false], "run b": [false, true], "disk-space a": [false, true],
            ]
        )
        old.yardsticks = new.yardsticks
        #expect(Comparison(new, with: old).rows.filter(\.isRegression).count == 3)
    }

    @Test("Numbers that nobody measured and texts that steer a terminal are kept out of an earlier result")
    func hostileResult() throws {
        var json = report(["a": [10, 11]]).json.object ?? [:]
        json["image"] = "i\u{1B}[31m\nWARNING"
        json["figures"] = [
            [
                "name": .string(Figure.all[0].name),
                "results": [
                    [
                        "driver": "a",
                        "samples": [
                            ["value": .integer(Int64.max)], ["value": -1],
                            ["value": 5, "cpu": .integer(Int64.min)],
                            ["value": 7, "written": .integer(Int64.max)], ["value": "8"], ["value": 9],
                        ],
                    ]
                ],
            ]
        ]
        let read = try Report(json: .object(json), label: "old.json")
        #expect(read.samples[Figure.all[0].name]?["a"] == [Sample(value: 9)])
        #expect(read.image == "i\\x1b[31m\\x0aWARNING")
    }

    @Test("The page holds every figure, needs nothing else and lets no name become markup")
    func page() {
        let html = report(["a": [1_500_000], "b": [3_000_000]]).html
        #expect(html.contains("A &lt;fast&gt; one"))
        #expect(html.contains("1.5 ms"))
        #expect(!html.contains("http"))
        #expect(!html.contains("<script"))
    }

    @Test("Figures have names of their own")
    func names() {
        #expect(Set(Figure.all.map(\.name)).count == Figure.all.count)
        #expect(Set(Figure.all.map(\.name)).isDisjoint(with: Figure.Group.allCases.map(\.rawValue)))
    }

    @Test(
        "What costs grow with is found, through noise and a fixed part",
        arguments: [
            ([10.0, 10.5, 9.8, 10.2], Growth.Kind.flat, "flat"),
            ([21, 27, 56, 15.7], .flat, "flat"),
            ([10, 11, 10, 13], .flat, "flat"),
            ([10, 10, 10, 17], .linear, "linear"),
            ([5.1, 14, 104, 1010], .linear, "linear"),
            ([1000, 1001, 1100, 2000], .linear, "linear"),
            ([1, 9, 105, 950], .linear, "linear"),
            ([1, 33, 1000, 32_000], .worse, "n^1.50"),
            ([50, 51, 150, 10_050], .worse, "n^2.00"),
            ([1, 3.2, 10, 31], .linear, "n^0.50"),
        ]
    )
    func growth(costs: [Double], kind: Growth.Kind, text: String) throws {
        let points = zip([1.0, 10, 100, 1000], costs).map { (size: $0, cost: $1) }
        let growth = try #require(Growth(points))
        #expect(growth.kind == kind)
        #expect(growth.text == text)
        #expect(Growth(Array(points.prefix(2))) == nil, "two points fit anything")
    }

    @Test("Each form of the report of growth has every curve, and marks what grows more than it should")
    func scaling() throws {
        let shape = report(["<a>": [1]])
        var scaling = ScalingReport(date: shape.date, version: "1", machine: shape.machine)
        scaling.subjects = shape.subjects
        let figure = try #require(Figure.named("run"))
        func curve(_ costs: [Int64], work: Int64? = nil) throws -> ScalingReport.Curve {
            let points = try zip([1, 10, 100, 1000], costs).map { size, cost in
                (size: size, values: try #require(Distribution([Sample(value: cost, cpu: work ?? cost)])))
            }
            return .init(axis: .containers, figure: figure, driver: "<a>", points: points)
        }
        scaling.curves = [try curve([1_000_000, 10_000_000, 100_000_000, 1_000_000_000])]
        #expect(
            scaling.curves.map(\.isAsExpected) == [false],
            "the start of one may not depend on the others"
        )
        #expect(scaling.table.contains("linear !"))
        #expect(scaling.table.contains("1,000"))
        #expect(scaling.html.contains("&lt;a&gt;: linear !"))
        #expect(scaling.html.contains("<polyline"))
        let json = try #require(scaling.json["curves"]?.array?.first)
        #expect(
            json["points"]?.array?.compactMap { $0["p10"]?.int64 }
                == scaling.curves[0].points.map(\.values.p10)
        )
        scaling.curves = [try curve([1_000_000, 10_000_000, 100_000_000, 1_000_000_000], work: 1_000_000)]
        #expect(scaling.table.contains("linear ?"), "what grows is not work")
        scaling.curves = [try curve([1_000_000, 1_000_000, 1_000_000, 1_000_000])]
        #expect(scaling.table.contains("flat\n"))
    }
}
