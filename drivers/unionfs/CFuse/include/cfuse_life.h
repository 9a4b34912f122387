/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What outlives a server that is killed: memory that it shares with the process that starts the next one, and
 * descriptors that it gave that process. A field that says that others are valid is written after them.
 */
#ifndef CFUSE_LIFE_H
#define CFUSE_LIFE_H

#include <stddef.h>
#include <stdint.h>

enum {
    CFUSE_SLOTS = 64,          /* threads that serve at most */
    CFUSE_FINISHED = 256,      /* answers kept of dead servers */
    CFUSE_LARGEST_REPLY = 176, /* of what changes something; CREATE has the largest */
};

enum cfuse_phase {
    CFUSE_IDLE,
    CFUSE_RECEIVED, /* what was done so far can be done again */
    CFUSE_INTENT,   /* what the intent says is being done */
    CFUSE_DONE,     /* the reply says so */
};

enum cfuse_intent_kind {
    CFUSE_MAKE = 1, /* something new at a name */
    CFUSE_LINK,     /* one more name of something */
    CFUSE_REMOVE,   /* the name goes */
    CFUSE_MOVE,     /* from the first name to the second */
    CFUSE_EXCHANGE,
};

enum cfuse_intent_flag {
    CFUSE_HIDES = 1,         /* layers below have the (first) name too */
    CFUSE_HAS_UPPER = 2,     /* the upper has it */
    CFUSE_LEAVES_DEVICE = 4, /* RENAME_WHITEOUT */
};

/* A change of names in the upper, noted before it begins. */
struct cfuse_intent {
    uint32_t kind, flags;
    uint64_t parent, to;            /* nodes of directories */
    uint64_t node, inode;           /* of what there is; in the upper, where that tells what took place, else 0 */
    char name[256], new_name[256];
};

/* What one thread works on. */
struct cfuse_slot {
    uint64_t unique; /* of the request, without the mark of one that is sent again */
    uint32_t phase, opcode;
    uint64_t node, file; /* what the reply tells the kernel of: a node, counted once; an open file */
    struct cfuse_intent intent;
    uint32_t reply_size;
    unsigned char reply[CFUSE_LARGEST_REPLY];
};

struct cfuse_finished {
    uint64_t unique;
    uint32_t reply_size;
    unsigned char reply[CFUSE_LARGEST_REPLY];
};

struct cfuse_shared {
    uint64_t served;                 /* requests, so that it shows whether servers come to anything */
    uint64_t last_node, last_file;   /* numbers given out, which are never given again */
    uint64_t lifted_file, lifted_directory, made_whole; /* nodes that are coming to the upper; 0: none */
    int32_t death;                   /* the signal that ended the last server; 0: there was none */
    uint32_t refuses_resend, has_resend;
    uint32_t init_size;              /* 0 until INIT was answered */
    unsigned char init[256];
    uint64_t journal[4];
    uint64_t finished_count;
    struct cfuse_finished finished[CFUSE_FINISHED];
    struct cfuse_slot slots[CFUSE_SLOTS];
};

/* Stores a value after everything that was stored before. */
static inline void cfuse_publish(uint64_t *place, uint64_t value)
{
    __atomic_store_n(place, value, __ATOMIC_RELEASE);
}

/* Memory that forks share: the structure, and after it `*size` bytes, less where so much is not to be had. NULL without. */
struct cfuse_shared *cfuse_share(size_t *size);
/* Where those bytes begin. */
void *cfuse_shared_tail(struct cfuse_shared *shared);
/* Gives pages back; they read as zeros. */
void cfuse_give_back(void *memory, size_t size);

/* That of this process; NULL if nobody would start another. */
struct cfuse_shared *cfuse_life(void);

/* The slot of this thread, which takes the one of that number; NULL without. */
void cfuse_take_slot(int number);
struct cfuse_slot *cfuse_slot(void);
struct cfuse_slot *cfuse_slot_at(struct cfuse_shared *shared, int number);
/* The names of its intent, which Swift takes for tuples, and the journal's words. */
const char *cfuse_intent_name(const struct cfuse_slot *slot);
const char *cfuse_intent_new_name(const struct cfuse_slot *slot);
uint64_t *cfuse_journal_words(struct cfuse_shared *shared);

/* Notes a request that came by `device`; 1 if a dead server had the answer, which is sent. */
int cfuse_note_request(int device, const char *request);
/* Notes the answer before it is sent. */
struct iovec;
void cfuse_note_reply(const struct iovec *parts, int count);

/* Notes a change of names before it is made. */
void cfuse_intend(uint32_t kind, uint32_t flags, uint64_t parent, const char *name, uint64_t node);
void cfuse_intend_move(uint32_t kind, uint32_t flags, uint64_t parent, const char *name, uint64_t to,
                       const char *new_name, uint64_t node, uint64_t inode);

/* Of a dead server: gives its request an answer of success that tells of a node. */
struct fuse_entry_param;
void cfuse_answer_entry(struct cfuse_slot *slot, const struct fuse_entry_param *entry);
/* Of a dead server: keeps its answer, or makes one of `error` (0 and more) if it had none, and frees the slot. */
void cfuse_finish(struct cfuse_shared *shared, struct cfuse_slot *slot, int error);

/* Has the kernel hand out again what it handed to dead servers. */
int cfuse_resend(int device);

/* A pair of sockets that keep messages apart. -errno on failure. */
int cfuse_socket_pair(int pair[2]);
/* Has `cfuse_pass` go through one of them. */
void cfuse_pass_through(int socket);
/* Gives `fd` to whoever has the other end, under a number; -1: no longer needed. 0 is the number of the end. */
int cfuse_pass(uint64_t id, int fd);
/* The next message: 1; 0 if there is none now; -errno. `*fd` is -1 where it has none. */
int cfuse_take(int socket, uint64_t *id, int *fd);

/* Shows this process under another name where processes are listed; NULL: under its own again. */
void cfuse_show_as(char **arguments, const char *name);

/* Closes all descriptors above 2. */
void cfuse_close_all(void);

/* Waits for messages, or the end of a process (pidfd; -1: for a while): whether it has ended. */
int cfuse_wait(int socket, int pidfd);

#endif
