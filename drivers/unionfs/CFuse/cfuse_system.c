/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "cfuse_system.h"


#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

const int CFUSE_O_PATH = O_PATH, CFUSE_O_TMPFILE = O_TMPFILE, CFUSE_O_NOATIME = O_NOATIME,
          CFUSE_RENAME_NOREPLACE = RENAME_NOREPLACE,
          CFUSE_RENAME_EXCHANGE = RENAME_EXCHANGE, CFUSE_RENAME_WHITEOUT = RENAME_WHITEOUT;
const int CFUSE_SEEK_DATA = SEEK_DATA, CFUSE_SEEK_HOLE = SEEK_HOLE, CFUSE_ST_NOATIME = ST_NOATIME;

/* A name that goes through a descriptor is at most this long. */
enum { LONGEST = sizeof "/proc/self/fd/4294967295/" + 4096 };

#define RESULT(call)                                                                                                  \
    do {                                                                                                              \
        __typeof__(call) result_ = (call);                                                                            \
        return result_ == -1 ? -errno : result_;                                                                      \
    } while (0)

/* The object as a path: of `name` in `dir`, or what `dir` is. Calls on the latter must follow it. */
static int through_proc(char *path, int dir, const char *name)
{
    int length = *name ? snprintf(path, LONGEST, "/proc/self/fd/%d/%s", dir, name)
                       : snprintf(path, LONGEST, "/proc/self/fd/%d", dir);
    return length < LONGEST ? 0 : -ENAMETOOLONG;
}

int cfuse_stat(int dir, const char *name, struct stat *status)
{
    RESULT(fstatat(dir, name, status, AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH)));
}

int64_t cfuse_birth(int dir, const char *name)
{
    struct statx status;
    int flags = AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC | (*name ? 0 : AT_EMPTY_PATH);
    if (statx(dir, name, flags, STATX_BTIME, &status) || !(status.stx_mask & STATX_BTIME)) return 0;
    return (int64_t)((uint64_t)status.stx_btime.tv_sec * 1000000000u + status.stx_btime.tv_nsec);
}

int cfuse_open(int dir, const char *name, int flags, unsigned int mode)
{
    RESULT(openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, mode));
}

int cfuse_reopen(int fd, int flags)
{
    char path[LONGEST];
    through_proc(path, fd, "");
    RESULT(open(path, flags | O_CLOEXEC | O_NOCTTY));
}

int cfuse_close(int fd) { RESULT(close(fd)); }

int cfuse_mkdir(int dir, const char *name, unsigned int mode) { RESULT(mkdirat(dir, name, mode)); }

int cfuse_mknod(int dir, const char *name, unsigned int mode, uint64_t device)
{
    RESULT(mknodat(dir, name, mode, (dev_t)device));
}

int cfuse_symlink(const char *target, int dir, const char *name) { RESULT(symlinkat(target, dir, name)); }

long cfuse_readlink(int dir, const char *name, char *buffer, size_t size)
{
    RESULT(readlinkat(dir, name, buffer, size));
}

int cfuse_link(int from, const char *name, int to, const char *new_name)
{
    if (*name) RESULT(linkat(from, name, to, new_name, 0));
    int result = linkat(from, "", to, new_name, AT_EMPTY_PATH);
    if (result == 0 || errno != ENOENT) return result ? -errno : 0;
    /* Without CAP_DAC_READ_SEARCH. */
    char path[LONGEST];
    through_proc(path, from, "");
    RESULT(linkat(AT_FDCWD, path, to, new_name, AT_SYMLINK_FOLLOW));
}

int cfuse_unlink(int dir, const char *name) { RESULT(unlinkat(dir, name, 0)); }

int cfuse_rmdir(int dir, const char *name) { RESULT(unlinkat(dir, name, AT_REMOVEDIR)); }

int cfuse_rename(int from, const char *name, int to, const char *new_name, unsigned int flags)
{
    RESULT(renameat2(from, name, to, new_name, flags));
}

