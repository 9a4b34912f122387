// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
import LinuxSys
import Storage
import SystemPackage

/// What `cp` reads: a file, or a directory with all that is in it.
struct CopySource {
    /// Its last name; `nil` if only the content of a directory is meant (`SRC/.`).
    let name: TreePath?
    let isDirectory: Bool
    private let changes: ChangeSet
    private let label: String

    /// - Parameter root: what `/` is; `nil` for the host's.
    static func open(
        _ path: FilePath,
        in root: CInt?,
        label: String,
        _ options: Engine.CopyOptions
    ) throws -> CopySource {
        try doing("copy \(label)") {
            let isContent = path.string.hasSuffix("/.") || path.string == "."
            let name = lastName(of: path)
            let path = options.followsLink || options.wantsDirectory ? try followed(path, in: root) : path
            let kind = options.wantsDirectory ? O_DIRECTORY : 0
            let found = try openPath(path, in: root, CLINUX_O_PATH | kind | (isContent ? 0 : O_NOFOLLOW))
            let status = try Files.status(of: found.raw)
            if status.kind == .directory {
                let tree = SharedFD(try Files.open(".", below: found.raw, O_RDONLY | O_DIRECTORY))
                let list = try TreeComparison.changes(parent: nil, tree: tree.raw)
                return CopySource(
                    name: isContent ? nil : name,
                    isDirectory: true,
                    changes: ChangeSet(changes: list, tree: tree, form: PlainForm()),
                    label: label
                )
            }
            let parent = try openPath(path.removingLastComponent(), in: root, O_RDONLY | O_DIRECTORY)
            let set = ChangeSet(
                changes: [Change(.added, lastName(of: path) ?? .root)],
                tree: SharedFD(parent),
                form: PlainForm()
            )
            return CopySource(name: name, isDirectory: false, changes: set, label: label)
        }
    }

    /// The entries, with `target` as the path of the source itself.
    func entries(as target: TreePath, owner: @escaping CopiedOwner) -> RenamedEntries {
        // A file that is asked for by its name and gone is an error.
        let stream = ChangeStream(changes, label: label, mayChange: isDirectory)
        return RenamedEntries(
            stream,
            as: target,
            replacing: isDirectory ? .root : changes.changes[0].path,
            owner: owner
        )
    }
}

/// Where `cp` writes.
struct CopyTarget {
    private let root: CInt?
    private let path: FilePath
    private let label: String

    static func host(_ path: FilePath) -> CopyTarget { CopyTarget(root: nil, path: path, label: path.string) }

    static func container(_ root: CInt, _ path: FilePath, label: String) -> CopyTarget {
        CopyTarget(root: root, path: path, label: label)
    }

    /// An existing directory.
    static func directory(_ path: FilePath, in root: CInt?, label: String) throws -> SharedFD {
        try doing("copy to \(label)") { SharedFD(try openPath(path, in: root, O_RDONLY | O_DIRECTORY)) }
    }

    /// Docker's rules: into an existing directory, over an existing file, or under a new name in an existing directory.
    ///
    /// A symlink as the target stands for what it leads to, be it there or not.
    func receive(_ source: CopySource, owner: @escaping CopiedOwner) throws {
        do {
            try place(source, owner)
        } catch let error as StorageError where error.code == .noSpace && root == nil {
            let remedy = "free space there, or copy to another place"
            throw StorageError(.noSpace, error.message, remedy: remedy, errno: error.errno)
        }
    }

    private func place(_ source: CopySource, _ owner: @escaping CopiedOwner) throws {
        try doing("copy to \(label)") {
            let kind = try kindOfTarget()
            if kind == .directory {
                let directory = try openPath(path, in: root, O_RDONLY | O_DIRECTORY)
                return try apply(source.entries(as: source.name ?? .root, owner: owner), below: directory.raw)
            }
            let isDirectory = path.string.hasSuffix("/.")
            let path = isDirectory ? path : try followed(path, in: root)
            guard let name = lastName(of: path), kind != nil || !isDirectory else {
                throw EngineError(.notFound, "copy to \(label): no such directory")
            }
            if kind != nil, source.isDirectory {
                throw EngineError(.usage, "copy to \(label): cannot copy a directory over a file")
            }
            let parent = try openPath(path.removingLastComponent(), in: root, O_RDONLY | O_DIRECTORY)
            try apply(source.entries(as: name, owner: owner), below: parent.raw)
        }
    }

