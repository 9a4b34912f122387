// SPDX-License-Identifier: Apache-2.0

import Glibc
import JSON
package import LayerDiff
import LinuxSys
import Storage
package import SystemPackage

/// How images leave the store.
package enum ArchiveFormat: String, Sendable, CaseIterable {
    /// As Docker writes it since version 25: an OCI layout in a tar, with `manifest.json`.
    case dockerArchive = "docker-archive"
    case ociArchive = "oci-archive"
    case ociDirectory = "oci-dir"
}

/// An image to save, with the names to save it under.
package struct ImageToSave: Sendable {
    package var image: Image
    package var references: [Reference]

    package init(image: Image, references: [Reference]) {
        self.image = image
        self.references = references
    }
}

extension ImageStore {
    /// What the arguments of `save` mean: by name without tag all tags of the repository, by id the image
    /// without a name.
    package func selectForSaving(_ arguments: [String]) throws -> [ImageToSave] {
        var selected: [ImageToSave] = []
        func add(_ image: Image, _ references: [Reference]) {
            guard let known = selected.firstIndex(where: { $0.image.id == image.id }) else {
                return selected.append(ImageToSave(image: image, references: references))
            }
            selected[known].references += references.filter { !selected[known].references.contains($0) }
        }
        for argument in arguments {
            if case .name(let reference, _) = try ImageSelector(argument), reference.isNameOnly {
                let tags = try references().filter {
                    $0.reference.repository == reference.repository && $0.reference.tag != nil
                }
                for (name, id) in tags { if let image = try image(id) { add(image, [name]) } }
                if !tags.isEmpty { continue }
            }
            let (image, reference) = try resolveNamed(argument)
            add(image, reference.flatMap { $0.tag == nil ? nil : [$0] } ?? [])
        }
        return selected
    }

    /// Writes images as a tar to `sink`, each blob once and as it is.
    ///
    /// - Parameter make: gives blobs to committed layers.
    package func save(
        _ images: [ImageToSave],
        as format: ArchiveFormat,
        to sink: any ByteSink,
        make: LayerBlobMaker
    ) throws {
        precondition(format != .ociDirectory, "a directory is written by save(to:)")
        let contents = try SavedImages(images, of: self, format: format, make: make)
        let writer = TarWriter(sink)
        for directory in ["blobs", "blobs/sha256"] {
            try writer.append(Self.entry(directory, .directory, 0o755))
        }
        for blob in contents.blobs {
            let name = "blobs/sha256/\(blob.digest.hex)"
            try writer.append(Self.entry(name, .regular(size: blob.size), 0o644)) { emit in
                try copy(blob, emit: emit)
            }
        }
        for document in contents.documents {
            let entry = Self.entry(document.name, .regular(size: Int64(document.bytes.count)), 0o644)
            try writer.append(entry) { emit in try document.bytes.withUnsafeBytes(emit) }
        }
        try writer.finish()
    }

    /// Writes images as an OCI image layout to a directory that does not exist yet or is empty.
    package func save(_ images: [ImageToSave], to directory: FilePath, make: LayerBlobMaker) throws {
        let contents = try SavedImages(images, of: self, format: .ociDirectory, make: make)
        let doing = "save to \(directory)"
        var isOurs = false
        do {
            try Files.makeDirectories(directory, mode: 0o755)
            let opened = try Files.open(directory, O_RDONLY | O_DIRECTORY)
            guard try Files.list(opened.raw).isEmpty else {
                throw StorageError(.exists, "\(doing): it is not empty", remedy: "give a new directory")
            }
            isOurs = true
            try Files.makeDirectories(directory.appending("blobs/sha256"), mode: 0o755)
            for blob in contents.blobs {
                let path = directory.appending("blobs/sha256").appending(blob.digest.hex)
                let output = SharedFD(
                    try Files.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o644)
                )
                try copy(blob) { bytes in try Files.writeAll(bytes, to: output.raw) }
            }
            for document in contents.documents {
                try Files.replace(
                    directory.appending(document.name),
                    with: document.bytes,
                    mode: 0o644,
                    durable: false
                )
            }
        } catch {
            if isOurs { try? Files.removeTree(directory.appending("blobs")) }
            guard let error = error as? SystemError else { throw error }
            // Not a failure of the store: whoever wants the copy chose the place.
            let remedy = error.errno == .noSpace ? "free space there, or give another directory" : nil
            throw StorageError(error, doing: doing, remedy: remedy)
        }
    }

    private static func entry(_ name: String, _ kind: LayerEntry.Kind, _ mode: UInt32) -> LayerEntry {
        LayerEntry(path: TreePath(cleaning: name), kind: kind, mode: mode)
    }

    /// Gives the bytes of a blob, and at the end throws if they were not what its name says.
    private func copy(_ blob: BlobStore.Record, emit: (UnsafeRawBufferPointer) throws -> Void) throws {
        // For so little another thread is not worth its start.
        if blob.size <= 1 << 20 {
            return try blobs.contents(blob.digest, limit: 1 << 20).withUnsafeBytes(emit)
        }
        let region = FileRegion(try blobs.open(blob), offset: 0, length: blob.size)
        let passage = try doing("read blob \(blob.digest)") { try HashedPassage() }
        while true {
            let piece = try passage.next { room in
                try doing("read blob \(blob.digest)") { try region.read(into: room) }
            }
            if piece.isEmpty { break }
            try emit(piece)
        }
        if passage.finish() != blob.digest {
            throw BlobStore.damage(blob.digest, "its content has another digest")
        }
    }
}

