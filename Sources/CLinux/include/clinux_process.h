/* SPDX-License-Identifier: Apache-2.0 */
/* Processes by descriptor. */
#ifndef CLINUX_PROCESS_H
#define CLINUX_PROCESS_H

#include <stdint.h>

int clinux_pidfd_open(int pid);
int clinux_pidfd_send_signal(int pidfd, int signal);
/* waitid(P_PIDFD) for exit: 0 with `status` as wait(2) gives it; -1 with errno. Blocks unless `nohang`, then 1 if still running. */
int clinux_pidfd_wait(int pidfd, int nohang, int *status);
int clinux_setns(int fd, int kind);
int clinux_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
int clinux_flock(int fd, int operation);

/* Takes the pages of the program's text and constants out of this process; those it needs come back from the page
   cache. For a process that has done most of what it was started for. */
void clinux_drop_program_pages(void);

#endif
