// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// The inode numbers that files of the upper show because they came up from a layer below.
///
/// They are kept in the work directory, `inodes`: records of three 64-bit numbers, the upper's inode, its time of
/// birth and the number shown; the last record of an inode counts. A number that the upper gave to a new file since is
/// known by the time of birth.
final class InodeMap {
    private struct Record {
        var shown: UInt64
        /// Not yet compared with the file's own; 0: it was.
        var birth: Int64
    }

    private var records: [UInt64: Record] = [:]
    private let file: CInt

    /// - Parameter directory: the work directory.
    init(in directory: CInt) throws(Failure) {
        file = try check(cfuse_open(directory, "inodes", O_RDWR | O_CREAT | O_APPEND, 0o600))
        try read()
    }

    /// Reads what is kept, which another server may have written since.
    func read() throws(Failure) {
        records = [:]
        var buffer = [UInt64](repeating: 0, count: 3 * 1024)
        var offset: Int64 = 0
        while true {
            let count = try check(
                buffer.withUnsafeMutableBytes { cfuse_pread(file, $0.baseAddress, $0.count, offset) }
            )
            for index in stride(from: 0, to: count / 24 &* 3, by: 3) {
                let birth = Int64(bitPattern: buffer[index &+ 1])
                records[buffer[index]] =
                    buffer[index &+ 2] == 0 ? nil : Record(shown: buffer[index &+ 2], birth: birth)
            }
            offset &+= Int64(count / 24 &* 24)
            if count < 24 { break }
        }
        // What a crash cut off.
        try check(cfuse_ftruncate(file, offset))
    }

    deinit { cfuse_close(file) }

    var isEmpty: Bool { records.isEmpty }

    /// The number shown for the upper's `inode`.
    func shown(_ inode: UInt64) -> UInt64 { records.isEmpty ? inode : records[inode]?.shown ?? inode }

    /// The same for the object at `place`, which decides whether a record is still of it.
    func shown(_ inode: UInt64, at place: Place) -> UInt64 {
        guard !records.isEmpty, let record = records[inode] else { return inode }
        if record.birth != 0 {
            guard cfuse_birth(place.fd, place.name) == record.birth else {
                records[inode] = nil
                return inode
            }
            records[inode]?.birth = 0
        }
        return record.shown
    }

    /// Notes that the object at `place` of the upper shows `shown`, which may be its own number: the inode may have been that of
    /// one that is gone, and was noted.
    func record(_ inode: UInt64, _ shown: UInt64, at place: Place) throws(Failure) {
        if inode == shown { return forget(inode) }
        try append(inode, cfuse_birth(place.fd, place.name), shown)
        records[inode] = Record(shown: shown, birth: 0)
    }

    /// Notes that the upper's inode is gone.
    func forget(_ inode: UInt64) {
        guard !records.isEmpty, records.removeValue(forKey: inode) != nil else { return }
        // Without this record the time of birth still tells a new file from the old one.
        try? append(inode, 0, 0)
    }

    private func append(_ inode: UInt64, _ birth: Int64, _ shown: UInt64) throws(Failure) {
        var record = (inode, birth, shown)
        let count = try check(
            withUnsafeBytes(of: &record) { cfuse_pwrite(file, $0.baseAddress, $0.count, 0) }
        )
        if count != 24 { throw Failure(ENOSPC) }
    }
}
