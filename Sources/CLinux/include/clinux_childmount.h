/* SPDX-License-Identifier: Apache-2.0 */
/* mount(2) with relative names, whose data the new mount API would cut at 256 bytes before Linux 6.8. */
#ifndef CLINUX_CHILDMOUNT_H
#define CLINUX_CHILDMOUNT_H

enum clinux_child_step {
    CLINUX_CHILD_CLONE,
    CLINUX_CHILD_PRIVATE,
    CLINUX_CHILD_CHDIR,
    CLINUX_CHILD_MOUNT,
    CLINUX_CHILD_OPEN_TREE,
};

struct clinux_child_mount {
    const char *directory; /* where names in `data` and `target` start */
    const char *target;    /* an existing directory; covered in the child's mount namespace only */
    const char *type;
    const char *data;
    unsigned long flags; /* MS_* */
    /* out */
    int step; /* the step that failed */
};

/* Makes the mount in a child with its own mount namespace and gives a detached copy of it: a descriptor, or -1 and
 * errno with `step` set. Nothing appears in the caller's mount namespace. Safe in a process with threads. */
int clinux_mount_in_child(struct clinux_child_mount *mount);

#endif
