// SPDX-License-Identifier: Apache-2.0

package import LinuxSys

/// What a run of the benchmark found.
package struct Report: Sendable {
    /// A driver as it was measured, by the name that chooses it.
    package struct Subject: Hashable, Sendable {
        package var driver: String
        /// The file system it lay on.
        package var place: String

        package init(driver: String, place: String) {
            self.driver = driver
            self.place = place
        }
    }

    /// A driver that was not measured, or of which something could not be measured.
    package struct Failure: Hashable, Sendable {
        package var driver: String
        package var reason: String

        package init(driver: String, reason: String) {
            self.driver = driver
            self.reason = reason
        }
    }

    package var date: Timestamp
    package var version: String
    package var machine: Machine
    package var image: String
    /// Whether each figure was given less work (`--quick`); `nil` in what older programs wrote.
    package var isQuick: Bool?
    package var subjects: [Subject]
    /// By figure and driver.
    package var samples: [String: [String: [Sample]]] = [:]
    /// Of the machine without any driver; none in what older programs wrote.
    package var yardsticks: [Yardstick: [Sample]] = [:]
    package var failures: [Failure] = []
    /// Whether it was ended before it was through.
    package var isInterrupted = false
    /// How long all took, in nanoseconds; 0 if that is not known.
    package var duration: Int64 = 0

    package init(date: Timestamp, version: String, machine: Machine, image: String, subjects: [Subject]) {
        self.date = date
        self.version = version
        self.machine = machine
        self.image = image
        self.subjects = subjects
    }

    /// What was measured of `figure` on `driver`.
    package func distribution(_ figure: Figure, _ driver: String) -> Distribution? {
        Distribution(samples[figure.name]?[driver] ?? [])
    }

    /// The figures of which there is a result, in their order.
    package var figures: [Figure] { Figure.all.filter { samples[$0.name]?.isEmpty == false } }

    /// The driver with the lowest median, and those whose difference to it may be chance.
    package func best(_ figure: Figure) -> (driver: String, equals: Set<String>)? {
        let found = subjects.compactMap { subject in
            distribution(figure, subject.driver).map { (driver: subject.driver, values: $0) }
        }
        guard let best = found.min(by: { $0.values.median < $1.values.median }) else { return nil }
        let equals = found.filter {
            $0.driver != best.driver
                && ($0.values.median == best.values.median
                    || $0.values.isWithinNoise(of: best.values, few: figure.spread))
        }
        return (best.driver, Set(equals.map(\.driver)))
    }
}
