/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interpreter of launch plans: the first program of a container's first process, and its --init.
 *
 * It runs alone, from a sealed memfd, without a C library, with one argument: the descriptor of the plan. It does the
 * plan's steps in order; the first that fails is reported over the control socket and ends the process. Everything in
 * the plan comes from the engine; what the steps meet inside the container's root is hostile.
 */
#include "plan.h"

#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/sched.h>

long step_write(const struct state *s, args a)
{
    long count = SYS3(__NR_write, a[0], text(s, a[1]), a[2]);
    return count < 0 ? count : 0;
}

long step_write_host(const struct state *s, args a)
{
    long fd = SYS4(__NR_openat, AT_FDCWD, text(s, a[0]), 01 /* O_WRONLY */ | 02000000 /* O_CLOEXEC */, 0);
    if (fd < 0)
        return fd;
    long count = SYS3(__NR_write, fd, text(s, a[1]), a[2]);
    close_fd(fd);
    return count < 0 ? count : 0;
}

static long session_keyring(void)
{
    long result = SYS2(__NR_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, "_ses");
    /* A kernel without keys, or a keyring quota that is used up, is no reason not to run. */
    return result == -ENOSYS || result == -EDQUOT || result >= 0 ? 0 : result;
}

/* In another mount namespace its root is what everything is resolved from. */
static long enter_namespaces(struct state *s, args a)
{
    TRY(SYS2(__NR_setns, a[0], a[1]));
    if (a[1] & CLONE_NEWNS) {
        long root = SYS4(__NR_openat, AT_FDCWD, "/", O_PATH | 0200000 | 02000000, 0);
        TRY(root);
        s->root = (int)root;
    }
    return 0;
}

static long do_step(struct state *s, uint32_t operation, args a)
{
    switch (operation) {
    case CLINUX_STEP_WAIT: return step_wait(a);
    case CLINUX_STEP_WRITE: return step_write(s, a);
    case CLINUX_STEP_WRITE_HOST: return step_write_host(s, a);
    case CLINUX_STEP_UNSHARE: return SYS1(__NR_unshare, a[0]);
    case CLINUX_STEP_SETNS: return enter_namespaces(s, a);
    case CLINUX_STEP_HOSTNAME: return SYS2(__NR_sethostname, text(s, a[0]), text_length(text(s, a[0])));
    case CLINUX_STEP_DOMAINNAME: return SYS2(__NR_setdomainname, text(s, a[0]), text_length(text(s, a[0])));
    case CLINUX_STEP_PROPAGATION: return step_propagation(s, a);
    case CLINUX_STEP_ROOT_ATTACH: return step_root_attach(s, a);
    case CLINUX_STEP_HOME_ATTACH: return step_home_attach(s, a);
    case CLINUX_STEP_ROOT_MOUNT: return step_root_mount(s, a);
    case CLINUX_STEP_ROOT_CLONE: return step_root_clone(s, a);
    case CLINUX_STEP_MOUNT: return step_mount(s, a);
    case CLINUX_STEP_ATTACH: return step_attach(s, a);
    case CLINUX_STEP_BIND_DEVICE: return step_bind_device(s, a);
    case CLINUX_STEP_MKDIR: return step_mkdir(s, a);
    case CLINUX_STEP_MKNOD: return step_mknod(s, a);
    case CLINUX_STEP_SYMLINK: return step_symlink(s, a);
    case CLINUX_STEP_MASK: return step_mask(s, a);
    case CLINUX_STEP_READONLY: return step_readonly(s, a);
    case CLINUX_STEP_SET_ATTRIBUTES: return step_set_attributes(s, a);
    case CLINUX_STEP_SYSCTL: return step_sysctl(s, a);
    case CLINUX_STEP_ROOT_ATTRIBUTES: return step_root_attributes(s, a);
    case CLINUX_STEP_PIVOT: return step_pivot(s);
    case CLINUX_STEP_LOOPBACK: return step_loopback();
    case CLINUX_STEP_RLIMIT: return step_rlimit(a);
    case CLINUX_STEP_SETSID: return SYS1(__NR_setsid, 0) < 0 ? -EPERM : 0;
    case CLINUX_STEP_STDIO: return step_stdio(a);
    case CLINUX_STEP_TERMINAL: return step_terminal(s, a);
    case CLINUX_STEP_CONTROLLING: return step_controlling();
    case CLINUX_STEP_CHDIR: return step_chdir(s, a);
    case CLINUX_STEP_UMASK: SYS1(__NR_umask, a[0]); return 0;
    case CLINUX_STEP_BOUNDING: return step_bounding(a);
    case CLINUX_STEP_USER: return step_user(s, a);
    case CLINUX_STEP_CAPABILITIES: return step_capabilities(a);
    case CLINUX_STEP_NO_NEW_PRIVS: return SYS5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    case CLINUX_STEP_SECCOMP: return step_seccomp(s, a);
    case CLINUX_STEP_PARENT_DEATH: return step_parent_death(s, a);
    case CLINUX_STEP_CLOSE_REST: return SYS3(__NR_close_range, 3, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */);
    case CLINUX_STEP_INIT: return step_init(s);
    case CLINUX_STEP_EXEC: return step_exec(s, a);
    case CLINUX_STEP_PREPARE: return step_prepare(s, a);
    case CLINUX_STEP_MOUNT_PREPARED: return step_mount_prepared(s, a);
    case CLINUX_STEP_KEYRING: return session_keyring();
    default: return -ENOSYS;
    }
}