int cfuse_chmod(int dir, const char *name, unsigned int mode)
{
    if (*name) RESULT(fchmodat(dir, name, mode, 0));
    if (fchmod(dir, mode) == 0) return 0;
    if (errno != EBADF) return -errno;
    char path[LONGEST];
    through_proc(path, dir, "");
    RESULT(chmod(path, mode));
}

int cfuse_chown(int dir, const char *name, uint32_t uid, uint32_t gid)
{
    RESULT(fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH)));
}

int cfuse_utimens(int dir, const char *name, const struct timespec times[2])
{
    RESULT(utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH)));
}

int cfuse_ftruncate(int fd, int64_t size)
{
    RESULT(ftruncate(fd, size));
}

long cfuse_getdents(int fd, void *buffer, size_t size) { RESULT(syscall(SYS_getdents64, fd, buffer, size)); }

/* By descriptor where it is one that allows it, else by a path through it. */
#define BY_PATH(by_fd, follows, not_follows)                                                                          \
    do {                                                                                                              \
        char path[LONGEST];                                                                                           \
        if (!*name) {                                                                                                 \
            __typeof__(by_fd) result_ = (by_fd);                                                                      \
            if (result_ != -1 || errno != EBADF) return result_ == -1 ? -errno : result_;                             \
        }                                                                                                             \
        if (through_proc(path, dir, name)) return -ENAMETOOLONG;                                                      \
        if (*name) RESULT(not_follows);                                                                               \
        RESULT(follows);                                                                                              \
    } while (0)

long cfuse_getxattr(int dir, const char *name, const char *attribute, void *value, size_t size)
{
    BY_PATH(fgetxattr(dir, attribute, value, size), getxattr(path, attribute, value, size),
            lgetxattr(path, attribute, value, size));
}

int cfuse_setxattr(int dir, const char *name, const char *attribute, const void *value, size_t size, int flags)
{
    BY_PATH(fsetxattr(dir, attribute, value, size, flags), setxattr(path, attribute, value, size, flags),
            lsetxattr(path, attribute, value, size, flags));
}

long cfuse_listxattr(int dir, const char *name, char *list, size_t size)
{
    BY_PATH(flistxattr(dir, list, size), listxattr(path, list, size), llistxattr(path, list, size));
}

int cfuse_removexattr(int dir, const char *name, const char *attribute)
{
    BY_PATH(fremovexattr(dir, attribute), removexattr(path, attribute), lremovexattr(path, attribute));
}

long cfuse_pread(int fd, void *buffer, size_t size, int64_t offset) { RESULT(pread(fd, buffer, size, offset)); }

long cfuse_pwrite(int fd, const void *buffer, size_t size, int64_t offset)
{
    RESULT(pwrite(fd, buffer, size, offset));
}

int64_t cfuse_lseek(int fd, int64_t offset, int whence) { RESULT(lseek(fd, offset, whence)); }

int cfuse_fallocate(int fd, int mode, int64_t offset, int64_t length)
{
    RESULT(fallocate(fd, mode, offset, length));
}

int64_t cfuse_copy_range(int from, int64_t from_offset, int to, int64_t to_offset, size_t length)
{
    RESULT(copy_file_range(from, &from_offset, to, &to_offset, length, 0));
}

int cfuse_clone_file(int to, int from)
{
    RESULT(ioctl(to, FICLONE, from));
}

int cfuse_fsync(int fd, int only_data) { RESULT(only_data ? fdatasync(fd) : fsync(fd)); }

int cfuse_statfs(int fd, struct statvfs *status) { RESULT(fstatvfs(fd, status)); }

int cfuse_ioctl(int fd, unsigned int command, void *data)
{
    RESULT(ioctl(fd, command, data));
}

int cfuse_lock(int fd)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return 1;
    return errno == EWOULDBLOCK ? 0 : -errno;
}

void cfuse_trim_memory(void) { malloc_trim(0); }

int cfuse_fork(void) { RESULT(fork()); }

