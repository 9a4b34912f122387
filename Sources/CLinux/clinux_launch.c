/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "clinux_launch.h"
#include "clinux_call.h"
#include "clinux_launch_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

const uint64_t CLINUX_CLONE_NEWNS = CLONE_NEWNS, CLINUX_CLONE_NEWCGROUP = CLONE_NEWCGROUP,
               CLINUX_CLONE_NEWUTS = CLONE_NEWUTS, CLINUX_CLONE_NEWIPC = CLONE_NEWIPC,
               CLINUX_CLONE_NEWUSER = CLONE_NEWUSER, CLINUX_CLONE_NEWPID = CLONE_NEWPID,
               CLINUX_CLONE_NEWNET = CLONE_NEWNET, CLINUX_CLONE_NEWTIME = 0x80;

struct child {
    struct clinux_launch launch;
    int error;
};

/*
 * In a new user namespace nobody is root until the id maps are written, and an exec by anyone else drops every
 * capability that is not ambient.
 */
static int keep_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) == -1)
        return -1;
    for (int i = 0; i < 2; i++)
        data[i].inheritable = data[i].permitted;
    if (syscall(SYS_capset, &header, data) == -1)
        return -1;
    for (unsigned long number = 0; number < 64; number++) {
        if (data[number / 32].permitted >> number % 32 & 1)
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0);
    }
    return 0;
}

/* The negative errno of what fails; an exec that succeeds does not return. Without errno, which a child that runs beside
   the parent shares with it. */
static long execute(const struct clinux_launch *l)
{
    char *argv[] = {"strata-init", (char *)l->argument, NULL};
    char *envp[] = {NULL};
    for (int i = 0; i < l->keep_count; i++) {
        long result = clinux_call(SYS_fcntl, l->keep[i], F_SETFD, 0, 0, 0, 0);
        if (result < 0)
            return result;
    }
    return clinux_call(SYS_execveat, l->program, (long)"", (long)argv, (long)envp, AT_EMPTY_PATH, 0);
}

/* Runs in the child, in the parent's memory (CLONE_VM), while the parent's thread waits (CLONE_VFORK). */
static int child_main(void *argument)
{
    struct child *child = argument;

    if ((child->launch.namespaces & CLONE_NEWUSER) && keep_capabilities() == -1) {
        child->error = errno;
        return 127;
    }
    child->error = (int)-execute(&child->launch);
    return 127;
}

/* The same beside the parent; a failure goes where the program's own would. */
static int concurrent_main(void *argument)
{
    const struct clinux_launch *l = &((struct child *)argument)->launch;
    struct clinux_plan_message message = {.kind = CLINUX_PLAN_FAILED, .index = UINT32_MAX};

    message.error = (int32_t)-execute(l);
    clinux_call(SYS_write, l->control, (long)&message, sizeof message, 0, 0, 0);
    return 127;
}

/* clone3(2) whose child calls `run(argument)` on the stack in `args` and exits with what that returns. */
static long clone3_call(struct clone_args *args, int (*run)(void *), void *argument)
{
    long result;
#if defined(__x86_64__)
    register int (*function)(void *) __asm__("r12") = run;
    register void *value __asm__("r13") = argument;
    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xorl %%ebp, %%ebp\n\t"
                     "movq %%r13, %%rdi\n\t"
                     "callq *%%r12\n\t"
                     "movl %%eax, %%edi\n\t"
                     "movl $60, %%eax\n\t"
                     "syscall\n"
                     "1:"
                     : "=a"(result)
                     : "0"((long)SYS_clone3), "D"(args), "S"(sizeof *args), "r"(function), "r"(value)
                     : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long number __asm__("x8") = SYS_clone3;
    register long x0 __asm__("x0") = (long)args;
    register long x1 __asm__("x1") = sizeof *args;
    register int (*function)(void *) __asm__("x19") = run;
    register void *value __asm__("x20") = argument;
    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, #0\n\t"
                     "mov x0, x20\n\t"
                     "blr x19\n\t"
                     "mov x8, #93\n\t"
                     "svc #0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(number), "r"(x1), "r"(function), "r"(value)
                     : "x30", "memory");
    result = x0;
#else
#error "clone3 is written for x86-64 and arm64"
#endif
    return result;
}

