/* SPDX-License-Identifier: Apache-2.0 */
/* Standard input, output and error; the container's terminal. */
#include "plan.h"

#include <linux/fcntl.h>
#include <linux/ioctl.h>
#include <asm/ioctls.h>
#include <linux/mount.h>
#include <linux/openat2.h>

struct window {
    uint16_t rows, columns, x, y;
};

/* Puts three descriptors on 0, 1 and 2, whatever their numbers are. */
static long place(long in, long out, long err)
{
    long wanted[3] = {in, out, err};
    for (int i = 0; i < 3; i++) {
        if (wanted[i] < 3 && wanted[i] != i) {
            wanted[i] = SYS3(__NR_fcntl, wanted[i], F_DUPFD, 3);
            TRY(wanted[i]);
        }
    }
    for (int i = 0; i < 3; i++) {
        /* dup3 refuses equal numbers; such a descriptor only loses its close-on-exec. */
        if (wanted[i] == i)
            TRY(SYS3(__NR_fcntl, i, F_SETFD, 0));
        else
            TRY(SYS3(__NR_dup3, wanted[i], i, 0));
    }
    return 0;
}

long step_stdio(args a)
{
    return place((int)a[0], (int)a[1], (int)a[2]);
}

long step_controlling(void)
{
    return SYS3(__NR_ioctl, 0, TIOCSCTTY, 0);
}

/* Sends `fd` to the engine (SCM_RIGHTS). */
static long send_terminal(int control, int fd)
{
    struct clinux_plan_message body = {.kind = CLINUX_PLAN_TERMINAL};
    struct {
        void *base;
        size_t length;
    } part = {&body, sizeof body};
    struct {
        size_t length;
        int level, type, fd, padding;
    } rights = {.length = 20, .level = 1 /* SOL_SOCKET */, .type = 1 /* SCM_RIGHTS */, .fd = fd};
    struct {
        void *name;
        uint32_t name_length;
        void *parts;
        size_t part_count;
        void *control;
        size_t control_length;
        int flags;
    } message = {.parts = &part, .part_count = 1, .control = &rights, .control_length = sizeof rights};
    long sent = SYS3(__NR_sendmsg, control, &message, 0);
    return sent < 0 ? sent : 0;
}

/* The pair is made by the container's own devpts; its other end is opened through the master, by no path. */
static long open_pair(const struct state *s, long *master, long *slave)
{
    *master = open_inside(s, "/dev/pts/ptmx", O_RDWR | O_NOCTTY, RESOLVE_NO_SYMLINKS);
    if (*master < 0)
        return *master;
    int unlocked = 0;
    TRY(check_device(*master, 5, 2));
    TRY(SYS3(__NR_ioctl, *master, TIOCSPTLCK, &unlocked));
    *slave = SYS3(__NR_ioctl, *master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return *slave < 0 ? *slave : 0;
}

static long bind_console(const struct state *s, long slave)
{
    long tree = SYS3(__NR_open_tree, slave, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        return tree;
    long target = open_target(s, "/dev/console", CLINUX_TARGET_FILE | CLINUX_TARGET_NO_SYMLINKS);
    long result = target < 0 ? target : attach_mount((int)tree, (int)target);
    if (target >= 0)
        close_fd(target);
    close_fd(tree);
    return result;
}

long step_terminal(const struct state *s, args a)
{
    long master, slave;
    TRY(open_pair(s, &master, &slave));
    struct window window = {.rows = (uint16_t)a[0], .columns = (uint16_t)a[1]};
    if (window.rows || window.columns)
        TRY(SYS3(__NR_ioctl, slave, TIOCSWINSZ, &window));
    if (a[2])
        TRY(SYS3(__NR_fchown, slave, a[2], -1));
    if (a[3])
        TRY(bind_console(s, slave));
    TRY(send_terminal(s->control, (int)master));
    close_fd(master);
    TRY(place(slave, slave, slave));
    close_fd(slave);
    return 0;
}
