// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
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
    /// How `cp` takes its source.
    package struct CopyOptions: Sendable {
        /// Otherwise what is copied belongs to root in a container, to the user outside.
        package var keepsOwners = false
        /// A symlink that is the source itself is followed.
        package var followsLink = false
        /// The source was written with a slash at its end, which asks for a directory, be it through a symlink.
        package var wantsDirectory = false

        package init() {}
    }

    /// Copies a file or tree into or out of a container, which may run.
    package func copy(from source: CopyPlace, to target: CopyPlace, _ options: CopyOptions) throws {
        switch (source, target) {
        case (.container(let name, let path), .host(let to)):
            let user: (uid: UInt32, gid: UInt32)? = options.keepsOwners ? nil : (geteuid(), getegid())
            try withTree(of: name, for: .reading) { container in
                let tree = try CopySource.open(path, in: container.root, label: "\(name):\(path)", options)
                try CopyTarget.host(to).receive(tree) { user ?? container.ids.inside($0, $1) }
            }
        case (.container(let name, let path), .tar(let output)):
            try withTree(of: name, for: .reading) { container in
                let tree = try CopySource.open(path, in: container.root, label: "\(name):\(path)", options)
                try Self.write(tree.entries(as: tree.name ?? .root, owner: container.ids.inside), to: output)
            }
        case (.host(let path), .container(let name, let to)):
            let tree = try CopySource.open(path, in: nil, label: path.string, options)
            let label = "\(name):\(to)"
            try withTree(of: name, for: .writing) { container in
                let owner = Self.owner(in: container, label: label)
                try CopyTarget.container(container.root, to, label: label)
                    .receive(tree) { try options.keepsOwners ? owner($0, $1) : owner(0, 0) }
            }
        case (.tar(let input), .container(let name, let to)):
            try unpack(input, to: name, to)
        default: throw EngineError(.usage, "copying is between a container and the host: name one container")
        }
    }

    private func unpack(_ input: SharedFD, to name: String, _ path: FilePath) throws {
        var options = LayerStreamOptions(label: "standard input")
        options.allowed = Set(Compression.allCases)
        let stream = try LayerStream(source: DescriptorSource(input), options: options)
        defer { stream.cancel() }
        let label = "\(name):\(path)"
        try withTree(of: name, for: .writing) { container in
            let directory = try CopyTarget.directory(path, in: container.root, label: label)
            var applier = TreeApplier(root: directory.raw, form: PlainForm(), label: stream.label)
            let owner = Self.owner(in: container, label: label)
            _ = try applier.apply(RenamedEntries(stream, as: .root, owner: owner))
        }
        _ = try stream.finish()
    }

    /// What an owner inside is outside, where the files are written.
    private static func owner(in container: ContainerTree, label: String) -> CopiedOwner {
        { uid, gid in
            if let owner = container.ids.outside(uid, gid) { return owner }
            throw EngineError(
                .usage,
                "copy to \(label): the container's user namespace has no owner \(uid):\(gid); copy without --archive"
            )
        }
    }

    /// The whole tree of a container as a tar.
    ///
    /// Mounts of a running container are left out.
    package func export(_ name: String, to output: SharedFD) throws {
        let record = try containers.find(name)
        try withTree(of: record.id, for: .export) { container in
            let tree = SharedFD(try OwnedFD.duplicating(container.root))
            let changes = try TreeComparison.changes(parent: nil, tree: tree.raw)
            let set = ChangeSet(changes: changes, tree: tree, form: PlainForm())
            let entries = ChangeStream(set, label: "container \(name)", mayChange: true)
            try Self.write(OwnedEntries(entries, owner: container.ids.inside), to: output)
        }
    }

    private static func write(_ source: any LayerEntrySource, to output: SharedFD) throws {
        let sink = OutputSink(output)
        let tee = TarTee(source, sink: sink)
        while try tee.next() != nil {}
        try tee.finish()
        try sink.finish()
    }
}
