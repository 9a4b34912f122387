// SPDX-License-Identifier: Apache-2.0

/// A driver that was built in, as the catalog lists it.
public struct DriverEntry: Sendable {
    /// The driver.
    public let type: any StorageDriver.Type
    /// Chosen by itself only when nothing else works, and then with a warning.
    public let isLastResort: Bool
    /// One line on what it is.
    public let summary: String

    /// The name users give.
    public var name: String { type.name }

    /// - Parameter summary: one line on what it is.
    public init(_ type: any StorageDriver.Type, isLastResort: Bool = false, summary: String) {
        self.type = type
        self.isLastResort = isLastResort
        self.summary = summary
    }
}
