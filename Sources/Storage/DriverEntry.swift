// SPDX-License-Identifier: Apache-2.0

/// A driver that was built in, as the catalog lists it.
package struct DriverEntry: Sendable {
    /// The driver.
    package let type: any StorageDriver.Type
    /// Chosen by itself only when nothing else works, and then with a warning.
    package let isLastResort: Bool
    /// One line on what it is.
    package let summary: String
    /// What its options begin with, before a dot; as a rule its name.
    package let optionPrefix: String

    /// What a driver that is `Advising` has to say; to ask any driver would cost each command a search for the protocol.
    package let advice: (@Sendable (any StorageDriver) -> [String])?

    /// The name users give.
    package var name: String { type.name }

    /// - Parameter summary: one line on what it is.
    package init(
        _ type: any StorageDriver.Type,
        isLastResort: Bool = false,
        summary: String,
        optionPrefix: String? = nil
    ) {
        self.init(type, isLastResort, summary, optionPrefix, advice: nil)
    }

    /// An entry of a driver that may have something to say.
    package init<Driver: Advising>(advising type: Driver.Type, summary: String, optionPrefix: String? = nil) {
        self.init(type, false, summary, optionPrefix) { ($0 as? Driver)?.advice ?? [] }
    }

    private init(
        _ type: any StorageDriver.Type,
        _ isLastResort: Bool,
        _ summary: String,
        _ optionPrefix: String?,
        advice: (@Sendable (any StorageDriver) -> [String])?
    ) {
        self.type = type
        self.isLastResort = isLastResort
        self.summary = summary
        self.optionPrefix = optionPrefix ?? type.name
        self.advice = advice
    }
}
