/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "cfuse_session.h"

#include "cfuse_beside.h"
#include "cfuse_crew.h"
#include "cfuse_device.h"
#include "cfuse_life.h"
#include "cfuse_pace.h"
#include "cfuse_statx.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The parts of the protocol (linux/fuse.h, 7.45) that are completed here; Debian 12's header ends at 7.38. */
enum {
    OP_FORGET = 2,
    OP_GETATTR = 3,
    OP_SETATTR = 4,
    OP_OPEN = 14,
    OP_READ = 15,
    OP_WRITE = 16,
    OP_RELEASE = 18,
    OP_SETXATTR = 21,
    OP_INIT = 26,
    OP_RELEASEDIR = 29,
    OP_CREATE = 35,
    OP_BATCH_FORGET = 42,
    OP_TMPFILE = 51,
    OP_STATX = 52,
    HEADER_IN = 40,
    HEADER_OUT = 16,
    INIT_REPLY = 64,
    OPEN_REPLY = 16,
    LARGEST_REQUEST = (1 << 20) + 4096,
    REPLY_PAGE = 4096,
    FOPEN_KEEP_CACHE_BIT = 1 << 1,
    FOPEN_PASSTHROUGH_BIT = 1 << 7,
};
#define INIT_KILLPRIV (1u << 28)
#define INIT_SETXATTR_EXT (1u << 29)
#define INIT_EXT (1u << 30)
#define INIT2_PASSTHROUGH (1u << 5)
#define INIT2_NO_EXPORT (1u << 6)
#define INIT2_RESEND (1u << 7)
#define INIT2_IDMAP (1u << 8)

/* What this thread works on. */
static __thread struct {
    int device;
    uint32_t opcode;
    uint32_t caller; /* the thread that asks; 0: it is not known, or does not care for the answer */
    int is_awaited; /* somebody stands still until it has the answer */
    int is_unnamed, drops_set_ids, backing, asks_birth, is_resuming, is_server;
    int64_t birth;
    void *reply; /* a page for small ones, behind the buffer for requests */
    void *buffer;
    size_t buffer_size;
} worker = {.device = -1};

static int wanted_features, features;
/* What INIT offered, between its request and its reply. */
static uint32_t offered, offered2;
static uint32_t init_size;
/* Whether SETXATTR says if an access control list comes from a stranger to the file's group. */
static int knows_lists_callers;

static uint32_t word(const void *base, size_t offset)
{
    uint32_t value;
    memcpy(&value, (const char *)base + offset, sizeof value);
    return value;
}

static void put(void *base, size_t offset, uint32_t value) { memcpy((char *)base + offset, &value, sizeof value); }

/* Completes the reply to INIT by what libfuse does not know. */
static void complete_init(char *reply)
{
    uint32_t flags = word(reply, 12), flags2 = 0;
    features = 0;
    knows_lists_callers = !(flags & INIT_SETXATTR_EXT) && (offered & INIT_SETXATTR_EXT);
    if (knows_lists_callers) flags |= INIT_SETXATTR_EXT;
    if ((wanted_features & CFUSE_KILLPRIV) && (offered & INIT_KILLPRIV)) {
        flags |= INIT_KILLPRIV;
        features |= CFUSE_KILLPRIV;
    }
    if (offered & INIT_EXT) {
        if ((wanted_features & CFUSE_PASSTHROUGH) && (offered2 & INIT2_PASSTHROUGH)) {
            flags2 |= INIT2_PASSTHROUGH;
            features |= CFUSE_PASSTHROUGH;
        }
        if ((wanted_features & CFUSE_IDMAP) && (offered2 & INIT2_IDMAP)) {
            flags2 |= INIT2_IDMAP;
            features |= CFUSE_IDMAP;
        }
        /* No handles rather than such that are stale once the kernel has forgotten the inode. */
        flags2 |= offered2 & INIT2_NO_EXPORT;
        flags |= INIT_EXT;
        put(reply, 4, 41);
        put(reply, 32, flags2);
        /* One file system above ours may still be stacked. */
        put(reply, 36, features & CFUSE_PASSTHROUGH ? 1 : 0);
    }
    put(reply, 12, flags);
}

/* In one piece where it is small: the kernel pins the memory of each. And not by way of the library, whose calls are points
 * where a thread could be cancelled, which takes longer to prepare than the system call itself. */
