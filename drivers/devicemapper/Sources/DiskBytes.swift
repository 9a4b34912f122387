// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage

/// What was read from a disk, with the numbers of its formats: little-endian, and zero beyond the end.
struct DiskBytes: Sendable {
    var bytes: [UInt8]

    func number<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type, at offset: Int) -> T {
        guard offset >= 0, offset <= bytes.count - MemoryLayout<T>.size else { return 0 }
        return bytes.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: T.self)) }
    }

    func u16(_ offset: Int) -> UInt16 { number(UInt16.self, at: offset) }
    func u32(_ offset: Int) -> UInt32 { number(UInt32.self, at: offset) }
    func u64(_ offset: Int) -> UInt64 { number(UInt64.self, at: offset) }

    /// The bytes of a part; as many as there are.
    func slice(_ offset: Int, _ count: Int) -> ArraySlice<UInt8> {
        let start = min(max(0, offset), bytes.count)
        return bytes[start..<min(bytes.count, start + max(0, count))]
    }
}

/// A disk, or a file that is one, read at any place.
struct DiskReader: Sendable {
    private let file: SharedFD
    /// Of what is read, so that it is not what the kernel cached of the device before; then places are multiples of 4096.
    private let isDirect: Bool

    init(_ file: SharedFD, isDirect: Bool = false) {
        self.file = file
        self.isDirect = isDirect
    }

    func read(at offset: UInt64, count: Int) throws(SystemError) -> DiskBytes {
        if isDirect { return try readAligned(at: offset, count: count) }
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let place = off_t(clamping: offset &+ UInt64(done))
            let got = try system("pread") {
                bytes.withUnsafeMutableBytes {
                    pread(file.raw, $0.baseAddress.map { $0 + done }, count - done, place)
                }
            }
            if got == 0 { throw SystemError("read beyond the end of the device", nil, .ioError) }
            done += got
        }
        return DiskBytes(bytes: bytes)
    }

    private func readAligned(at offset: UInt64, count: Int) throws(SystemError) -> DiskBytes {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 4096)
        defer { memory.deallocate() }
        let got = try system("pread") { pread(file.raw, memory.baseAddress, count, off_t(clamping: offset)) }
        guard got == count else { throw SystemError("read beyond the end of the device", nil, .ioError) }
        return DiskBytes(bytes: Array(memory))
    }
}

/// What is on a disk is not what its format says; whoever reads it finds another way.
struct DiskDamage: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
