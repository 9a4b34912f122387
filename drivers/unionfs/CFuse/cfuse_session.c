/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "cfuse_session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The parts of the protocol (linux/fuse.h, 7.45) that are completed here; Debian 12's header ends at 7.38. */
enum {
    OP_SETATTR = 4,
    OP_OPEN = 14,
    OP_WRITE = 16,
    OP_INIT = 26,
    OP_CREATE = 35,
    OP_TMPFILE = 51,
    HEADER_IN = 40,
    HEADER_OUT = 16,
    INIT_REPLY = 64,
    OPEN_REPLY = 16,
    FOPEN_KEEP_CACHE_BIT = 1 << 1,
    FOPEN_PASSTHROUGH_BIT = 1 << 7,
};
#define INIT_KILLPRIV (1u << 28)
#define INIT_EXT (1u << 30)
#define INIT2_PASSTHROUGH (1u << 5)
#define INIT2_IDMAP (1u << 8)

struct backing_map {
    int32_t fd;
    uint32_t flags;
    uint64_t padding;
};
#define IOC_CLONE _IOR(229, 0, uint32_t)
#define IOC_BACKING_OPEN _IOW(229, 1, struct backing_map)
#define IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)

/* What this thread works on. */
static __thread struct {
    int device;
    uint32_t opcode;
    int is_unnamed, drops_set_ids, backing;
    void *buffer;
    size_t buffer_size;
} worker = {.device = -1};

static int wanted_features, features;
/* What INIT offered, between its request and its reply. */
static uint32_t offered, offered2;

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
        flags |= INIT_EXT;
        put(reply, 4, 41);
        put(reply, 32, flags2);
        /* One file system above ours may still be stacked. */
        put(reply, 36, features & CFUSE_PASSTHROUGH ? 1 : 0);
    }
    put(reply, 12, flags);
}

static ssize_t send_reply(int fd, struct iovec *iov, int count, void *userdata)
{
    (void)userdata;
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
        }
    }
    ssize_t result = writev(worker.device >= 0 && unique != 0 ? worker.device : fd, iov, count);
    return result;
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

/* Reads what libfuse leaves out of a request, and gives it a form that libfuse knows. */
static void look_at(char *request, size_t length)
{
    worker.opcode = word(request, 4);
    worker.is_unnamed = worker.drops_set_ids = 0;
    worker.backing = 0;
    switch (worker.opcode) {
    case OP_INIT:
        offered = length >= HEADER_IN + 16 ? word(request, HEADER_IN + 12) : 0;
        offered2 = length >= HEADER_IN + 20 ? word(request, HEADER_IN + 16) : 0;
        break;
    case OP_TMPFILE:
        put(request, 4, OP_CREATE);
        worker.is_unnamed = 1;
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
    default: break;
    }
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Threads that help when the one that serves is held up. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int wanted;
} crew = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void want(int more)
{
    pthread_mutex_lock(&crew.lock);
    __atomic_add_fetch(&crew.wanted, more, __ATOMIC_SEQ_CST);
    if (more > 0) pthread_cond_broadcast(&crew.changed);
    pthread_mutex_unlock(&crew.lock);
}

void cfuse_begin_long(void) { want(1); }

void cfuse_end_long(void) { want(-1); }

enum { LARGEST_REQUEST = (1 << 20) + 4096 };

static void *make_buffer(int device)
{
    void *buffer = mmap(NULL, LARGEST_REQUEST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    worker.device = device;
    return buffer == MAP_FAILED ? NULL : buffer;
}

/* 1 served, 0 none there, -1 the mount is gone, else -errno - 1. */
static int serve_one(struct fuse_session *session, int device, void *buffer)
{
    ssize_t count = read(device, buffer, LARGEST_REQUEST);
    if (count < 0) {
        /* ENOENT: the request was interrupted meanwhile. */
        if (errno == EINTR || errno == EAGAIN || errno == ENOENT) return 0;
        return errno == ENODEV ? -1 : -errno - 1;
    }
    if (count < HEADER_IN) return 0;
    look_at(buffer, (size_t)count);
    struct fuse_buf request = {.size = (size_t)count, .mem = buffer};
    fuse_session_process_buf(session, &request);
    return 1;
}

int cfuse_serve(struct fuse_session *session, int device, int spin, int has_help)
{
    /* So many requests in a row without a pause are more than one program's. */
    enum { CROWD = 64 };
    const int64_t boost_time = 50 * 1000000;
    void *buffer = make_buffer(device);
    if (!buffer) return -ENOMEM;
    fcntl(device, F_SETFL, fcntl(device, F_GETFL) | O_NONBLOCK);
    int in_a_row = 0, is_boosted = 0;
    int64_t boost_end = 0, idle_since = 0;
    for (;;) {
        int result = serve_one(session, device, buffer);
        if (result < 0 || fuse_session_exited(session)) return result == -1 || result >= 0 ? 0 : result + 1;
        if (result > 0) {
            idle_since = 0;
            if (has_help && ++in_a_row >= CROWD && !is_boosted) {
                want(1);
                is_boosted = 1;
                boost_end = now() + boost_time;
            }
            continue;
        }
        in_a_row = 0;
        int64_t time = now();
        if (!idle_since) idle_since = time;
        if (is_boosted && time >= boost_end) {
            want(-1);
            is_boosted = 0;
        }
        /* The next request often comes within microseconds, and to be woken takes longer. */
        if (time - idle_since < (int64_t)spin * 1000) continue;
        struct pollfd waiting = {.fd = device, .events = POLLIN};
        poll(&waiting, 1, is_boosted ? 50 : -1);
        idle_since = 0;
    }
}

int cfuse_help(struct fuse_session *session, int device, int number)
{
    void *buffer = make_buffer(device);
    if (!buffer) return -ENOMEM;
    fcntl(device, F_SETFL, fcntl(device, F_GETFL) | O_NONBLOCK);
    for (;;) {
        pthread_mutex_lock(&crew.lock);
        while (crew.wanted <= number) pthread_cond_wait(&crew.changed, &crew.lock);
        pthread_mutex_unlock(&crew.lock);
        while (__atomic_load_n(&crew.wanted, __ATOMIC_SEQ_CST) > number) {
            int result = serve_one(session, device, buffer);
            if (result < 0) return result == -1 ? 0 : result + 1;
            if (result > 0) continue;
            struct pollfd waiting = {.fd = device, .events = POLLIN};
            poll(&waiting, 1, 10);
        }
    }
}

_Noreturn void cfuse_end(int code)
{
    /* The end of a process frees its memory first, which takes longer. */
    syscall(SYS_close_range, 3u, ~0u, 0u);
    _exit(code);
}

int cfuse_clone_device(int device)
{
    int clone = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (clone < 0) return -errno;
    uint32_t number = (uint32_t)device;
    if (ioctl(clone, IOC_CLONE, &number)) {
        int error = errno;
        close(clone);
        return -error;
    }
    return clone;
}

int cfuse_features(void) { return features; }

int cfuse_is_unnamed(void) { return worker.is_unnamed; }

int cfuse_drops_set_ids(void) { return worker.drops_set_ids; }

void cfuse_set_backing(int backing) { worker.backing = backing; }

int cfuse_backing_open(int device, int file)
{
    struct backing_map map = {.fd = file};
    int id = ioctl(device, IOC_BACKING_OPEN, &map);
    return id < 0 ? -errno : id;
}

int cfuse_backing_close(int device, int backing)
{
    uint32_t id = (uint32_t)backing;
    return ioctl(device, IOC_BACKING_CLOSE, &id) ? -errno : 0;
}

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
