// SPDX-License-Identifier: Apache-2.0

/// What a new process does before the container's program runs: a flat list of steps.
///
/// Swift composes it, the interpreter carries it out; the two meet in the bytes of `encoded` only.
package struct LaunchPlan: Sendable, Equatable, CustomStringConvertible {
    package var steps: [LaunchStep]

    package init(_ steps: [LaunchStep] = []) { self.steps = steps }

    /// One line a step, numbered, for `--dry-run`.
    package var description: String {
        steps.enumerated().map { "\($0.offset + 1). \($0.element)" }.joined(separator: "\n")
    }

    /// The plan as the interpreter reads it (clinux_launch_plan.h).
    func encoded(control: CInt, continues: Bool = false) -> [UInt8] {
        var encoder = PlanEncoder()
        for step in steps { step.encode(to: &encoder) }
        return encoder.finish(control: control, continues: continues)
    }

    /// The plan as the second part of another, sent with `descriptors`.
    func encoded(sending descriptors: [CInt]) -> [UInt8] {
        var encoder = PlanEncoder(sending: descriptors)
        for step in steps { step.encode(to: &encoder) }
        return encoder.finish(control: -1)
    }

    /// Descriptors of the engine that the steps name: they stay open in the new process until its last steps.
    var descriptors: [CInt] { steps.flatMap(\.descriptors) }
}