/* Makes children of this thread start in the pid namespace `target`; the old one's descriptor, or -1. */
static int enter_pid_namespace(int target)
{
    int own = open("/proc/thread-self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (own == -1)
        return -1;
    if (setns(target, CLONE_NEWPID) == -1) {
        int error = errno;
        close(own);
        errno = error;
        return -1;
    }
    return own;
}

/* No handler may run in the child, and the interpreter starts with everything blocked. */
static long clone_blocked(struct clone_args *args, int (*run)(void *), void *argument)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    long pid = clone3_call(args, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid;
}

int clinux_launch(const struct clinux_launch *launch, int *pidfd)
{
    _Alignas(16) char stack[16384];
    struct child child = {.launch = *launch};
    struct clone_args args = {
        .flags = launch->namespaces | CLONE_PIDFD | CLONE_VM | CLONE_VFORK | CLONE_CLEAR_SIGHAND,
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
        .stack = (uint64_t)(uintptr_t)stack,
        .stack_size = sizeof stack,
    };
    if (launch->cgroup >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)launch->cgroup;
    }
    int own = -1;
    if (launch->pid_namespace >= 0 && (own = enter_pid_namespace(launch->pid_namespace)) == -1)
        return -1;
    long pid = clone_blocked(&args, child_main, &child);
    if (own != -1) {
        setns(own, CLONE_NEWPID);
        close(own);
    }
    if (pid < 0) {
        errno = (int)-pid;
        return -1;
    }
    if (child.error != 0) {
        siginfo_t info;
        waitid(P_PID, (id_t)pid, &info, WEXITED);
        close(*pidfd);
        errno = child.error;
        return -1;
    }
    return (int)pid;
}

struct concurrent {
    struct child child;
    int keep[8];
    char argument[16];
    _Alignas(16) char stack[8192];
};

int clinux_launch_concurrently(const struct clinux_launch *launch, int *pidfd, void **memory)
{
    size_t length = strlen(launch->argument) + 1;
    struct concurrent *c = NULL;
    if (launch->keep_count < 0 || launch->keep_count > 8 || length > sizeof c->argument) {
        errno = EINVAL;
        return -1;
    }
    c = aligned_alloc(_Alignof(struct concurrent), sizeof *c);
    if (!c)
        return -1;
    c->child = (struct child){.launch = *launch};
    memcpy(c->keep, launch->keep, (size_t)launch->keep_count * sizeof(int));
    memcpy(c->argument, launch->argument, length);
    c->child.launch.keep = c->keep;
    c->child.launch.argument = c->argument;
    struct clone_args args = {
        .flags = launch->namespaces | CLONE_PIDFD | CLONE_VM | CLONE_CLEAR_SIGHAND,
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
        .stack = (uint64_t)(uintptr_t)c->stack,
        .stack_size = sizeof c->stack,
    };
    long pid = clone_blocked(&args, concurrent_main, &c->child);
    if (pid < 0) {
        free(c);
        errno = (int)-pid;
        return -1;
    }
    *memory = c;
    return (int)pid;
}

int clinux_memfd_program(const char *name)
{
    /* MFD_EXEC (Linux 6.3) where the kernel wants it said. */
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | 0x10U);
    return fd != -1 || errno != EINVAL ? fd : memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

int clinux_seqpacket_pair(int pair[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

int clinux_pipe(int pair[2])
{
    return pipe2(pair, O_CLOEXEC);
}

int clinux_send_descriptors(int socket, const int *descriptors, int count)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(253 * sizeof(int))];
    } control;
    char byte = 0;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};
    size_t size = (size_t)count * sizeof(int);
    if (count < 1 || count > 253) {
        errno = EINVAL;
        return -1;
    }
    message.msg_controllen = CMSG_SPACE(size);
    memset(&control, 0, sizeof control);
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(&control.head), descriptors, size);
    return sendmsg(socket, &message, MSG_NOSIGNAL) == -1 ? -1 : 0;
}

long clinux_receive(int socket, void *buffer, unsigned long size, int *descriptor)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = buffer, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    *descriptor = -1;
    long count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    struct cmsghdr *head = count > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS)
        memcpy(descriptor, CMSG_DATA(head), sizeof(int));
    return count;
}
