// SPDX-License-Identifier: Apache-2.0

import Glibc
import Images
import JSON
import LayerDiff
import LayerStore
package import LinuxSys
package import Storage
import StoreRoot
import SystemPackage

/// The tools on single layers: `strata layer …`.
extension Engine {
    /// The layer that a user names by its id.
    package func layerID(_ text: String) throws -> LayerID {
        guard let id = LayerID(text) else {
            throw EngineError(
                .notFound,
                "no such layer: \(text): a layer's id has 8 characters (strata layer ls)"
            )
        }
        _ = try layers.layer(id)
        return id
    }

    package func createLayer(over parent: String?, size: Int64?) throws -> LayerID {
        let parent = try parent.map(layerID)
        let driver = try driver(above: parent)
        return try making { try layers.createPlain(over: parent, driver: driver, size: size) }
    }

    /// Removes a layer of `createLayer` or `applyLayer`.
    package func removeLayer(_ text: String) throws {
        let id = try layerID(text)
        try removing { try layers.removePlain(id) }
    }

    /// A layer over another lies on that one's driver.
    private func driver(above parent: LayerID?) throws -> String {
        guard let parent else { return try driverName() }
        return try layers.layer(parent).driver
    }

    /// Unpacks a layer tar, plain or compressed, as a sealed layer.
    package func applyLayer(_ file: SharedFD, label: String, over parent: String?) throws -> LayerID {
        let parent = try parent.map(layerID)
        let source = try Self.stream(file, label: label)
        do {
            let driver = try driver(above: parent)
            return try making {
                try layers.applyPlain(source, over: parent, driver: driver) { try source.finish().diffID }
            }
        } catch {
            source.cancel()
            throw error
        }
    }

    private static func stream(_ file: SharedFD, label: String) throws -> LayerStream {
        var options = LayerStreamOptions(label: label)
        options.allowed = Set(Compression.allCases)
        return try LayerStream(source: DescriptorSource(file), options: options)
    }

    /// The changes of a layer as a layer tar; of a container that runs, what is there as it is read.
    package func writeLayer(_ text: String, to file: SharedFD) throws {
        let id = try layerID(text)
        let isContainers = try layers.layer(id).kind == .container
        let sink = OutputSink(file)
        let tee = TarTee(
            ChangeStream(try layers.changes(id), label: "layer \(id)", mayChange: isContainers),
            sink: sink
        )
        while try tee.next() != nil {}
        try tee.finish()
        try sink.finish()
    }
}
