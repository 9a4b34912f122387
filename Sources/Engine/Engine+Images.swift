// SPDX-License-Identifier: Apache-2.0

import Glibc
package import Images
package import JSON
import LayerDiff
package import LayerStore
package import LinuxSys
import Storage
import StoreRoot
package import SystemPackage

extension Engine {
    /// Loads every image of an archive, unpacked for this command's driver unless `unpack` is off.
    ///
    /// - Parameters:
    ///   - path: `nil` for standard input.
    ///   - progress: what happens to each layer; may be called from any thread.
    package func load(
        _ path: FilePath?,
        unpack: Bool,
        progress: @escaping @Sendable (LayerProgress) -> Void = { _ in }
    ) throws -> [LoadedImage] {
        try making {
            let archive =
                try path.map { try ImageArchive.open($0, for: images) }
                ?? ImageArchive.open(try Self.standardInput(), label: "standard input", for: images)
            return try archive.images.map { image in
                let load = try images.load(image)
                if unpack { try self.unpack(load, progress) }
                return try load.finish()
            }
        }
    }

    /// Makes an image of one layer from a tar of a root file system.
    package func importImage(
        _ path: FilePath?,
        _ options: ImageImport,
        unpack: Bool,
        progress: @escaping @Sendable (LayerProgress) -> Void = { _ in }
    ) throws -> LoadedImage {
        let file =
            try path.map { path in try doing("open \(path)") { SharedFD(try Files.open(path, O_RDONLY)) } }
            ?? Self.standardInput()
        return try making {
            let load = try images.importRootFS(file, options)
            if unpack { try self.unpack(load, progress) }
            return try load.finish()
        }
    }

    /// Unpacks what is not there yet, and takes the chance to sweep what a killed command left.
    private func unpack(_ load: ImageLoad, _ progress: @escaping @Sendable (LayerProgress) -> Void) throws {
        layers.recover { Interruption.isRequested }
        _ = try layers.materialise(
            load.layers,
            driver: try driverName(),
            progress: progress,
            cancelled: { Interruption.isRequested }
        )
    }

    private static func standardInput() throws -> SharedFD {
        if isatty(STDIN_FILENO) == 1 {
            throw EngineError(
                .usage,
                "requested to read from standard input, but it is a terminal: name a file"
            )
        }
        return SharedFD(try OwnedFD.duplicating(STDIN_FILENO))
    }

    /// Whether there is an image of this name or id.
    package func hasImage(_ text: String) throws -> Bool {
        do {
            _ = try images.resolve(text)
            return true
        } catch let error as StorageError where error.code == .notFound {
            return false
        }
    }

    /// Removes a name, or an image with its last name, and the layers that nothing needs any more.
    package func removeImage(_ text: String, force: Bool, prune: Bool) throws -> RemovedImages {
        let users = try containers.all().compactMap { record in
            Digest(record.image).map {
                ImageUser(
                    containerID: record.id,
                    image: $0,
                    isRunning: (try? state(of: record))?.isRunning ?? false
                )
            }
        }
        return try removing {
            let removed = try images.remove(text, force: force, prune: prune, users: users)
            if !removed.releasedChains.isEmpty { _ = try layers.removeUnused() }
            layers.recover { Interruption.isRequested }
            return removed
        }
    }

    /// Writes images as an archive.
    ///
    /// A committed layer gets its blob now.
    package func save(_ names: [String], as format: ArchiveFormat, to output: SaveTarget) throws {
        let selected = try images.selectForSaving(names)
        switch output {
        case .descriptor(let file):
            let sink = OutputSink(file)
            try images.save(selected, as: format, to: sink, make: layerBlob)
            try sink.finish()
        case .directory(let path):
            try images.save(selected, to: path, make: layerBlob)
        }
    }

    /// The tar of a layer that was committed here, made again from what its driver keeps.
    private func layerBlob(_ chainID: Digest, _ diffID: Digest, _ sink: any ByteSink) throws {
        for driver in try layers.drivers(having: chainID) {
            guard let chain = try layers.chain(of: chainID, driver: driver), let top = chain.top else {
                continue
            }
            let stream = ChangeStream(try layers.changes(top), label: "layer \(diffID)")
            let tee = TarTee(stream, sink: sink)
            while try tee.next() != nil {}
            return try tee.finish()
        }
        throw StorageError(
            .corrupt,
            "save layer \(diffID): no driver has it and there is no blob of it",
            remedy: "run strata system check"
        )
    }

    /// What `inspect` says of an image.
    package func inspectImage(_ text: String) throws -> JSON {
        let image = try images.resolve(text)
        return try images.inspect(image, graphDriver: try graphDriver(of: image))
    }

    private func graphDriver(of image: Image) throws -> JSON? {
        guard let top = try images.layers(of: image.id).last?.chainID else { return nil }
        let name = try driverName()
        guard let chain = try layers.chain(of: top, driver: name) else {
            return ["Name": .string(name), "Data": .null]
        }
        return ["Name": .string(name), "Data": graphData(chain, driver: name)]
    }

    func graphData(_ chain: LayerChain, driver: String) -> JSON {
        ["Layers": .strings(chain.ids.map(\.rawValue)), "Home": .string(root.home(ofDriver: driver).string)]
    }
}

/// Where `save` writes.
package enum SaveTarget {
    case descriptor(SharedFD)
    case directory(FilePath)
}

/// Writes to a descriptor.
final class OutputSink: ByteSink {
    private let sink: DescriptorSink

    init(_ file: SharedFD) { sink = DescriptorSink(file, isOutput: true) }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        if Interruption.isRequested { throw EngineError(.interrupted, "interrupted") }
        try explained { try sink.write(bytes) }
    }

    /// Writes what is still held back; due at the end.
    func finish() throws { try explained { try sink.flush() } }

    private func explained(_ body: () throws -> Void) throws {
        do {
            try body()
        } catch let error as SystemError {
            throw OutputFailure(error)
        }
    }
}

/// The output of a command cannot be written: a failure of wherever it goes to, not of the store.
package struct OutputFailure: Error, Sendable, CustomStringConvertible {
    package let error: SystemError
    /// What is written to.
    package var name: String

    package init(_ error: SystemError, name: String = "the output") {
        self.error = error
        self.name = name
    }

    package var description: String {
        let remedy = error.errno == .noSpace ? "; free space there, or write to another place" : ""
        return "write \(name): \(error.errno)\(remedy)"
    }
}