static ssize_t write_reply(int fd, const struct iovec *iov, int count)
{
    size_t size = 0;
    for (int index = 0; index < count; index++) size += iov[index].iov_len;
    if (!worker.reply || size > REPLY_PAGE) return syscall(SYS_writev, fd, iov, count);
    char *end = worker.reply;
    for (int index = 0; index < count; index++) {
        memcpy(end, iov[index].iov_base, iov[index].iov_len);
        end += iov[index].iov_len;
    }
    const struct iovec whole = {.iov_base = worker.reply, .iov_len = size};
    return syscall(SYS_writev, fd, &whole, 1);
}

static ssize_t send_reply(int fd, struct iovec *iov, int count, void *userdata)
{
    (void)userdata;
    char extended[CFUSE_STATX_REPLY];
    /* A notification has no request and takes the session's descriptor. */
    uint64_t unique = 0;
    if (iov[0].iov_len >= HEADER_OUT) memcpy(&unique, (char *)iov[0].iov_base + 8, sizeof unique);
    int is_success = iov[0].iov_len >= HEADER_OUT && word(iov[0].iov_base, 4) == 0;
    if (unique != 0 && is_success && count > 1) {
        char *reply = iov[1].iov_base;
        size_t length = iov[1].iov_len;
        if (worker.opcode == OP_INIT && length >= INIT_REPLY) {
            complete_init(reply);
        } else if (worker.backing > 0 && length >= OPEN_REPLY) {
            char *open_reply = reply + length - OPEN_REPLY;
            uint32_t flags = word(open_reply, 8);
            put(open_reply, 8, (flags | FOPEN_PASSTHROUGH_BIT) & ~(uint32_t)FOPEN_KEEP_CACHE_BIT);
            put(open_reply, 12, (uint32_t)worker.backing);
            worker.backing = 0;
        } else if (worker.asks_birth && length == CFUSE_ATTR_REPLY) {
            cfuse_to_statx(reply, worker.birth, extended);
            iov[1] = (struct iovec){.iov_base = extended, .iov_len = sizeof extended};
            put(iov[0].iov_base, 0, HEADER_OUT + sizeof extended);
        }
    }
    if (worker.is_resuming) {
        ssize_t size = 0;
        for (int index = 0; index < count; index++) size += (ssize_t)iov[index].iov_len;
        return size;
    }
    if (unique != 0) {
        cfuse_note_reply(iov, count);
        if (worker.is_server) cfuse_end_service();
        if (worker.opcode == OP_INIT && cfuse_life()) cfuse_life()->init_size = init_size;
    }
    return write_reply(worker.device >= 0 && unique != 0 ? worker.device : fd, iov, count);
}

static ssize_t receive(int fd, void *buffer, size_t size, void *userdata)
{
    (void)userdata;
    return read(fd, buffer, size);
}

struct fuse_session *cfuse_session_new(const struct fuse_lowlevel_ops *ops, void *userdata, int device, int wanted)
{
    static const struct fuse_custom_io io = {.writev = send_reply, .read = receive};
    char name[] = "strata-unionfs";
    char *words[] = {name, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, words);
    struct fuse_session *session = fuse_session_new(&args, ops, sizeof *ops, userdata);
    if (!session) return NULL;
    wanted_features = wanted;
    int result = fuse_session_custom_io(session, &io, device);
    if (result) {
        fuse_session_destroy(session);
        errno = result < 0 ? -result : EINVAL;
        return NULL;
    }
    return session;
}

/* Keeps INIT for the servers that come after this one. */
static void record_init(const char *request, size_t length)
{
    struct cfuse_shared *shared = cfuse_life();
    if (!shared || worker.is_resuming || length > sizeof shared->init) return;
    memcpy(shared->init, request, length);
    init_size = (uint32_t)length;
    shared->has_resend = !shared->refuses_resend && (offered & INIT_EXT) && (offered2 & INIT2_RESEND);
}

/* Who asks, and whether it waits: for content the kernel also asks ahead. */
static void look_at_caller(const char *request)
{
    worker.caller = word(request, 32);
    switch (worker.opcode) {
    case OP_FORGET:
    case OP_BATCH_FORGET:
    case OP_RELEASE:
    case OP_RELEASEDIR: worker.caller = 0; break;
    default: break;
    }
    worker.is_awaited = worker.caller && worker.opcode != OP_READ && worker.opcode != OP_WRITE;
}

