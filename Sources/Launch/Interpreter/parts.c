/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a plan: how they come here. */
#include "plan.h"

#include <linux/mman.h>
#include <linux/uio.h>

#ifndef MAP_PRIVATE
#define MAP_PRIVATE 2
#endif

/* Maps the plan in `fd`, which is closed; a plan that is none ends the process. */
char *map_plan(long fd)
{
    long size = SYS3(__NR_lseek, fd, 0, 2 /* SEEK_END */);
    if (size < (long)sizeof(struct clinux_plan_header))
        leave(125);
    long map = SYS6(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (map < 0 && map > -4096)
        leave(125);
    close_fd(fd);
    const struct clinux_plan_header *header = (const void *)map;
    if (header->magic != CLINUX_PLAN_MAGIC || header->version != CLINUX_PLAN_VERSION)
        leave(125);
    return (char *)map;
}

/* struct msghdr and struct cmsghdr, which the kernel's headers do not have. */
struct message {
    void *name;
    int name_length;
    struct iovec *parts;
    size_t part_count;
    void *control;
    size_t control_length;
    unsigned flags;
};

struct control {
    size_t length;
    int level, type;
    int descriptors[1 + CLINUX_PLAN_MOST_DESCRIPTORS];
};

/* Waits for the second part of the plan; whoever was to send it being gone ends the process. */
void receive_part(struct state *s)
{
    char byte;
    struct control control;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct message message = {.parts = &part, .part_count = 1, .control = &control, .control_length = sizeof control};
    long count;
    do
        count = SYS3(__NR_recvmsg, s->control, &message, 0x40000000 /* MSG_CMSG_CLOEXEC */);
    while (count == -EINTR);
    size_t head = __builtin_offsetof(struct control, descriptors);
    if (count <= 0 || message.control_length < head + sizeof(int) || control.type != 1 /* SCM_RIGHTS */)
        leave(125);
    size_t received = (control.length - head) / sizeof(int);
    s->plan = map_plan(control.descriptors[0]);
    const struct clinux_plan_header *header = (const void *)s->plan;
    const uint64_t *places = (const void *)(s->plan + header->descriptors);
    for (uint32_t i = 0; i < header->descriptor_count; i++) {
        uint64_t *word = (uint64_t *)(s->plan + places[i]);
        if (*word + 1 >= received)
            leave(125);
        *word = (uint64_t)control.descriptors[1 + *word];
    }
}
