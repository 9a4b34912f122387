/* SPDX-License-Identifier: Apache-2.0 */
/* The mount API by descriptor (fsopen(2) and its family), and mount(2)'s constants. */
#ifndef CLINUX_MOUNT_H
#define CLINUX_MOUNT_H

#include <stdint.h>

extern const uint64_t CLINUX_MOUNT_ATTR_RDONLY, CLINUX_MOUNT_ATTR_NOSUID, CLINUX_MOUNT_ATTR_NODEV,
    CLINUX_MOUNT_ATTR_NOEXEC, CLINUX_MOUNT_ATTR_NOATIME, CLINUX_MOUNT_ATTR_STRICTATIME, CLINUX_MOUNT_ATTR_IDMAP;
extern const unsigned int CLINUX_OPEN_TREE_CLONE, CLINUX_AT_RECURSIVE;

int clinux_fsopen(const char *type);
int clinux_fsconfig_flag(int fs, const char *key);
int clinux_fsconfig_string(int fs, const char *key, const char *value);
int clinux_fsconfig_fd(int fs, const char *key, int fd);
int clinux_fsconfig_create(int fs);
int clinux_fsmount(int fs, uint64_t attributes);
/* The message the kernel left on a file system context, e.g. "e overlay: ..."; its length, or -1. */
long clinux_fs_message(int fs, char *buffer, unsigned long size);
/* OPEN_TREE_CLONE of `path` below `dirfd`; of `dirfd` itself when the path is empty. */
int clinux_open_tree_clone(int dirfd, const char *path, int recursive);
/* Attaches the detached mount `fd` at `path` below `dirfd`. */
int clinux_move_mount(int fd, int dirfd, const char *path);
/* umount2(2) of the mount at `path`, never following a final symlink; lazily also of one in use. */
int clinux_umount(const char *path, int lazy);
/* Gives the calling thread a mount namespace of its own; what is mounted in it is not seen outside. */
int clinux_private_mounts(void);
int clinux_mount_setattr(int fd, int recursive, uint64_t set, uint64_t clear, uint64_t propagation, int userns);

#endif
