// SPDX-License-Identifier: Apache-2.0

package import Launch
package import LinuxSys
package import SystemPackage

/// A failure of the runtime that a user can meet: what was tried on what, why it failed, what to do, in one line.
package struct RuntimeError: Error, Sendable, CustomStringConvertible {
    package enum Code: Sendable {
        /// The specification asks for something malformed.
        case invalid
        /// This machine or its kernel cannot do it.
        case unsupported
        /// The container's program is not there (exit code 127).
        case programNotFound
        /// The container's program cannot be executed (exit code 126).
        case programNotExecutable
        case notFound
        case permission
        case system
    }

    package let code: Code
    package let message: String
    package let remedy: String?
    package let errno: Errno?

    package init(_ code: Code, _ message: String, remedy: String? = nil, errno: Errno? = nil) {
        self.code = code
        self.message = message
        self.remedy = remedy
        self.errno = errno
    }

    package init(_ error: SystemError, doing: String, remedy: String? = nil) {
        self.init(Self.code(error.errno), "\(doing): \(error)", remedy: remedy, errno: error.errno)
    }

    package init(_ error: LaunchError) {
        switch error.exitCode {
        case 127: self.init(.programNotFound, Self.missingProgram(error), errno: error.errno)
        case 126: self.init(.programNotExecutable, "\(error)", errno: error.errno)
        default:
            if error.errno == .tooManySymbolicLinkLevels, let target = Self.fixedTarget(error.step) {
                self.init(
                    .invalid,
                    "\(error.operation): \(target) is a symlink in the image, which could lead the mount anywhere",
                    remedy: "use an image in which it is a directory",
                    errno: error.errno
                )
            } else {
                self.init(Self.code(error.errno), "\(error)", errno: error.errno)
            }
        }
    }

    /// Where a step mounts, if that may be no symlink.
    private static func fixedTarget(_ step: LaunchStep?) -> String? {
        switch step {
        case .mount(_, _, let target, _, _, let kind) where kind.contains(.noSymlinks): target
        case .mountPrepared(_, _, let target, _, let kind) where kind.contains(.noSymlinks): target
        default: nil
        }
    }

    private static func missingProgram(_ error: LaunchError) -> String {
        guard case .execute(let name, _, _, _) = error.step, !name.contains("/") else { return "\(error)" }
        return "execute \(name): executable file not found in the container's PATH"
    }

    /// What `docker run` and a shell exit with: 127, 126, or 125 for everything that is the engine's own.
    package var exitCode: CInt {
        switch code {
        case .programNotFound: 127
        case .programNotExecutable: 126
        default: 125
        }
    }

    package var description: String { remedy.map { "\(message); \($0)" } ?? message }

    private static func code(_ errno: Errno) -> Code {
        switch errno {
        case .noSuchFileOrDirectory: .notFound
        case .notPermitted, .permissionDenied: .permission
        case .noFunction, .notSupported: .unsupported
        default: .system
        }
    }
}

/// Runs `body`, giving a bare `SystemError` the context that a user needs.
func attempt<T: ~Copyable>(
    _ what: @autoclosure () -> String,
    _ body: () throws(SystemError) -> T
) throws(RuntimeError) -> T {
    do throws(SystemError) {
        return try body()
    } catch {
        throw RuntimeError(error, doing: what())
    }
}
