// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
package import Storage
import SystemPackage

/// Writes the entries of a layer below a directory, in the form in which a driver keeps trees.
///
/// With a form of whole trees the directory already holds the parent; otherwise it is empty. Both give the same merged
/// tree, for any entries in any order, by these rules, which are OCI's where OCI says something:
/// - Paths mean what they say. A component above an entry that is not a directory (a symlink above all, whether of this
///   layer or of one below) is replaced by a directory, never followed. Nothing outside the tree can be reached.
/// - A later entry replaces an earlier one of the same path; a directory merges with a directory and takes the later
///   one's metadata. A directory in place of something else of the same layer hides what the layers below have there.
/// - Whiteouts and opaque marks hide what is below this layer, whatever their place in the order; what this layer wrote
///   stays. A directory that a layer both hides and has is opaque.
/// - Directories above an entry that no entry describes are *implied*: they keep the parent's metadata, and where there
///   is none, they are 0755, root's, of time 0. So is the root.
/// - The target of a hard link is looked up when all entries are there: in this layer, then below.
///
/// Not thread-safe. After an error the tree is half written and must be removed.
package struct TreeApplier {
    private let root: CInt
    private let form: any TreeForm
    private let label: String

    /// - Parameters:
    ///   - root: the tree's root; stays the caller's. Nothing else may change the tree meanwhile.
    ///   - label: what is being unpacked, for messages: `layer sha256:12ab…`.
    package init(root: CInt, form: any TreeForm, label: String) {
        self.root = root
        self.form = form
        self.label = label
    }

    /// Writes all entries of `source`.
    ///
    /// Nothing is undecided where the form is that of whole trees.
    package mutating func apply(_ source: any LayerEntrySource) throws -> Undecided {
        // A mount's own descriptor may be one that only marks a place.
        let directory = try doing("unpack \(label)") {
            SharedFD(try Files.open(".", below: root, O_RDONLY | O_DIRECTORY))
        }
        defer { withExtendedLifetime(directory) {} }
        let application = try doing("unpack \(label)") {
            try LayerApplication(root: directory.raw, form: form, label: label)
        }
        while let entry = try source.next() {
            do {
                try application.apply(entry, from: source)
            } catch let error as SystemError {
                throw application.failure(error, at: entry)
            } catch let error as FormRefusal {
                let what = "unpack \(label), entry \(entry.path.shown)"
                throw StorageError(error.code, "\(what): \(error.message)", remedy: error.remedy)
            }
        }
        return try doing("unpack \(label)") { try application.finish() }
    }
}

/// One run of `TreeApplier`: what has been written so far, and where the last entry was.
final class LayerApplication {
    let form: any TreeForm
    let isWholeTree: Bool
    let label: String
    let root: CInt
    let identity: ProcessIdentity

    /// Every directory that this layer has or goes through; the root is the first.
    var nodes: [DirectoryNode]
    var links = PendingLinks()

    /// The way to the directory of the last entry: its path, where each component ends, and its nodes.
    var current: [UInt8] = []
    var ends: [Int] = []
    var trail: [Int] = []
    let stack: DirectoryStack

    init(root: CInt, form: any TreeForm, label: String) throws {
        self.root = root
        self.form = form
        self.label = label
        isWholeTree = form.isWholeTree
        identity = ProcessIdentity()
        stack = DirectoryStack(root: root)
        nodes = [DirectoryNode(parent: -1, name: [])]
        try adoptRoot()
    }

    /// The node of the directory that the last entry lies in.
    var here: Int { trail.last ?? 0 }

    func apply(_ entry: LayerEntry, from source: any LayerEntrySource) throws {
        guard entry.uid != UInt32.max, entry.gid != UInt32.max else {
            throw refusal(entry.path, "owner 4294967295 means no owner")
        }
        let bytes = entry.path.bytes
        if bytes.isEmpty { return try applyToRoot(entry) }
        let slash = bytes.lastIndex(of: UInt8(ascii: "/"))
        let name = TreePath(bytes: slash.map { Array(bytes[($0 + 1)...]) } ?? bytes)
        try check(name.bytes[...], in: entry.path)
        if let slash, slash == 0 || bytes[slash - 1] == UInt8(ascii: "/") {
            throw refusal(entry.path, "the path has an empty component")
        }
        try enter(bytes[..<(slash ?? 0)], for: entry.path)
        switch entry.kind {
        case .directory: try applyDirectory(entry, name)
        case .opaque:
            try descend(name, for: entry.path)
            try hide(here, itself: false)
        case .whiteout: try applyWhiteout(name)
        case .characterDevice(let number) where number == DeviceNumber(major: 0, minor: 0):
            try applyWhiteout(name)
        case .hardLink(let target): try applyHardLink(entry, name, to: target)
        default: try applyFile(entry, name, from: source)
        }
    }

