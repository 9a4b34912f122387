// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc
import UnionJournal

/// Open files.
extension UnionFS {
    /// OPEN.
    ///
    /// Throws ESTALE where the kernel must look the name up again, because it still reads an older file.
    func open(_ id: UInt64, _ flags: CInt) throws(Failure) -> Handle {
        let truncates = flags & O_TRUNC != 0
        let writes = flags & O_ACCMODE != O_RDONLY || truncates
        var prepared = try writes && !truncates ? prepareCopy(id) : nil
        defer { prepared?.discard() }
        if writes { tree.write() } else { tree.read() }
        defer { tree.unlock() }
        let node = try node(id)
        if node.isDirectory { throw Failure(EISDIR) }
        if writes { try bringUp(node, keeping: truncates ? 0 : .max, prepared: &prepared) }
        let place = try place(of: node)
        var handle: Handle
        if writes {
            let kept = flags & (O_SYNC | O_DSYNC | CFUSE_O_NOATIME | (truncates ? O_TRUNC : 0))
            let fd = try openData(place, flags, kept)
            if truncates, cfuse_drops_set_ids() != 0, try dropSetIDs(place), let session {
                // The kernel takes the length for all that changed.
                fuse_lowlevel_notify_inval_inode(session, id, -1, 0)
            }
            handle = makeHandle(node, flags: flags, fd: fd)
        } else {
            handle = makeHandle(node, flags: flags, fd: -1)
        }
        do throws(Failure) {
            try chooseBacking(for: handle, place)
        } catch {
            release(handle)
            throw error
        }
        // What the kernel believes until now it may believe for ever.
        if handle.hidesChanges, let session { fuse_lowlevel_notify_inval_inode(session, id, -1, 0) }
        giveContent(of: node, to: handle, place)
        return handle
    }

    /// Gives the kernel the content of a small file of a layer below when it is opened first, so that it need not ask.
    ///
    /// `tables` is held meanwhile: the kernel has to wait for pages that are being read, but nobody has opened the file.
    private func giveContent(of node: Node, to handle: Handle, _ place: Place) {
        tables.lock()
        defer { tables.unlock() }
        defer { node.wasOpened = true }
        let largest: Int64 = 16 << 10
        guard !node.wasOpened, !handle.isWritable, !handle.isPassthrough, !node.isCacheStale, !countsAccesses,
            1...largest ~= node.size, !layers[Int(node.layer)].isUpper,
            !layers[Int(node.layer)].notesAccesses,
            let buffer = cfuse_buffer(Int(largest)), let fd = try? place.open(O_RDONLY)
        else { return }
        defer { cfuse_close(fd) }
        let count = cfuse_pread(fd, buffer, Int(node.size), 0)
        if count == Int(node.size) { cfuse_store(device, node.id, buffer, count) }
    }

    /// The content of a file that is opened for writing.
    private func openData(_ place: Place, _ flags: CInt, _ kept: CInt) throws(Failure) -> CInt {
        // Reading too: the kernel fills a page before it writes a part of it.
        if let fd = try? place.open(O_RDWR | kept) { return fd }
        // A file that may only be appended to cannot be opened otherwise.
        let appends = flags & O_APPEND
        if appends != 0, let fd = try? place.open(O_RDWR | appends | kept) { return fd }
        return try place.open(flags & O_ACCMODE | appends | kept)
    }

    /// FLUSH, which comes when a descriptor is closed: what was written through a mapping shows in the times.
    func flush(_ id: UInt64) {
        tree.read()
        tables.lock()
        let handle = handles[id]
        tables.unlock()
        var isNew = false
        if let handle, handle.isPassthrough, handle.isWritable, handle.fd >= 0,
            let status = try? Place(handle.fd).status()
        {
            isNew =
                status.st_mtim.tv_sec != handle.modified.tv_sec
                || status.st_mtim.tv_nsec != handle.modified.tv_nsec
            handle.modified = status.st_mtim
        }
        tree.unlock()
        if isNew, let handle, let session { fuse_lowlevel_notify_inval_inode(session, handle.node.id, -1, 0) }
    }

    /// RELEASE.
    func release(_ id: UInt64) {
        tree.read()
        defer { tree.unlock() }
        tables.lock()
        let handle = handles[id]
        tables.unlock()
        if let handle { release(handle) }
    }

    func release(_ handle: Handle) {
        tables.lock()
        defer { tables.unlock() }
        guard handles.removeValue(forKey: handle.id) != nil else { return }
        journal?.close(handle.id)
        let node = handle.node
        node.handles.removeAll { $0 === handle }
        if handle.isPassthrough { releaseBacking(of: node) }
        drop(node)
    }

    /// The descriptor of an open file, valid as long as `tree` is held.
    func descriptor(of id: UInt64) throws(Failure) -> CInt {
        tables.lock()
        defer { tables.unlock() }
        guard let handle = handles[id] else { throw Failure(EBADF) }
        if handle.fd < 0 {
            let kept = handle.flags & (O_SYNC | O_DSYNC)
            let place = try place(of: handle.node)
            handle.fd =
                try handle.isWritable ? openData(place, handle.flags, kept) : place.open(O_RDONLY | kept)
        }
        return handle.fd
    }

