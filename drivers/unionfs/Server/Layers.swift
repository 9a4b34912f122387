// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// One directory of the union.
struct Layer {
    /// Its root, O_PATH.
    let fd: CInt
    /// Which of the union's file systems it lies on; 0 is the upper's.
    let fileSystem: UInt64
    /// Whether it is the one that is written to.
    let isUpper: Bool
    /// Whether the marks of overlay file systems mean something in it.
    let readsOverlayForm: Bool
    /// Whether reading a file of it changes the file's access time.
    let notesAccesses: Bool
}

/// The inode number that a union shows for one of a layer: the layer's own on the first file system, and numbers of
/// the others made different from those.
@inline(__always)
func shownInode(_ inode: UInt64, fileSystem: UInt64) -> UInt64 {
    fileSystem == 0 ? inode : inode ^ (fileSystem << 52)
}

/// A file of a layer, as hard links have it in common.
struct FileKey: Hashable {
    var fileSystem: UInt64
    var inode: UInt64
}

extension Layer {
    init(_ directory: CInt, fileSystem: UInt64, isUpper: Bool, readsOverlayForm: Bool) {
        var status = statvfs()
        let isKnown = cfuse_statfs(directory, &status) == 0
        fd = directory
        self.fileSystem = fileSystem
        self.isUpper = isUpper
        self.readsOverlayForm = readsOverlayForm
        notesAccesses = !isKnown || status.f_flag & UInt(CFUSE_ST_NOATIME) == 0
    }

    /// Whether an object of this layer is a whiteout of its own name.
    ///
    /// Where no overlay form is read, as in the upper, it is one only where the name is too long for `.wh.`: others are what
    /// users made.
    func isWhiteout(_ status: stat, name length: Int) -> Bool {
        status.isWhiteoutDevice && (length > longestWhiteoutName || (!isUpper && readsOverlayForm))
    }

    /// Whether the open directory hides what the layers below have in it.
    func isOpaque(_ directory: CInt) -> Bool {
        var status = stat()
        if cfuse_stat(directory, opaqueMark, &status) == 0 { return true }
        guard readsOverlayForm else { return false }
        for attribute in overlayOpaque {
            var value: UInt8 = 0
            if cfuse_getxattr(directory, noName, attribute, &value, 1) == 1, value == UInt8(ascii: "y") {
                return true
            }
        }
        return false
    }
}

nonisolated(unsafe) private let overlayOpaque: [UnsafePointer<CChar>] = [
    UnsafePointer(strdup("user.overlay.opaque")), UnsafePointer(strdup("trusted.overlay.opaque")),
]

/// Whether an attribute belongs to an overlay file system and not to the file.
func isOverlayAttribute(_ name: UnsafePointer<CChar>) -> Bool {
    strncmp(name, "user.overlay.", 13) == 0 || strncmp(name, "trusted.overlay.", 16) == 0
}
