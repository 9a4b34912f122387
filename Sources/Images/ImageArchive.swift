// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import JSON
import LayerDiff
package import LinuxSys
import Storage
package import SystemPackage

/// An archive of images: docker-archive, oci-archive, or a directory with either's content.
///
/// Everything it says is hostile until it is verified. Documents are read and checked here; layers are read,
/// and their digests checked, when the image is loaded.
package struct ImageArchive: Sendable {
    package let label: String
    package var images: [ArchiveImage]

    /// Opens what lies at `path`.
    ///
    /// A tar may be compressed as a whole; then it is unpacked to a file without a name.
    package static func open(
        _ path: FilePath,
        for store: ImageStore,
        platform: Platform = .host
    ) throws -> ImageArchive {
        let status = try doing("open \(path)") {
            // Follows a symlink, as every reader of a path that a user gives.
            let place = try Files.open(path, CLINUX_O_PATH)
            return try Files.status(of: place.raw)
        }
        if status.kind == .directory {
            return try ImageArchive(DirectoryContents(path), platform: platform)
        }
        let file = try doing("open \(path)") { SharedFD(try Files.open(path, O_RDONLY)) }
        return try open(file, label: path.string, for: store, platform: platform)
    }

    /// Reads an archive from a descriptor, which may be a pipe: then it is copied to a file without a name
    /// first.
    package static func open(
        _ file: SharedFD,
        label: String,
        for store: ImageStore,
        platform: Platform = .host
    ) throws -> ImageArchive {
        let tar = try Spool.seekable(file, label: label, for: store)
        guard try TarContents.isTar(tar) else {
            throw StorageError(
                .invalid,
                "\(label): not an archive of images",
                remedy:
                    "load reads what save wrote (docker-archive or oci-archive); a root file system is for import"
            )
        }
        return try ImageArchive(TarContents(tar, label: label), platform: platform)
    }

    private init(_ contents: any ArchiveContents, platform: Platform) throws {
        label = contents.label
        if let member = try contents.member("manifest.json") {
            images = try Self.dockerImages(member, in: contents)
            return
        }
        guard let member = try contents.member("index.json"), let layout = try contents.member("oci-layout")
        else {
            let isAncient = try contents.member("repositories") != nil
            throw StorageError(
                isAncient ? .unsupported : .invalid,
                isAncient
                    ? "\(contents.label): written by a Docker before 1.10"
                    : "\(contents.label): it holds no images",
                remedy: isAncient
                    ? "load and save it with a newer Docker first"
                    : "load reads docker-archive, oci-archive and OCI directories; a root file system is for import"
            )
        }
        let json = try document(
            try layout.contents(limit: 4096, label: "\(contents.label): oci-layout"),
            limit: 4096,
            label: "\(contents.label): oci-layout"
        )
        guard json["imageLayoutVersion"]?.string?.hasPrefix("1.") == true else {
            throw StorageError(.unsupported, "\(contents.label): unknown version of the OCI image layout")
        }
        images = try Self.ociImages(member, in: contents, platform: platform)
    }

    static func checkSize(_ images: [ArchiveImage], label: String) throws(StorageError) {
        guard images.reduce(0, { $0 + $1.configBytes.count }) <= ImageLimits.configsOfArchive else {
            throw StorageError(
                .invalid,
                "\(label): its configs are larger than \(ImageLimits.configsOfArchive) bytes together"
            )
        }
    }

    /// A name that an archive gives: without tag or digest it is `latest`.
    static func reference(_ text: String, label: String) throws(StorageError) -> Reference {
        do throws(StorageError) {
            return try Reference(parsing: text).tagged
        } catch {
            let shown = String(text.prefix(200))
            throw StorageError(
                .invalid,
                "\(label): it names an image \(shown.debugDescription): \(error.message)"
            )
        }
    }
}
