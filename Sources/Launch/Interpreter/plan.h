/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the interpreter share. A step's function answers 0 or a negative errno. */
#ifndef INTERPRETER_PLAN_H
#define INTERPRETER_PLAN_H

#include "clinux_launch_plan.h"
#include "system.h"

struct state {
    char *plan;
    int control;
    /* The container's root to be: everything inside it is resolved from here. */
    int root;
    /* Contexts of file systems that have been made, by slot, or why there is none (a negative errno). */
    int prepared[CLINUX_PLAN_MOST_PREPARED];
};

/* The arguments of one step. */
typedef const uint64_t *args;

static inline const char *text(const struct state *s, uint64_t offset)
{
    return offset ? s->plan + offset : NULL;
}

long step_write(const struct state *s, args a);
long step_write_host(const struct state *s, args a);

/* root.c */
long step_propagation(const struct state *s, args a);
long step_root_attach(struct state *s, args a);
long step_home_attach(struct state *s, args a);
long step_root_mount(struct state *s, args a);
long step_root_clone(struct state *s, args a);
long step_root_attributes(const struct state *s, args a);
long step_pivot(const struct state *s);
long set_mount(int mount, uint64_t set, uint64_t clear, uint64_t propagation, int recursive);
long attach_mount(int mount, int target);

/* inside.c: opens below the root, never leaving it. */
long open_inside(const struct state *s, const char *path, uint64_t flags, uint64_t resolve);
long open_target(const struct state *s, const char *path, uint64_t kind);
long make_directories(const struct state *s, const char *path, uint32_t mode);
long step_mkdir(const struct state *s, args a);
long step_mknod(const struct state *s, args a);
long step_symlink(const struct state *s, args a);
long step_sysctl(const struct state *s, args a);
long step_chdir(const struct state *s, args a);
long check_device(long fd, uint32_t major, uint32_t minor);

/* parts.c */
char *map_plan(long fd);
void receive_part(struct state *s);

/* mounts.c */
long step_prepare(struct state *s, args a);
long step_mount_prepared(const struct state *s, args a);
long step_mount(const struct state *s, args a);
long step_attach(const struct state *s, args a);
long step_bind_device(const struct state *s, args a);
long step_mask(const struct state *s, args a);
long step_readonly(const struct state *s, args a);
long step_set_attributes(const struct state *s, args a);

/* terminal.c */
long step_stdio(args a);
long step_terminal(const struct state *s, args a);
long step_controlling(void);

/* process.c */
long step_wait(args a);
long step_loopback(void);
long step_rlimit(args a);
long step_bounding(args a);
long step_user(const struct state *s, args a);
long step_capabilities(args a);
long step_seccomp(const struct state *s, args a);
long step_parent_death(const struct state *s, args a);
long step_init(const struct state *s);
long step_exec(const struct state *s, args a);

#endif
