// SPDX-License-Identifier: Apache-2.0

public import Glibc
public import SystemPackage

/// A system call that failed: what was tried, on what, and why.
@usableFromInline
package struct SystemError: Error, Sendable, CustomStringConvertible {
    package let operation: String
    /// The path or name as the caller gave it, made printable; `nil` where the call takes none.
    package let path: String?
    package let errno: Errno

    @usableFromInline
    package init(_ operation: String, _ path: String? = nil, _ errno: Errno) {
        self.operation = operation
        self.path = path
        self.errno = errno
    }

    /// Whether what was named is not there, or no longer what it was: no directory, or a symlink now.
    package var meansGone: Bool {
        switch errno {
        case .noSuchFileOrDirectory, .notDirectory, .tooManySymbolicLinkLevels, .staleNFSFileHandle: true
        default: false
        }
    }

    @usableFromInline
    package var description: String {
        "\(operation)\(path.map { " \($0)" } ?? ""): \(errno)"
    }
}

/// Runs one system call, again while a signal interrupts it.
///
/// The only place that reads `errno`.
///
/// - Parameter path: evaluated only on failure.
// Inlinable, since a call from another module else has the type of its result looked up, every time.
@inlinable
@inline(__always)
@discardableResult
package func system<T: FixedWidthInteger>(
    _ operation: StaticString,
    _ path: @autoclosure () -> String? = nil,
    _ call: () -> T
) throws(SystemError) -> T {
    while true {
        let result = call()
        if result != -1 { return result }
        let code = Errno(rawValue: Glibc.errno)  // nothing may run between the call and this line
        if code == .interrupted { continue }
        throw SystemError("\(operation)", path(), code)
    }
}

/// Runs one system call whose failure with one of `expected` is an answer, not an error.
@inlinable
@inline(__always)
package func systemAnswer<T: FixedWidthInteger>(
    _ operation: StaticString,
    _ path: @autoclosure () -> String? = nil,
    expecting expected: Errno...,
    call: () -> T
) throws(SystemError) -> T? {
    while true {
        let result = call()
        if result != -1 { return result }
        let code = Errno(rawValue: Glibc.errno)
        if code == .interrupted { continue }
        if expected.contains(code) { return nil }
        throw SystemError("\(operation)", path(), code)
    }
}
