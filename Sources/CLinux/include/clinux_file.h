/* SPDX-License-Identifier: Apache-2.0 */
/* File calls that Glibc's Swift module hides or cannot import. Each wraps one call: -1 and errno on failure. */
#ifndef CLINUX_FILE_H
#define CLINUX_FILE_H

#include <stddef.h>
#include <stdint.h>

extern const int CLINUX_O_PATH, CLINUX_O_TMPFILE;
extern const int CLINUX_AT_EMPTY_PATH, CLINUX_AT_SYMLINK_NOFOLLOW, CLINUX_AT_REMOVEDIR, CLINUX_AT_SYMLINK_FOLLOW;
extern const int CLINUX_SEEK_DATA, CLINUX_SEEK_HOLE;
extern const unsigned int CLINUX_RENAME_NOREPLACE, CLINUX_RENAME_EXCHANGE;
extern const unsigned long CLINUX_RESOLVE_IN_ROOT, CLINUX_RESOLVE_BENEATH, CLINUX_RESOLVE_NO_SYMLINKS,
    CLINUX_RESOLVE_NO_MAGICLINKS, CLINUX_RESOLVE_NO_XDEV;

/* What statx(2) tells, in fixed widths. `mask` is stx_mask. */
struct clinux_stat {
    uint32_t mask, mode, nlink, uid, gid;
    uint64_t ino, size, blocks, mnt_id;
    uint32_t dev_major, dev_minor, rdev_major, rdev_minor;
    int64_t atime_sec, mtime_sec, ctime_sec;
    uint32_t atime_nsec, mtime_nsec, ctime_nsec;
};

/* statx(2) of `path` below `dirfd`, never following a final symlink; with an empty path, of `dirfd` itself. */
int clinux_stat(int dirfd, const char *path, struct clinux_stat *out);

int clinux_openat(int dirfd, const char *path, int flags, unsigned int mode);
int clinux_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int clinux_renameat2(int olddir, const char *old, int newdir, const char *new_, unsigned int flags);
int clinux_mknodat(int dirfd, const char *path, unsigned int mode, uint32_t major, uint32_t minor);
int clinux_utimensat(int dirfd, const char *path, int64_t sec, uint32_t nsec, int flags);
int clinux_linkat(int olddir, const char *old, int newdir, const char *new_, int flags);
long clinux_getdents64(int fd, void *buffer, size_t size);
/* write(2) whose pages are written back at once and then given up (RWF_DONTCACHE, Linux 6.14); EOPNOTSUPP where the file
 * system or the kernel does not know it. */
long clinux_write_uncached(int fd, const void *bytes, size_t count);
/* eventfd(2) with close-on-exec. */
int clinux_eventfd(void);
long clinux_copy_file_range(int in, int64_t *in_offset, int out, int64_t *out_offset, size_t length);
int clinux_fallocate(int fd, int mode, int64_t offset, int64_t length);
int clinux_syncfs(int fd);
/* fstatfs(2): the magic number of the file system, and its block size, unless that is NULL. */
int clinux_fstatfs_type(int fd, uint32_t *type, uint64_t *block_size);
int clinux_ficlone(int to, int from);
int clinux_close_range(unsigned int first, unsigned int last, unsigned int flags);
int clinux_memfd_create(const char *name, unsigned int flags);
/* memfd: seals against writing, growing, shrinking and further seals. */
int clinux_seal(int fd);
int clinux_name_to_handle(int dirfd, const char *path, uint8_t *handle, uint32_t *length, int *mount_id);

#endif
