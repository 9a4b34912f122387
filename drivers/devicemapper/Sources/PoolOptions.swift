// SPDX-License-Identifier: Apache-2.0

import Storage
import SystemPackage

/// The file systems that layers may have.
enum LayerFileSystem: String, CaseIterable, Sendable {
    case ext4
    case xfs
}

/// What the user says of the pool.
///
/// What concerns its making is fixed by then: later it must be the same or left out.
struct PoolOptions: Sendable, Equatable {
    /// What the pool stands on.
    enum Backing: Sendable, Equatable {
        /// Two sparse files in the driver's home.
        case files
        /// Two block devices.
        case devices(data: FilePath, metadata: FilePath)
        /// A thin pool that somebody else made.
        case pool(FilePath)
    }

    /// A floor under the free space.
    enum Floor: Sendable, Equatable {
        case percent(Int)
        case bytes(Int64)

        /// The floor for a pool of `total`, in the same unit.
        func amount(of total: Int64) -> Int64 {
            switch self {
            case .percent(let percent): total / 100 * Int64(percent)
            case .bytes(let bytes): min(bytes, total)
            }
        }

        /// The floor for a pool with `total` blocks of metadata: some are kept for deletions, whatever the user says of data.
        func metadataBlocks(of total: Int64) -> Int64 {
            let share: Int64
            switch self {
            case .percent(let percent): share = total * Int64(min(50, max(1, percent))) / 100
            case .bytes: share = total / 10
            }
            return min(max(share, 16), 1 << 16)
        }
    }

    var backing: Backing = .files
    /// Bytes.
    var baseSize: Int64?
    var fileSystem: LayerFileSystem?
    /// Sectors of 512 bytes.
    var blockSectors: UInt64?
    var minimumFree: Floor = .percent(10)
    /// Whether changes are found by walking both trees even where the changed blocks tell.
    var walksForChanges = false

    static let names = [
        "dm.basesize", "dm.blocksize", "dm.changes", "dm.datadev", "dm.fs", "dm.metadatadev",
        "dm.min_free_space",
        "dm.thinpooldev",
    ]

    init() {}

    init(_ options: [String: String]) throws {
        var (data, metadata, pool): (FilePath?, FilePath?, FilePath?)
        for (key, value) in options.sorted(by: { $0.key < $1.key }) {
            switch key {
            case "dm.basesize": baseSize = try Self.baseSize(value)
            case "dm.blocksize": blockSectors = try Self.blockSectors(value)
            case "dm.changes":
                guard ["blocks", "walk"].contains(value) else {
                    throw Self.refusal(key, value, "it takes blocks or walk")
                }
                walksForChanges = value == "walk"
            case "dm.fs":
                fileSystem = LayerFileSystem(rawValue: value)
                if fileSystem == nil { throw Self.refusal(key, value, "it takes ext4 or xfs") }
            case "dm.min_free_space": minimumFree = try Self.floor(value)
            case "dm.datadev": data = try Self.device(key, value)
            case "dm.metadatadev": metadata = try Self.device(key, value)
            case "dm.thinpooldev": pool = try Self.device(key, value)
            default:
                throw StorageError(
                    .invalid,
                    "storage driver devicemapper has no option \(key)",
                    remedy: "it has \(Self.names.joined(separator: ", "))"
                )
            }
        }
        switch (data, metadata, pool) {
        case (nil, nil, nil): backing = .files
        case (let data?, let metadata?, nil): backing = .devices(data: data, metadata: metadata)
        case (nil, nil, let pool?): backing = .pool(pool)
        case (_, _, .some):
            throw StorageError(
                .invalid,
                "storage option dm.thinpooldev names a whole pool, dm.datadev and dm.metadatadev its parts",
                remedy: "give one or the others"
            )
        default:
            throw StorageError(
                .invalid,
                "storage options dm.datadev and dm.metadatadev belong together",
                remedy: "give both"
            )
        }
    }

    private static func baseSize(_ value: String) throws -> Int64 {
        guard let size = OptionValue.bytes(value), size >= 64 << 20, size <= 1 << 46 else {
            throw refusal("dm.basesize", value, "it takes a size of 64m to 64t, e.g. 10g")
        }
        return size & ~0xFFFF
    }

    /// The kernel takes 64 KiB to 1 GiB in steps of 64 KiB.
    private static func blockSectors(_ value: String) throws -> UInt64 {
        guard let size = OptionValue.bytes(value), size >= 64 << 10, size <= 1 << 30, size % (64 << 10) == 0
        else {
            throw refusal("dm.blocksize", value, "it takes a multiple of 64k up to 1g")
        }
        return UInt64(size / 512)
    }

    private static func floor(_ value: String) throws -> Floor {
        if value.hasSuffix("%"), let percent = Int(value.dropLast()), (0...90).contains(percent) {
            return .percent(percent)
        }
        if let size = OptionValue.bytes(value) { return .bytes(size) }
        throw refusal("dm.min_free_space", value, "it takes 0% to 90%, or a size")
    }

    private static func device(_ key: String, _ value: String) throws -> FilePath {
        guard value.hasPrefix("/"), value.utf8.count < 4096, !value.utf8.contains(where: { $0 <= 0x20 })
        else {
            throw refusal(key, value, "it takes the absolute path of a block device")
        }
        return FilePath(value)
    }

    private static func refusal(_ key: String, _ value: String, _ remedy: String) -> StorageError {
        StorageError(.invalid, "option \(key)=\(value) of storage driver devicemapper", remedy: remedy)
    }
}
