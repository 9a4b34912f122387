/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "clinux_childmount.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK_SIZE = 64 << 10 };

struct child {
    struct clinux_child_mount *mount;
    int fd, error;
};

/* Runs in the child on a stack of its own, in the caller's memory while the caller's thread waits: system calls only. */
static int run(void *argument)
{
    struct child *child = argument;
    struct clinux_child_mount *m = child->mount;

    /* Else the mount would show in the namespaces that share the file system's mount with this one. */
    m->step = CLINUX_CHILD_PRIVATE;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1)
        goto failed;
    /* By path: a descriptor would lead to the caller's mount, whose directories this namespace may not stack. */
    m->step = CLINUX_CHILD_CHDIR;
    if (chdir(m->directory) == -1)
        goto failed;
    m->step = CLINUX_CHILD_MOUNT;
    if (mount(m->type, m->target, m->type, m->flags, m->data) == -1)
        goto failed;
    m->step = CLINUX_CHILD_OPEN_TREE;
    /* The table of descriptors is shared, so this is the caller's. */
    child->fd = (int)syscall(SYS_open_tree, AT_FDCWD, m->target, 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC);
    if (child->fd == -1)
        goto failed;
    return 0;
failed:
    child->error = errno;
    return 1;
}

int clinux_mount_in_child(struct clinux_child_mount *m)
{
    struct child child = {.mount = m, .fd = -1, .error = 0};
    sigset_t all, before;
    m->step = CLINUX_CHILD_CLONE;
    void *stack =
        mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED)
        return -1;
    /* A handler must not run in the child, which shares this thread's memory. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    /* No exit signal: no other wait in this process takes the child away, and no SIGCHLD handler hears of it. */
    int pid = clone(run, (char *)stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_NEWNS, &child);
    if (pid == -1)
        child.error = errno;
    else
        while (waitpid(pid, NULL, __WCLONE) == -1 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    munmap(stack, STACK_SIZE);
    if (child.fd == -1)
        errno = child.error;
    return child.fd;
}
