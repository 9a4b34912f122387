/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serving on the processor of the program that asks.
 *
 * The scheduler takes a program that wakes up to a processor that is idle, away from the server that wakes it; unless
 * nobody but SCHED_IDLE is on the processor where it slept. So a server that stands beside its caller is SCHED_IDLE, and
 * bound to that processor: its answer lets the caller go on at once, and when that asks again the server goes on.
 * Whoever else wants the processor gets it first, so a guard sees to it that the server is not held up: it makes it an
 * ordinary thread again. That takes privilege, without which nobody stands beside anybody.
 */
#ifndef CFUSE_BESIDE_H
#define CFUSE_BESIDE_H

#include <stdint.h>

/* Starts the guard of this thread, which serves `device`. */
void cfuse_start_guard(int device);

/* Goes to the processor where thread `caller` runs; 0 if that cannot be. */
int cfuse_go_beside(uint32_t caller);

/* Is beside nobody any more. */
void cfuse_leave(void);
int cfuse_is_beside(void);

/* After a request of `caller` (0: of no program that waits), which had not come when the server was ready for it if that
 * `had_to_wait`: goes where that runs now; 0 if it should leave. */
int cfuse_stay_beside(uint32_t caller, int had_to_wait);

/* The server has a request, and is done with it. */
void cfuse_begin_service(void);
void cfuse_end_service(void);

#endif
