// SPDX-License-Identifier: Apache-2.0

/// The smallest program that ends with 0: an ELF file of one segment and two system-call arguments.
///
/// What a container does besides starting and ending would only blur what the start costs, and no image can be relied on to
/// have a `true` that needs no library.
enum TrueProgram {
    #if arch(x86_64)
    private static let machine: UInt16 = 62
    // xor edi, edi; mov eax, 60 (exit); syscall
    private static let code: [UInt8] = [0x31, 0xFF, 0xB8, 0x3C, 0, 0, 0, 0x0F, 0x05]
    #elseif arch(arm64)
    private static let machine: UInt16 = 183
    // mov x0, #0; mov x8, #93 (exit); svc #0
    private static let code: [UInt8] = [0, 0, 0x80, 0xD2, 0xA8, 0x0B, 0x80, 0xD2, 0x01, 0, 0, 0xD4]
    #endif

    private static let address: UInt64 = 0x40_0000
    private static let headerSize = 64
    private static let segmentSize = 56

    /// The file (elf(5), ELFCLASS64).
    static var file: [UInt8] {
        let start = headerSize + segmentSize
        var bytes: [UInt8] = [0x7F] + Array("ELF".utf8) + [2, 1, 1, 0] + [UInt8](repeating: 0, count: 8)
        func append(_ value: some FixedWidthInteger) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        append(2 as UInt16)  // ET_EXEC
        append(machine)
        append(1 as UInt32)
        append(address + UInt64(start))
        append(UInt64(headerSize))  // the segment table
        append(0 as UInt64)  // no sections
        append(0 as UInt32)
        for value in [headerSize, segmentSize, 1, 0, 0, 0] { append(UInt16(value)) }
        append(1 as UInt32)  // PT_LOAD
        append(5 as UInt32)  // readable, executable
        append(0 as UInt64)
        append(address)
        append(address)
        append(UInt64(start + code.count))
        append(UInt64(start + code.count))
        append(0x1000 as UInt64)
        return bytes + code
    }
}
