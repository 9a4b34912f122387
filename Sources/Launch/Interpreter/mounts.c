/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts inside the container's root: made detached, attached to a target that was opened and checked before. */
#include "plan.h"

#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#ifndef O_PATH
#define O_PATH 010000000
#endif

/* The context of a new file system with options `key` or `key=value`. */
static long new_file_system(const struct state *s, const char *type, const char *source, uint64_t *options)
{
    long context = SYS2(__NR_fsopen, type, FSOPEN_CLOEXEC);
    if (context < 0)
        return context;
    long result = source ? SYS5(__NR_fsconfig, context, FSCONFIG_SET_STRING, "source", source, 0) : 0;
    for (; result >= 0 && options && *options; options++) {
        char key[64];
        const char *option = text(s, *options);
        size_t length = 0;
        while (option[length] && option[length] != '=' && length < sizeof key - 1) {
            key[length] = option[length];
            length++;
        }
        key[length] = 0;
        if (option[length] == '=')
            result = SYS5(__NR_fsconfig, context, FSCONFIG_SET_STRING, key, option + length + 1, 0);
        else
            result = SYS5(__NR_fsconfig, context, FSCONFIG_SET_FLAG, key, 0, 0);
    }
    if (result >= 0)
        result = SYS5(__NR_fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0);
    if (result >= 0)
        return context;
    close_fd(context);
    return result;
}

/* The one mount, detached, that a file system's context, which is closed, can make. */
static long mount_context(long context, uint64_t attributes)
{
    if (context < 0)
        return context;
    long mount = SYS3(__NR_fsmount, context, FSMOUNT_CLOEXEC, attributes);
    close_fd(context);
    return mount;
}

static long new_mount(const struct state *s, const char *type, const char *source, uint64_t *options, uint64_t attributes)
{
    return mount_context(new_file_system(s, type, source, options), attributes);
}

static long attach_at(const struct state *s, long mount, const char *path, uint64_t kind)
{
    if (mount < 0)
        return mount;
    long target = open_target(s, path, kind);
    long result = target;
    if (target >= 0) {
        result = attach_mount((int)mount, (int)target);
        close_fd(target);
    }
    close_fd(mount);
    return result;
}

long step_mount(const struct state *s, args a)
{
    uint64_t *options = a[4] ? (uint64_t *)(s->plan + a[4]) : NULL;
    long mount = new_mount(s, text(s, a[0]), text(s, a[1]), options, a[3]);
    if (mount == -ENODEV && (a[5] & CLINUX_TARGET_OPTIONAL))
        return 0;
    return attach_at(s, mount, text(s, a[2]), a[5]);
}

/* A file system that this kernel has not counts when it is to be mounted. */
long step_prepare(struct state *s, args a)
{
    if (a[0] >= CLINUX_PLAN_MOST_PREPARED)
        return -EINVAL;
    uint64_t *options = a[3] ? (uint64_t *)(s->plan + a[3]) : NULL;
    long context = new_file_system(s, text(s, a[1]), text(s, a[2]), options);
    s->prepared[a[0]] = (int)context;
    return context == -ENODEV || context >= 0 ? 0 : context;
}

/* Mounted now and not before, so that mounts are listed in the order in which they were attached. */
long step_mount_prepared(const struct state *s, args a)
{
    if (a[0] >= CLINUX_PLAN_MOST_PREPARED)
        return -EINVAL;
    long mount = mount_context(s->prepared[a[0]], a[2]);
    if (mount == -ENODEV && (a[3] & CLINUX_TARGET_OPTIONAL))
        return 0;
    return attach_at(s, mount, text(s, a[1]), a[3]);
}

long step_attach(const struct state *s, args a)
{
    int mount = (int)a[0];
    if (a[2] || a[3])
        TRY(set_mount(mount, a[2], a[3], 0, (int)a[5]));
    if (a[4])
        TRY(set_mount(mount, 0, 0, a[4], 1));
    return attach_at(s, mount, text(s, a[1]), a[6]);
}

/* The host's device node `path`, which must be the device it is called. */
long step_bind_device(const struct state *s, args a)
{
    long tree = SYS3(__NR_open_tree, AT_FDCWD, text(s, a[0]), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        return tree;
    long result = check_device(tree, (uint32_t)a[2], (uint32_t)a[3]);
    if (result < 0) {
        close_fd(tree);
        return result;
    }
    return attach_at(s, tree, text(s, a[1]), CLINUX_TARGET_FILE);
}

/* A clone of the container's /dev/null, which must be the device of that name. */
static long clone_null(const struct state *s)
{
    long null = open_inside(s, "/dev/null", O_PATH, RESOLVE_NO_SYMLINKS);
    if (null < 0)
        return null;
    long result = check_device(null, 1, 3);
    if (result == 0)
        result = SYS3(__NR_open_tree, null, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    close_fd(null);
    return result;
}

long step_mask(const struct state *s, args a)
{
    static long empty = -1;
    long target = open_inside(s, text(s, a[0]), O_PATH, 0);
    if (target == -ENOENT || target == -ENOTDIR)
        return 0;
    if (target < 0)
        return target;
    struct statx status;
    long result = SYS5(__NR_statx, target, "", AT_EMPTY_PATH, STATX_TYPE, &status);
    long cover = -1;
    if (result == 0 && (status.stx_mode & 0170000) == 0040000) {
        /* One empty file system serves all masked directories: the first takes it, the others a clone, since before
           Linux 6.15 only an attached mount can be cloned. */
        if (empty < 0) {
            result = empty = new_mount(s, "tmpfs", "tmpfs", NULL,
                                       MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
            if (empty >= 0)
                result = set_mount((int)empty, MOUNT_ATTR_RDONLY, 0, 0, 0);
            if (result >= 0)
                result = attach_mount((int)empty, (int)target);
            close_fd(target);
            return result;
        }
        result = cover = SYS3(__NR_open_tree, empty, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    } else if (result == 0) {
        result = cover = clone_null(s);
    }
    if (result >= 0)
        result = attach_mount((int)cover, (int)target);
    if (cover >= 0)
        close_fd(cover);
    close_fd(target);
    return result;
}

long step_set_attributes(const struct state *s, args a)
{
    long target = open_inside(s, text(s, a[0]), O_PATH, 0);
    if (target < 0)
        return target;
    long result = set_mount((int)target, a[1], 0, 0, 0);
    close_fd(target);
    return result;
}

long step_readonly(const struct state *s, args a)
{
    long target = open_inside(s, text(s, a[0]), O_PATH, 0);
    if (target == -ENOENT || target == -ENOTDIR)
        return 0;
    if (target < 0)
        return target;
    long tree = SYS3(__NR_open_tree, target, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    long result = tree;
    if (tree >= 0) {
        result = set_mount((int)tree, MOUNT_ATTR_RDONLY, 0, 0, 1);
        if (result == 0)
            result = attach_mount((int)tree, (int)target);
        close_fd(tree);
    }
    close_fd(target);
    return result;
}
