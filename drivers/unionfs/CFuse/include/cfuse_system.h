/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls on an object at `name` below the directory descriptor `dir`, never following a final symlink; with an
 * empty name, on the object that `dir` itself is, which may be an O_PATH descriptor. All give -errno on failure.
 */
#ifndef CFUSE_SYSTEM_H
#define CFUSE_SYSTEM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <time.h>

extern const int CFUSE_O_PATH, CFUSE_O_TMPFILE, CFUSE_O_NOATIME,
    CFUSE_RENAME_NOREPLACE, CFUSE_RENAME_EXCHANGE, CFUSE_RENAME_WHITEOUT;
extern const int CFUSE_SEEK_DATA, CFUSE_SEEK_HOLE, CFUSE_ST_NOATIME;

int cfuse_stat(int dir, const char *name, struct stat *status);
/* Birth time in nanoseconds; 0 where the file system keeps none. */
int64_t cfuse_birth(int dir, const char *name);
int cfuse_open(int dir, const char *name, int flags, unsigned int mode);
/* Opens the object of an O_PATH descriptor again. */
int cfuse_reopen(int fd, int flags);
int cfuse_close(int fd);
int cfuse_mkdir(int dir, const char *name, unsigned int mode);
int cfuse_mknod(int dir, const char *name, unsigned int mode, uint64_t device);
int cfuse_symlink(const char *target, int dir, const char *name);
long cfuse_readlink(int dir, const char *name, char *buffer, size_t size);
/* Links the object at (from, name), which may be unnamed, to a new name. */
int cfuse_link(int from, const char *name, int to, const char *new_name);
int cfuse_unlink(int dir, const char *name);
int cfuse_rmdir(int dir, const char *name);
int cfuse_rename(int from, const char *name, int to, const char *new_name, unsigned int flags);
int cfuse_chmod(int dir, const char *name, unsigned int mode);
int cfuse_chown(int dir, const char *name, uint32_t uid, uint32_t gid);
int cfuse_utimens(int dir, const char *name, const struct timespec times[2]);
int cfuse_ftruncate(int fd, int64_t size);
long cfuse_getdents(int fd, void *buffer, size_t size);
long cfuse_getxattr(int dir, const char *name, const char *attribute, void *value, size_t size);
int cfuse_setxattr(int dir, const char *name, const char *attribute, const void *value, size_t size, int flags);
long cfuse_listxattr(int dir, const char *name, char *list, size_t size);
int cfuse_removexattr(int dir, const char *name, const char *attribute);
long cfuse_pread(int fd, void *buffer, size_t size, int64_t offset);
long cfuse_pwrite(int fd, const void *buffer, size_t size, int64_t offset);
int64_t cfuse_lseek(int fd, int64_t offset, int whence);
int cfuse_fallocate(int fd, int mode, int64_t offset, int64_t length);
int64_t cfuse_copy_range(int from, int64_t from_offset, int to, int64_t to_offset, size_t length);
int cfuse_clone_file(int to, int from);
int cfuse_fsync(int fd, int only_data);
int cfuse_statfs(int fd, struct statvfs *status);
int cfuse_ioctl(int fd, unsigned int command, void *data);
/* 1 taken, 0 held by somebody else. */
int cfuse_lock(int fd);

/* Gives what was freed back to the system. */
void cfuse_trim_memory(void);

/* fork(2), which Swift leaves out; before there are threads. */
int cfuse_fork(void);

/* Has fusermount3 mount on `target`, which an ordinary user may; gives the connection's descriptor. -ENOENT without that
 * program, -EPERM where it refuses (it says why on standard error). Before there are threads. */
int cfuse_fusermount(const char *target, const char *options);

/* The device number of the file system that is mounted at `target`, without asking its server; 0 if that cannot be told. */
uint64_t cfuse_mounted_device(const char *target);

/* Takes the mount at `target` away, lazily, if it is of that device; by fusermount3 for an ordinary user. For a handler of a
 * signal. */
void cfuse_unmount(const char *target, uint64_t device);

/* ioctls on file attributes that are forwarded: bytes of data in and out, or -1. */
int cfuse_attribute_ioctl(unsigned int command, size_t *in, size_t *out);

/* The start of what a file of /proc says, as a text; 0 where that cannot be read. */
int cfuse_read_text(const char *path, char *text, size_t size);
/* Whether a file of the group, which may not run it, stays setgid where this thread changes it: it is in the group, or may do
 * so (CAP_FSETID), by what /proc says of it. So does one of which nothing is known. */
int cfuse_keeps_set_gid(uint32_t thread, uint32_t group);

#endif
