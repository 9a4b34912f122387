/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the thread that serves waits for a request:
 * - asleep: it costs nothing, but each request and each answer wakes up another processor, or waits for one;
 * - looking for it again and again, on a processor of its own: nothing has to wake it up;
 * - beside the program that asks, on the same processor (cfuse_beside.h): nothing has to wake up, and what one has in the
 *   processor's caches serves the other. Only good as long as nobody else wants that processor.
 * Which is best shows only in how soon one answer follows the other, so where they come densely the others are tried now and
 * then.
 */
#ifndef CFUSE_PACE_H
#define CFUSE_PACE_H

#include <stdint.h>

enum cfuse_way { CFUSE_ASLEEP, CFUSE_LOOKING, CFUSE_BESIDE, CFUSE_WAYS };

enum {
    CFUSE_PACE_WINDOW = 64,   /* requests whose mean counts */
    CFUSE_PACE_TRIAL = 2,     /* windows of a trial, of which the last counts: the first may go by with changing places */
    CFUSE_PACE_SHORTEST = 8,  /* windows until a way is tried again that was in vain; doubled each time */
    CFUSE_PACE_LONGEST = 512,
    CFUSE_PACE_HELD_UP = 128, /* of those, at least where others want the processor: that costs them and us milliseconds */
    CFUSE_PACE_KEPT = 64,     /* windows until the others are tried after one proved the best */
};

struct cfuse_pace {
    int64_t look_time;         /* for which it looks at most, in ns */
    int allowed;               /* bits of ways; asleep is where it begins even so */
    enum cfuse_way way, best;  /* if they differ, a trial */
    /* Of this window: requests, and the time from one answer to the next. */
    int count;
    int64_t total;
    int trial_windows;
    int64_t mean;              /* of the last windows in the best way, the later the more; 0: of none */
    /* Windows until a way is tried, and how many those are after it was in vain. */
    int left[CFUSE_WAYS], patience[CFUSE_WAYS];
};

/* In any of `ways`, whose bits these are, looking for `look_time` ns at most; 0: never. */
struct cfuse_pace cfuse_pace_of(int ways, int64_t look_time);

/* Takes account of an answer that came `period` ns after the last one; whether the way to wait changes. */
int cfuse_learn(struct cfuse_pace *pace, int64_t period);

/* The way does not work now: sleeps, and tries it again after `least` windows; if that is more than one, ever later. */
void cfuse_give_up(struct cfuse_pace *pace, int least);

#endif
