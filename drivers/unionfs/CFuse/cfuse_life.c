/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "cfuse_life.h"

#include "cfuse_session.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* A request that is sent again has this bit in its number, and so must its reply. */
#define RESENT (1ull << 63)

enum { HEADER_OUT = 16, NOTIFY_RESEND = 7 };

static struct cfuse_shared *life;
static __thread struct cfuse_slot *slot;

static size_t head_size(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (sizeof(struct cfuse_shared) + page - 1) / page * page;
}

struct cfuse_shared *cfuse_share(size_t *size)
{
    const size_t smallest = 4 << 20;
    for (; *size >= smallest; *size /= 4) {
        void *memory = mmap(NULL, head_size() + *size, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory != MAP_FAILED) return life = memory;
    }
    return NULL;
}

void *cfuse_shared_tail(struct cfuse_shared *shared) { return (char *)shared + head_size(); }

void cfuse_give_back(void *memory, size_t size) { madvise(memory, size, MADV_REMOVE); }

struct cfuse_shared *cfuse_life(void) { return life; }

void cfuse_take_slot(int number) { slot = life ? cfuse_slot_at(life, number) : NULL; }

struct cfuse_slot *cfuse_slot(void) { return slot; }

struct cfuse_slot *cfuse_slot_at(struct cfuse_shared *shared, int number)
{
    return number >= 0 && number < CFUSE_SLOTS ? &shared->slots[number] : NULL;
}

const char *cfuse_intent_name(const struct cfuse_slot *at) { return at->intent.name; }

const char *cfuse_intent_new_name(const struct cfuse_slot *at) { return at->intent.new_name; }

uint64_t *cfuse_journal_words(struct cfuse_shared *shared) { return shared->journal; }

static void enter(struct cfuse_slot *at, uint32_t phase) { __atomic_store_n(&at->phase, phase, __ATOMIC_RELEASE); }

/* Sends the answer that a dead server had ready, or sent. */
static int answer_again(int device, uint64_t unique)
{
    uint64_t count = life->finished_count;
    for (uint64_t index = 0; index < count && index < CFUSE_FINISHED; index++) {
        struct cfuse_finished *answer = &life->finished[index];
        if (answer->unique != (unique & ~RESENT)) continue;
        unsigned char reply[CFUSE_LARGEST_REPLY];
        memcpy(reply, answer->reply, answer->reply_size);
        memcpy(reply + 8, &unique, sizeof unique);
        ssize_t result;
        do result = write(device, reply, answer->reply_size);
        while (result < 0 && errno == EINTR);
        return 1;
    }
    return 0;
}

int cfuse_note_request(int device, const char *request)
{
    if (!slot) return 0;
    uint64_t unique;
    memcpy(&unique, request + 8, sizeof unique);
    enter(slot, CFUSE_IDLE);
    slot->unique = unique & ~RESENT;
    memcpy(&slot->opcode, request + 4, sizeof slot->opcode);
    slot->node = slot->file = 0;
    enter(slot, CFUSE_RECEIVED);
    life->served++;
    if (!(unique & RESENT) || !answer_again(device, unique)) return 0;
    enter(slot, CFUSE_IDLE);
    return 1;
}

void cfuse_note_reply(const struct iovec *parts, int count)
{
    if (!slot || slot->phase == CFUSE_IDLE) return;
    size_t size = 0;
    for (int index = 0; index < count; index++) {
        /* Nothing that changes something says so much. What the kernel learns of nodes by this is not taken back. */
        if (parts[index].iov_len > CFUSE_LARGEST_REPLY - size) return enter(slot, CFUSE_IDLE);
        memcpy(slot->reply + size, parts[index].iov_base, parts[index].iov_len);
        size += parts[index].iov_len;
    }
    slot->reply_size = (uint32_t)size;
    enter(slot, CFUSE_DONE);
}

void cfuse_intend(uint32_t kind, uint32_t flags, uint64_t parent, const char *name, uint64_t node)
{
    cfuse_intend_move(kind, flags, parent, name, 0, "", node, 0);
}

void cfuse_intend_move(uint32_t kind, uint32_t flags, uint64_t parent, const char *name, uint64_t to,
                       const char *new_name, uint64_t node, uint64_t inode)
{
    if (!slot || slot->phase == CFUSE_IDLE) return;
    struct cfuse_intent *intent = &slot->intent;
    intent->kind = kind;
    intent->flags = flags;
    intent->parent = parent;
    intent->to = to;
    intent->node = node;
    intent->inode = inode;
    memccpy(intent->name, name, 0, sizeof intent->name - 1);
    memccpy(intent->new_name, new_name, 0, sizeof intent->new_name - 1);
    enter(slot, CFUSE_INTENT);
}

void cfuse_finish(struct cfuse_shared *shared, struct cfuse_slot *at, int error)
{
    struct cfuse_finished *answer = &shared->finished[shared->finished_count % CFUSE_FINISHED];
    answer->unique = 0;
    if (at->phase == CFUSE_DONE) {
        answer->reply_size = at->reply_size;
        memcpy(answer->reply, at->reply, at->reply_size);
    } else {
        uint32_t words[4] = {HEADER_OUT, (uint32_t)-error, 0, 0};
        answer->reply_size = HEADER_OUT;
        memcpy(answer->reply, words, HEADER_OUT);
    }
    cfuse_publish(&answer->unique, at->unique);
    cfuse_publish(&shared->finished_count, shared->finished_count + 1);
    enter(at, CFUSE_IDLE);
}

