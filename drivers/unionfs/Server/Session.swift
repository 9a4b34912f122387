// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// The union as libfuse's operations.
///
/// Each decodes its arguments, asks the union and replies; a failure is a reply.
enum Session {
    static func operations() -> fuse_lowlevel_ops {
        var operations = fuse_lowlevel_ops()
        setLife(&operations)
        setNames(&operations)
        setAttributes(&operations)
        setFiles(&operations)
        setDirectories(&operations)
        return operations
    }

    private static func setLife(_ operations: inout fuse_lowlevel_ops) {
        operations.`init` = { data, connection in
            guard let data, let connection else { return }
            let union = Unmanaged<UnionFS>.fromOpaque(data).takeUnretainedValue()
            union.negotiate(connection)
        }
        operations.forget = { request, node, count in
            guard let request else { return }
            union(request).forget(node, count)
            fuse_reply_none(request)
        }
        operations.forget_multi = { request, count, list in
            guard let request else { return }
            if let list {
                for index in 0..<count { union(request).forget(list[index].ino, list[index].nlookup) }
            }
            union(request).giveBack()
            fuse_reply_none(request)
        }
        operations.statfs = { request, _ in
            guard let request else { return }
            answer(request) { (union) throws(Failure) in
                var status = try union.fileSystemStatus()
                fuse_reply_statfs(request, &status)
            }
        }
    }

    private static func setNames(_ operations: inout fuse_lowlevel_ops) {
        operations.lookup = { request, parent, name in
            guard let request, let name else { return }
            answer(request) { (union) throws(Failure) in
                if let entry = try union.lookup(parent, Name(name)) {
                    reply(request, entry)
                } else {
                    // Nothing is there, and that stays so until the kernel makes it.
                    var entry = fuse_entry_param()
                    entry.entry_timeout = forever
                    fuse_reply_entry(request, &entry)
                }
            }
        }
        operations.mknod = { request, parent, name, mode, device in
            guard let request, let name else { return }
            answer(request) { (union) throws(Failure) in
                reply(
                    request,
                    try union.makeNode(parent, Name(name), mode, UInt64(device), Caller(request))
                )
            }
        }
        operations.mkdir = { request, parent, name, mode in
            guard let request, let name else { return }
            answer(request) { (union) throws(Failure) in
                reply(request, try union.makeDirectory(parent, Name(name), mode, Caller(request)))
            }
        }
        operations.symlink = { request, target, parent, name in
            guard let request, let target, let name else { return }
            answer(request) { (union) throws(Failure) in
                reply(request, try union.makeSymlink(parent, Name(name), to: target, Caller(request)))
            }
        }
        operations.link = { request, node, parent, name in
            guard let request, let name else { return }
            answer(request) { (union) throws(Failure) in
                reply(request, try union.link(node, parent, Name(name)))
            }
        }
        operations.unlink = { request, parent, name in
            guard let request, let name else { return }
            answer(request) { (union) throws(Failure) in
                try union.unlink(parent, Name(name))
                fuse_reply_err(request, 0)
            }
        }
        operations.rmdir = { request, parent, name in
            guard let request, let name else { return }
            answer(request) { (union) throws(Failure) in
                try union.removeDirectory(parent, Name(name))
                fuse_reply_err(request, 0)
            }
        }
        operations.rename = { request, oldParent, oldName, newParent, newName, flags in
            guard let request, let oldName, let newName else { return }
            answer(request) { (union) throws(Failure) in
                try union.rename(oldParent, Name(oldName), to: newParent, Name(newName), flags)
                fuse_reply_err(request, 0)
            }
        }
    }

