// SPDX-License-Identifier: Apache-2.0

package import LinuxSys

/// One entry of a layer, in OCI terms: what a layer tar carries and what a driver writes to disk.
package struct LayerEntry: Sendable {
    package enum Kind: Hashable, Sendable {
        case regular(size: Int64)
        case directory
        case symlink(target: [UInt8])
        /// The target is a path of this layer's tree, in this layer or below it.
        case hardLink(target: TreePath)
        case characterDevice(DeviceNumber)
        case blockDevice(DeviceNumber)
        case fifo
        case socket
        /// Hides `path` in the layers below; all other fields are without meaning.
        case whiteout
        /// Hides everything that the layers below have in the directory `path`; may come at any point after or before
        /// the directory's own entry.
        case opaque
    }

    /// Clean and relative; the root of the tree is the empty path and may be carried as a directory.
    package var path: TreePath
    package var kind: Kind
    /// 07777.
    package var mode: UInt32
    package var uid: UInt32
    package var gid: UInt32
    package var mtime: Timestamp
    /// Sorted by name.
    ///
    /// Never escaped: drivers escape for their form on disk.
    package var xattrs: [ExtendedAttribute]

    package init(
        path: TreePath,
        kind: Kind,
        mode: UInt32 = 0,
        uid: UInt32 = 0,
        gid: UInt32 = 0,
        mtime: Timestamp = Timestamp(seconds: 0),
        xattrs: [ExtendedAttribute] = []
    ) {
        self.path = path
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime = mtime
        self.xattrs = xattrs
    }
}

/// Entries in the order of the layer, each with its content.
///
/// Not thread-safe; one pass.
package protocol LayerEntrySource: AnyObject {
    /// What is being read, for messages: `layer sha256:…`, `changes of container 12ab…`.
    var label: String { get }

    /// The next entry, or `nil` at the end; content of the entry before that was not asked for is skipped.
    func next() throws -> LayerEntry?

    /// Gives the content of the regular file that `next()` gave last, from its start, in pieces of any size; holes come
    /// as zeros. The pieces add up to the entry's size, or it throws. Once an entry; not beside `writeContent`.
    func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws

    /// Writes the content of the regular file that `next()` gave last to `file`, an empty file open for writing
    /// at position 0, and leaves it with exactly the entry's size; holes of a sparse entry stay holes.
    func writeContent(to file: CInt) throws
}

/// What `apply` could not decide without the parent and `seal` resolves, at a cost of its count.
package struct Undecided: Sendable {
    /// Directories that the layer implies but does not carry: each takes the parent's metadata, or stays 0755 root.
    package var impliedDirectories: [TreePath]
    /// Hard links to files that this layer does not have: (link, target), in order.
    package var hardLinks: [(link: TreePath, target: TreePath)]
    /// The layer's name in messages, where its source has one.
    package var label: String?

    package init(
        impliedDirectories: [TreePath] = [],
        hardLinks: [(link: TreePath, target: TreePath)] = [],
        label: String? = nil
    ) {
        self.impliedDirectories = impliedDirectories
        self.hardLinks = hardLinks
        self.label = label
    }

    package var isEmpty: Bool { impliedDirectories.isEmpty && hardLinks.isEmpty }
}
