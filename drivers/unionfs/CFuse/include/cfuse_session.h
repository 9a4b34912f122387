/* SPDX-License-Identifier: Apache-2.0 */
/* libfuse3's low-level API, and what the kernel's protocol has beyond it: passthrough, unnamed files, set-id bits. */
#ifndef CFUSE_SESSION_H
#define CFUSE_SESSION_H

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <stdint.h>

/* What the kernel offered beyond libfuse and was taken. */
enum cfuse_feature {
    CFUSE_PASSTHROUGH = 1, /* data of an open file goes to a backing file in the kernel */
    CFUSE_KILLPRIV = 2,    /* the server drops set-id bits when the kernel says so */
    CFUSE_IDMAP = 4,       /* the mount can be id-mapped */
};

/* A session on `device`; NULL and errno on failure. `wanted` are cfuse_feature bits to take where offered. */
struct fuse_session *cfuse_session_new(const struct fuse_lowlevel_ops *ops, void *userdata, int device, int wanted);

/* Serves requests that come by `device` until the mount is gone (0) or reading fails (-errno). One thread does this, since
 * most often it is best where the program runs that asks. It waits for requests in whichever of `ways` (bits of cfuse_way)
 * is best, looking for `look_time` microseconds at most. With `has_help`, helpers come in when several programs ask at
 * once. */
int cfuse_serve(struct fuse_session *session, int device, int ways, int look_time, int has_help);

/* Serves, as helper `number` of 0 and more, whenever more than that many requests take long, or many come. */
int cfuse_help(struct fuse_session *session, int device, int number);

/* Takes over from a server that is dead: the session learns what INIT said. 0: nothing was said yet. */
int cfuse_resume(struct fuse_session *session);

/* What this thread does now takes long: somebody else serves meanwhile. */
void cfuse_begin_long(void);
void cfuse_end_long(void);

/* Closes every descriptor above 2, so that nothing of the layers' file systems is held any more, and ends the process. */
_Noreturn void cfuse_end(int code);

/* cfuse_feature bits of the connection, once INIT was answered. */
int cfuse_features(void);

/* Of the request this thread is serving: */
int cfuse_is_unnamed(void);    /* CREATE stands for O_TMPFILE */
int cfuse_drops_set_ids(void); /* the caller is not privileged to keep set-id bits; in SETXATTR of an access list, setgid */
uint32_t cfuse_caller(void);   /* the thread that asks; 0 where that is not known */
/* The backing file that the next OPEN or CREATE reply of this thread names; 0: none. */
void cfuse_set_backing(int backing);
int cfuse_asks_birth(void); /* GETATTR stands for STATX */
/* The time of birth that the reply tells, in nanoseconds since 1970; 0: it is not known. */
void cfuse_set_birth(int64_t birth);

/* A buffer of this thread of at least `size` bytes; NULL without memory. */
void *cfuse_buffer(size_t size);

#endif
