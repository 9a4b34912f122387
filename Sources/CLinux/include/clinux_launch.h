/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the interpreter of a launch plan in a new process. */
#ifndef CLINUX_LAUNCH_H
#define CLINUX_LAUNCH_H

#include <stdint.h>

struct clinux_launch {
    /* CLONE_NEW* */
    uint64_t namespaces;
    /* A cgroup2 directory the process starts in, or -1. */
    int cgroup;
    /* A pid namespace to start in, or -1. */
    int pid_namespace;
    /* The program, and the one argument it gets. */
    int program;
    const char *argument;
    /* Descriptors that stay open over the exec, under their numbers. */
    const int *keep;
    int keep_count;
    /* Where a process that is launched concurrently says that its program could not be executed. */
    int control;
};

/* Starts it; the new process's pid, or -1 and errno. Returns once the program runs; all signals are blocked in it. */
int clinux_launch(const struct clinux_launch *launch, int *pidfd);

/*
 * The same without waiting for the program: the new process goes its way beside this one, on another processor if one
 * is idle (one that is waited for stays on this one, and there it would go on waiting for its turn). In the namespaces
 * given, which have no user namespace; at most eight descriptors are kept, the argument is short. `memory` is in use
 * until the program runs or the process has ended; whoever knows of that frees it.
 */
int clinux_launch_concurrently(const struct clinux_launch *launch, int *pidfd, void **memory);

extern const uint64_t CLINUX_CLONE_NEWNS, CLINUX_CLONE_NEWCGROUP, CLINUX_CLONE_NEWUTS, CLINUX_CLONE_NEWIPC,
    CLINUX_CLONE_NEWUSER, CLINUX_CLONE_NEWPID, CLINUX_CLONE_NEWNET, CLINUX_CLONE_NEWTIME;

/* memfd that may be executed and sealed. */
int clinux_memfd_program(const char *name);
/* A connected pair of SOCK_SEQPACKET sockets, closed on exec. */
int clinux_seqpacket_pair(int pair[2]);
/* A pipe, closed on exec. */
int clinux_pipe(int pair[2]);
/* Sends one byte with descriptors, at most 253; -1 and errno. */
int clinux_send_descriptors(int socket, const int *descriptors, int count);
/* Receives one message and at most one descriptor (-1 if none came); its length, 0 at the end, -1 and errno. */
long clinux_receive(int socket, void *buffer, unsigned long size, int *descriptor);

#endif
