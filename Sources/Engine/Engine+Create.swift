// SPDX-License-Identifier: Apache-2.0

import Glibc
import Images
import LayerDiff
import LayerStore
import LinuxSys
import Storage
import StoreRoot
import SystemPackage

/// A container that this process holds: nobody else starts, changes or removes it meanwhile.
struct HeldContainer {
    var record: ContainerRecord
    let lock: SharedFD
    let layer: HeldLayer
    /// Its directory in the store.
    let directory: SharedFD
}

extension Engine {
    /// Makes a container: its row, writable layer and files.
    ///
    /// On failure nothing stays.
    package func create(_ options: ContainerOptions) throws -> ContainerRecord {
        try make(options, status: .created).record
    }

    /// Makes a container and keeps hold of it.
    ///
    /// One row transaction.
    ///
    /// - Parameter status: what its row says; `.running` where the caller starts it at once.
    func make(_ options: ContainerOptions, status: ContainerRecord.Status) throws -> HeldContainer {
        try checkSupport(of: options)
        let image = try images.resolve(options.image)
        return try making { try make(options, of: image, status: status) }
    }

    private func make(
        _ options: ContainerOptions,
        of image: Image,
        status: ContainerRecord.Status
    ) throws -> HeldContainer {
        let id = ContainerNames.randomID()
        let config = try configuration(options, image: image, id: id)
        let driver = try options.storageDriver ?? driverName()
        let chain = try layers(of: image, driver: driver)
        let below = try layers.initLayer(over: chain, driver: driver, entries: InitLayer.entries(over:))
        let lock = try lock(id)
        let prepared = try layers.prepare(
            over: below,
            driver: driver,
            size: try Self.layerSize(options.storageOptions)
        )
        let now = Timestamp.now.nanosecondsSince1970
        var record = ContainerRecord(
            id: id,
            name: options.name ?? "",
            image: image.id.description,
            imageReference: options.image,
            driver: driver,
            layer: prepared.id,
            created: now,
            status: status,
            started: status == .running ? now : nil,
            config: config
        )
        do {
            let directory = try makeDirectory(of: record)
            try insert(&record, prepared, isNamed: options.name != nil)
            return HeldContainer(record: record, lock: lock, layer: prepared.end(), directory: directory)
        } catch {
            try? Files.removeTree(root.containerPath(id))
            root.removeLock(id)
            throw error
        }
    }

    private func lock(_ id: String) throws -> SharedFD {
        guard let lock = try root.lock(id, .exclusive) else {
            throw EngineError(.conflict, "lock container \(id): it is held")
        }
        return SharedFD(lock.descriptor())
    }

    func configuration(_ options: ContainerOptions, image: Image, id: String) throws -> ContainerConfig {
        let config = try ContainerConfig(
            options,
            image: try image.config(),
            imageID: "\(image.id)",
            containerID: id
        )
        try config.checkSecurityOptions()
        return config
    }

    /// The image's layers on `driver`, unpacked from their blobs if this is their first use there.
    func layers(of image: Image, driver: String) throws -> LayerChain {
        do {
            if let chain = try layers.chain(ofImage: image.id, driver: driver) {
                // An image of no layers, or one that another process removed just now.
                if chain.ids.isEmpty { try checkExistence(of: image) }
                return chain
            }
            if let top = try images.layers(of: image.id).last?.chainID,
                let chain = try layers.chain(of: top, driver: driver)
            {
                return chain
            }
            return try layers.materialise(
                try images.sources(of: image.id),
                driver: driver,
                cancelled: { Interruption.isRequested }
            )
        } catch let error as StorageError where error.code == .notFound {
            try checkExistence(of: image)
            throw error
        }
    }

    private func checkExistence(of image: Image) throws {
        if try images.image(image.id) == nil {
            throw EngineError(.notFound, "No such image: \(image.id)")
        }
    }

    private func checkSupport(of options: ContainerOptions) throws {
        if let name = options.name, !ContainerNames.isValid(name) {
            throw EngineError(
                .usage,
                "Invalid container name (\(name)), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            )
        }
        guard ["none", "host"].contains(options.network) else {
            throw EngineError(.usage, "network \(options.network) not found: this version has none and host")
        }
    }

    private static func layerSize(_ options: [String]) throws -> Int64? {
        var size: Int64?
        for option in options {
            guard option.hasPrefix("size="), let bytes = OptionValue.bytes(String(option.dropFirst(5))),
                bytes > 0
            else {
                throw EngineError(
                    .usage,
                    "invalid storage option '\(option)': a container takes size=SIZE, as in size=10g"
                )
            }
            size = bytes
        }
        return size
    }

    private func makeDirectory(of record: ContainerRecord) throws -> SharedFD {
        let path = root.containerPath(record.id)
        return try doing("make the directory of container \(record.shortID)") {
            try Files.makeDirectory(path)
            let directory = SharedFD(try Files.openDirectory(path))
            try ContainerFiles.write(into: directory.raw, config: try record.config)
            return directory
        }
    }

    private func insert(
        _ record: inout ContainerRecord,
        _ prepared: borrowing PreparedLayer,
        isNamed: Bool
    ) throws {
        for attempt in 0... {
            if !isNamed { record.name = ContainerNames.random() + (attempt == 0 ? "" : "\(attempt)") }
            do {
                try root.database.transaction(durable: false) { transaction in
                    try prepared.insertRow(in: transaction)
                    try containers.insert(record, in: transaction)
                }
                return
            } catch let error as EngineError where error.code == .conflict && !isNamed && attempt < 100 {
                continue  // a made-up name that is taken
            }
        }
    }
}
