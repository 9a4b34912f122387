// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import LinuxSys
import Synchronization
import SystemPackage

/// The program that carries out launch plans, in a memfd sealed against change: nothing that runs in a container leads
/// back to a file of the host.
package enum Interpreter {
    private static let shared = Mutex<CInt>(-1)

    /// The sealed program's descriptor, made at the first call and kept as long as the process lives.
    package static func descriptor() throws(SystemError) -> CInt {
        try shared.withLock { (cached: inout CInt) throws(SystemError) -> CInt in
            if cached >= 0 { return cached }
            let file = OwnedFD(adopting: try system("memfd_create") { clinux_memfd_program("strata-init") })
            try write(to: file.raw)
            try system("seal memfd") { clinux_seal(file.raw) }
            cached = file.release()
            return cached
        }
    }

    private static func write(to file: CInt) throws(SystemError) {
        var failure: SystemError?
        InterpreterImage.words.withUnsafeBytes { bytes in
            let image = UnsafeRawBufferPointer(rebasing: bytes[..<InterpreterImage.size])
            do throws(SystemError) { try Files.writeAll(image, to: file) } catch { failure = error }
        }
        if let failure { throw failure }
    }
}
