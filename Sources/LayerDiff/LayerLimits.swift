// SPDX-License-Identifier: Apache-2.0

/// What a layer may ask of the machine.
///
/// Each has a clear error that names layer and entry.
package struct LayerLimits: Sendable {
    /// Bytes of a path; paths longer than PATH_MAX are legal.
    package var path = 32 << 10
    /// Bytes of one component of a path, the kernel's own limit.
    package var name = 255
    /// Bytes of a symlink's target, the kernel's own limit.
    package var symlinkTarget = 4095
    /// Bytes of one PAX or GNU extended header.
    package var extendedHeader = 1 << 20
    package var xattrs = 1024
    package var xattrName = 255
    package var xattrValue = 64 << 10
    /// Bytes of all names and values of one entry.
    package var xattrBytes = 512 << 10
    package var entries = 10_000_000
    package var sparseRegions = 65_536
    /// Bytes of one file, holes included.
    package var fileSize: Int64 = 1 << 40
    /// Bytes of the whole tar, uncompressed.
    package var tarSize: Int64 = 1 << 40
    /// From this size on, a tar may be at most `expansion` times as large as its compressed form.
    package var freeExpansion: Int64 = 1 << 30
    package var expansion: Int64 = 200
    /// Bytes of the largest window (zstd) or dictionary (xz) that is held in memory.
    package var window: UInt64 = 128 << 20

    package init() {}
}
