// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// Bringing objects of the layers below into the upper. Callers hold `tree` for writing.
///
/// Each appears there whole, by one link or rename; what a killed server leaves is in the work directory, which the
/// next one clears.
extension UnionFS {
    /// Makes sure that a node lies in the upper.
    ///
    /// - Parameters:
    ///   - size: how much of a file's content is wanted.
    ///   - prepared: a copy of its content, made before; taken if it is used.
    func bringUp(_ node: Node, keeping size: Int64 = .max) throws(Failure) {
        var none: PreparedCopy?
        try bringUp(node, keeping: size, prepared: &none)
    }

    func bringUp(_ node: Node, keeping size: Int64, prepared: inout PreparedCopy?) throws(Failure) {
        if !isWritable { throw Failure(EROFS) }
        if node.directory != nil { return try bringUpDirectory(node) }
        if node.layer == 0 { return }
        if node.isOrphan { return try copyOrphan(node, keeping: size) }
        if node.key != nil { try findNames(of: node) }
        guard let first = node.locations.first else { throw Failure(ESTALE) }
        let source = try place(of: node)
        let status = try source.status()
        try bringUp(first.parent)
        let (upper, name) = try upperPlace(first)
        let fd: CInt
        life?.pointee.lifted_file = node.id
        defer { life?.pointee.lifted_file = 0 }
        if node.type == S_IFREG {
            fd = try copyFile(source, status, node, keeping: size, &prepared, to: upper, name)
        } else {
            fd = try copySpecial(source, status, layer: node.layer, to: upper, name)
        }
        defer { if fd >= 0 { cfuse_close(fd) } }
        let new = try fd >= 0 ? Place(fd).status() : Place(upper, name).status()
        for other in node.locations.dropFirst() {
            try bringUp(other.parent)
            let (directory, otherName) = try upperPlace(other)
            try keepingTimes(of: directory) { () throws(Failure) in
                try check(cfuse_link(upper, name, directory, otherName))
            }
        }
        try moveToUpper(node, new, at: fd >= 0 ? Place(fd) : Place(upper, name))
    }

    /// Notes that the node's object is the upper's now.
    func moveToUpper(_ node: Node, _ status: stat, at place: Place) throws(Failure) {
        try inodes?.record(status.inode, node.inode, at: place)
        node.layer = 0
        node.hiddenLinks = 0
        if let key = node.key {
            if groups[key] === node { groups[key] = nil }
            node.key = FileKey(fileSystem: 0, inode: status.inode)
        }
        if node.locations.count > 1 || node.key != nil {
            let key = FileKey(fileSystem: 0, inode: status.inode)
            node.key = key
            groups[key] = node
        }
        note(node)
        for location in node.locations {
            location.parent.directory?.update(location.slot) { $0.flags.insert(.upper) }
        }
        // Readers go on with the new file; those that read through the kernel keep the old one, as on overlayfs.
        for handle in node.handles where !handle.isPassthrough && handle.fd >= 0 {
            cfuse_close(handle.fd)
            handle.fd = -1
        }
    }

    /// The upper's directory of a location, and the name in it.
    func upperPlace(_ location: Node.Location) throws(Failure) -> (fd: CInt, name: UnsafePointer<CChar>) {
        guard let name = location.parent.directory?.entries[Int(location.slot)].name else {
            throw Failure(EIO)
        }
        return (try descriptor(of: location.parent, layer: 0), UnsafePointer(name))
    }

    /// Runs `body`, which changes names in a directory without that being a change that a user made.
    func keepingTimes(of directory: CInt, _ body: () throws(Failure) -> Void) throws(Failure) {
        let status = try Place(directory).status()
        try body()
        try setTimes(status, Place(directory))
    }

    func setTimes(_ status: stat, _ place: Place) throws(Failure) {
        var times = (status.st_atim, status.st_mtim)
        try check(
            withUnsafePointer(to: &times) { pair in
                pair.withMemoryRebound(to: timespec.self, capacity: 2) {
                    cfuse_utimens(place.fd, place.name, $0)
                }
            }
        )
    }

    // MARK: Directories