    /// `nil` if there is nothing of this name.
    private func kindOfTarget() throws -> FileKind? {
        do throws(SystemError) {
            let found = try openPath(path, in: root, CLINUX_O_PATH)
            return try Files.status(of: found.raw).kind
        } catch {
            if error.errno == .noSuchFileOrDirectory { return nil }
            throw error
        }
    }

    private func apply(_ entries: RenamedEntries, below directory: CInt) throws {
        var applier = TreeApplier(root: directory, form: PlainForm(), label: label)
        _ = try applier.apply(entries)
    }
}

private func openPath(_ path: FilePath, in root: CInt?, _ flags: CInt) throws(SystemError) -> OwnedFD {
    let path: FilePath = path.isEmpty ? "." : path
    if let root { return try RootedResolver.open(path, in: root, flags) }
    return try Files.open(path, flags)
}

/// Where a chain of symlinks at the end of `path` leads; each is resolved inside the root.
private func followed(_ path: FilePath, in root: CInt?) throws -> FilePath {
    var path = path
    for _ in 0..<40 {
        guard let name = lastName(of: path) else { return path }
        let parent = try openPath(path.removingLastComponent(), in: root, CLINUX_O_PATH | O_DIRECTORY)
        guard try Files.status(name, below: parent.raw)?.kind == .symlink else { return path }
        let link = try Files.readLink(name, below: parent.raw).map { CChar(bitPattern: $0) } + [0]
        path = link.withUnsafeBufferPointer { text in
            text.baseAddress.map { path.removingLastComponent().pushing(FilePath(platformString: $0)) }
                ?? path
        }
    }
    throw SystemError("open", path.string, .tooManySymbolicLinkLevels)
}

private func lastName(of path: FilePath) -> TreePath? {
    guard let last = path.lexicallyNormalized().lastComponent, last.kind == .regular else { return nil }
    return last.withPlatformString {
        TreePath(bytes: Array(UnsafeRawBufferPointer(start: $0, count: strlen($0))))
    }
}

/// What the owner of a file becomes.
typealias CopiedOwner = (_ uid: UInt32, _ gid: UInt32) throws -> (uid: UInt32, gid: UInt32)

/// Entries with other owners.
final class OwnedEntries: LayerEntrySource {
    private let source: any LayerEntrySource
    private let owner: CopiedOwner

    init(_ source: any LayerEntrySource, owner: @escaping CopiedOwner) {
        self.source = source
        self.owner = owner
    }

    var label: String { source.label }

    func next() throws -> LayerEntry? {
        guard var entry = try source.next() else { return nil }
        (entry.uid, entry.gid) = try owner(entry.uid, entry.gid)
        return entry
    }

    func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws { try source.readContent(body) }

    func writeContent(to file: CInt) throws { try source.writeContent(to: file) }
}

/// Entries under another path and with other owners.
final class RenamedEntries: LayerEntrySource {
    private let source: any LayerEntrySource
    private let target: TreePath
    private let original: TreePath

    /// - Parameter original: what the source calls the thing that is to be `target`.
    init(
        _ source: any LayerEntrySource,
        as target: TreePath,
        replacing original: TreePath = .root,
        owner: @escaping CopiedOwner
    ) {
        self.source = OwnedEntries(source, owner: owner)
        self.target = target
        self.original = original
    }

    var label: String { source.label }

    func next() throws -> LayerEntry? {
        if Interruption.isRequested { throw EngineError(.interrupted, "copy \(label): interrupted") }
        while var entry = try source.next() {
            entry.path = renamed(entry.path)
            // Content only: the directory itself stays as it is.
            if entry.path.isRoot { continue }
            switch entry.kind {
            case .whiteout, .opaque:
                throw EngineError(
                    .usage,
                    "copy \(label): \(entry.path) is the mark of a deleted file, not a file"
                )
            case .hardLink(let link): entry.kind = .hardLink(target: renamed(link))
            default: break
            }
            return entry
        }
        return nil
    }

    private func renamed(_ path: TreePath) -> TreePath { path == original ? target : target.appending(path) }

    func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws { try source.readContent(body) }

    func writeContent(to file: CInt) throws { try source.writeContent(to: file) }
}
