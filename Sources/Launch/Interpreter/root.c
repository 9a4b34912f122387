/* SPDX-License-Identifier: Apache-2.0 */
/* From the engine's mount namespace to the container's root. */
#include "plan.h"

#include <linux/fcntl.h>
#include <linux/mount.h>

#ifndef O_PATH
#define O_PATH 010000000
#endif
#define OPEN_DIRECTORY (O_PATH | 0200000 /* O_DIRECTORY */ | 02000000 /* O_CLOEXEC */)

long set_mount(int mount, uint64_t set, uint64_t clear, uint64_t propagation, int recursive)
{
    struct mount_attr attributes = {.attr_set = set, .attr_clr = clear, .propagation = propagation};
    return SYS5(__NR_mount_setattr, mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attributes,
                sizeof attributes);
}

long attach_mount(int mount, int target)
{
    return SYS5(__NR_move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/* On top of the present root: it needs no directory of its own there, and is reached by descriptor only. */
static long attach_at_top(int mount)
{
    TRY(SYS5(__NR_move_mount, mount, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH));
    return SYS1(__NR_fchdir, mount);
}

/* What lies on top of the old root would be all that the unmount after the pivot takes away: the host's would stay. */
static long detach_home(int home)
{
    TRY(SYS1(__NR_fchdir, home));
    return SYS2(__NR_umount2, ".", 2 /* MNT_DETACH */);
}

long step_propagation(const struct state *s, args a)
{
    (void)s;
    return SYS5(__NR_mount, 0, "/", 0, a[0], 0);
}

long step_root_attach(struct state *s, args a)
{
    s->root = (int)a[0];
    return attach_at_top(s->root);
}

long step_home_attach(struct state *s, args a)
{
    s->root = (int)a[0];
    return attach_at_top(s->root);
}

long step_root_mount(struct state *s, args a)
{
    /* The new mount must be reachable by a path; every host has /proc, and this namespace is about to drop it. */
    const char *point = "/proc";
    TRY(SYS1(__NR_chdir, text(s, a[1])));
    TRY(SYS5(__NR_mount, text(s, a[0]), point, text(s, a[0]), 0, text(s, a[2])));
    long root = SYS4(__NR_openat, AT_FDCWD, point, OPEN_DIRECTORY, 0);
    if (root < 0)
        return root;
    TRY(detach_home(s->root));
    s->root = (int)root;
    return SYS1(__NR_fchdir, root);
}

long step_root_clone(struct state *s, args a)
{
    long tree = SYS3(__NR_open_tree, s->root, text(s, a[0]), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        return tree;
    TRY(detach_home(s->root));
    s->root = (int)tree;
    return attach_at_top(s->root);
}

long step_root_attributes(const struct state *s, args a)
{
    return set_mount(s->root, a[0], 0, a[1], 0);
}

long step_pivot(const struct state *s)
{
    TRY(SYS1(__NR_fchdir, s->root));
    TRY(SYS2(__NR_pivot_root, ".", "."));
    /* The old root now lies on top of the new one, at the same place. */
    TRY(SYS2(__NR_umount2, ".", 2 /* MNT_DETACH */));
    return SYS1(__NR_chdir, "/");
}