    private static func setAttributes(_ operations: inout fuse_lowlevel_ops) {
        operations.getattr = { request, node, _ in
            guard let request else { return }
            answer(request) { (union) throws(Failure) in
                var (status, validity) = try union.getAttributes(node, withBirth: cfuse_asks_birth() != 0)
                fuse_reply_attr(request, &status, validity)
            }
        }
        operations.setattr = { request, node, new, valid, file in
            guard let request, let new else { return }
            answer(request) { (union) throws(Failure) in
                var (status, validity) = try union.setAttributes(
                    node,
                    new.pointee,
                    valid,
                    handle: file?.pointee.fh,
                    process: fuse_req_ctx(request)?.pointee.pid ?? 0
                )
                fuse_reply_attr(request, &status, validity)
            }
        }
        operations.readlink = { request, node in
            guard let request else { return }
            answer(request) { (union) throws(Failure) in
                guard let buffer = cfuse_buffer(4097)?.assumingMemoryBound(to: CChar.self) else {
                    throw Failure(ENOMEM)
                }
                buffer[try union.readLink(node, into: buffer, 4096)] = 0
                fuse_reply_readlink(request, buffer)
            }
        }
        operations.getxattr = { request, node, name, size in
            guard let request, let name else { return }
            answer(request) { (union) throws(Failure) in
                try replyAttribute(request, size) { (buffer) throws(Failure) in
                    try union.getAttribute(node, name, buffer, size)
                }
            }
        }
        operations.listxattr = { request, node, size in
            guard let request else { return }
            answer(request) { (union) throws(Failure) in
                try replyAttribute(request, size) { (buffer) throws(Failure) in
                    try union.listAttributes(node, buffer?.assumingMemoryBound(to: CChar.self), size)
                }
            }
        }
        operations.setxattr = { request, node, name, value, size, flags in
            guard let request, let name else { return }
            answer(request) { (union) throws(Failure) in
                try union.setAttribute(node, name, value, size, flags)
                fuse_reply_err(request, 0)
            }
        }
        operations.removexattr = { request, node, name in
            guard let request, let name else { return }
            answer(request) { (union) throws(Failure) in
                try union.removeAttribute(node, name)
                fuse_reply_err(request, 0)
            }
        }
    }

    private static func setFiles(_ operations: inout fuse_lowlevel_ops) {
        operations.open = { request, node, file in
            guard let request, let file else { return }
            answer(request) { (union) throws(Failure) in
                let handle = try union.open(node, file.pointee.flags)
                union.describe(handle, in: &file.pointee)
                if fuse_reply_open(request, file) != 0 { union.release(handle.id) }
            }
        }
        operations.create = { request, parent, name, mode, file in
            guard let request, let name, let file else { return }
            answer(request) { (union) throws(Failure) in
                var (entry, handle) = try union.create(
                    parent,
                    Name(name),
                    mode,
                    file.pointee.flags,
                    Caller(request)
                )
                union.describe(handle, in: &file.pointee)
                if fuse_reply_create(request, &entry, file) != 0 {
                    union.release(handle.id)
                    union.forget(entry.ino, 1)
                }
            }
        }
        operations.release = { request, _, file in
            guard let request else { return }
            if let file { union(request).release(file.pointee.fh) }
            fuse_reply_err(request, 0)
        }
        operations.flush = { request, _, file in
            guard let request else { return }
            if let file { union(request).flush(file.pointee.fh) }
            fuse_reply_err(request, 0)
        }
        operations.read = { request, _, size, offset, file in
            guard let request, let file else { return }
            answer(request) { (union) throws(Failure) in
                guard let buffer = cfuse_buffer(size) else { throw Failure(ENOMEM) }
                let count = try union.read(file.pointee.fh, into: buffer, size, at: Int64(offset))
                fuse_reply_buf(request, buffer.assumingMemoryBound(to: CChar.self), count)
            }
        }
        operations.write = { request, _, bytes, size, offset, file in
            guard let request, let bytes, let file else { return }
            answer(request) { (union) throws(Failure) in
                fuse_reply_write(request, try union.write(file.pointee.fh, bytes, size, at: Int64(offset)))
            }
        }
        operations.fsync = { request, _, onlyData, file in
            guard let request, let file else { return }
            answer(request) { (union) throws(Failure) in
                try union.synchronize(file.pointee.fh, onlyData: onlyData != 0)
                fuse_reply_err(request, 0)
            }
        }
        operations.fallocate = { request, _, mode, offset, length, file in
            guard let request, let file else { return }
            answer(request) { (union) throws(Failure) in
                try union.allocate(file.pointee.fh, mode, Int64(offset), Int64(length))
                fuse_reply_err(request, 0)
            }
        }
        operations.lseek = { request, _, offset, whence, file in
            guard let request, let file else { return }
            answer(request) { (union) throws(Failure) in
                fuse_reply_lseek(request, off_t(try union.seek(file.pointee.fh, Int64(offset), whence)))
            }
        }
        operations.copy_file_range = { request, _, from, source, _, to, target, length, _ in
            guard let request, let source, let target else { return }
            answer(request) { (union) throws(Failure) in
                let count = try union.copyRange(
                    source.pointee.fh,
                    Int64(from),
                    target.pointee.fh,
                    Int64(to),
                    length
                )
                fuse_reply_write(request, count)
            }
        }
        operations.ioctl = { request, node, command, _, _, _, input, inputSize, outputSize in
            guard let request else { return }
            answer(request) { (union) throws(Failure) in
                let size = max(64, max(inputSize, outputSize))
                guard let buffer = cfuse_buffer(size) else { throw Failure(ENOMEM) }
                let count = try union.control(
                    node,
                    UInt32(truncatingIfNeeded: command),
                    input,
                    inputSize,
                    buffer,
                    size
                )
                fuse_reply_ioctl(request, 0, buffer, min(count, outputSize))
            }
        }
    }