    private func bringUpDirectory(_ node: Node) throws(Failure) {
        var missing: [Node] = []
        var next = node
        while let directory = next.directory, !directory.hasUpper {
            guard let parent = next.locations.first?.parent else {
                throw Failure(next.isOrphan ? ENOENT : EIO)
            }
            missing.append(next)
            next = parent
        }
        while let node = missing.popLast() { try makeUpperDirectory(node) }
    }

    private func makeUpperDirectory(_ node: Node) throws(Failure) {
        guard let location = node.locations.first, let directory = node.directory else {
            throw Failure(ENOENT)
        }
        let source = try place(of: node)
        let status = try source.status()
        let (upper, name) = try upperPlace(location)
        life?.pointee.lifted_directory = node.id
        defer { life?.pointee.lifted_directory = 0 }
        try keepingTimes(of: upper) { () throws(Failure) in
            try stage { (stage: UnsafePointer<CChar>) throws(Failure) in
                try check(cfuse_mkdir(work, stage, 0o700))
                let made = Place(work, stage)
                try describe(made, as: status, source, layer: directory.parts[0].layer)
                try setTimes(status, made)
                try check(cfuse_rename(work, stage, upper, name, UInt32(CFUSE_RENAME_NOREPLACE)))
            }
        }
        cameUp(node, directory, at: location)
    }

    /// Notes that a directory lies in the upper too.
    func cameUp(_ node: Node, _ directory: Directory, at location: Node.Location) {
        directory.parts.insert(Directory.Part(layer: 0), at: 0)
        node.layer = 0
        note(node)
        location.parent.directory?.update(location.slot) { $0.flags.insert(.upper) }
    }

    // MARK: Files

    /// Copies a file to its place; the copy, open for reading and writing.
    private func copyFile(
        _ source: Place,
        _ status: stat,
        _ node: Node,
        keeping size: Int64,
        _ prepared: inout PreparedCopy?,
        to upper: CInt,
        _ name: UnsafePointer<CChar>
    ) throws(Failure) -> CInt {
        let copy = prepared.take()?.fd
        let isFilled = copy != nil
        if let fd = try isFilled ? copy : makeUnnamed() {
            do throws(Failure) {
                try fill(fd, from: source, status, layer: node.layer, keeping: isFilled ? 0 : size)
                try keepingTimes(of: upper) { () throws(Failure) in
                    try check(cfuse_link(fd, noName, upper, name))
                }
            } catch {
                cfuse_close(fd)
                throw error
            }
            return fd
        }
        var result: CInt = -1
        try keepingTimes(of: upper) { () throws(Failure) in
            try stage { (stage: UnsafePointer<CChar>) throws(Failure) in
                let fd = try check(cfuse_open(work, stage, O_RDWR | O_CREAT | O_EXCL, 0o600))
                do throws(Failure) {
                    try fill(fd, from: source, status, layer: node.layer, keeping: size)
                    try check(cfuse_rename(work, stage, upper, name, UInt32(CFUSE_RENAME_NOREPLACE)))
                } catch {
                    cfuse_close(fd)
                    throw error
                }
                result = fd
            }
        }
        return result
    }

    /// A file without a name in the upper's file system; `nil` where it has none.
    func makeUnnamed() throws(Failure) -> CInt? {
        guard canMakeUnnamed else { return nil }
        let fd = cfuse_open(work, dot, CFUSE_O_TMPFILE | O_RDWR, 0o600)
        if fd == -EOPNOTSUPP || fd == -EISDIR || fd == -ENOENT || fd == -EINVAL {
            canMakeUnnamed = false
            return nil
        }
        return try check(fd)
    }

    /// Gives a new file the content, owner, mode, attributes and times of another.
    func fill(
        _ fd: CInt,
        from source: Place,
        _ status: stat,
        layer: Int32,
        keeping size: Int64
    ) throws(Failure) {
        let length = min(Int64(status.st_size), size)
        let from = try source.open(O_RDONLY)
        defer { cfuse_close(from) }
        if length > 0 { try copyContent(from, to: fd, status, length) }
        try describe(Place(fd), as: status, Place(from), layer: layer)
        try setTimes(status, Place(fd))
    }

