/* SPDX-License-Identifier: Apache-2.0 */
#include "cfuse_statx.h"

#include <linux/stat.h>
#include <string.h>

/* The parts of the two replies; Debian 12's linux/fuse.h has only the first, under other names. */
struct attributes {
    uint64_t valid;
    uint32_t valid_nanoseconds, padding;
    uint64_t inode, size, blocks, accessed, modified, changed;
    uint32_t accessed_nanoseconds, modified_nanoseconds, changed_nanoseconds;
    uint32_t mode, links, user, group, device, block_size, flags;
};

struct moment {
    int64_t seconds;
    uint32_t nanoseconds;
    int32_t padding;
};

struct extended {
    uint64_t valid;
    uint32_t valid_nanoseconds, flags;
    uint64_t spare[2];
    uint32_t mask, block_size;
    uint64_t attributes;
    uint32_t links, user, group;
    uint16_t mode, padding;
    uint64_t inode, size, blocks, attributes_mask;
    struct moment accessed, born, changed, modified;
    uint32_t device_major, device_minor, own_major, own_minor;
    uint64_t spare2[14];
};
_Static_assert(sizeof(struct attributes) == CFUSE_ATTR_REPLY, "struct fuse_attr_out");
_Static_assert(sizeof(struct extended) == CFUSE_STATX_REPLY, "struct fuse_statx_out");

void cfuse_to_statx(const void *attributes, int64_t birth, void *reply)
{
    struct attributes from;
    memcpy(&from, attributes, sizeof from);
    struct extended to = {
        .valid = from.valid,
        .valid_nanoseconds = from.valid_nanoseconds,
        .mask = STATX_BASIC_STATS,
        .block_size = from.block_size,
        .links = from.links,
        .user = from.user,
        .group = from.group,
        .mode = (uint16_t)from.mode,
        .inode = from.inode,
        .size = from.size,
        .blocks = from.blocks,
        .accessed = {(int64_t)from.accessed, from.accessed_nanoseconds, 0},
        .changed = {(int64_t)from.changed, from.changed_nanoseconds, 0},
        .modified = {(int64_t)from.modified, from.modified_nanoseconds, 0},
        /* The kernel's form of a device number in 32 bits. */
        .device_major = (from.device >> 8) & 0xfff,
        .device_minor = (from.device & 0xff) | ((from.device >> 12) & 0xfff00),
    };
    if (birth) {
        to.mask |= STATX_BTIME;
        int64_t rest = birth % 1000000000;
        if (rest < 0) rest += 1000000000;
        to.born = (struct moment){(birth - rest) / 1000000000, (uint32_t)rest, 0};
    }
    memcpy(reply, &to, sizeof to);
}