int cfuse_fusermount(const char *target, const char *options)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return -errno;
    pid_t child = fork();
    if (child < 0) return -errno;
    if (child == 0) {
        char number[16];
        close(pair[1]);
        snprintf(number, sizeof number, "%d", pair[0]);
        setenv("_FUSE_COMMFD", number, 1);
        execlp("fusermount3", "fusermount3", "-o", options, "--", target, (char *)NULL);
        _exit(127);
    }
    close(pair[0]);
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t count;
    do count = recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC);
    while (count < 0 && errno == EINTR);
    close(pair[1]);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    struct cmsghdr *header = count > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (!header || header->cmsg_type != SCM_RIGHTS) return WEXITSTATUS(status) == 127 ? -ENOENT : -EPERM;
    int fd;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

uint64_t cfuse_mounted_device(const char *target)
{
    struct statx status;
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
    return statx(AT_FDCWD, target, flags, 0, &status) ? 0 : makedev(status.stx_dev_major, status.stx_dev_minor);
}

void cfuse_unmount(const char *target, uint64_t device)
{
    if (device == 0 || cfuse_mounted_device(target) != device) return;
    if (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno != EPERM) return;
    pid_t child = _Fork(); /* which a handler may call, unlike fork */
    if (child == 0) {
        execlp("fusermount3", "fusermount3", "-u", "-z", "--", target, (char *)NULL);
        _exit(127);
    }
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
}

int cfuse_attribute_ioctl(unsigned int command, size_t *in, size_t *out)
{
    *in = *out = 0;
    switch (command) {
    case FS_IOC_GETFLAGS:
        *out = sizeof(unsigned int);
        return 0;
    case FS_IOC_SETFLAGS:
        *in = sizeof(unsigned int);
        return 1;
    case FS_IOC_FSGETXATTR:
        *out = sizeof(struct fsxattr);
        return 0;
    case FS_IOC_FSSETXATTR:
        *in = sizeof(struct fsxattr);
        return 1;
    case FS_IOC_GETVERSION:
        *out = sizeof(unsigned int);
        return 0;
    default: return -1;
    }
}

int cfuse_read_text(const char *path, char *text, size_t size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t count = read(file, text, size - 1);
    close(file);
    if (count <= 0) return 0;
    text[count] = 0;
    return 1;
}

/* Whether a line of numbers has this one, not before the place `from`. */
static int has_number(const char *line, unsigned long number, int from)
{
    char *end;
    for (int index = 0; line; index++, line = end) {
        unsigned long value = strtoul(line, &end, 10);
        if (end == line || *end == 0) return 0;
        if (index >= from && value == number) return 1;
        if (*end == '\n') return 0;
    }
    return 0;
}

/* proc(5): real, effective, saved and file system ids, then the groups. */
static int is_member(const char *status, unsigned long group)
{
    enum { OF_FILES = 3 };
    const char *own = strstr(status, "\nGid:"), *others = strstr(status, "\nGroups:");
    return has_number(own ? own + 5 : NULL, group, OF_FILES) || has_number(others ? others + 8 : NULL, group, 0);
}

int cfuse_keeps_set_gid(uint32_t thread, uint32_t group)
{
    enum { FSETID = 4 };
    char path[32], status[8192], map[4096];
    snprintf(path, sizeof path, "/proc/%u/status", thread);
    if (!thread || !cfuse_read_text(path, status, sizeof status)) return 1;
    const char *capabilities = strstr(status, "\nCapEff:");
    if (capabilities && strtoull(capabilities + 8, NULL, 16) & 1 << FSETID) return 1;
    if (is_member(status, group)) return 1;
    /* By way of an id-mapped mount a container of a user namespace calls the group as it stands on disk. */
    snprintf(path, sizeof path, "/proc/%u/gid_map", thread);
    if (!cfuse_read_text(path, map, sizeof map)) return 0;
    for (char *line = map; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        unsigned long inside, outside, count;
        if (sscanf(line, "%lu %lu %lu", &inside, &outside, &count) != 3) break;
        if (group >= inside && group - inside < count && is_member(status, outside + (group - inside))) return 1;
    }
    return 0;
}