    /// READ: the count, in `buffer`.
    func read(
        _ handle: UInt64,
        into buffer: UnsafeMutableRawPointer,
        _ size: Int,
        at offset: Int64
    ) throws(Failure) -> Int {
        tree.read()
        defer { tree.unlock() }
        let fd = try descriptor(of: handle)
        var done = 0
        while done < size {
            let count = try check(cfuse_pread(fd, buffer + done, size &- done, offset &+ Int64(done)))
            if count == 0 { break }
            done &+= count
        }
        return done
    }

    /// WRITE.
    func write(
        _ handle: UInt64,
        _ bytes: UnsafeRawPointer,
        _ size: Int,
        at offset: Int64
    ) throws(Failure) -> Int {
        tree.read()
        defer { tree.unlock() }
        let fd = try descriptor(of: handle)
        if cfuse_drops_set_ids() != 0 { try dropSetIDs(Place(fd)) }
        var done = 0
        while done < size {
            let count = cfuse_pwrite(fd, bytes + done, size &- done, offset &+ Int64(done))
            if count < 0, done > 0 { break }
            done &+= try check(count)
        }
        return done
    }

    /// Calls `body` on a copy of an open file's descriptor, without holding anything up meanwhile.
    @discardableResult
    func detached<R>(_ handle: UInt64, _ body: (CInt) throws(Failure) -> R) throws(Failure) -> R {
        let fd = try duplicate(handle)
        defer { cfuse_close(fd) }
        cfuse_begin_long()
        defer { cfuse_end_long() }
        return try body(fd)
    }

    private func duplicate(_ handle: UInt64) throws(Failure) -> CInt {
        tree.read()
        defer { tree.unlock() }
        let fd = fcntl(try descriptor(of: handle), F_DUPFD_CLOEXEC, 3)
        if fd < 0 { throw Failure(EMFILE) }
        return fd
    }

    /// FSYNC of a file or directory.
    func synchronize(_ handle: UInt64, onlyData: Bool) throws(Failure) {
        // The kernel does not ask again.
        if isVolatile { throw Failure(ENOSYS) }
        try detached(handle) { (fd) throws(Failure) in try check(cfuse_fsync(fd, onlyData ? 1 : 0)) }
    }

    func synchronizeDirectory(_ id: UInt64, onlyData: Bool) throws(Failure) {
        if isVolatile { throw Failure(ENOSYS) }
        let fd = try openUpper(id)
        guard fd >= 0 else { return }
        defer { cfuse_close(fd) }
        try check(cfuse_fsync(fd, onlyData ? 1 : 0))
    }

    /// The upper's directory opened for use; -1 where nothing of it was written.
    private func openUpper(_ id: UInt64) throws(Failure) -> CInt {
        tree.read()
        defer { tree.unlock() }
        let node = try directoryNode(id)
        guard isWritable, node.directory?.hasUpper == true else { return -1 }
        return try check(cfuse_open(descriptor(of: node, layer: 0), dot, O_RDONLY | O_DIRECTORY, 0))
    }

    /// FALLOCATE.
    func allocate(_ handle: UInt64, _ mode: CInt, _ offset: Int64, _ length: Int64) throws(Failure) {
        tree.read()
        defer { tree.unlock() }
        try check(cfuse_fallocate(descriptor(of: handle), mode, offset, length))
    }

    /// LSEEK for holes and data.
    func seek(_ handle: UInt64, _ offset: Int64, _ whence: CInt) throws(Failure) -> Int64 {
        tree.read()
        defer { tree.unlock() }
        return try check(cfuse_lseek(descriptor(of: handle), offset, whence))
    }

    /// COPY_FILE_RANGE.
    func copyRange(
        _ from: UInt64,
        _ fromOffset: Int64,
        _ to: UInt64,
        _ toOffset: Int64,
        _ length: Int
    ) throws(Failure) -> Int {
        let target = try duplicate(to)
        defer { cfuse_close(target) }
        return try detached(from) { (source) throws(Failure) in
            try check(Int(cfuse_copy_range(source, fromOffset, target, toOffset, min(length, 1 << 30))))
        }
    }

    /// IOCTL: attributes of files; the count of bytes given back in `buffer`.
    func control(
        _ id: UInt64,
        _ command: UInt32,
        _ input: UnsafeRawPointer?,
        _ inputSize: Int,
        _ buffer: UnsafeMutableRawPointer,
        _ bufferSize: Int
    ) throws(Failure) -> Int {
        var (inSize, outSize) = (0, 0)
        let changes = cfuse_attribute_ioctl(command, &inSize, &outSize)
        if changes < 0 || inSize > inputSize || max(inSize, outSize) > bufferSize { throw Failure(ENOTTY) }
        if changes > 0 { tree.write() } else { tree.read() }
        defer { tree.unlock() }
        let node = try node(id)
        if changes > 0 { try bringUp(node) }
        if node.type != S_IFREG, !node.isDirectory { throw Failure(ENOTTY) }
        let fd = try place(of: node).open(O_RDONLY)
        defer { cfuse_close(fd) }
        if inSize > 0, let input { memcpy(buffer, input, inSize) }
        try check(cfuse_ioctl(fd, command, buffer))
        // The kernel does not know that it was a change, which shows in the times.
        if changes > 0, let session { fuse_lowlevel_notify_inval_inode(session, id, -1, 0) }
        return outSize
    }
}
