// SPDX-License-Identifier: Apache-2.0

/// Numbers of devices in a pool: 24 bits, 0 is the base device.
enum DeviceIDs {
    static let base: UInt32 = 0
    static let last: UInt32 = 0xFF_FFFF

    /// The number to try after `id`.
    static func next(after id: UInt32) -> UInt32 { id >= last ? 1 : id + 1 }
}

/// What is being done to the pool: written to disk before anything is done, so that whoever finds it knows how far it came.
///
/// The pool keeps a transaction id; an intent says which one it starts from. As long as the pool still has it, the
/// operation is not done: a creation is undone, a deletion is done again. When it is done, the pool's id is raised by one,
/// which closes the intent. Any other id in the pool means that pool and store do not belong together.
struct Intent: Sendable, Equatable {
    enum Operation: Sendable, Equatable {
        /// Nothing; the pool's id is the intent's.
        case none
        /// The device for a layer; its record is written before the transaction is closed.
        case create(layer: String)
        /// The device of a removed layer, whose record is in the trash under this name.
        case delete(trash: String)
    }

    var transaction: UInt64
    var operation: Operation
    var device: UInt32
    /// The number that the next creation tries first.
    var nextDevice: UInt32

    /// What a pool's transaction id says of an intent.
    enum Standing: Equatable {
        case closed
        case open
        case foreign
    }

    func standing(in pool: UInt64) -> Standing {
        if operation == .none { return pool == transaction ? .closed : .foreign }
        if pool == transaction { return .open }
        return pool == transaction &+ 1 ? .closed : .foreign
    }

    /// The record's size: one sector, which a disk writes whole or not at all.
    static let size = 512
    private static let title = "strata intent 1"

    init(transaction: UInt64, operation: Operation = .none, device: UInt32 = 0, nextDevice: UInt32 = 1) {
        (self.transaction, self.operation) = (transaction, operation)
        (self.device, self.nextDevice) = (device, nextDevice)
    }

    var bytes: [UInt8] {
        var text = KeyedText(Self.title)
        text["transaction"] = "\(transaction)"
        text["device"] = "\(device)"
        text["next"] = "\(nextDevice)"
        switch operation {
        case .none: break
        case .create(let layer): text["create"] = layer
        case .delete(let name): text["delete"] = name
        }
        var bytes = text.bytes
        bytes += [UInt8](repeating: 0, count: max(0, Self.size - 4 - bytes.count))
        withUnsafeBytes(of: CRC32C.of(bytes).littleEndian) { bytes += $0 }
        return bytes
    }

    /// `nil` if the bytes are no intent, or not as they were written.
    init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.size else { return nil }
        let body = Array(bytes.dropLast(4))
        var sum: UInt32 = 0
        for byte in bytes.suffix(4).reversed() { sum = sum << 8 | UInt32(byte) }
        guard sum == CRC32C.of(body), let text = KeyedText(body, title: Self.title),
            let transaction: UInt64 = text.number("transaction"),
            let device: UInt32 = text.number("device"), device <= DeviceIDs.last,
            let next: UInt32 = text.number("next"), next <= DeviceIDs.last
        else { return nil }
        self.init(transaction: transaction, device: device, nextDevice: next)
        if let layer = text["create"] { operation = .create(layer: layer) }
        if let name = text["delete"] { operation = .delete(trash: name) }
    }
}

/// The checksum of thin-pool metadata, of ext4, and of our own records (Castagnoli's polynomial).
enum CRC32C {
    private static let table: [UInt32] = (0..<256).map { byte in
        var value = UInt32(byte)
        for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
        return value
    }

    static func of(_ bytes: some Sequence<UInt8>) -> UInt32 { ~update(~0, bytes) }

    /// Goes on from `state` without inverting, as the formats on disk do.
    static func update(_ state: UInt32, _ bytes: some Sequence<UInt8>) -> UInt32 {
        var state = state
        for byte in bytes { state = table[Int(UInt8(truncatingIfNeeded: state) ^ byte)] ^ state >> 8 }
        return state
    }
}
