// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

/// Opens paths below a layer's or container's root as the kernel would inside it (openat2(2) with
/// RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS): the only way to resolve a path that hostile content can shape.
package enum RootedResolver {
    /// Opens `path` with `root` as `/`.
    ///
    /// Symlinks are followed inside the root unless `flags` has O_NOFOLLOW.
    package static func open(
        _ path: some PathConvertible,
        in root: CInt,
        _ flags: CInt,
        mode: UInt32 = 0
    ) throws(SystemError) -> OwnedFD {
        OwnedFD(
            adopting: try system("open", path.printable) {
                path.withCPath { (p: UnsafePointer<CChar>) -> CInt in
                    // EAGAIN: a rename raced with `..`; the answer is to look again (openat2(2)).
                    var result: CInt = -1
                    for _ in 0..<128 {
                        let all = UInt64(UInt32(bitPattern: flags | O_CLOEXEC))
                        let resolve = UInt64(CLINUX_RESOLVE_IN_ROOT | CLINUX_RESOLVE_NO_MAGICLINKS)
                        if p.pointee == 0 {
                            result = clinux_openat2(root, ".", all, UInt64(mode), resolve)
                        } else {
                            result = clinux_openat2(root, p, all, UInt64(mode), resolve)
                        }
                        if result != -1 || Glibc.errno != EAGAIN { break }
                    }
                    return result
                }
            }
        )
    }
}
