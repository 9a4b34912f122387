/* SPDX-License-Identifier: Apache-2.0 */
#include "cfuse_pace.h"

/* A mean below this is not worth a trial: half of it are requests that nobody waits for, where files are closed or removed.
 * Of a server beside its caller, whatever there is to do is in it. */
static const int64_t soon = 5 * 1000, soon_beside = 16 * 1000;
/* That somebody else had the processor for longer says nothing. */
static const int64_t late = 500 * 1000;
/* After this somebody else may be asking, and after the longer one on a machine that does something else. */
static const int64_t pause = 10 * 1000000, long_pause = 1000 * 1000000;

static void forget(struct cfuse_pace *pace)
{
    for (int way = 0; way < CFUSE_WAYS; way++) {
        pace->left[way] = 0;
        pace->patience[way] = CFUSE_PACE_SHORTEST;
    }
}

struct cfuse_pace cfuse_pace_of(int ways, int64_t look_time)
{
    struct cfuse_pace pace = {.look_time = look_time, .allowed = ways};
    if (look_time == 0) pace.allowed &= ~(1 << CFUSE_LOOKING);
    forget(&pace);
    return pace;
}

static int change(struct cfuse_pace *pace, enum cfuse_way way)
{
    int changes = pace->way != way;
    pace->way = way;
    pace->trial_windows = 0;
    pace->count = 0;
    pace->total = 0;
    return changes;
}

/* Looking takes a processor's time, so it has to make answers come a quarter sooner; others, a sixteenth. */
static int is_better(enum cfuse_way way, int64_t mean, enum cfuse_way than, int64_t other)
{
    if (way == CFUSE_LOOKING) return mean < other / 4 * 3;
    if (than == CFUSE_LOOKING) return mean / 4 * 3 <= other;
    return mean < other / 16 * 15;
}

static int is_allowed(const struct cfuse_pace *pace, int way) { return (pace->allowed & 1 << way) != 0; }

static void put_off(struct cfuse_pace *pace, enum cfuse_way way)
{
    pace->left[way] = pace->patience[way];
    if (pace->patience[way] < CFUSE_PACE_LONGEST) pace->patience[way] *= 2;
}

/* Whether a trial has already taken longer than it may; at its beginning it may go by with changing places. */
static int is_hopeless(const struct cfuse_pace *pace)
{
    if (pace->way == pace->best || !is_allowed(pace, pace->best)) return 0;
    int64_t least = pace->total / CFUSE_PACE_WINDOW / (pace->trial_windows == 0 ? 3 : 1);
    return !is_better(pace->way, least, pace->best, pace->mean);
}

static int end_trial(struct cfuse_pace *pace, int64_t mean)
{
    if (++pace->trial_windows < CFUSE_PACE_TRIAL) return 0;
    enum cfuse_way tried = pace->way;
    if (is_allowed(pace, pace->best) && !is_better(tried, mean, pace->best, pace->mean)) {
        put_off(pace, tried);
        return change(pace, pace->best);
    }
    pace->left[pace->best] = CFUSE_PACE_KEPT;
    pace->patience[tried] = CFUSE_PACE_SHORTEST;
    pace->best = tried;
    pace->mean = mean;
    pace->trial_windows = 0;
    return 0;
}

/* Tries what was not tried for longest. */
static int begin_trial(struct cfuse_pace *pace)
{
    int next = -1;
    for (int way = CFUSE_WAYS - 1; way >= 0; way--) {
        if (way == (int)pace->best || !is_allowed(pace, way)) continue;
        if (--pace->left[way] <= 0 && (next < 0 || pace->left[way] < pace->left[next])) next = way;
    }
    /* What takes a processor has to prove its worth again all the same. */
    int64_t good = pace->best == CFUSE_BESIDE ? soon_beside : soon;
    int is_good = pace->mean < good && pace->best != CFUSE_LOOKING && is_allowed(pace, pace->best);
    if (next < 0 || is_good) return 0;
    return change(pace, (enum cfuse_way)next);
}

int cfuse_learn(struct cfuse_pace *pace, int64_t period)
{
    if (!(pace->allowed & ~(1 << CFUSE_ASLEEP))) return 0;
    if (period > pause) {
        /* Beside a caller that comes back, nobody has the processor for it meanwhile. */
        if (period <= long_pause && pace->best == CFUSE_BESIDE) return change(pace, CFUSE_BESIDE);
        if (period > long_pause) forget(pace);
        pace->left[pace->best] = 0;
        pace->best = CFUSE_ASLEEP;
        pace->mean = 0;
        return change(pace, CFUSE_ASLEEP);
    }
    pace->total += period < late ? period : late;
    if (is_hopeless(pace)) {
        put_off(pace, pace->way);
        return change(pace, pace->best);
    }
    if (++pace->count < CFUSE_PACE_WINDOW) return 0;
    int64_t mean = pace->total / CFUSE_PACE_WINDOW;
    pace->count = 0;
    pace->total = 0;
    if (pace->way != pace->best) return end_trial(pace, mean);
    /* Not the last window alone: a trial that follows a bad one would be compared with that. */
    pace->mean = pace->mean ? (3 * pace->mean + mean) / 4 : mean;
    return begin_trial(pace);
}

void cfuse_give_up(struct cfuse_pace *pace, int least)
{
    if (least > 1 && pace->patience[pace->way] < least) pace->patience[pace->way] = least;
    if (least > 1) put_off(pace, pace->way);
    else pace->left[pace->way] = 1;
    pace->best = CFUSE_ASLEEP;
    pace->mean = 0;
    change(pace, CFUSE_ASLEEP);
}
