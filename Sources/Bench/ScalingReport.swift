// SPDX-License-Identifier: Apache-2.0

import Format
package import JSON
package import LinuxSys

/// What grows.
package enum ScalingAxis: String, CaseIterable, Sendable {
    case layers
    case files
    case containers

    package var title: String {
        switch self {
        case .layers: "Layers of the image"
        case .files: "Files in the image"
        case .containers: "Containers in the store"
        }
    }

    func sizes(isQuick: Bool) -> [Int] {
        switch (self, isQuick) {
        case (.layers, true): [1, 10, 40]
        case (.layers, false): [1, 10, 60, 120, 400]
        case (.files, true): [1000, 3000, 10_000]
        case (.files, false): [1000, 10_000, 100_000, 1_000_000]
        case (.containers, true): [1, 10, 50]
        case (.containers, false): [1, 10, 100, 1000, 10_000]
        }
    }

    /// The most that each further one may cost `figure`.
    func expected(_ figure: Figure) -> Growth.Kind {
        switch (self, figure.name) {
        case (.layers, _), (.files, "load"), (.containers, "ps"), (.containers, "layer-ls"): .linear
        default: .flat
        }
    }
}

/// How the cost of each operation grows with what is in the store.
package struct ScalingReport: Sendable {
    /// One operation on one driver.
    package struct Curve: Sendable {
        package var axis: ScalingAxis
        package var figure: Figure
        package var driver: String
        package var points: [(size: Int, values: Distribution)]

        package init(
            axis: ScalingAxis,
            figure: Figure,
            driver: String,
            points: [(size: Int, values: Distribution)] = []
        ) {
            self.axis = axis
            self.figure = figure
            self.driver = driver
            self.points = points
        }

        /// Of the undisturbed: the tenth percentile says what an operation costs, the rest what else the machine did.
        package var growth: Growth? {
            Growth(points.map { (Double($0.size), Double(max(1, $0.values.p10))) })
        }

        package var isAsExpected: Bool { growth.map { $0.kind <= axis.expected(figure) } ?? true }

        /// Whether the processor time does not grow as the time does: what grows then is waiting, for the disk or for what
        /// else the machine did.
        package var growsInWaiting: Bool {
            let work = Growth(points.map { (Double($0.size), Double(max(1, $0.values.cpu))) })
            return !isAsExpected && work.map { $0.kind <= axis.expected(figure) } == true
        }

        var growthText: String {
            guard let growth else { return "too few sizes" }
            return growth.text + (isAsExpected ? "" : growsInWaiting ? " ?" : " !")
        }
    }

    package var date: Timestamp
    package var version: String
    package var machine: Machine
    package var subjects: [Report.Subject] = []
    package var curves: [Curve] = []
    package var failures: [Report.Failure] = []
    package var isInterrupted = false
    package var duration: Int64 = 0

    package init(date: Timestamp, version: String, machine: Machine) {
        self.date = date
        self.version = version
        self.machine = machine
    }

    mutating func add(_ samples: [String: [Sample]], _ axis: ScalingAxis, _ size: Int, _ driver: String) {
        for figure in Scaling.figures(axis) {
            guard let values = Distribution(samples[figure.name] ?? []) else { continue }
            let index = curves.firstIndex {
                $0.axis == axis && $0.figure == figure && $0.driver == driver
            }
            if let index {
                curves[index].points.append((size, values))
            } else {
                curves.append(
                    Curve(axis: axis, figure: figure, driver: driver, points: [(size, values)])
                )
            }
        }
    }

    /// The curves of an axis, by figure in their order.
    func curves(_ axis: ScalingAxis) -> [(figure: Figure, curves: [Curve])] {
        Scaling.figures(axis).compactMap { figure in
            let found = curves.filter { $0.axis == axis && $0.figure == figure }
            return found.isEmpty ? nil : (figure, found)
        }
    }

    func sizes(_ axis: ScalingAxis) -> [Int] {
        Set(curves.filter { $0.axis == axis }.flatMap { $0.points.map(\.size) }).sorted()
    }

    // MARK: - Forms

    /// One table an axis: a line an operation and driver, a column a size.
    package var table: String {
        var text = machine.head(version, subjects)
        for axis in ScalingAxis.allCases {
            let sizes = sizes(axis)
            if sizes.isEmpty { continue }
            let head = [axis.title.uppercased(), "DRIVER"] + sizes.map(Human.grouped) + ["GROWTH"]
            let lines = curves(axis).flatMap { figure, curves in
                curves.map { curve in
                    [figure.title, curve.driver] + sizes.map { cell(curve, $0) } + [curve.growthText]
                }
            }
            let table = ([head] + lines).map { $0.joined(separator: "\t") }.joined(separator: "\n")
            text += "\n" + Columns.align(table) + "\n"
        }
        text += "\nTenth percentiles. flat, linear or n^k: how the cost grows; ! more than it should; "
        text += "? so too, but in waiting, not in processor time (the disk, or what else the machine did).\n"
        let notes =
            failures.map { "\($0.driver): not measured: \($0.reason)\n" }
            + (isInterrupted ? ["Interrupted: the rest was not measured.\n"] : [])
        if duration > 0 { text += "Took \(Human.time(nanoseconds: duration)).\n" }
        return text + notes.joined()
    }

    private func cell(_ curve: Curve, _ size: Int) -> String {
        curve.points.first { $0.size == size }.map { curve.figure.unit.text($0.values.p10) } ?? "-"
    }

    package var json: JSON {
        [
            "schema": 1, "kind": "scaling", "date": .string(date.rfc3339), "version": .string(version),
            "machine": machine.json,
            "drivers": .array(subjects.map { ["name": .string($0.driver), "place": .string($0.place)] }),
            "failures": .array(
                failures.map { ["driver": .string($0.driver), "reason": .string($0.reason)] }
            ),
            "interrupted": .bool(isInterrupted), "duration": .integer(duration),
            "curves": .array(curves.map(Self.json)),
        ]
    }

    private static func json(_ curve: Curve) -> JSON {
        let points = curve.points.map { size, values -> JSON in
            [
                "size": .integer(Int64(size)), "median": .integer(values.median), "p10": .integer(values.p10),
                "p90": .integer(values.p90), "cpu": .integer(values.cpu), "written": .integer(values.written),
                "runs": .integer(Int64(values.count)),
            ]
        }
        return [
            "axis": .string(curve.axis.rawValue), "figure": .string(curve.figure.name),
            "driver": .string(curve.driver),
            "growth": curve.growth.map { .string($0.text) } ?? .null, "asExpected": .bool(curve.isAsExpected),
            "waiting": .bool(curve.growsInWaiting),
            "points": .array(points),
        ]
    }
}