static _Noreturn void fail(int control, uint32_t index, long error)
{
    struct clinux_plan_message message = {.kind = CLINUX_PLAN_FAILED, .index = index, .error = (int32_t)-error};
    SYS3(__NR_write, control, &message, sizeof message);
    /* As a shell says it: 127 for a program that is not there, 126 for one that cannot run. Read by --init. */
    leave(error == -ENOENT || error == -ENOTDIR ? 127 : 126);
}

/* Does the steps of one part, the first of which is the plan's step `done`; how many have been done with them. */
static uint32_t do_part(struct state *s, uint32_t done)
{
    const struct clinux_plan_header *header = (const void *)s->plan;
    const char *at = s->plan + header->first;
    for (uint32_t index = 0; index < header->steps; index++) {
        const struct clinux_plan_step *step = (const void *)at;
        long result = do_step(s, step->operation, step->arguments);
        if (result < 0)
            fail(s->control, done + index, result);
        at += sizeof *step + 8 * (size_t)step->count;
    }
    return done + header->steps;
}

__attribute__((used)) _Noreturn void interpreter_main(const long *stack)
{
    /* Nobody in the container's pid namespace may look into this process. */
    SYS5(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    const char *argument = stack[0] > 1 ? (const char *)stack[2] : "";
    long fd = 0;
    while (*argument >= '0' && *argument <= '9')
        fd = fd * 10 + (*argument++ - '0');
    struct state state = {.plan = map_plan(fd), .root = -1};
    state.control = ((const struct clinux_plan_header *)(const void *)state.plan)->control;
    SYS3(__NR_fcntl, state.control, F_SETFD, 1 /* FD_CLOEXEC */);
    for (int slot = 0; slot < CLINUX_PLAN_MOST_PREPARED; slot++)
        state.prepared[slot] = -EBADF;
    uint32_t done = do_part(&state, 0);
    while (((const struct clinux_plan_header *)(const void *)state.plan)->continues) {
        receive_part(&state);
        done = do_part(&state, done);
    }
    leave(0);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txorl %ebp, %ebp\n\tmovq %rsp, %rdi\n\tandq $-16, %rsp\n\tcall interpreter_main\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x0, sp\n\tbl interpreter_main\n");
#endif
