/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "clinux_mount.h"

#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Debian 12's <sys/mount.h> and <linux/mount.h> cannot be included together; the ABI is stated here. */
struct clinux_mount_attr {
    uint64_t attr_set, attr_clr, propagation, userns_fd;
};
_Static_assert(sizeof(struct clinux_mount_attr) == 32, "mount_attr layout changed");

enum { SET_FLAG = 0, SET_STRING = 1, SET_FD = 5, CMD_CREATE = 6 };

const uint64_t CLINUX_MOUNT_ATTR_RDONLY = 0x1, CLINUX_MOUNT_ATTR_NOSUID = 0x2, CLINUX_MOUNT_ATTR_NODEV = 0x4,
               CLINUX_MOUNT_ATTR_NOEXEC = 0x8, CLINUX_MOUNT_ATTR_NOATIME = 0x10,
               CLINUX_MOUNT_ATTR_STRICTATIME = 0x20, CLINUX_MOUNT_ATTR_IDMAP = 0x100000;
const unsigned int CLINUX_OPEN_TREE_CLONE = 1, CLINUX_AT_RECURSIVE = 0x8000;

int clinux_fsopen(const char *type)
{
    return (int)syscall(SYS_fsopen, type, 1 /* FSOPEN_CLOEXEC */);
}

int clinux_fsconfig_flag(int fs, const char *key)
{
    return (int)syscall(SYS_fsconfig, fs, SET_FLAG, key, NULL, 0);
}

int clinux_fsconfig_string(int fs, const char *key, const char *value)
{
    return (int)syscall(SYS_fsconfig, fs, SET_STRING, key, value, 0);
}

int clinux_fsconfig_fd(int fs, const char *key, int fd)
{
    return (int)syscall(SYS_fsconfig, fs, SET_FD, key, NULL, fd);
}

int clinux_fsconfig_create(int fs)
{
    return (int)syscall(SYS_fsconfig, fs, CMD_CREATE, NULL, NULL, 0);
}

int clinux_fsmount(int fs, uint64_t attributes)
{
    return (int)syscall(SYS_fsmount, fs, 1 /* FSMOUNT_CLOEXEC */, (unsigned int)attributes);
}

long clinux_fs_message(int fs, char *buffer, unsigned long size)
{
    return read(fs, buffer, size);
}

int clinux_open_tree_clone(int dirfd, const char *path, int recursive)
{
    unsigned int flags = CLINUX_OPEN_TREE_CLONE | O_CLOEXEC | (recursive ? CLINUX_AT_RECURSIVE : 0);
    return (int)syscall(SYS_open_tree, dirfd, path, flags | (*path ? 0 : AT_EMPTY_PATH));
}

int clinux_move_mount(int fd, int dirfd, const char *path)
{
    return (int)syscall(SYS_move_mount, fd, "", dirfd, path, 4 /* MOVE_MOUNT_F_EMPTY_PATH */);
}

int clinux_umount(const char *path, int lazy)
{
    return umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0));
}

int clinux_mount_setattr(int fd, int recursive, uint64_t set, uint64_t clear, uint64_t propagation, int userns)
{
    struct clinux_mount_attr attr = {
        .attr_set = set, .attr_clr = clear, .propagation = propagation, .userns_fd = userns >= 0 ? (uint64_t)userns : 0};
    unsigned int flags = AT_EMPTY_PATH | (recursive ? CLINUX_AT_RECURSIVE : 0);
    return (int)syscall(SYS_mount_setattr, fd, "", flags, &attr, sizeof attr);
}

int clinux_private_mounts(void)
{
    if (unshare(CLONE_NEWNS) != 0) return -1;
    return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
}