    private func applyToRoot(_ entry: LayerEntry) throws {
        try enter([], for: entry.path)
        switch entry.kind {
        case .directory: try describe(0, fd: root, by: entry, isFresh: false)
        case .opaque: try hide(0, itself: false)
        default: throw refusal(entry.path, "the root of the tree can only be a directory")
        }
    }

    func check(_ name: ArraySlice<UInt8>, in path: TreePath) throws {
        let dot = UInt8(ascii: ".")
        if name.isEmpty || name.elementsEqual([dot]) || name.elementsEqual([dot, dot]) || name.contains(0) {
            throw refusal(path, "the path has an empty component, `.`, `..` or a zero byte")
        }
        if name.count > 255 { throw refusal(path, "a name of \(name.count) bytes is longer than 255") }
    }

    func refusal(_ path: TreePath, _ why: String) -> StorageError {
        StorageError(.invalid, "unpack \(label), entry \(path.shown): \(why)")
    }

    func failure(_ error: SystemError, at entry: LayerEntry) -> StorageError {
        var remedy: String?
        switch error.errno {
        case .notSupported where error.operation == "setxattr":
            remedy = "put the store on a file system that keeps this attribute (ext4, xfs, btrfs)"
        case .notPermitted: remedy = "run as root"
        default: break
        }
        return StorageError(error, doing: "unpack \(label), entry \(entry.path.shown)", remedy: remedy)
    }
}

/// A directory that a layer has, or goes through to something that it has.
struct DirectoryNode {
    /// Index of the directory above; -1 for the root and for what was replaced by something else.
    var parent: Int
    var name: [UInt8]
    var children: [[UInt8]: Int] = [:]
    /// In whole trees: names in here, not directories, that this layer wrote.
    var written: Set<[UInt8]> = []
    /// No entry describes it.
    var isImplied = true
    /// In whole trees: the parent's directory, with its metadata until an entry describes it.
    var isInherited = false
    /// The layers below have no directory here that is seen through this layer.
    var isHidden = false
    /// Nothing of the layers below is seen in it.
    var isPurged = false
    /// New files may take its group, so their owner must be set.
    var givesGroup = false
    /// Set at the end: the time, the mode where it differs from the one it has while the layer is written, and the
    /// default ACL, which new files would inherit.
    var mtime = Timestamp(seconds: 0)
    var mode: UInt32?
    var defaultACL: ExtendedAttribute?

    init(parent: Int, name: [UInt8]) {
        self.parent = parent
        self.name = name
    }
}

/// Who makes the files, and so what a new file has without being told; the umask is 0 while this lives.
final class ProcessIdentity {
    let uid: UInt32
    let gid: UInt32
    /// Whether the mode given to open(2) is the mode of the file.
    let modeIsExact: Bool
    private let umask: UInt32

    init() {
        uid = geteuid()
        gid = getegid()
        // The umask belongs to the process; this thread takes one of its own, so that no other is disturbed.
        modeIsExact = clinux_unshare_fs() == 0
        umask = modeIsExact ? Glibc.umask(0) : 0
    }

    deinit {
        if modeIsExact { _ = Glibc.umask(umask) }
    }
}

/// Hard links whose target this layer did not have when they came.
struct PendingLinks {
    struct Link {
        var node: Int
        var name: TreePath
        var target: TreePath
        var isDropped = false
    }

    var all: [Link] = []
    /// By directory and name.
    var index: [Int: [[UInt8]: Int]] = [:]

    mutating func add(_ link: Link) {
        index[link.node, default: [:]][link.name.bytes] = all.count
        all.append(link)
    }

    /// Forgets the link at `name`, because another entry takes its place; says whether there was one.
    mutating func drop(_ name: TreePath, in node: Int) -> Bool {
        guard !all.isEmpty, let position = index[node]?.removeValue(forKey: name.bytes) else { return false }
        all[position].isDropped = true
        return true
    }
}