void cfuse_answer_entry(struct cfuse_slot *at, const struct fuse_entry_param *entry)
{
    const double longest = 1e9;
    const struct stat *status = &entry->attr;
    struct {
        struct fuse_out_header header;
        struct fuse_entry_out entry;
    } reply = {
        .header = {.len = sizeof reply, .unique = at->unique},
        .entry = {
            .nodeid = entry->ino,
            .generation = entry->generation,
            .entry_valid = (uint64_t)(entry->entry_timeout < longest ? entry->entry_timeout : longest),
            .attr_valid = (uint64_t)(entry->attr_timeout < longest ? entry->attr_timeout : longest),
            .attr = {
                .ino = status->st_ino,
                .size = (uint64_t)status->st_size,
                .blocks = (uint64_t)status->st_blocks,
                .atime = (uint64_t)status->st_atim.tv_sec,
                .mtime = (uint64_t)status->st_mtim.tv_sec,
                .ctime = (uint64_t)status->st_ctim.tv_sec,
                .atimensec = (uint32_t)status->st_atim.tv_nsec,
                .mtimensec = (uint32_t)status->st_mtim.tv_nsec,
                .ctimensec = (uint32_t)status->st_ctim.tv_nsec,
                .mode = status->st_mode,
                .nlink = (uint32_t)status->st_nlink,
                .uid = status->st_uid,
                .gid = status->st_gid,
                .rdev = (uint32_t)status->st_rdev,
                .blksize = (uint32_t)status->st_blksize,
            },
        },
    };
    _Static_assert(sizeof reply <= CFUSE_LARGEST_REPLY, "an entry does not fit");
    memcpy(at->reply, &reply, sizeof reply);
    at->reply_size = sizeof reply;
    enter(at, CFUSE_DONE);
}

int cfuse_resend(int device)
{
    uint32_t words[4] = {HEADER_OUT, NOTIFY_RESEND, 0, 0};
    return write(device, words, sizeof words) < 0 ? -errno : 0;
}

int cfuse_socket_pair(int pair[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) ? -errno : 0;
}

/* A message with room for one descriptor. */
struct parcel {
    struct msghdr message;
    struct iovec data;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
};

static struct msghdr *pack(struct parcel *parcel, uint64_t *id)
{
    memset(parcel, 0, sizeof *parcel);
    parcel->data = (struct iovec){.iov_base = id, .iov_len = sizeof *id};
    parcel->message = (struct msghdr){.msg_iov = &parcel->data, .msg_iovlen = 1, .msg_control = parcel->control,
                                      .msg_controllen = sizeof parcel->control};
    return &parcel->message;
}

static int passing = -1;

void cfuse_pass_through(int socket) { passing = socket; }

int cfuse_pass(uint64_t id, int fd)
{
    if (passing < 0) return -ENOTCONN;
    struct parcel parcel;
    struct msghdr *message = pack(&parcel, &id);
    if (fd >= 0) {
        struct cmsghdr *header = CMSG_FIRSTHDR(message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    } else {
        message->msg_control = NULL;
        message->msg_controllen = 0;
    }
    ssize_t count;
    do count = sendmsg(passing, message, MSG_NOSIGNAL);
    while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : 0;
}

int cfuse_take(int socket, uint64_t *id, int *fd)
{
    struct parcel parcel;
    struct msghdr *message = pack(&parcel, id);
    *fd = -1;
    ssize_t count;
    do count = recvmsg(socket, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (count < 0 && errno == EINTR);
    if (count < 0) return errno == EAGAIN ? 0 : -errno;
    if (count == 0) return -ENOTCONN;
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    if (header && header->cmsg_type == SCM_RIGHTS) memcpy(fd, CMSG_DATA(header), sizeof *fd);
    return count == sizeof *id ? 1 : -EINVAL;
}

void cfuse_show_as(char **arguments, const char *name)
{
    static char *own, own_name[16];
    static size_t size;
    if (!own) {
        char *end = arguments[0];
        for (char **word = arguments; *word && *word == end; word++) end += strlen(*word) + 1;
        size = (size_t)(end - arguments[0]);
        own = size > 1 ? malloc(size) : NULL;
        if (!own) return;
        memcpy(own, arguments[0], size);
        prctl(PR_GET_NAME, own_name);
    }
    if (name) {
        memset(arguments[0], 0, size);
        memccpy(arguments[0], name, 0, size - 1);
    } else {
        memcpy(arguments[0], own, size);
    }
    prctl(PR_SET_NAME, name ? name : own_name);
}

void cfuse_close_all(void) { close_range(3, ~0u, 0); }

int cfuse_wait(int socket, int pidfd)
{
    struct pollfd waiting[2] = {{.fd = socket, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
    return poll(waiting, 2, pidfd < 0 ? 100 : -1) > 0 && waiting[1].revents != 0;
}
