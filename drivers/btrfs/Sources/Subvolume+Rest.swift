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

    /// The file system's newest transaction, and how many bytes of files wait to be written to it, by whomever; `nil`
    /// where that is not told.
    static func pending(_ subvolume: CInt) throws(SystemError) -> (transaction: UInt64, bytes: Int64?) {
        let fileSystem = try fileSystem(of: subvolume)
        let text = text(ofUUID: withUnsafeBytes(of: fileSystem.identifier, Array.init))
        // Space that is promised to what is not written yet; of metadata too, where they lie together.
        for kind in ["data", "mixed"] {
            let path = FilePath("/sys/fs/btrfs/\(text)/allocation/\(kind)/bytes_may_use")
            guard let content = try? Files.contents(path, limit: 4096) else { continue }
            let number = String(decoding: content.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
            return (fileSystem.transaction, Int64(number))
        }
        return (fileSystem.transaction, nil)
    }

    static func fileSystem(of directory: CInt) throws(SystemError) -> cbtrfs_file_system {
        var fileSystem = cbtrfs_file_system()
        try system("look at the file system") { cbtrfs_file_system(directory, &fileSystem) }
        return fileSystem
    }

    /// As people write it.
    static func text(ofUUID uuid: [UInt8]) -> String {
        var text = ""
        for (index, byte) in uuid.enumerated() {
            if [4, 6, 8, 10].contains(index) { text += "-" }
            text += String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
        }
        return text
    }
}
