// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization
import SystemPackage

/// The program's standard output and error.
struct Console: Sendable {
    static let output = Console(descriptor: 1)
    static let errors = Console(descriptor: 2)

    let descriptor: CInt

    func write(_ text: String) {
        var text = text
        text.withUTF8 { write(UnsafeRawBufferPointer($0)) }
    }

    func write(_ bytes: [UInt8]) { bytes.withUnsafeBytes { write($0) } }

    /// Why something of the output got lost, unless nobody wanted to read it.
    static var outputFailure: Errno? {
        let code = failure.load(ordering: .relaxed)
        return code == 0 || code == EPIPE ? nil : Errno(rawValue: code)
    }

    private static let failure = Atomic<CInt>(0)

    /// Writes all of it, or gives up: of the output it is remembered why.
    private func write(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = Glibc.write(
                descriptor,
                UnsafeRawBufferPointer(rebasing: rest).baseAddress,
                rest.count
            )
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                if descriptor == Self.output.descriptor {
                    Self.failure.store(count < 0 ? errno : EIO, ordering: .relaxed)
                }
                return
            }
            rest = rest.dropFirst(count)
        }
    }

    /// Writes over the line at the cursor, no more than fits into it: what goes on in the next cannot be written over.
    func rewriteLine(_ text: String) {
        write("\r\u{1B}[K\(text.prefix(max(1, (width ?? 80) - 1)))")
    }

    /// Columns of the terminal; `nil` when it is none.
    var width: Int? {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
        return Int(size.ws_col)
    }

    var isTerminal: Bool { isatty(descriptor) == 1 }
}
