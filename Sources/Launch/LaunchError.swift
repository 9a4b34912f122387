// SPDX-License-Identifier: Apache-2.0

package import LinuxSys
package import SystemPackage

/// A launch that failed: which step, and why.
package struct LaunchError: Error, Sendable, CustomStringConvertible {
    /// The step that failed; `nil` if the process could not be made at all.
    package let step: LaunchStep?
    /// What failed, as the message names it.
    package let operation: String
    package let errno: Errno

    package init(step: LaunchStep, errno: Errno) {
        self.step = step
        operation = step.description
        self.errno = errno
    }

    package init(_ error: SystemError) {
        step = nil
        operation = [error.operation, error.path].compactMap(\.self).joined(separator: " ")
        errno = error.errno
    }

    package init(_ operation: String, _ errno: Errno) {
        step = nil
        self.operation = operation
        self.errno = errno
    }

    /// What a shell says of a program: 127 if there is none, 126 if it cannot run; `nil` if the failure was before.
    package var exitCode: CInt? {
        guard case .execute = step else { return nil }
        return errno == .noSuchFileOrDirectory || errno == .notDirectory ? 127 : 126
    }

    package var description: String { "\(operation): \(errno)" }
}
