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
};

/* Starts it; the new process's pid, or -1 and errno. Returns once the program runs; all signals are blocked in it. */
int clinux_launch(const struct clinux_launch *launch, int *pidfd);

extern const uint64_t CLINUX_CLONE_NEWNS, CLINUX_CLONE_NEWCGROUP, CLINUX_CLONE_NEWUTS, CLINUX_CLONE_NEWIPC,
    CLINUX_CLONE_NEWUSER, CLINUX_CLONE_NEWPID, CLINUX_CLONE_NEWNET, CLINUX_CLONE_NEWTIME;

/* memfd that may be executed and sealed. */
int clinux_memfd_program(const char *name);
/* A connected pair of SOCK_SEQPACKET sockets, closed on exec. */
int clinux_seqpacket_pair(int pair[2]);
/* A pipe, closed on exec. */
int clinux_pipe(int pair[2]);
/* Receives one message and at most one descriptor (-1 if none came); its length, 0 at the end, -1 and errno. */
long clinux_receive(int socket, void *buffer, unsigned long size, int *descriptor);

#endif
