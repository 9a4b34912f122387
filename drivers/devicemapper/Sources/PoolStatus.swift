// SPDX-License-Identifier: Apache-2.0

import Storage

/// What the kernel says of a thin pool.
struct PoolStatus: Sendable, Equatable {
    enum Mode: String, Sendable {
        case readWrite = "rw"
        case readOnly = "ro"
        case outOfData = "out_of_data_space"
    }

    var transaction: UInt64
    /// Blocks of 4 KiB.
    var usedMetadata: Int64
    var totalMetadata: Int64
    /// Blocks of the pool's own size.
    var usedData: Int64
    var totalData: Int64
    /// `nil`: the pool has failed.
    var mode: Mode?
    var needsCheck: Bool
    /// Whether writers wait for space when there is none; a pool of our own gives them an error.
    var waitsWhenFull = false

    /// Whether the kernel writes to its metadata no more.
    var isGivenUp: Bool { mode == nil || mode == .readOnly || needsCheck }

    static let metadataBlock: Int64 = 4096

    /// Reads the status line of target `thin-pool`; `nil` if it is none.
    ///
    /// `Fail` and `Error`, which the kernel gives for a pool that it has given up, are a status without a mode.
    init?(_ line: String) {
        let words = line.split(separator: " ")
        if words.first == "Fail" || words.first == "Error" {
            self.init(
                transaction: 0,
                usedMetadata: 0,
                totalMetadata: 0,
                usedData: 0,
                totalData: 0,
                mode: nil,
                needsCheck: true
            )
            return
        }
        guard words.count >= 5, let transaction = UInt64(words[0]), let metadata = Self.fraction(words[1]),
            let data = Self.fraction(words[2]), let mode = Mode(rawValue: String(words[4]))
        else { return nil }
        self.init(
            transaction: transaction,
            usedMetadata: metadata.used,
            totalMetadata: metadata.total,
            usedData: data.used,
            totalData: data.total,
            mode: mode,
            needsCheck: words.contains("needs_check")
        )
        waitsWhenFull = words.contains("queue_if_no_space")
    }

    private static func fraction(_ word: Substring) -> (used: Int64, total: Int64)? {
        let parts = word.split(separator: "/")
        guard parts.count == 2, let used = Int64(parts[0]), let total = Int64(parts[1]), total > 0, used >= 0,
            used <= total
        else { return nil }
        return (used, total)
    }

    private init(
        transaction: UInt64,
        usedMetadata: Int64,
        totalMetadata: Int64,
        usedData: Int64,
        totalData: Int64,
        mode: Mode?,
        needsCheck: Bool
    ) {
        self.transaction = transaction
        (self.usedMetadata, self.totalMetadata) = (usedMetadata, totalMetadata)
        (self.usedData, self.totalData) = (usedData, totalData)
        (self.mode, self.needsCheck) = (mode, needsCheck)
    }
}

extension PoolStatus {
    /// Why nothing can be written to the pool's devices that is not written over; `nil` if it can.
    func fullness(_ name: String, _ backing: PoolOptions.Backing) -> StorageError? {
        if mode != .outOfData { return failure(name, backing) }
        return StorageError(
            .noSpace,
            "use the thin pool \(name): all of its \(totalData) blocks for data are used",
            remedy: "remove layers (strata system prune) or enlarge the pool"
        )
    }

    /// Why the pool takes no more changes; `nil` if it does.
    func failure(_ name: String, _ backing: PoolOptions.Backing) -> StorageError? {
        if !isGivenUp { return nil }
        let remedy: String
        if case .pool = backing {
            remedy =
                "repair its metadata (thin_check --clear-needs-check-flag, thin_repair) and start it again"
        } else {
            remedy = "stop the containers: the next command checks it and starts it again"
        }
        if mode == nil {
            return StorageError(
                .corrupt,
                "use the thin pool \(name): it has failed (see the kernel's log)",
                remedy: remedy
            )
        }
        return StorageError(
            usedMetadata >= totalMetadata * 9 / 10 ? .noSpace : .corrupt,
            "use the thin pool \(name): the kernel has made it read-only (\(usedMetadata) of "
                + "\(totalMetadata) metadata blocks are used)",
            remedy: remedy
        )
    }
}