/// What an archive of images consists of.
private struct SavedImages {
    /// In order of their digests.
    private(set) var blobs: [BlobStore.Record] = []
    private(set) var documents: [(name: String, bytes: [UInt8])] = []

    init(_ images: [ImageToSave], of store: ImageStore, format: ArchiveFormat, make: LayerBlobMaker) throws {
        var entries: [Descriptor] = []
        var items: [JSON] = []
        var repositories = JSONObject()
        var records: [Digest: BlobStore.Record] = [:]
        for saved in images {
            let image = try store.complete(saved.image.id, make: make)
            let manifest = try store.manifest(of: image)
            let needed = [manifest.digest, manifest.config.digest] + manifest.layers.map(\.digest)
            for digest in needed where records[digest] == nil {
                guard let record = try store.blobs.record(of: digest) else {
                    throw StorageError(.corrupt, "save image \(image.id): the store has no blob \(digest)")
                }
                records[digest] = record
            }
            let platform = try image.config().platform
            entries += Self.entries(manifest, saved.references, platform, format)
            items.append(Self.item(manifest, saved.references))
            for reference in saved.references {
                guard let tag = reference.tag, let top = manifest.layers.last else { continue }
                var tags = repositories[reference.familiarRepository]?.object ?? JSONObject()
                tags[tag] = .string(top.digest.hex)
                repositories[reference.familiarRepository] = .object(tags)
            }
        }
        blobs = records.values.sorted { $0.digest < $1.digest }
        documents.append(("index.json", Index(entries).bytes))
        if format == .dockerArchive {
            documents.append(("manifest.json", JSON.array(items).bytes()))
            if !repositories.isEmpty { documents.append(("repositories", JSON.object(repositories).bytes())) }
        }
        documents.append(("oci-layout", Array(BlobStore.layout.utf8)))
    }

    /// One entry for each name.
    ///
    /// Podman takes the reference name for the image's name; Docker puts the tag there.
    private static func entries(
        _ manifest: Manifest,
        _ references: [Reference],
        _ platform: Platform,
        _ format: ArchiveFormat
    ) -> [Descriptor] {
        var bare = manifest.descriptor
        bare.platform = platform
        if references.isEmpty { return [bare] }
        return references.map { reference in
            var entry = bare
            entry.annotations[ImageArchive.imageNameAnnotation] = reference.description
            entry.annotations[ImageArchive.referenceNameAnnotation] =
                switch format {
                case .dockerArchive: reference.tag ?? reference.description
                case .ociArchive: reference.description
                case .ociDirectory: reference.familiar
                }
            return entry
        }
    }

    /// An entry of `manifest.json`.
    private static func item(_ manifest: Manifest, _ references: [Reference]) -> JSON {
        let path = { (digest: Digest) in JSON.string("blobs/sha256/\(digest.hex)") }
        return [
            "Config": path(manifest.config.digest),
            "RepoTags": references.isEmpty ? .null : .strings(references.map(\.familiar)),
            "Layers": .array(manifest.layers.map { path($0.digest) }),
        ]
    }
}

extension ImageStore {
    /// The manifest of an image that has one.
    func manifest(of image: Image) throws -> Manifest {
        guard let digest = image.manifestDigest, let record = try blobs.record(of: digest) else {
            throw StorageError(.corrupt, "read the manifest of image \(image.id): it is not in the store")
        }
        let bytes = try blobs.contents(digest, limit: ImageLimits.manifestBytes)
        return try Manifest(parsing: bytes, as: record.mediaType, label: "manifest \(digest)")
    }
}
