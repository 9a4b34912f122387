// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
import LayerStore
package import LinuxSys
import Storage
package import SystemPackage

/// One side of `cp`.
package enum CopyPlace: Sendable {
    case host(FilePath)
    case container(String, path: FilePath)
    /// A tar on this descriptor.
    case tar(SharedFD)
}

extension Engine {
    /// Copies a file or tree into or out of a container, which may run.
    ///
    /// - Parameters:
    ///   - keepsOwners: otherwise what is copied belongs to root in a container, to the user outside.
    ///   - followsLink: a symlink that is the source itself is followed.
    package func copy(
        from source: CopyPlace,
        to target: CopyPlace,
        keepsOwners: Bool,
        followsLink: Bool
    ) throws {
        let owner: (UInt32, UInt32)? = keepsOwners ? nil : (geteuid(), getegid())
        switch (source, target) {
        case (.container(let name, let path), .host(let to)):
            try withTree(of: name, .readOnly) { root in
                let tree = try CopySource.open(
                    path,
                    in: root,
                    label: "\(name):\(path)",
                    followsLink: followsLink
                )
                try CopyTarget.host(to).receive(tree, owner: owner)
            }
        case (.container(let name, let path), .tar(let output)):
            try withTree(of: name, .readOnly) { root in
                let tree = try CopySource.open(
                    path,
                    in: root,
                    label: "\(name):\(path)",
                    followsLink: followsLink
                )
                try Self.write(tree.entries(as: tree.name ?? .root, owner: nil), to: output)
            }
        case (.host(let path), .container(let name, let to)):
            let tree = try CopySource.open(path, in: nil, label: path.string, followsLink: followsLink)
            try withTree(of: name, .readWrite) { root in
                try CopyTarget.container(root, to, label: "\(name):\(to)")
                    .receive(tree, owner: keepsOwners ? nil : (0, 0))
            }
        case (.tar(let input), .container(let name, let to)):
            var options = LayerStreamOptions(label: "standard input")
            options.allowed = Set(Compression.allCases)
            let stream = try LayerStream(source: DescriptorSource(input), options: options)
            defer { stream.cancel() }
            try withTree(of: name, .readWrite) { root in
                let directory = try CopyTarget.directory(to, in: root, label: "\(name):\(to)")
                var applier = TreeApplier(root: directory.raw, form: PlainForm(), label: stream.label)
                _ = try applier.apply(RenamedEntries(stream, as: .root, owner: nil))
            }
            _ = try stream.finish()
        default: throw EngineError(.usage, "copying is between a container and the host: name one container")
        }
    }

    /// The whole tree of a container as a tar.
    ///
    /// Mounts of a running container are left out.
    package func export(_ name: String, to output: SharedFD) throws {
        let record = try containers.find(name)
        try withTree(of: record.id, .readOnly) { root in
            let tree = SharedFD(try OwnedFD.duplicating(root))
            let changes = try TreeComparison.changes(parent: nil, tree: tree.raw)
            let set = ChangeSet(changes: changes, tree: tree, form: PlainForm())
            try Self.write(ChangeStream(set, label: "container \(name)"), to: output)
        }
    }

    private static func write(_ source: any LayerEntrySource, to output: SharedFD) throws {
        let sink = OutputSink(output)
        let tee = TarTee(source, sink: sink)
        while try tee.next() != nil {}
        try tee.finish()
        try sink.finish()
    }

    /// Runs `body` on the root of a container's tree: of the running container as it sees itself, else of its layer.
    private func withTree(of name: String, _ access: LayerAccess, _ body: (CInt) throws -> Void) throws {
        let record = try containers.find(name)
        if let holder = try process(of: record) == nil ? nil : holder(of: record.id) {
            let path = "/proc/\(holder.pid)/root"
            let root = try doing("enter container \(record.shortID)") {
                try Files.open(path, O_RDONLY | O_DIRECTORY)
            }
            return try body(root.raw)
        }
        let container = try hold(record.id, to: "copy files of")
        let mounted = try layers.mount(container.layer, access)
        try body(mounted.root.raw)
    }
}
