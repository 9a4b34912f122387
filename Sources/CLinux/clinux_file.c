/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "clinux_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

const int CLINUX_O_PATH = O_PATH, CLINUX_O_TMPFILE = O_TMPFILE;
const int CLINUX_AT_EMPTY_PATH = AT_EMPTY_PATH, CLINUX_AT_SYMLINK_NOFOLLOW = AT_SYMLINK_NOFOLLOW,
          CLINUX_AT_REMOVEDIR = AT_REMOVEDIR, CLINUX_AT_SYMLINK_FOLLOW = AT_SYMLINK_FOLLOW;
const int CLINUX_SEEK_DATA = SEEK_DATA, CLINUX_SEEK_HOLE = SEEK_HOLE;
const unsigned int CLINUX_RENAME_NOREPLACE = RENAME_NOREPLACE, CLINUX_RENAME_EXCHANGE = RENAME_EXCHANGE;
const unsigned long CLINUX_RESOLVE_IN_ROOT = RESOLVE_IN_ROOT, CLINUX_RESOLVE_BENEATH = RESOLVE_BENEATH,
                    CLINUX_RESOLVE_NO_SYMLINKS = RESOLVE_NO_SYMLINKS,
                    CLINUX_RESOLVE_NO_MAGICLINKS = RESOLVE_NO_MAGICLINKS, CLINUX_RESOLVE_NO_XDEV = RESOLVE_NO_XDEV;

_Static_assert(sizeof(struct open_how) == 24, "open_how layout changed");

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000U
#endif

int clinux_stat(int dirfd, const char *path, struct clinux_stat *out)
{
    struct statx s;
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*path ? 0 : AT_EMPTY_PATH);
    if (statx(dirfd, path, flags, STATX_BASIC_STATS | STATX_MNT_ID, &s) == -1)
        return -1;
    out->mask = s.stx_mask;
    out->mode = s.stx_mode;
    out->nlink = s.stx_nlink;
    out->uid = s.stx_uid;
    out->gid = s.stx_gid;
    out->ino = s.stx_ino;
    out->size = s.stx_size;
    out->blocks = s.stx_blocks;
    out->mnt_id = s.stx_mnt_id;
    out->dev_major = s.stx_dev_major;
    out->dev_minor = s.stx_dev_minor;
    out->rdev_major = s.stx_rdev_major;
    out->rdev_minor = s.stx_rdev_minor;
    out->atime_sec = s.stx_atime.tv_sec;
    out->mtime_sec = s.stx_mtime.tv_sec;
    out->ctime_sec = s.stx_ctime.tv_sec;
    out->atime_nsec = s.stx_atime.tv_nsec;
    out->mtime_nsec = s.stx_mtime.tv_nsec;
    out->ctime_nsec = s.stx_ctime.tv_nsec;
    return 0;
}

int clinux_openat(int dirfd, const char *path, int flags, unsigned int mode)
{
    return openat(dirfd, path, flags, mode);
}

int clinux_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
    return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
}

int clinux_renameat2(int olddir, const char *old, int newdir, const char *new_, unsigned int flags)
{
    return renameat2(olddir, old, newdir, new_, flags);
}

int clinux_mknodat(int dirfd, const char *path, unsigned int mode, uint32_t major, uint32_t minor)
{
    return mknodat(dirfd, path, mode, makedev(major, minor));
}

int clinux_utimensat(int dirfd, const char *path, int64_t sec, uint32_t nsec, int flags)
{
    struct timespec times[2] = {{.tv_sec = sec, .tv_nsec = nsec}, {.tv_sec = sec, .tv_nsec = nsec}};
    /* glibc refuses a null path in utimensat; futimens is the call for a descriptor of its own. */
    return *path ? utimensat(dirfd, path, times, flags) : futimens(dirfd, times);
}

int clinux_linkat(int olddir, const char *old, int newdir, const char *new_, int flags)
{
    return linkat(olddir, old, newdir, new_, flags);
}

long clinux_getdents64(int fd, void *buffer, size_t size)
{
    return syscall(SYS_getdents64, fd, buffer, size);
}

long clinux_write_uncached(int fd, const void *bytes, size_t count)
{
    enum { DONTCACHE = 0x80 }; /* RWF_DONTCACHE; Debian 12's linux/fs.h is older */
    const struct iovec whole = {.iov_base = (void *)bytes, .iov_len = count};
    return pwritev2(fd, &whole, 1, -1, DONTCACHE);
}

int clinux_eventfd(void)
{
    return eventfd(0, EFD_CLOEXEC);
}

long clinux_copy_file_range(int in, int64_t *in_offset, int out, int64_t *out_offset, size_t length)
{
    return copy_file_range(in, in_offset, out, out_offset, length, 0);
}

int clinux_fallocate(int fd, int mode, int64_t offset, int64_t length)
{
    return fallocate(fd, mode, offset, length);
}

int clinux_syncfs(int fd)
{
    return syncfs(fd);
}

int clinux_fstatfs_type(int fd, uint32_t *type, uint64_t *block_size)
{
    struct statfs s;
    if (fstatfs(fd, &s) == -1)
        return -1;
    *type = (uint32_t)s.f_type;
    if (block_size) *block_size = (uint64_t)s.f_bsize;
    return 0;
}

int clinux_ficlone(int to, int from)
{
    return ioctl(to, FICLONE, from);
}

int clinux_close_range(unsigned int first, unsigned int last, unsigned int flags)
{
    return (int)syscall(SYS_close_range, first, last, flags);
}

int clinux_memfd_create(const char *name, unsigned int flags)
{
    return memfd_create(name, flags);
}

int clinux_seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
}

int clinux_name_to_handle(int dirfd, const char *path, uint8_t *handle, uint32_t *length, int *mount_id)
{
    struct {
        struct file_handle head;
        unsigned char bytes[MAX_HANDLE_SZ];
    } h;
    h.head.handle_bytes = MAX_HANDLE_SZ;
    if (name_to_handle_at(dirfd, path, &h.head, mount_id, *path ? 0 : AT_EMPTY_PATH) == -1)
        return -1;
    if (h.head.handle_bytes > *length) {
        errno = EOVERFLOW;
        return -1;
    }
    *length = h.head.handle_bytes;
    memcpy(handle, h.head.f_handle, h.head.handle_bytes);
    return 0;
}