    private func copyOrphan(_ node: Node, keeping size: Int64) throws(Failure) {
        let source = try place(of: node)
        let status = try source.status()
        guard node.type == S_IFREG, let fd = try makeUnnamed() else { throw Failure(ESTALE) }
        do throws(Failure) {
            try fill(fd, from: source, status, layer: node.layer, keeping: size)
        } catch {
            cfuse_close(fd)
            throw error
        }
        if node.orphan >= 0 { cfuse_close(node.orphan) }
        node.orphan = fd
        hold(node)
        node.layer = 0
        note(node)
    }

    /// Symlinks, devices, fifos, sockets: made in the work directory and moved.
    private func copySpecial(
        _ source: Place,
        _ status: stat,
        layer: Int32,
        to upper: CInt,
        _ name: UnsafePointer<CChar>
    ) throws(Failure) -> CInt {
        try keepingTimes(of: upper) { () throws(Failure) in
            try stage { (stage: UnsafePointer<CChar>) throws(Failure) in
                try makeSpecial(source, status, layer: layer, work, stage)
                try check(cfuse_rename(work, stage, upper, name, UInt32(CFUSE_RENAME_NOREPLACE)))
            }
        }
        return -1
    }

    /// Makes a copy of anything but a regular file or directory.
    func makeSpecial(
        _ source: Place,
        _ status: stat,
        layer: Int32,
        _ directory: CInt,
        _ name: UnsafePointer<CChar>
    ) throws(Failure) {
        if status.type == S_IFLNK {
            guard let buffer = cfuse_buffer(4097)?.assumingMemoryBound(to: CChar.self) else {
                throw Failure(ENOMEM)
            }
            let length = try check(cfuse_readlink(source.fd, source.name, buffer, 4096))
            buffer[length] = 0
            try check(cfuse_symlink(buffer, directory, name))
        } else {
            try check(cfuse_mknod(directory, name, status.st_mode & (S_IFMT | 0o777), UInt64(status.st_rdev)))
        }
        try describe(Place(directory, name), as: status, source, layer: layer)
        try setTimes(status, Place(directory, name))
    }

    // MARK: Parts of a copy

