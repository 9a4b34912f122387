/* SPDX-License-Identifier: Apache-2.0 */
/* When the threads come in that help the one that serves: while it is held up, or many programs ask at once. */
#ifndef CFUSE_CREW_H
#define CFUSE_CREW_H

#include <stdint.h>

/* So many more helpers are wanted, or fewer. */
void cfuse_want_help(int more);
/* Notes who asks. One program waits for its answer before it asks again; requests that come from several by turns
 * call the first helper for a while. */
void cfuse_look_for_crowd(uint32_t caller);
int cfuse_is_crowded(void);
/* Whether helper `number` of 0 and more has work; the second waits until it has. */
int cfuse_is_wanted(int number);
void cfuse_wait_until_wanted(int number);

/* The monotonic clock, in nanoseconds. */
int64_t cfuse_now(void);

#endif