/* Reads what libfuse leaves out of a request, and gives it a form that libfuse knows. */
static void look_at(char *request, size_t length)
{
    worker.opcode = word(request, 4);
    look_at_caller(request);
    worker.is_unnamed = worker.drops_set_ids = worker.asks_birth = 0;
    worker.backing = 0;
    switch (worker.opcode) {
    case OP_INIT:
        offered = length >= HEADER_IN + 16 ? word(request, HEADER_IN + 12) : 0;
        offered2 = length >= HEADER_IN + 20 ? word(request, HEADER_IN + 16) : 0;
        record_init(request, length);
        break;
    case OP_TMPFILE:
        put(request, 4, OP_CREATE);
        worker.is_unnamed = 1;
        break;
    case OP_STATX:
        /* The start of its arguments is the same. */
        put(request, 4, OP_GETATTR);
        worker.asks_birth = 1;
        worker.birth = 0;
        break;
    case OP_OPEN:
        worker.drops_set_ids = length >= HEADER_IN + 8 && (word(request, HEADER_IN + 4) & 1);
        break;
    case OP_CREATE:
        worker.drops_set_ids = length >= HEADER_IN + 16 && (word(request, HEADER_IN + 12) & 1);
        break;
    case OP_WRITE:
        worker.drops_set_ids = length >= HEADER_IN + 24 && (word(request, HEADER_IN + 20) & 4);
        break;
    case OP_SETATTR:
        worker.drops_set_ids = length >= HEADER_IN + 4 && (word(request, HEADER_IN) & (1u << 11));
        break;
    case OP_SETXATTR:
        if (!knows_lists_callers || length < HEADER_IN + 16) break;
        worker.drops_set_ids = word(request, HEADER_IN + 8) & 1;
        /* libfuse knows the form without these eight bytes. */
        memmove(request + HEADER_IN + 8, request + HEADER_IN + 16, length - HEADER_IN - 16);
        put(request, 0, (uint32_t)length - 8);
        break;
    default: break;
    }
}

void cfuse_begin_long(void)
{
    if (worker.is_server) cfuse_leave();
    cfuse_want_help(1);
}

void cfuse_end_long(void) { cfuse_want_help(-1); }

static void *make_buffer(int device)
{
    void *buffer = mmap(NULL, LARGEST_REQUEST + REPLY_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED) return NULL;
    worker.device = device;
    /* When a server is killed while the kernel waits for a page of this, the request fails. */
    if (cfuse_life()) mlock(buffer, LARGEST_REQUEST + REPLY_PAGE);
    worker.reply = (char *)buffer + LARGEST_REQUEST;
    return buffer;
}

/* The descriptor to read from instead of `device`, which outlives this process. A kernel that does not hand out requests
 * again ends those that were read from a descriptor when its last user is gone, so there it is one of our own. */
static int reading_device(int device)
{
    struct cfuse_shared *shared = cfuse_life();
    if (!shared || shared->has_resend) return device;
    int clone = cfuse_clone_device(device);
    return clone < 0 ? device : (worker.device = clone);
}

int cfuse_resume(struct fuse_session *session)
{
    struct cfuse_shared *shared = cfuse_life();
    if (!shared || !shared->init_size) return 0;
    char request[sizeof shared->init];
    memcpy(request, shared->init, shared->init_size);
    worker.is_resuming = 1;
    look_at(request, shared->init_size);
    struct fuse_buf data = {.size = shared->init_size, .mem = request};
    fuse_session_process_buf(session, &data);
    worker.is_resuming = 0;
    return 1;
}

/* What a read of `count` gave: 1 a request to answer, 0 none, -1 the mount is gone, else -errno - 1. */
static int take_request(int device, void *buffer, ssize_t count)
{
    if (count < 0) {
        /* ENOENT: the request was interrupted meanwhile. */
        if (errno == EINTR || errno == EAGAIN || errno == ENOENT) return 0;
        return errno == ENODEV ? -1 : -errno - 1;
    }
    if (count < HEADER_IN) return 0;
    if (worker.is_server) cfuse_begin_service();
    int is_done = cfuse_note_request(device, buffer);
    if (!is_done) look_at(buffer, (size_t)count);
    else if (worker.is_server) cfuse_end_service();
    return !is_done;
}

static void answer_request(struct fuse_session *session, void *buffer, ssize_t count)
{
    struct fuse_buf request = {.size = (size_t)count, .mem = buffer};
    fuse_session_process_buf(session, &request);
    if (worker.is_server) cfuse_end_service();
}