    private static func setDirectories(_ operations: inout fuse_lowlevel_ops) {
        // Listings need no state here, so the kernel may leave out opening a directory and keep what it was told.
        operations.opendir = { request, _, _ in
            guard let request else { return }
            fuse_reply_err(request, ENOSYS)
        }
        operations.fsyncdir = { request, node, onlyData, _ in
            guard let request else { return }
            answer(request) { (union) throws(Failure) in
                try union.synchronizeDirectory(node, onlyData: onlyData != 0)
                fuse_reply_err(request, 0)
            }
        }
        operations.readdir = { request, node, size, offset, _ in
            guard let request else { return }
            answer(request) { (union) throws(Failure) in
                try union.readDirectory(request, node, size, UInt64(bitPattern: Int64(offset)))
            }
        }
        operations.readdirplus = { request, node, size, offset, _ in
            guard let request else { return }
            answer(request) { (union) throws(Failure) in
                try union.readDirectoryPlus(request, node, size, UInt64(bitPattern: Int64(offset)))
            }
        }
    }
}

/// The union that a request is for.
private func union(_ request: fuse_req_t) -> UnionFS {
    Unmanaged<UnionFS>.fromOpaque(fuse_req_userdata(request)).takeUnretainedValue()
}

/// Runs a request, whose failure is its reply.
private func answer(_ request: fuse_req_t, _ body: (UnionFS) throws(Failure) -> Void) {
    let union = union(request)
    do throws(Failure) {
        try body(union)
    } catch {
        cfuse_set_backing(0)
        fuse_reply_err(request, error.code)
    }
    if union.isFull { union.trim() }
}

private func reply(_ request: fuse_req_t, _ entry: fuse_entry_param) {
    var entry = entry
    // The kernel did not take it, so it will not forget it either.
    if fuse_reply_entry(request, &entry) != 0 { union(request).forget(entry.ino, 1) }
}

/// Answers a question whose answer may be wanted or only measured.
private func replyAttribute(
    _ request: fuse_req_t,
    _ size: Int,
    _ body: (UnsafeMutableRawPointer?) throws(Failure) -> Int
) throws(Failure) {
    if size == 0 {
        fuse_reply_xattr(request, try body(nil))
        return
    }
    guard let buffer = cfuse_buffer(size) else { throw Failure(ENOMEM) }
    let count = try body(buffer)
    fuse_reply_buf(request, buffer.assumingMemoryBound(to: CChar.self), count)
}

extension UnionFS {
    /// INIT: what of libfuse's features is wanted.
    func negotiate(_ connection: UnsafeMutablePointer<fuse_conn_info>) {
        let capable = connection.pointee.capable
        var want = connection.pointee.want
        for feature in [
            FUSE_CAP_ASYNC_READ, FUSE_CAP_ATOMIC_O_TRUNC, FUSE_CAP_DONT_MASK, FUSE_CAP_PARALLEL_DIROPS,
            FUSE_CAP_POSIX_ACL, FUSE_CAP_READDIRPLUS, FUSE_CAP_READDIRPLUS_AUTO, FUSE_CAP_CACHE_SYMLINKS,
            FUSE_CAP_NO_OPENDIR_SUPPORT, FUSE_CAP_ASYNC_DIO, FUSE_CAP_IOCTL_DIR, FUSE_CAP_EXPLICIT_INVAL_DATA,
        ] {
            want |= capable & UInt32(feature)
        }
        for feature in [
            FUSE_CAP_AUTO_INVAL_DATA, FUSE_CAP_SPLICE_READ, FUSE_CAP_SPLICE_WRITE,
            FUSE_CAP_SPLICE_MOVE,
            FUSE_CAP_WRITEBACK_CACHE, FUSE_CAP_HANDLE_KILLPRIV, FUSE_CAP_POSIX_LOCKS, FUSE_CAP_FLOCK_LOCKS,
        ] {
            want &= ~UInt32(feature)
        }
        connection.pointee.want = want
        connection.pointee.time_gran = 1
        connection.pointee.max_background = 64
    }

    /// What the reply to OPEN or CREATE says.
    func describe(_ handle: Handle, in file: inout fuse_file_info) {
        file.fh = handle.id
        // Only what was written through a mapping is news when a file is closed.
        file.noflush = handle.hidesChanges ? 0 : 1
        if !handle.isPassthrough {
            tables.lock()
            // Only what is read from the layer counts as an access.
            file.keep_cache = handle.node.isCacheStale || countsAccesses ? 0 : 1
            handle.node.isCacheStale = false
            tables.unlock()
        }
    }
}
