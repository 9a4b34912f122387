/* SPDX-License-Identifier: Apache-2.0 */
#include "cfuse_crew.h"

#include <pthread.h>
#include <time.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int wanted;
    /* Until when the first helps because of a crowd. */
    int64_t crowd_end;
} crew = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int64_t cfuse_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void cfuse_want_help(int more)
{
    pthread_mutex_lock(&crew.lock);
    __atomic_add_fetch(&crew.wanted, more, __ATOMIC_SEQ_CST);
    if (more > 0) pthread_cond_broadcast(&crew.changed);
    pthread_mutex_unlock(&crew.lock);
}

int cfuse_is_crowded(void) { return cfuse_now() < __atomic_load_n(&crew.crowd_end, __ATOMIC_SEQ_CST); }

int cfuse_is_wanted(int number)
{
    return __atomic_load_n(&crew.wanted, __ATOMIC_SEQ_CST) > number || (number == 0 && cfuse_is_crowded());
}

void cfuse_look_for_crowd(uint32_t caller)
{
    static const int64_t help_time = 10 * 1000000;
    static uint32_t last, changes;
    if (!caller) return;
    changes = changes << 1 | (caller != last);
    last = caller;
    if (__builtin_popcount(changes) < 10 || cfuse_is_wanted(0)) return;
    pthread_mutex_lock(&crew.lock);
    __atomic_store_n(&crew.crowd_end, cfuse_now() + help_time, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&crew.changed);
    pthread_mutex_unlock(&crew.lock);
}

void cfuse_wait_until_wanted(int number)
{
    pthread_mutex_lock(&crew.lock);
    while (!cfuse_is_wanted(number)) pthread_cond_wait(&crew.changed, &crew.lock);
    pthread_mutex_unlock(&crew.lock);
}
