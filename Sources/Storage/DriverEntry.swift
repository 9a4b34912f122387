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

    /// The name users give.
    package var name: String { type.name }

    /// - Parameter summary: one line on what it is.
    package init(
        _ type: any StorageDriver.Type,
        isLastResort: Bool = false,
        summary: String,
        optionPrefix: String? = nil
    ) {
        self.optionPrefix = optionPrefix ?? type.name
        self.type = type
        self.isLastResort = isLastResort
        self.summary = summary
    }
}
