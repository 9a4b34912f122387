// SPDX-License-Identifier: Apache-2.0

import Storage
import SystemPackage

/// What the pool of a store is: the file `pool/record`, written when it is made and when it grows.
struct PoolRecord: Sendable, Equatable {
    /// Its part of every device's name: 8 characters, random.
    var id: String
    var backing: PoolOptions.Backing
    var blockSectors: UInt64
    /// Bytes of the data device at least.
    var dataSize: Int64
    /// Bytes of the metadata device at least.
    var metadataSize: Int64
    var fileSystem: LayerFileSystem
    /// Sectors of every layer's device, unless it was made with a size.
    var baseSectors: UInt64
    /// The file system of device 0, of which every layer is a snapshot; `nil` until it is made.
    var baseUUID: String?

    private static let title = "strata thin pool 1"

    var bytes: [UInt8] {
        var text = KeyedText(Self.title)
        text["id"] = id
        switch backing {
        case .files: text["backing"] = "files"
        case .devices(let data, let metadata):
            text["backing"] = "devices"
            text["data"] = data.string
            text["metadata"] = metadata.string
        case .pool(let path):
            text["backing"] = "pool"
            text["pool"] = path.string
        }
        text["block-sectors"] = "\(blockSectors)"
        text["data-size"] = "\(dataSize)"
        text["metadata-size"] = "\(metadataSize)"
        text["filesystem"] = fileSystem.rawValue
        text["base-sectors"] = "\(baseSectors)"
        text["base-uuid"] = baseUUID
        return text.bytes
    }

    /// `nil` if the bytes are no record.
    init?(_ bytes: [UInt8]) {
        guard let text = KeyedText(bytes, title: Self.title), let id = text["id"].flatMap(LayerID.init),
            let block: UInt64 = text.number("block-sectors"), block > 0, block % 128 == 0, block <= 1 << 21,
            let data: Int64 = text.number("data-size"), data > 0,
            let metadata: Int64 = text.number("metadata-size"), metadata > 0,
            let fileSystem = text["filesystem"].flatMap(LayerFileSystem.init),
            let base: UInt64 = text.number("base-sectors"), base > 0
        else { return nil }
        switch (text["backing"], text["data"], text["metadata"], text["pool"]) {
        case ("files", _, _, _): backing = .files
        case ("devices", let data?, let metadata?, _):
            backing = .devices(data: FilePath(data), metadata: FilePath(metadata))
        case ("pool", _, _, let pool?): backing = .pool(FilePath(pool))
        default: return nil
        }
        self.id = id.rawValue
        (blockSectors, dataSize, metadataSize) = (block, data, metadata)
        (self.fileSystem, baseSectors, baseUUID) = (fileSystem, base, text["base-uuid"])
    }

    init(
        id: String,
        backing: PoolOptions.Backing,
        blockSectors: UInt64,
        dataSize: Int64,
        metadataSize: Int64,
        fileSystem: LayerFileSystem,
        baseSectors: UInt64,
        baseUUID: String? = nil
    ) {
        (self.id, self.backing, self.blockSectors) = (id, backing, blockSectors)
        (self.dataSize, self.metadataSize) = (dataSize, metadataSize)
        (self.fileSystem, self.baseSectors, self.baseUUID) = (fileSystem, baseSectors, baseUUID)
    }

    /// Refuses options that say something else than the pool was made with.
    func check(_ options: PoolOptions) throws {
        func refuse(_ what: String, _ has: String) throws -> Never {
            throw StorageError(
                .invalid,
                "storage option \(what) does not fit the pool, which was made with \(has)",
                remedy: "leave the option out, or use another store (--root)"
            )
        }
        if let size = options.baseSize, UInt64(size) / 512 != baseSectors {
            try refuse("dm.basesize", "\(baseSectors * 512) bytes")
        }
        if let sectors = options.blockSectors, sectors != blockSectors {
            try refuse("dm.blocksize", "\(blockSectors * 512) bytes")
        }
        if let name = options.fileSystem, name != fileSystem { try refuse("dm.fs", fileSystem.rawValue) }
        if options.backing != .files, options.backing != backing {
            try refuse("dm.thinpooldev, dm.datadev or dm.metadatadev", "\(backing)")
        }
    }
}

extension PoolOptions.Backing: CustomStringConvertible {
    var description: String {
        switch self {
        case .files: "files in the store"
        case .devices(let data, let metadata): "data on \(data), metadata on \(metadata)"
        case .pool(let path): "the pool \(path)"
        }
    }
}

/// What a layer is: the file `layers/<id>`, or `trash/<name>` once it is removed.
struct LayerRecord: Sendable, Equatable {
    enum State: String, Sendable {
        /// A container's.
        case writable
        /// Being unpacked.
        case unpacking
        /// Never changes again.
        case sealed
    }

    /// Its number in the pool.
    var device: UInt32
    var sectors: UInt64
    var state: State
    /// The device it was made from.
    var origin: UInt32

    private static let title = "strata thin layer 1"

    init(device: UInt32, sectors: UInt64, state: State, origin: UInt32) {
        (self.device, self.sectors, self.state, self.origin) = (device, sectors, state, origin)
    }

    /// `nil` if the bytes are no record.
    init?(_ bytes: [UInt8]) {
        guard let text = KeyedText(bytes, title: Self.title),
            let device: UInt32 = text.number("device"), device <= DeviceIDs.last,
            let sectors: UInt64 = text.number("sectors"), sectors > 0,
            let state = text["state"].flatMap(State.init),
            let origin: UInt32 = text.number("origin"), origin <= DeviceIDs.last
        else { return nil }
        self.init(device: device, sectors: sectors, state: state, origin: origin)
    }

    var bytes: [UInt8] {
        var text = KeyedText(Self.title)
        text["device"] = "\(device)"
        text["sectors"] = "\(sectors)"
        text["state"] = state.rawValue
        text["origin"] = "\(origin)"
        return text.bytes
    }
}
