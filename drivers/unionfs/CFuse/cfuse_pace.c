/* SPDX-License-Identifier: Apache-2.0 */
#include "cfuse_pace.h"

struct cfuse_pace cfuse_pace_of(int64_t longest)
{
    return (struct cfuse_pace){.longest = longest, .patience = CFUSE_PACE_SHORTEST};
}

static void sleep_or_look(struct cfuse_pace *pace, int looks, int windows)
{
    pace->looks = looks;
    pace->left = windows;
    pace->vain = 0;
}

int cfuse_learn(struct cfuse_pace *pace, int64_t period)
{
    static const int64_t soon = 12 * 1000, late = 500 * 1000, pause = 10 * 1000000;
    int looked = pace->looks;
    if (pace->longest == 0) return 0;
    if (period > pause) {
        pace->count = 0;
        pace->total = 0;
        sleep_or_look(pace, 0, 0);
        return looked;
    }
    /* That somebody else had the processor for long says nothing. */
    pace->total += period < late ? period : late;
    if (++pace->count < CFUSE_PACE_WINDOW) return 0;
    int64_t mean = pace->total / CFUSE_PACE_WINDOW;
    pace->count = 0;
    pace->total = 0;
    pace->left--;
    if (!looked) {
        pace->asleep = mean;
        if (mean > soon && pace->left <= 0) sleep_or_look(pace, 1, CFUSE_PACE_SHORTEST * CFUSE_PACE_SHORTEST);
    } else if (mean > pace->asleep / 4 * 3) {
        /* The first window may have been spent on changing places. */
        if (++pace->vain == 2) {
            sleep_or_look(pace, 0, pace->patience);
            if (pace->patience < CFUSE_PACE_LONGEST) pace->patience *= 2;
        }
    } else {
        pace->vain = 0;
        pace->patience = CFUSE_PACE_SHORTEST;
        if (pace->left <= 0) sleep_or_look(pace, 0, 0);
    }
    return pace->looks != looked;
}
