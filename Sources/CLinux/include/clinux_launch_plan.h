/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launch plan as bytes: what the engine writes and the interpreter, which runs in the new process, reads.
 *
 * A header, then `steps` steps one after the other: the operation, the count of its arguments, the arguments as
 * 64-bit words. A text, block or vector argument is an offset from the plan's start (0: none). A vector is words,
 * each the offset of a text, and ends with 0. The plan has no pointers; the interpreter maps it privately.
 *
 * A plan may be in two parts, so that a process can begin before all is known: after the first one's steps the second
 * comes over the control socket, a memfd first and then the descriptors that its steps use.
 */
#ifndef CLINUX_LAUNCH_PLAN_H
#define CLINUX_LAUNCH_PLAN_H

#include <stdint.h>

struct clinux_plan_header {
    uint32_t magic, version, size, steps;
    /* The socket (SOCK_SEQPACKET) to the engine: failures and the terminal go out on it. */
    int32_t control;
    uint32_t first;
    /* Whether another part follows this one's steps. */
    uint32_t continues;
    /* Of a second part: where the offsets of `descriptor_count` words stand, each word the index of a descriptor that
     * came with the part, to be replaced by its number. */
    uint32_t descriptors, descriptor_count, unused;
};

struct clinux_plan_step {
    uint32_t operation, count;
    uint64_t arguments[];
};

/* What the interpreter sends: `kind` 1 with the failed step's index and errno, or 2 with a terminal's descriptor. */
struct clinux_plan_message {
    uint32_t kind, index;
    int32_t error;
};

enum {
    CLINUX_PLAN_MAGIC = 0x504c5453,
    CLINUX_PLAN_VERSION = 2,
    CLINUX_PLAN_MOST_DESCRIPTORS = 200, /* with a second part; the kernel takes 253 in one message */
    CLINUX_PLAN_MOST_PREPARED = 16,
    CLINUX_PLAN_FAILED = 1,
    CLINUX_PLAN_TERMINAL = 2,
};

/* Steps; in brackets the arguments: n number, t text, b block + length, v vector. */
enum {
    CLINUX_STEP_WAIT = 1,         /* [n fd] for one byte; the end of file ends the process */
    CLINUX_STEP_WRITE = 2,        /* [n fd, b] */
    CLINUX_STEP_WRITE_HOST = 3,   /* [t path, b] before the root changes */
    CLINUX_STEP_UNSHARE = 4,      /* [n flags] */
    CLINUX_STEP_SETNS = 5,        /* [n fd, n flags] */
    CLINUX_STEP_HOSTNAME = 6,     /* [t] */
    CLINUX_STEP_DOMAINNAME = 7,   /* [t] */
    CLINUX_STEP_PROPAGATION = 8,  /* [n flags] of the whole mount tree */
    CLINUX_STEP_ROOT_ATTACH = 9,  /* [n fd] a detached mount becomes the root to be */
    CLINUX_STEP_HOME_ATTACH = 10, /* [n fd] a detached mount, from which the next two start */
    CLINUX_STEP_ROOT_MOUNT = 11,  /* [t type, t directory, t data] mount(2) with names relative to directory */
    CLINUX_STEP_ROOT_CLONE = 12,  /* [t directory] below the attached home */
    CLINUX_STEP_MOUNT = 13,       /* [t type, t source, t target, n attributes, v options, n CLINUX_TARGET_*] */
    CLINUX_STEP_ATTACH = 14,      /* [n fd, t target, n set, n clear, n propagation, n recursive, n CLINUX_TARGET_*] */
    CLINUX_STEP_BIND_DEVICE = 15, /* [t host path, t target, n major, n minor] */
    CLINUX_STEP_MKDIR = 16,       /* [t path, n mode] with all parents; present is success */
    CLINUX_STEP_MKNOD = 17,       /* [t path, n mode with type, n major, n minor, n uid, n gid] */
    CLINUX_STEP_SYMLINK = 18,     /* [t target, t path] */
    CLINUX_STEP_MASK = 19,        /* [t path] absent is success */
    CLINUX_STEP_READONLY = 20,    /* [t path] absent is success */
    CLINUX_STEP_SYSCTL = 21,      /* [t name with slashes, b] */
    CLINUX_STEP_ROOT_ATTRIBUTES = 22, /* [n set, n propagation] */
    CLINUX_STEP_PIVOT = 23,       /* [] */
    CLINUX_STEP_LOOPBACK = 24,    /* [] */
    CLINUX_STEP_RLIMIT = 25,      /* [n resource, n soft, n hard] */
    CLINUX_STEP_SETSID = 26,      /* [] */
    CLINUX_STEP_STDIO = 27,       /* [n in, n out, n err] */
    CLINUX_STEP_TERMINAL = 28,    /* [n rows, n columns, n uid, n bind on /dev/console] */
    CLINUX_STEP_CONTROLLING = 29, /* [] standard input becomes the session's terminal */
    CLINUX_STEP_CHDIR = 30,       /* [t path, n make] */
    CLINUX_STEP_UMASK = 31,       /* [n] */
    CLINUX_STEP_BOUNDING = 32,    /* [n mask] capabilities that stay */
    CLINUX_STEP_USER = 33,        /* [n uid, n gid, b groups as 32-bit numbers] capabilities are kept */
    CLINUX_STEP_CAPABILITIES = 34, /* [n effective, n permitted, n inheritable, n ambient] */
    CLINUX_STEP_NO_NEW_PRIVS = 35, /* [] */
    CLINUX_STEP_SECCOMP = 36,     /* [n flags, b program] */
    CLINUX_STEP_PARENT_DEATH = 37, /* [n signal] */
    CLINUX_STEP_CLOSE_REST = 38,  /* [] everything above 2 is closed by the exec */
    CLINUX_STEP_INIT = 39,        /* [] stay as init, go on in a child */
    CLINUX_STEP_EXEC = 40,        /* [t program, v argv, v environment, t PATH] */
    CLINUX_STEP_KEYRING = 41,     /* [] a session keyring of its own */
    CLINUX_STEP_SET_ATTRIBUTES = 42, /* [t path, n set] of the mount whose root is at path */
    CLINUX_STEP_PREPARE = 43,     /* [n slot, t type, t source, v options] a file system that is mounted later */
    CLINUX_STEP_MOUNT_PREPARED = 44, /* [n slot, t target, n attributes, n CLINUX_TARGET_*] */
};

/* How a mount's target is made when it is missing, and what it may be. */
enum {
    CLINUX_TARGET_DIRECTORY = 1,
    CLINUX_TARGET_FILE = 2,
    CLINUX_TARGET_NO_SYMLINKS = 4,
    CLINUX_TARGET_OPTIONAL = 8, /* a file system that this kernel has not is left out */
};

#endif
