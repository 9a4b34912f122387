// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import LinuxSys
import Storage
package import SystemPackage

/// An overlay of directories that stand side by side, made as a detached mount.
///
/// Names are relative to `directory`, which keeps 400 layers within the one page that mount(2) takes and lets a
/// mount namespace that sees the directory elsewhere (an id-mapped copy) use the same data.
/// Always `userxattr`, as root too: a mount inside a user namespace knows no other marks, and redirects and
/// metadata-only copies are off with it. Always `index=off`: an upper may be mounted again after its lowers moved.
package struct OverlayMount: Sendable {
    /// How the kernel is told of the layers.
    package enum Method: String, Sendable, CaseIterable {
        /// `lowerdir+` with a descriptor for each layer (Linux 6.13).
        case descriptors
        /// mount(2) with relative names, called by a child in a mount namespace of its own.
        case names
    }

    /// What the kernel allows, upper included.
    package static let maximumLayers = 500

    package let directory: FilePath
    /// Names of the layers below, the topmost first.
    package let lowers: [String]
    /// Where changes go, and the directory beside it that the kernel works in.
    package let upper: (name: String, work: String)?
    /// Whether the kernel may leave out every sync of the upper, the one at the end of the mount too
    /// (`volatile`).
    ///
    /// Such an upper cannot be mounted again.
    package var isVolatile = false

    /// - Parameters:
    ///   - parents: the base first.
    ///     May be empty only if there is an upper.
    ///   - empty: the name of an empty directory, which stands in where the kernel wants one more layer than there is.
    package init(
        directory: FilePath,
        parents: [String],
        upper: (name: String, work: String)? = nil,
        empty: String
    ) {
        self.directory = directory
        self.upper = upper
        let layers = Array(parents.reversed())
        lowers = layers.count < (upper == nil ? 2 : 1) ? layers + [empty] : layers
    }

    /// The options as mount(2) takes them, with names relative to `directory`.
    ///
    /// Throws where they do not fit one page, the limit of mount(2).
    package func data() throws -> String {
        var text = "userxattr,index=off,lowerdir=" + lowers.joined(separator: ":")
        if let upper { text += ",upperdir=\(upper.name),workdir=\(upper.work)" }
        if isVolatile { text += ",volatile" }
        if text.utf8.count > 4095 { throw tooMany }
        return text
    }

    /// Makes the mount, writable if there is an upper.
    ///
    /// The descriptor is all there is of it.
    ///
    /// - Parameter method: `nil` takes the one that works here.
    package func make(_ method: Method? = nil) throws -> OwnedFD {
        if lowers.count + (upper == nil ? 0 : 1) > Self.maximumLayers { throw tooMany }
        switch method {
        case .descriptors: return try makeByDescriptors()
        case .names: return try makeByNames()
        case nil:
            // Most kernels know descriptors; to ask first would cost as much as half of the mount.
            do { return try makeByDescriptors() } catch let error {
                guard Self.method == .names else { throw error }
                return try makeByNames()
            }
        }
    }

    /// The method that works on this kernel.
    package static let method: Method = {
        guard let context = try? system("fsopen", nil, { clinux_fsopen("overlay") }) else { return .names }
        let owner = OwnedFD(adopting: context)
        guard let root = try? Files.open("/", CLINUX_O_PATH | O_DIRECTORY) else { return .names }
        return clinux_fsconfig_fd(owner.raw, "lowerdir+", root.raw) == 0 ? .descriptors : .names
    }()

    private func makeByDescriptors() throws -> OwnedFD {
        let base = try Files.open(directory, CLINUX_O_PATH | O_DIRECTORY)
        let context = OwnedFD(adopting: try system("fsopen", "overlay") { clinux_fsopen("overlay") })
        func add(_ key: String, _ name: String) throws {
            let layer = try Files.open(name, below: base.raw, CLINUX_O_PATH | O_DIRECTORY | O_NOFOLLOW)
            try system("fsconfig", "\(key) \(name)") { clinux_fsconfig_fd(context.raw, key, layer.raw) }
        }
        do {
            try system("fsconfig", "userxattr") { clinux_fsconfig_flag(context.raw, "userxattr") }
            try system("fsconfig", "index=off") { clinux_fsconfig_string(context.raw, "index", "off") }
            for lower in lowers { try add("lowerdir+", lower) }
            if let upper {
                try add("upperdir", upper.name)
                try add("workdir", upper.work)
            }
            if isVolatile {
                try system("fsconfig", "volatile") { clinux_fsconfig_flag(context.raw, "volatile") }
            }
            try system("mount", "overlay") { clinux_fsconfig_create(context.raw) }
        } catch let error as SystemError {
            throw DetachedMount.explained(error, by: context.raw)
        }
        let attributes = upper == nil ? CLINUX_MOUNT_ATTR_RDONLY : 0
        return OwnedFD(adopting: try system("fsmount", "overlay") { clinux_fsmount(context.raw, attributes) })
    }

    private func makeByNames() throws -> OwnedFD {
        let text = try data()
        // Any directory that is there will do as the place to mount on; it is covered in the child's view only.
        let target = lowers[lowers.count - 1]
        let flags = upper == nil ? UInt(MS_RDONLY) : 0
        var step = Int32(0)
        let result: Result<CInt, SystemError> = directory.withPlatformString { directory in
            text.withCString { data in
                target.withCString { target in
                    "overlay".withCString { type in
                        var request = clinux_child_mount(
                            directory: directory,
                            target: target,
                            type: type,
                            data: data,
                            flags: flags,
                            step: 0
                        )
                        return Result { () throws(SystemError) -> CInt in
                            defer { step = request.step }
                            return try system("mount", "overlay") { clinux_mount_in_child(&request) }
                        }
                    }
                }
            }
        }
        do {
            return OwnedFD(adopting: try result.get())
        } catch {
            throw SystemError(Self.names[Int(step)], error.path, error.errno)
        }
    }

    /// What each step of `clinux_mount_in_child` does, for messages.
    private static let names = [
        "clone into a new mount namespace", "make mounts private", "chdir to layers", "mount", "open_tree",
    ]

    private var tooMany: StorageError {
        StorageError(
            .unsupported,
            "mount an overlay of \(lowers.count) layers in \(directory): more than the kernel takes",
            remedy: "squash the image to fewer layers"
        )
    }
}
