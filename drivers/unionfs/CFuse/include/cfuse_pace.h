/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the thread that serves waits for a request: asleep, or looking for it again and again. Asleep it costs nothing, but
 * each request waits until a processor has woken up or changed from one program to another. Looking helps where it has a
 * processor to itself and does not take its work away from what the program's processor has in its caches. Whether that
 * is so shows only in how soon one answer follows the other, so where they come densely looking is tried now and then, and
 * kept as long as it helps.
 */
#ifndef CFUSE_PACE_H
#define CFUSE_PACE_H

#include <stdint.h>

enum {
    CFUSE_PACE_WINDOW = 64,   /* requests whose mean counts */
    CFUSE_PACE_SHORTEST = 8,  /* windows until looking is tried again after it was in vain; doubled each time */
    CFUSE_PACE_LONGEST = 128,
};

struct cfuse_pace {
    int64_t longest; /* look, in ns; 0: never */
    int looks;
    /* Of this window: requests, and the time from one answer to the next. */
    int count;
    int64_t total;
    /* The mean of that time in the last window asleep. */
    int64_t asleep;
    /* Windows in a row in which looking did not help. */
    int vain;
    /* Windows until the other way is tried, and how many those are after looking was in vain. */
    int left, patience;
};

struct cfuse_pace cfuse_pace_of(int64_t longest);

/* Takes account of an answer that came `period` ns after the last one; whether the way to wait changes. */
int cfuse_learn(struct cfuse_pace *pace, int64_t period);

#endif
