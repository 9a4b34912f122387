/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "cfuse_beside.h"
#include "cfuse_system.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    MOVES_AFTER = 2, /* answers that made nobody go on there */
    ROUNDS = 4,      /* of all processors before nobody is found on any: while the server goes to one, its caller may leave it */
    LOOKS = 2,       /* of the guard, one after the other, that have to show that the server is held up */
    HOLD_UPS = 2,    /* between which it was not all well for long: the processor is not the server's */
    /* In ns. A guard that wakes up often does harm: the scheduler takes the caller to the processor that is awake. */
    PATIENCE = 1000000,
    LONGEST_PAUSE = 16 * PATIENCE, /* of the guard, while all goes well */
    LONGEST_WAIT = 10 * PATIENCE,  /* for a request */
};

static struct {
    /* Held by who moves the server; by one beside its caller only as long as that takes. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int may;
    int device;
    pid_t server, guard;
    clockid_t time;
    /* Where the server may run anyhow. */
    cpu_set_t processors;
    /* Where it is, or was, and whether the caller was there. */
    int processor, is_found;
    /* Where the caller is not, how often this one showed to be of those, and whether somebody was answered since that was
     * looked at, when so many had taken the processor. */
    cpu_set_t others;
    int misses, rounds, has_answered;
    long switches;
    /* What the guard looks at. */
    int is_beside, is_serving, was_held_up;
    uint64_t served;
} place = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static int set_policy(pid_t thread, int policy)
{
    struct sched_param parameters = {0};
    return sched_setscheduler(thread, policy, &parameters);
}

/* The state of the server: `R` if it runs or would. Of no other thread is anything read there: a program that executes another
 * one may hold what the reader needs while it waits for the server, which closes its files. */
static char server_state(void)
{
    char path[32], buffer[512];
    snprintf(path, sizeof path, "/proc/self/task/%ld/stat", (long)place.server);
    if (!cfuse_read_text(path, buffer, sizeof buffer)) return 0;
    const char *end = strrchr(buffer, ')');
    return end && end[1] == ' ' ? end[2] : 0;
}

/* Whether the server could go on if it had a processor, and somebody waits for that. */
static int is_held_up(void)
{
    if (server_state() != 'R') return 0;
    if (__atomic_load_n(&place.is_serving, __ATOMIC_SEQ_CST)) return 1;
    struct pollfd request = {.fd = place.device, .events = POLLIN};
    return poll(&request, 1, 0) > 0;
}

int cfuse_is_beside(void) { return __atomic_load_n(&place.is_beside, __ATOMIC_SEQ_CST); }

int cfuse_was_held_up(void) { return __atomic_load_n(&place.was_held_up, __ATOMIC_SEQ_CST); }

static int64_t processor_time(void)
{
    struct timespec time;
    if (clock_gettime(place.time, &time)) return 0;
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Whether nobody gave the server other processors since it was bound to one. */
static int is_where_bound(void)
{
    cpu_set_t now;
    return sched_getaffinity(place.server, sizeof now, &now) == 0 && CPU_COUNT(&now) == 1
           && CPU_ISSET(place.processor, &now);
}

/* With the lock held. */
static void go_back(void)
{
    if (!cfuse_is_beside()) return;
    set_policy(place.server, SCHED_OTHER);
    if (is_where_bound()) sched_setaffinity(place.server, sizeof place.processors, &place.processors);
    __atomic_store_n(&place.is_beside, 0, __ATOMIC_SEQ_CST);
}

static void nap(int64_t time)
{
    const struct timespec span = {.tv_nsec = time};
    nanosleep(&span, NULL);
}

static uint64_t served(void) { return __atomic_load_n(&place.served, __ATOMIC_SEQ_CST); }

/* Whether the server does not get on for as long as all looks take. */
static int stays_held_up(void)
{
    for (int look = 0; look < LOOKS; look++) {
        uint64_t before = served();
        int64_t time = processor_time();
        if (!is_held_up()) return 0;
        nap(PATIENCE);
        if (!cfuse_is_beside() || served() != before || processor_time() - time >= PATIENCE / 2) return 0;
    }
    return is_held_up();
}

/* Until there was no request for long, or the server was held up. The first time that may have been a caller that waits for
 * nothing: it closed a file, and does something else since. */
static void watch(void)
{
    static int hold_ups;
    int64_t pause = PATIENCE, waited = 0;
    for (;;) {
        uint64_t before = served();
        nap(pause);
        int is_starved = stays_held_up();
        if (!cfuse_is_beside()) return;
        if (is_starved) {
            /* It may hold the lock, and has to be helped first. */
            set_policy(place.server, SCHED_OTHER);
            hold_ups++;
        } else if (served() == before) {
            waited += pause;
        } else {
            waited = 0;
            if (pause < LONGEST_PAUSE) pause *= 2;
            else hold_ups = 0;
        }
        if (waited < LONGEST_WAIT && !is_starved) continue;
        /* The server leaves by itself, with its next request. */
        int leaves = is_starved && hold_ups >= HOLD_UPS;
        if (leaves || pthread_mutex_trylock(&place.lock)) {
            if (is_starved) __atomic_store_n(&place.was_held_up, 1, __ATOMIC_SEQ_CST);
            continue;
        }
        go_back();
        pthread_mutex_unlock(&place.lock);
        return;
    }
}

static void *guard(void *unused)
{
    (void)unused;
    place.guard = (pid_t)syscall(SYS_gettid);
    /* Not everybody comes back from there. */
    if (set_policy(0, SCHED_IDLE) || set_policy(0, SCHED_OTHER)) return NULL;
    __atomic_store_n(&place.may, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        pthread_mutex_lock(&place.lock);
        while (!cfuse_is_beside()) pthread_cond_wait(&place.changed, &place.lock);
        pthread_mutex_unlock(&place.lock);
        watch();
    }
}

void cfuse_start_guard(int device)
{
    if (sched_getscheduler(0) != SCHED_OTHER) return;
    if (pthread_getcpuclockid(pthread_self(), &place.time)) return;
    place.device = device;
    place.server = (pid_t)syscall(SYS_gettid);
    pthread_t thread;
    if (pthread_create(&thread, NULL, guard, NULL) == 0) pthread_detach(thread);
}

/* How often somebody took the processor from the server. */
static long switches(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) ? 0 : usage.ru_nivcsw;
}

