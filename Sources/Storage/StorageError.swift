// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LinuxSys
package import SystemPackage

/// A failure that a user can meet: what was tried on what, why it failed, and what to do, in one line.
///
/// Callers switch on `code`, never on the text.
package struct StorageError: Error, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable {
        case notFound
        case exists
        /// Something stands on it or holds it.
        case inUse
        /// Not possible here or with this driver.
        case unsupported
        /// What the caller gave is malformed or hostile.
        case invalid
        /// What the store holds is not what it should be.
        case corrupt
        case noSpace
        case permission
        case interrupted
        /// Any other system error.
        case system
    }

    package let code: Code
    /// What was tried on what, and why it failed.
    package let message: String
    /// What to do about it, if there is something.
    package let remedy: String?
    package let errno: Errno?

    package init(_ code: Code, _ message: String, remedy: String? = nil, errno: Errno? = nil) {
        self.code = code
        self.message = message
        self.remedy = remedy
        self.errno = errno
    }

    /// - Parameter doing: what was tried on what, e.g. `unpack layer sha256:12ab… entry usr/bin/su`.
    package init(_ cause: SystemError, doing: String, remedy: String? = nil) {
        let text = "\(cause)"
        self.init(
            Code(cause.errno),
            // What was done may be the one call that failed.
            text.hasPrefix("\(doing): ") ? text : "\(doing): \(text)",
            remedy: remedy ?? Self.remedy(cause.errno),
            errno: cause.errno
        )
    }

    /// What to do where the file system of the store is read-only.
    package static let readOnlyRemedy =
        "make its file system writable (mount -o remount,rw; dmesg tells if the kernel gave it up)"

    package var description: String { remedy.map { "\(message); \($0)" } ?? message }

    private static func remedy(_ errno: Errno) -> String? {
        switch errno {
        case .noSpace: "free space on the file system of the store (strata system df, strata system prune)"
        case .notPermitted where geteuid() != 0: "run this as root"
        default: nil
        }
    }
}

extension StorageError.Code {
    package init(_ errno: Errno) {
        switch errno {
        case .noSuchFileOrDirectory: self = .notFound
        case .fileExists: self = .exists
        case .resourceBusy, .directoryNotEmpty: self = .inUse
        case .notSupported, .noFunction: self = .unsupported
        case .noSpace, Errno(rawValue: 122): self = .noSpace  // 122: EDQUOT
        case .notPermitted, .permissionDenied, .readOnlyFileSystem: self = .permission
        default: self = .system
        }
    }
}

/// Runs `body`, giving a bare `SystemError` or `FormRefusal` the context that a user needs.
package func doing<T: ~Copyable>(_ what: @autoclosure () -> String, _ body: () throws -> T) throws -> T {
    do {
        return try body()
    } catch let error as SystemError {
        throw StorageError(error, doing: what())
    } catch let error as FormRefusal {
        throw StorageError(error.code, "\(what()): \(error.message)", remedy: error.remedy)
    }
}
