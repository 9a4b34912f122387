/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "cbtrfs_oracle.h"

#include <errno.h>

#if __has_include(<btrfs/send-stream.h>)
#include <btrfs/send-stream.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct replay {
    int root;
    void (*touched)(uint64_t inode, void *context);
    void *context;
};

static int result(int value) { return value == -1 ? -errno : 0; }

static int note(struct replay *replay, const char *path)
{
    struct stat status;
    if (fstatat(replay->root, *path ? path : ".", &status, AT_SYMLINK_NOFOLLOW) == -1)
        return -errno;
    replay->touched(status.st_ino, replay->context);
    return 0;
}

static int noted(struct replay *replay, const char *path, int value)
{
    return value == -1 ? -errno : note(replay, path);
}

static int on_subvol(const char *path, const u8 *uuid, u64 transid, void *user) { return 0; }

static int on_snapshot(const char *path, const u8 *uuid, u64 transid, const u8 *parent, u64 parent_transid, void *user)
{
    return 0;
}

static int on_mkfile(const char *path, void *user)
{
    struct replay *replay = user;
    int fd = openat(replay->root, path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd != -1)
        close(fd);
    return noted(replay, path, fd);
}

static int on_mkdir(const char *path, void *user)
{
    struct replay *replay = user;
    return noted(replay, path, mkdirat(replay->root, path, 0700));
}

static int on_mknod(const char *path, u64 mode, u64 dev, void *user)
{
    struct replay *replay = user;
    return noted(replay, path, mknodat(replay->root, path, (mode & S_IFMT) | 0600, dev));
}

static int on_mkfifo(const char *path, void *user)
{
    struct replay *replay = user;
    return noted(replay, path, mknodat(replay->root, path, S_IFIFO | 0600, 0));
}

static int on_mksock(const char *path, void *user)
{
    struct replay *replay = user;
    return noted(replay, path, mknodat(replay->root, path, S_IFSOCK | 0600, 0));
}

static int on_symlink(const char *path, const char *target, void *user)
{
    struct replay *replay = user;
    return noted(replay, path, symlinkat(target, replay->root, path));
}

static int on_rename(const char *from, const char *to, void *user)
{
    struct replay *replay = user;
    return noted(replay, to, renameat(replay->root, from, replay->root, to));
}

static int on_link(const char *path, const char *target, void *user)
{
    struct replay *replay = user;
    return noted(replay, path, linkat(replay->root, target, replay->root, path, 0));
}

static int on_unlink(const char *path, void *user)
{
    struct replay *replay = user;
    return result(unlinkat(replay->root, path, 0));
}

static int on_rmdir(const char *path, void *user)
{
    struct replay *replay = user;
    return result(unlinkat(replay->root, path, AT_REMOVEDIR));
}

static int on_write(const char *path, const void *data, u64 offset, u64 size, void *user) { return note(user, path); }

static int on_clone(const char *path, u64 offset, u64 size, const u8 *uuid, u64 transid, const char *source,
                    u64 source_offset, void *user)
{
    return note(user, path);
}

static int on_set_xattr(const char *path, const char *name, const void *data, int size, void *user)
{
    return note(user, path);
}

static int on_remove_xattr(const char *path, const char *name, void *user) { return note(user, path); }

static int on_truncate(const char *path, u64 size, void *user) { return note(user, path); }

static int on_chmod(const char *path, u64 mode, void *user) { return note(user, path); }

static int on_chown(const char *path, u64 uid, u64 gid, void *user) { return note(user, path); }

static int on_utimes(const char *path, struct timespec *access, struct timespec *modification, struct timespec *change,
                     void *user)
{
    return note(user, path);
}

static int on_update_extent(const char *path, u64 offset, u64 size, void *user) { return note(user, path); }

int cbtrfs_oracle_replay(int stream, int root, void (*touched)(uint64_t inode, void *context), void *context)
{
    struct btrfs_send_ops ops = {
        .subvol = on_subvol,
        .snapshot = on_snapshot,
        .mkfile = on_mkfile,
        .mkdir = on_mkdir,
        .mknod = on_mknod,
        .mkfifo = on_mkfifo,
        .mksock = on_mksock,
        .symlink = on_symlink,
        .rename = on_rename,
        .link = on_link,
        .unlink = on_unlink,
        .rmdir = on_rmdir,
        .write = on_write,
        .clone = on_clone,
        .set_xattr = on_set_xattr,
        .remove_xattr = on_remove_xattr,
        .truncate = on_truncate,
        .chmod = on_chmod,
        .chown = on_chown,
        .utimes = on_utimes,
        .update_extent = on_update_extent,
    };
    struct replay replay = {.root = root, .touched = touched, .context = context};
    int code = btrfs_read_and_process_send_stream(stream, &ops, &replay, 0, 1);
    if (code < 0) {
        errno = -code;
        return -1;
    }
    return 0;
}

#else

int cbtrfs_oracle_replay(int stream, int root, void (*touched)(uint64_t inode, void *context), void *context)
{
    errno = ENOSYS;
    return -1;
}

#endif