static int bind_to(int processor)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    if (sched_setaffinity(0, sizeof one, &one)) return 0;
    place.processor = processor;
    place.is_found = place.misses = place.has_answered = 0;
    place.switches = switches();
    /* If it woke up there, it would drive the caller away. */
    cpu_set_t others = place.processors;
    CPU_CLR(processor, &others);
    sched_setaffinity(place.guard, sizeof others, &others);
    return 1;
}

/* Goes to the next processor where the caller may be, with the lock held. */
static int go_on(void)
{
    for (int step = 1; step <= CPU_SETSIZE; step++) {
        int next = (place.processor + step) % CPU_SETSIZE;
        if (CPU_ISSET(next, &place.processors) && !CPU_ISSET(next, &place.others)) return bind_to(next);
    }
    return 0;
}

/* With the lock held. */
static int go(void)
{
    /* Somebody may have given it other processors since. */
    if (sched_getaffinity(0, sizeof place.processors, &place.processors)) return 0;
    if (CPU_COUNT(&place.processors) < 2) return 0;
    CPU_ZERO(&place.others);
    place.rounds = 0;
    /* The server slept or looked where the caller was not. */
    int was_found = place.is_found && CPU_ISSET(place.processor, &place.processors);
    if (!was_found) place.processor = sched_getcpu();
    if (!(was_found ? bind_to(place.processor) : go_on())) return 0;
    __atomic_store_n(&place.was_held_up, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&place.is_beside, 1, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&place.changed);
    return 1;
}

int cfuse_go_beside(void)
{
    if (!__atomic_load_n(&place.may, __ATOMIC_SEQ_CST)) return 0;
    pthread_mutex_lock(&place.lock);
    int is_there = go();
    pthread_mutex_unlock(&place.lock);
    if (!is_there) return 0;
    if (set_policy(0, SCHED_IDLE)) cfuse_leave();
    /* The guard may have seen nobody come for long, before there was anything to go back from. */
    if (!cfuse_is_beside()) set_policy(0, SCHED_OTHER);
    return cfuse_is_beside();
}

void cfuse_leave(void)
{
    if (!cfuse_is_beside()) return;
    set_policy(0, SCHED_OTHER);
    pthread_mutex_lock(&place.lock);
    go_back();
    pthread_mutex_unlock(&place.lock);
}

/* Whether the caller is on another processor: here, it takes that from the server when it is answered. */
static int is_elsewhere(void)
{
    if (!place.has_answered) return 0;
    long now = switches();
    int has_yielded = now != place.switches;
    place.switches = now;
    place.has_answered = 0;
    place.misses = has_yielded ? 0 : place.misses + 1;
    if (has_yielded) {
        CPU_ZERO(&place.others);
        place.is_found = 1;
        place.rounds = 0;
    }
    return place.misses >= MOVES_AFTER;
}

/* Goes where it was not yet, or, if it was everywhere, begins again; with the lock held. */
static int look_elsewhere(void)
{
    CPU_SET(place.processor, &place.others);
    if (!cfuse_is_beside() || !is_where_bound()) return 0;
    if (go_on()) return 1;
    CPU_ZERO(&place.others);
    CPU_SET(place.processor, &place.others);
    return ++place.rounds < ROUNDS && go_on();
}

int cfuse_stay_beside(int is_awaited, int had_to_wait)
{
    if (cfuse_was_held_up()) return 0;
    /* A caller on the same processor goes on, and most often asks again, before the server does anything more. */
    int is_there = 1;
    if (had_to_wait && is_elsewhere()) {
        pthread_mutex_lock(&place.lock);
        is_there = look_elsewhere();
        pthread_mutex_unlock(&place.lock);
    }
    place.has_answered |= is_awaited;
    return is_there;
}

void cfuse_begin_service(void)
{
    __atomic_add_fetch(&place.served, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&place.is_serving, 1, __ATOMIC_RELEASE);
}

void cfuse_end_service(void) { __atomic_store_n(&place.is_serving, 0, __ATOMIC_RELEASE); }
