// SPDX-License-Identifier: Apache-2.0

import CFuse
import CLinux
import Glibc
import LinuxSys
import SystemPackage

/// Layers by mounts of their own, as overlays hold theirs, which decide what becomes of access times. Where that is not
/// allowed, as they are.
extension Assembly {
    /// A directory that is only read, its access times too.
    ///
    /// So whoever unmounts the union may at once unmount what its layers lie on.
    static func heldApart(_ directory: CInt, _ options: Options) -> CInt {
        guard options.device == nil, let clone = try? DetachedMount.clone("", below: directory) else {
            return directory
        }
        try? DetachedMount.set(.noAccessTime, on: clone.raw)
        cfuse_close(directory)
        return clone.release()
    }

    /// The upper and the work directory with access times as the options say, where those say anything.
    ///
    /// By one mount, since nothing is renamed from one to another.
    static func keepingTimes(upper: CInt, work: CInt, _ options: Options) -> (upper: CInt, work: CInt) {
        let times = options.attributes.intersection([.noAccessTime, .strictAccessTime])
        guard options.device == nil, !times.isEmpty,
            let cloned = try? cloned(upper, work, times)
        else { return (upper, work) }
        cfuse_close(upper)
        cfuse_close(work)
        return cloned
    }

    private static func cloned(
        _ upper: CInt,
        _ work: CInt,
        _ times: DetachedMount.Attributes
    ) throws -> (CInt, CInt)? {
        let paths = try [upper, work].map {
            FilePath(String(decoding: try Files.readLink("/proc/self/fd/\($0)"), as: UTF8.self))
        }
        let common = zip(paths[0].components, paths[1].components).prefix { $0 == $1 }.map(\.0)
        let parent = try Files.open(FilePath(root: "/", common), CLINUX_O_PATH | O_DIRECTORY)
        let clone = try DetachedMount.clone("", below: parent.raw)
        try DetachedMount.set(times, on: clone.raw)
        /// -1 where another mount is on the way, which the clone has not.
        func same(_ path: FilePath, as directory: CInt) throws -> CInt {
            let way = FilePath(root: nil, path.components.dropFirst(common.count))
            let found = try Files.open(way, below: clone.raw, CLINUX_O_PATH | O_DIRECTORY)
            let isSame = try Files.status(of: found.raw).identity == Files.status(of: directory).identity
            return isSame ? found.release() : -1
        }
        let newUpper = try same(paths[0], as: upper)
        let newWork = try same(paths[1], as: work)
        return newUpper < 0 || newWork < 0 ? nil : (newUpper, newWork)
    }
}
