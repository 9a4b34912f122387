/* SPDX-License-Identifier: Apache-2.0 */
/* The process itself: limits, credentials, seccomp, init, exec. */
#include "plan.h"

#include <asm/ioctls.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <asm/signal.h>

long step_wait(args a)
{
    char byte;
    long count;
    do
        count = SYS3(__NR_read, a[0], &byte, 1);
    while (count == -EINTR);
    if (count == 0)
        leave(125); /* whoever was to say go is gone */
    return count < 0 ? count : 0;
}

long step_loopback(void)
{
    struct {
        char name[16];
        short flags;
        char rest[22];
    } request = {.name = "lo", .flags = 0x41 /* IFF_UP | IFF_RUNNING */};
    long fd = SYS3(__NR_socket, 2 /* AF_INET */, 2 /* SOCK_DGRAM */ | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    long result = SYS3(__NR_ioctl, fd, 0x8914 /* SIOCSIFFLAGS */, &request);
    close_fd(fd);
    return result;
}

long step_rlimit(args a)
{
    uint64_t limit[2] = {a[1], a[2]};
    return SYS4(__NR_prlimit64, 0, a[0], limit, 0);
}

long step_bounding(args a)
{
    for (int capability = 0; capability < 64; capability++) {
        if (a[0] >> capability & 1)
            continue;
        long result = SYS5(__NR_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0);
        if (result == -EINVAL)
            break; /* past the kernel's last one */
        TRY(result);
    }
    return 0;
}

static long set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
        {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)},
    };
    return SYS2(__NR_capset, &header, data);
}

/* Keeps permitted capabilities over the change and makes them effective again: seccomp may still need one. */
long step_user(const struct state *s, args a)
{
    TRY(SYS5(__NR_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0));
    TRY(SYS2(__NR_setgroups, a[3] / 4, text(s, a[2])));
    TRY(SYS3(__NR_setresgid, a[1], a[1], a[1]));
    TRY(SYS3(__NR_setresuid, a[0], a[0], a[0]));
    TRY(SYS5(__NR_prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0));
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    TRY(SYS2(__NR_capget, &header, data));
    for (int i = 0; i < 2; i++)
        data[i].effective = data[i].permitted;
    return SYS2(__NR_capset, &header, data);
}

long step_capabilities(args a)
{
    /* What the engine itself does not have cannot be given; the kernel says EPERM for asking. */
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct now[2];
    TRY(SYS2(__NR_capget, &header, now));
    uint64_t possible = now[0].permitted | (uint64_t)now[1].permitted << 32;
    TRY(set_capabilities(a[0] & possible, a[1] & possible, a[2] & possible));
    for (int capability = 0; capability < 64; capability++) {
        if (a[3] & possible & a[2] & (1ULL << capability))
            TRY(SYS5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0));
    }
    return 0;
}

long step_seccomp(const struct state *s, args a)
{
    struct {
        unsigned short length;
        const void *filter;
    } program = {.length = (unsigned short)(a[2] / 8), .filter = text(s, a[1])};
    return SYS3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, a[0], &program);
}

long step_parent_death(const struct state *s, args a)
{
    TRY(SYS5(__NR_prctl, PR_SET_PDEATHSIG, a[0], 0, 0, 0));
    /* In a pid namespace getppid() tells nothing; a parent that died before has closed its end of the socket. */
    struct {
        int fd;
        short events, revents;
    } peer = {.fd = s->control};
    struct {
        long seconds, nanoseconds;
    } now = {0, 0};
    long ready = SYS5(__NR_ppoll, &peer, 1, &now, 0, 8);
    if (ready > 0 && (peer.revents & 0x10 /* POLLHUP */))
        leave(125);
    return 0;
}

/* Default handlers and an empty mask: the child was born with everything blocked, and SIG_IGN is inherited. */
static void reset_signals(void)
{
    struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } action = {0};
    for (int signal = 1; signal <= 64; signal++)
        SYS4(__NR_rt_sigaction, signal, &action, 0, 8);
    uint64_t none = 0;
    SYS4(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &none, 0, 8);
}

/* Waits for every child of the namespace and passes signals on, until the first child ends; then exits as it did. */
static _Noreturn void run_init(int child)
{
    uint64_t all = ~0ULL;
    for (;;) {
        int status;
        long pid;
        while ((pid = SYS4(__NR_wait4, -1, &status, 1 /* WNOHANG */, 0)) > 0) {
            if (pid != child)
                continue;
            int signal = status & 0x7f;
            leave(signal ? 128 + signal : status >> 8 & 0xff);
        }
        long signal = SYS4(__NR_rt_sigtimedwait, &all, 0, 0, 8);
        if (signal > 0 && signal != SIGCHLD)
            SYS2(__NR_kill, child, signal);
    }
}

long step_init(const struct state *s)
{
    long child = SYS5(__NR_clone, SIGCHLD, 0, 0, 0, 0);
    if (child < 0)
        return child;
    if (child > 0) {
        SYS3(__NR_close_range, 3, ~0U, 0);
        run_init((int)child);
    }
    (void)s;
    /* A process group of its own, in the foreground if there is a terminal, as a shell's job is. */
    SYS2(__NR_setpgid, 0, 0);
    int group = (int)SYS1(__NR_getpid, 0);
    SYS3(__NR_ioctl, 0, TIOCSPGRP, &group);
    return 0;
}

static long try_program(const char *path, char **argv, char **envp)
{
    return SYS3(__NR_execve, path, argv, envp);
}

long step_exec(const struct state *s, args a)
{
    /* Vectors of offsets become vectors of pointers in place. */
    for (int v = 1; v <= 2; v++) {
        uint64_t *vector = (uint64_t *)(s->plan + a[v]);
        for (; *vector; vector++)
            *vector += (uint64_t)(uintptr_t)s->plan;
    }
    char **argv = (char **)(s->plan + a[1]);
    char **envp = (char **)(s->plan + a[2]);
    const char *program = text(s, a[0]);
    const char *search = text(s, a[3]);
    size_t length = text_length(program);
    reset_signals();
    if (length == 0)
        return -ENOENT;
    for (size_t i = 0; i < length; i++) {
        if (program[i] == '/')
            return try_program(program, argv, envp);
    }
    long result = -ENOENT;
    while (search) {
        char path[4096];
        size_t count = 0;
        while (search[count] && search[count] != ':')
            count++;
        if (count + length + 2 <= sizeof path) {
            memcpy(path, search, count);
            path[count] = '/';
            memcpy(path + count + (count > 0), program, length + 1);
            long tried = try_program(path, argv, envp);
            /* A file that is there but cannot run is remembered; the search goes on, as execvp(3) does. */
            if (tried == -EACCES)
                result = tried;
            else if (tried != -ENOENT && tried != -ENOTDIR)
                return tried;
        }
        search = search[count] ? search + count + 1 : NULL;
    }
    return result;
}
