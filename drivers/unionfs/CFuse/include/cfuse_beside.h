/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serving on the processor of the program that asks.
 *
 * The scheduler takes a program that wakes up to a processor that is idle, away from the server that wakes it; unless
 * nobody but SCHED_IDLE is on the processor where it slept. So a server that stands beside its caller is SCHED_IDLE, and
 * bound to that processor: its answer lets the caller go on at once, and when that asks again the server goes on.
 * Where the caller is, nobody tells who could not be waiting for it. So the server tries the processors: on the right one, its
 * answers cost it the processor, as the caller goes on there.
 *
 * Whoever else wants the processor gets it first, so a guard sees to it that the server is not held up: it makes it an
 * ordinary thread again. That takes privilege, without which nobody stands beside anybody.
 */
#ifndef CFUSE_BESIDE_H
#define CFUSE_BESIDE_H

/* Starts the guard of this thread, which serves `device`. */
void cfuse_start_guard(int device);

/* Goes to a processor where the caller may be; 0 if that cannot be. */
int cfuse_go_beside(void);

/* Is beside nobody any more. */
void cfuse_leave(void);
int cfuse_is_beside(void);
/* Since it went there, others had the processor while somebody waited for it. */
int cfuse_was_held_up(void);

/* Before the answer to a request, which had not come when the server was ready for it if that `had_to_wait`, and for whose
 * answer somebody waits if it `is_awaited`: goes to another processor if nobody was on this one; 0 if it should leave. */
int cfuse_stay_beside(int is_awaited, int had_to_wait);

/* The server has a request, and is done with it. */
void cfuse_begin_service(void);
void cfuse_end_service(void);

#endif