static void set_blocking(int device, int blocks)
{
    int flags = fcntl(device, F_GETFL);
    fcntl(device, F_SETFL, blocks ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

/* Waits the way that the pace says from now on. */
static void change_way(struct cfuse_pace *pace, int device)
{
    cfuse_leave();
    set_blocking(device, pace->way == CFUSE_ASLEEP);
}

/* Goes, or stays, beside whoever waits for the answer to come. */
static void stand_beside(struct cfuse_pace *pace, int device, int has_help, int had_to_wait)
{
    int is_in_crowd = has_help && cfuse_is_crowded();
    int is_there = 1;
    if (cfuse_is_beside()) is_there = cfuse_stay_beside(worker.is_awaited, had_to_wait);
    else if (worker.is_awaited && !is_in_crowd) is_there = cfuse_go_beside();
    if (is_there && !is_in_crowd) return;
    cfuse_give_up(pace, is_in_crowd ? 1 : cfuse_was_held_up() ? CFUSE_PACE_HELD_UP : CFUSE_PACE_SHORTEST);
    change_way(pace, device);
}

int cfuse_serve(struct fuse_session *session, int device, int ways, int look_time, int has_help)
{
    enum { GUARD_AFTER = CFUSE_PACE_WINDOW / 2 };
    const struct cfuse_shared *shared = cfuse_life();
    cfuse_take_slot(0);
    void *buffer = make_buffer(device);
    if (!buffer) return -ENOMEM;
    worker.is_server = 1;
    struct cfuse_pace pace = cfuse_pace_of(ways, (int64_t)look_time * 1000);
    set_blocking(device, 1);
    int64_t answered = cfuse_now();
    int is_settled = !shared, has_guard = !(ways & 1 << CFUSE_BESIDE), had_to_wait = 0;
    for (;;) {
        if (!is_settled && shared->init_size) {
            device = reading_device(device);
            set_blocking(device, pace.way == CFUSE_ASLEEP);
            is_settled = 1;
        }
        ssize_t count = syscall(SYS_read, device, buffer, LARGEST_REQUEST);
        if (count < 0 && errno == EAGAIN && pace.way != CFUSE_ASLEEP) {
            if (pace.way == CFUSE_LOOKING && cfuse_now() - answered < pace.look_time) continue;
            had_to_wait = 1;
            struct pollfd waiting = {.fd = device, .events = POLLIN};
            poll(&waiting, 1, -1);
            continue;
        }
        int result = take_request(device, buffer, count);
        if (result < 0) return result == -1 ? 0 : result + 1;
        if (result == 0) continue;
        if (has_help) cfuse_look_for_crowd(worker.caller);
        if (pace.way == CFUSE_BESIDE) stand_beside(&pace, device, has_help, had_to_wait);
        had_to_wait = 0;
        answer_request(session, buffer, count);
        if (fuse_session_exited(session)) return 0;
        int64_t time = cfuse_now();
        int changes = cfuse_learn(&pace, time - answered);
        answered = time;
        if (pace.count == GUARD_AFTER && !has_guard) {
            cfuse_start_guard(device);
            has_guard = 1;
        }
        if (changes) change_way(&pace, device);
    }
}

int cfuse_help(struct fuse_session *session, int device, int number)
{
    void *buffer = NULL;
    cfuse_take_slot(number + 1);
    for (;;) {
        cfuse_wait_until_wanted(number);
        if (!buffer) {
            buffer = make_buffer(device);
            if (!buffer) return -ENOMEM;
            device = reading_device(device);
            set_blocking(device, 0);
        }
        while (cfuse_is_wanted(number)) {
            ssize_t count = syscall(SYS_read, device, buffer, LARGEST_REQUEST);
            int result = take_request(device, buffer, count);
            if (result < 0) return result == -1 ? 0 : result + 1;
            if (result > 0) {
                answer_request(session, buffer, count);
                continue;
            }
            struct pollfd waiting = {.fd = device, .events = POLLIN};
            poll(&waiting, 1, 10);
        }
    }
}

_Noreturn void cfuse_end(int code)
{
    cfuse_pass(0, -1);
    /* The end of a process frees its memory first, which takes longer. */
    cfuse_close_all();
    _exit(code);
}

int cfuse_features(void) { return features; }

int cfuse_is_unnamed(void) { return worker.is_unnamed; }

int cfuse_drops_set_ids(void) { return worker.drops_set_ids; }

uint32_t cfuse_caller(void) { return worker.caller; }

void cfuse_set_backing(int backing) { worker.backing = backing; }

int cfuse_asks_birth(void) { return worker.asks_birth; }

void cfuse_set_birth(int64_t birth) { worker.birth = birth; }

void *cfuse_buffer(size_t size)
{
    if (worker.buffer_size < size) {
        void *larger = realloc(worker.buffer, size);
        if (!larger) return NULL;
        worker.buffer = larger;
        worker.buffer_size = size;
    }
    return worker.buffer;
}
