/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "clinux_view.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TREE_CLONE = 1 /* OPEN_TREE_CLONE */, TREE_RECURSIVE = 0x8000 /* AT_RECURSIVE */ };

/* Puts the tree at descriptor `slot`; 0, or the errno. */
static int clone_root(int mounts, int users, const char *const *hidden, int slot)
{
    if (users >= 0 && setns(users, CLONE_NEWUSER) == -1)
        return errno;
    if (setns(mounts, CLONE_NEWNS) == -1)
        return errno;
    if (hidden != NULL) {
        if (unshare(CLONE_NEWNS) == -1 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1)
            return errno;
        for (; *hidden != NULL; hidden++)
            /* More than one may stand there; EINVAL: none does. */
            while (umount2(*hidden, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
                ;
    }
    int tree = (int)syscall(SYS_open_tree, AT_FDCWD, "/", TREE_CLONE | O_CLOEXEC | (hidden != NULL ? TREE_RECURSIVE : 0));
    if (tree == -1 || dup3(tree, slot, O_CLOEXEC) == -1)
        return errno;
    close(tree);
    return 0;
}

int clinux_clone_namespace_root(int mounts, int users, const char *const *hidden)
{
    int slot = open("/", O_PATH | O_CLOEXEC);
    if (slot == -1)
        return -1;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    /* Its own memory, since joining a user namespace changes what may look at that; the table of descriptors is shared.
     * No exit signal: no other wait in this process takes the child away. */
    long pid = syscall(SYS_clone, (long)(CLONE_VFORK | CLONE_FILES), 0L, 0L, 0L, 0L);
    if (pid == 0)
        _exit(clone_root(mounts, users, hidden, slot));
    int status = 0, error = pid == -1 ? errno : 0;
    if (pid != -1) {
        while (waitpid((pid_t)pid, &status, __WCLONE) == -1 && errno == EINTR)
            ;
        error = WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        close(slot);
        errno = error;
        return -1;
    }
    return slot;
}

int clinux_act_as(unsigned int uid, unsigned int gid)
{
    setfsgid(gid);
    setfsuid(uid);
    /* Both only tell what was before; an id that cannot be asks for it. */
    if ((unsigned int)setfsuid((uid_t)-1) != uid || (unsigned int)setfsgid((gid_t)-1) != gid) {
        errno = EPERM;
        return -1;
    }
    /* Leaving id 0 has taken the capabilities on files away. */
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, data) == -1)
        return -1;
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        data[i].effective = data[i].permitted;
    return (int)syscall(SYS_capset, &header, data);
}
