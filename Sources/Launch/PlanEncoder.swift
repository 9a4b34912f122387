// SPDX-License-Identifier: Apache-2.0

import CLinux

/// Lays out a plan as `clinux_launch_plan.h` says: header, steps, and after them what the steps point to.
struct PlanEncoder {
    /// One argument of a step.
    enum Argument {
        case number(UInt64)
        /// Of the engine.
        case descriptor(CInt)
        case text(String)
        case optionalText(String?)
        /// Two arguments: offset and length.
        case block([UInt8])
        case vector([String])
    }

    /// The descriptors that go to the new process with the plan, which has them under other numbers; `nil` for a plan
    /// whose process inherits them.
    private let sent: [CInt]?
    /// Words of `steps` that hold an index into `sent`.
    private var descriptorWords: [Int] = []
    private var steps: [UInt64] = []
    private var pool: [UInt8] = []
    /// Words of `steps`, and bytes of `pool`, that hold offsets from the pool's start.
    private var stepOffsets: [Int] = []
    private var poolOffsets: [Int] = []
    private var count: UInt32 = 0

    init(sending sent: [CInt]? = nil) { self.sent = sent }

    mutating func step(_ operation: Int, _ arguments: Argument...) {
        let head = steps.count
        steps.append(0)
        for argument in arguments {
            switch argument {
            case .number(let value): steps.append(value)
            case .descriptor(let value): append(descriptor: value)
            case .text(let text): appendOffset(place(text))
            case .optionalText(let text): if let text { appendOffset(place(text)) } else { steps.append(0) }
            case .block(let bytes):
                appendOffset(place(bytes))
                steps.append(UInt64(bytes.count))
            case .vector(let texts): appendOffset(place(texts))
            }
        }
        steps[head] = UInt64(operation) | UInt64(steps.count - head - 1) << 32
        count += 1
    }

    private mutating func append(descriptor value: CInt) {
        if let index = sent?.firstIndex(of: value) {
            descriptorWords.append(steps.count)
            steps.append(UInt64(index))
        } else {
            steps.append(UInt64(UInt32(bitPattern: value)))
        }
    }

    private mutating func appendOffset(_ offset: Int) {
        stepOffsets.append(steps.count)
        steps.append(UInt64(offset))
    }

    private mutating func place(_ text: String) -> Int {
        // A text ends at its first NUL, as the kernel reads it.
        place(Array(text.utf8.prefix { $0 != 0 }) + [0])
    }

    private mutating func place(_ bytes: [UInt8]) -> Int {
        let offset = pool.count
        pool.append(contentsOf: bytes)
        pool.append(contentsOf: repeatElement(0, count: (8 - pool.count & 7) & 7))
        return offset
    }

    private mutating func place(_ texts: [String]) -> Int {
        let places = texts.map { place($0) }
        let offset = pool.count
        for place in places {
            poolOffsets.append(pool.count)
            Self.append(UInt64(place), to: &pool)
        }
        Self.append(UInt64(0), to: &pool)
        return offset
    }

    /// The finished plan.
    ///
    /// - Parameter continues: whether another part follows it.
    consuming func finish(control: CInt, continues: Bool = false) -> [UInt8] {
        let header = MemoryLayout<clinux_plan_header>.size
        let descriptors = pool.count
        for word in descriptorWords { Self.append(UInt64(header + word * 8), to: &pool) }
        let poolStart = UInt64(header + steps.count * 8)
        for index in stepOffsets { steps[index] += poolStart }
        for offset in poolOffsets {
            pool.withUnsafeMutableBytes { bytes in
                let value = bytes.load(fromByteOffset: offset, as: UInt64.self)
                bytes.storeBytes(of: value + poolStart, toByteOffset: offset, as: UInt64.self)
            }
        }
        let head = clinux_plan_header(
            magic: UInt32(CLINUX_PLAN_MAGIC),
            version: UInt32(CLINUX_PLAN_VERSION),
            size: UInt32(clamping: header + steps.count * 8 + pool.count),
            steps: count,
            control: control,
            first: UInt32(header),
            continues: continues ? 1 : 0,
            descriptors: UInt32(clamping: poolStart + UInt64(descriptors)),
            descriptor_count: UInt32(clamping: descriptorWords.count),
            unused: 0
        )
        var bytes = withUnsafeBytes(of: head) { Array($0) }
        bytes.reserveCapacity(header + steps.count * 8 + pool.count)
        steps.withUnsafeBytes { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: pool)
        return bytes
    }

    private static func append(_ value: UInt64, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }
}
