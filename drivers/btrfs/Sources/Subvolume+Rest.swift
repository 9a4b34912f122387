// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import LinuxSys
import SystemPackage

/// Whether a subvolume can be read as it is, without a snapshot of it.
extension Subvolume {
    /// Sees to it that the tree of a subvolume has all that was done to it.
    ///
    /// - Returns: the last transaction that changed it, so that an equal answer later says that nothing did since; `nil`
    ///   while somebody goes on changing it.
    static func settle(_ subvolume: CInt) throws(SystemError) -> UInt64? {
        var last = try info(subvolume).changed
        for _ in 0..<3 {
            // What is written now changes the subvolume; and a change after it is one of a later transaction.
            try Files.syncFileSystem(of: subvolume)
            let changed = try info(subvolume).changed
            if changed == last { return changed }
            last = changed
        }
        return nil
    }

    /// Whether writing all that waits to be written to the file system, by whomever, takes no long time.
    static func hasLittleToWrite(_ subvolume: CInt) throws(SystemError) -> Bool {
        var identifier = [UInt8](repeating: 0, count: Int(BTRFS_FSID_SIZE))
        try system("ask for the file system's identifier") { cbtrfs_identifier(subvolume, &identifier) }
        var text = ""
        for (index, byte) in identifier.enumerated() {
            if [4, 6, 8, 10].contains(index) { text += "-" }
            text += String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
        }
        // Space that is promised to what is not written yet; of both kinds together where they lie together.
        for kind in ["data", "mixed"] {
            let path = FilePath("/sys/fs/btrfs/\(text)/allocation/\(kind)/bytes_may_use")
            guard let content = try? Files.contents(path, limit: 4096) else { continue }
            let number = String(decoding: content.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
            return Int64(number).map { $0 <= 16 << 20 } ?? false
        }
        return false
    }
}