    /// Calls `body` with a free name of the work directory, and removes what is left there if it fails.
    func stage(_ body: (UnsafePointer<CChar>) throws(Failure) -> Void) throws(Failure) {
        nextStage &+= 1
        var name: (UInt64, UInt64, UInt64) = (0, 0, 0)
        var failure: Failure?
        withUnsafeMutableBytes(of: &name) { bytes in
            let text = bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: CChar.self)
            var (value, index) = (nextStage, 0)
            repeat {
                text[index] = CChar(truncatingIfNeeded: 0x61 &+ value % 16)
                value /= 16
                index &+= 1
            } while value > 0
            do throws(Failure) { try body(text) } catch {
                failure = error
                if cfuse_unlink(work, text) == -EISDIR { cfuse_rmdir(work, text) }
            }
        }
        if let failure { throw failure }
    }

    /// Gives a copy the owner, mode and extended attributes of its source.
    func describe(_ copy: Place, as status: stat, _ source: Place, layer: Int32) throws(Failure) {
        if status.st_uid != ownUID || status.st_gid != ownGID {
            try check(cfuse_chown(copy.fd, copy.name, status.st_uid, status.st_gid))
        }
        try copyAttributes(source, to: copy, skipsOverlay: layers[Int(layer)].readsOverlayForm)
        if status.type != S_IFLNK { try check(cfuse_chmod(copy.fd, copy.name, status.st_mode & 0o7777)) }
    }

    private func copyAttributes(_ source: Place, to copy: Place, skipsOverlay: Bool) throws(Failure) {
        let names = try attributeNames(source)
        var start = 0
        while start < names.count {
            let failure: CInt = names.withUnsafeBufferPointer { buffer in
                let name = buffer.baseAddress.unsafelyUnwrapped + start
                start &+= strlen(name) &+ 1
                if skipsOverlay, isOverlayAttribute(name) { return 0 }
                do throws(Failure) {
                    guard let value = try attributeValue(source, name) else { return 0 }
                    let result = value.withUnsafeBytes {
                        cfuse_setxattr(copy.fd, copy.name, name, $0.baseAddress, $0.count, 0)
                    }
                    // What only privilege may set, a server without it leaves out, as cp(1) does.
                    let isOptional = strncmp(name, "security.", 9) == 0 || strncmp(name, "trusted.", 8) == 0
                    return isOptional && (result == -EPERM || result == -EOPNOTSUPP) ? 0 : result
                } catch {
                    return 0 &- error.code
                }
            }
            try check(failure)
        }
    }

    /// Names of attributes, each ended by a zero.
    private func attributeNames(_ place: Place) throws(Failure) -> [CChar] {
        var buffer = [CChar](repeating: 0, count: 256)
        while true {
            let count = buffer.withUnsafeMutableBufferPointer {
                cfuse_listxattr(place.fd, place.name, $0.baseAddress, $0.count)
            }
            if count == -EOPNOTSUPP { return [] }
            if count == -ERANGE, buffer.count < 1 << 20 {
                buffer = [CChar](repeating: 0, count: buffer.count &* 16)
                continue
            }
            return Array(buffer[..<(try check(count))])
        }
    }

    private func attributeValue(_ place: Place, _ name: UnsafePointer<CChar>) throws(Failure) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 256)
        while true {
            let count = buffer.withUnsafeMutableBytes {
                cfuse_getxattr(place.fd, place.name, name, $0.baseAddress, $0.count)
            }
            if count == -ERANGE, buffer.count < 1 << 20 {
                buffer = [UInt8](repeating: 0, count: buffer.count &* 16)
                continue
            }
            // Listed, and not to be read by anyone (EOVERFLOW: ids that this namespace does not map).
            if count == -ENODATA || count == -EOVERFLOW { return nil }
            return Array(buffer[..<(try check(count))])
        }
    }

    /// Copies the first `length` bytes, sharing blocks where possible and keeping holes.
    func copyContent(_ from: CInt, to: CInt, _ status: stat, _ length: Int64) throws(Failure) {
        if canClone, length == Int64(status.st_size), length >= 16 << 10 {
            let result = cfuse_clone_file(to, from)
            if result == 0 { return }
            if result == -ENOSPC || result == -EDQUOT || result == -EIO { throw Failure(0 &- result) }
            if result == -EOPNOTSUPP || result == -EXDEV || result == -ENOTTY { canClone = false }
        }
        let hasHoles = Int64(status.st_blocks) &* 512 < Int64(status.st_size)
        var position: Int64 = 0
        while position < length {
            var end = length
            if hasHoles {
                let start = cfuse_lseek(from, position, CFUSE_SEEK_DATA)
                if start == -ENXIO { break }
                position = try check(start)
                if position >= length { break }
                end = min(length, try check(cfuse_lseek(from, position, CFUSE_SEEK_HOLE)))
            }
            if try !copyRange(from, to, &position, upTo: end) { break }
        }
        if hasHoles { try check(cfuse_ftruncate(to, length)) }
    }

    /// Whether the source had all of it.
    private func copyRange(
        _ from: CInt,
        _ to: CInt,
        _ position: inout Int64,
        upTo end: Int64
    ) throws(Failure) -> Bool {
        while canCopyRange, end &- position > 64 << 10 {
            let count = cfuse_copy_range(from, position, to, position, Int(min(end &- position, 1 << 30)))
            if count == -EXDEV || count == -EOPNOTSUPP || count == -EINVAL || count == -ENOSYS
                || count == -EPERM
            {
                canCopyRange = false
                break
            }
            if try check(count) == 0 { return false }
            position &+= count
        }
        while position < end {
            let size = Int(min(end &- position, 256 << 10))
            guard let buffer = cfuse_buffer(size) else { throw Failure(ENOMEM) }
            let count = try check(cfuse_pread(from, buffer, size, position))
            if count == 0 { return false }
            var done = 0
            while done < count {
                done &+= try check(cfuse_pwrite(to, buffer + done, count &- done, position &+ Int64(done)))
            }
            position &+= Int64(count)
        }
        return true
    }
}

/// The name of the directory itself.
nonisolated(unsafe) let dot: UnsafePointer<CChar> = UnsafePointer(strdup("."))
