// SPDX-License-Identifier: Apache-2.0

import Storage

/// Numbers of devices in a pool: 24 bits, 0 is the base device.
enum DeviceIDs {
    static let base: UInt32 = 0
    static let last: UInt32 = 0xFF_FFFF

    /// The number to try after `id`.
    static func next(after id: UInt32, last: UInt32 = DeviceIDs.last) -> UInt32 { id >= last ? 1 : id + 1 }

    /// The first number from `id` on that is not in `taken`; `nil` if all are.
    static func free(from id: UInt32, taken: Set<UInt32>, last: UInt32 = DeviceIDs.last) -> UInt32? {
        if taken.isEmpty { return id }
        var id = id
        // One more than the numbers that are taken is enough to meet one that is not.
        for _ in 0...taken.count {
            if !taken.contains(id), id <= last { return id }
            id = next(after: id, last: last)
        }
        return nil
    }
}

/// What is being made in the pool: written to disk before anything is done, so that whoever finds it knows how far it came.
///
/// The pool keeps a transaction id; an intent says which one it starts from. As long as the pool still has it, the device
/// is not made, and what there is of it is deleted. When it is made, the pool's id is raised by one, which closes the
/// intent. Then that is noted in the intent, without waiting for the disk: the pool's metadata is there already, so an
/// intent with the note never gets to the disk before it, and a pool that is at the older id all the same was set back.
/// Any other id in the pool means that pool and store do not belong together.
///
/// A deletion needs none: the layer's record in the trash says what is to be done, and to do it again does no harm.
struct Intent: Sendable, Equatable {
    enum Operation: Sendable, Equatable {
        /// Nothing; the pool's id is the intent's.
        case none
        /// The device for a layer; its record is written before the transaction is closed.
        case create(layer: String)
    }

    var transaction: UInt64
    var operation: Operation
    var device: UInt32
    /// The number that the next creation tries first.
    var nextDevice: UInt32
    /// Whether all numbers were given out once, so that any may be a layer's.
    var hasWrapped: Bool
    /// Whether the operation is known to be done.
    var isDone = false

    /// What a pool's transaction id says of an intent.
    enum Standing: Equatable {
        case closed
        case open
        /// The pool is of an earlier moment than the store.
        case setBack
        /// The pool went on without this store.
        case ahead
    }

    /// The pool's transaction id when the operation is done.
    var closing: UInt64 { operation == .none ? transaction : transaction &+ 1 }

    func standing(in pool: UInt64) -> Standing {
        if pool == closing { return .closed }
        if pool > closing { return .ahead }
        return pool == transaction && !isDone ? .open : .setBack
    }

    /// Refuses a pool that is not the one the intent is of.
    func check(_ pool: UInt64, _ name: String) throws(StorageError) {
        let standing = standing(in: pool)
        if standing == .closed || standing == .open { return }
        let ids = "it is at transaction \(pool), and this store left it at \(closing)"
        if standing == .ahead {
            throw StorageError(
                .corrupt,
                "use the thin pool \(name): its metadata is newer than the store: \(ids)",
                remedy:
                    "restore the store's directory of the same moment as the pool, or begin a new store (--root)"
            )
        }
        var last = ""
        if case .create(let layer) = operation, isDone { last = ", when layer \(layer) was made" }
        throw StorageError(
            .corrupt,
            "use the thin pool \(name): its metadata was set back to an earlier moment: \(ids)\(last)",
            remedy: "put back its last metadata, or restore pool and store of one moment; nothing was changed"
        )
    }

    /// The record's size: one sector, which a disk writes whole or not at all.
    static let size = 512
    /// The first form had deletions too, which raised the pool's id: read as this one, they would say that the pool is ahead.
    private static let title = "strata intent 2"

    init(
        transaction: UInt64,
        operation: Operation = .none,
        device: UInt32 = 0,
        nextDevice: UInt32 = 1,
        hasWrapped: Bool = false
    ) {
        (self.transaction, self.operation) = (transaction, operation)
        (self.device, self.nextDevice, self.hasWrapped) = (device, nextDevice, hasWrapped)
    }

    /// What comes after it, when the pool is at `transaction`.
    func followed(by operation: Operation, device: UInt32, transaction: UInt64) -> Intent {
        var next = Intent(
            transaction: transaction,
            operation: operation,
            device: device,
            nextDevice: nextDevice,
            hasWrapped: hasWrapped
        )
        if case .create = operation, device != DeviceIDs.base {
            next.nextDevice = DeviceIDs.next(after: device)
            next.hasWrapped = hasWrapped || next.nextDevice <= device
        }
        return next
    }

    var bytes: [UInt8] {
        var text = KeyedText(Self.title)
        text["transaction"] = "\(transaction)"
        text["device"] = "\(device)"
        text["next"] = "\(nextDevice)"
        text["wrapped"] = hasWrapped ? "yes" : nil
        text["done"] = isDone ? "yes" : nil
        switch operation {
        case .none: break
        case .create(let layer): text["create"] = layer
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
        let wrapped = text["wrapped"] == "yes"
        self.init(transaction: transaction, device: device, nextDevice: next, hasWrapped: wrapped)
        isDone = text["done"] == "yes"
        if let layer = text["create"] { operation = .create(layer: layer) }
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
