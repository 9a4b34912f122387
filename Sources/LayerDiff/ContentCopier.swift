// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import SystemPackage

/// Copies the content of files, keeping holes; remembers what the file systems at hand cannot do.
final class ContentCopier {
    /// Below this a clone costs more than it saves.
    private static let smallest = 64 << 10
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
    private var canClone = true
    private var canCopyRanges = true

    deinit { buffer.deallocate() }

    /// Copies the first `size` bytes of `source` to `target`, an empty file, by sharing blocks where possible.
    ///
    /// - Parameter blocks: of 512 bytes, that `source` occupies; fewer than its size needs mean holes.
    /// - Returns: how many bytes `source` had: less than `size` if it has become shorter. `target` then has as many.
    func copy(from source: CInt, to target: CInt, size: Int64, blocks: Int64) throws(SystemError) -> Int64 {
        if size == 0 { return 0 }
        if size > Self.smallest, try clone(source, target) {
            let cloned = try Files.status(of: target).size
            if cloned > size { try system("ftruncate") { ftruncate(target, Int(size)) } }
            return min(cloned, size)
        }
        if blocks >= size / 512 { return try copyRange(from: source, to: target, from: 0, upTo: size) }
        return try copySegments(from: source, to: target, size: size)
    }

    private func clone(_ source: CInt, _ target: CInt) throws(SystemError) -> Bool {
        guard canClone else { return false }
        let answer = try systemAnswer(
            "clone",
            expecting: .notSupported,
            .improperLink,
            .invalidArgument,
            .inappropriateIOCTLForDevice,
            .noFunction,
            .notPermitted,
            .textFileBusy
        ) { clinux_ficlone(target, source) }
        canClone = answer != nil
        return canClone
    }

    private func copySegments(from source: CInt, to target: CInt, size: Int64) throws(SystemError) -> Int64 {
        var position: Int64 = 0
        while position < size {
            let start = try systemAnswer("lseek", expecting: .noSuchAddressOrDevice) {
                lseek(source, Int(position), CLINUX_SEEK_DATA)
            }
            guard let start, start < size else { break }
            let end = try system("lseek") { lseek(source, start, CLINUX_SEEK_HOLE) }
            position = min(Int64(end), size)
            // A file that shrinks meanwhile can put the hole before the data.
            if position <= start { break }
            let reached = try copyRange(from: source, to: target, from: Int64(start), upTo: position)
            if reached < position { break }
        }
        let found = min(size, try Files.status(of: source).size)
        try system("ftruncate") { ftruncate(target, Int(found)) }
        return found
    }

    /// Copies one range; the offset it reached, short of `end` where the source ends before.
    private func copyRange(
        from source: CInt,
        to target: CInt,
        from start: Int64,
        upTo end: Int64
    ) throws(SystemError) -> Int64 {
        var position = start
        while canCopyRanges, end - position > Self.smallest {
            let copied = try systemAnswer(
                "copy_file_range",
                expecting: .improperLink,
                .invalidArgument,
                .notSupported,
                .noFunction,
                .notPermitted,
                .textFileBusy
            ) {
                var (from, to) = (position, position)
                return clinux_copy_file_range(source, &from, target, &to, Int(end - position))
            }
            canCopyRanges = copied != nil
            guard let copied, copied > 0 else { break }
            position += Int64(copied)
        }
        while position < end {
            let wanted = Int(min(Int64(buffer.count), end - position))
            let count = try system("read") { pread(source, buffer.baseAddress, wanted, Int(position)) }
            if count == 0 { break }
            try write(count, to: target, at: position)
            position += Int64(count)
        }
        return position
    }

    private func write(_ count: Int, to target: CInt, at position: Int64) throws(SystemError) {
        var done = 0
        while done < count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<count])
            done += try system("write") { pwrite(target, rest.baseAddress, rest.count, Int(position) + done) }
        }
    }
}
