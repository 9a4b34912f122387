// SPDX-License-Identifier: Apache-2.0

/// A driver that may have something to say to the user though nothing failed.
package protocol Advising: StorageDriver {
    /// What the user should know now, each in one line: said when a command opens the driver.
    var advice: [String] { get }
}
