/* SPDX-License-Identifier: Apache-2.0 */
/* The ioctls of btrfs. Each wraps one call: -1 and errno on failure. */
#ifndef CBTRFS_H
#define CBTRFS_H

#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <stddef.h>
#include <stdint.h>

/* The root directory of every subvolume. */
static const uint64_t CBTRFS_ROOT_INODE = BTRFS_FIRST_FREE_OBJECTID;
/* Object of the items that name what is deleted and not yet freed. */
static const uint64_t CBTRFS_ORPHANS = (uint64_t)BTRFS_ORPHAN_OBJECTID;
static const uint64_t CBTRFS_ROOT_TREE = BTRFS_ROOT_TREE_OBJECTID;
static const uint64_t CBTRFS_QUOTA_TREE = BTRFS_QUOTA_TREE_OBJECTID;

/* An empty subvolume at `name`; EEXIST if the name is taken. */
int cbtrfs_create(int directory, const char *name);
/* A subvolume at `name` that is what `source` is now. Waits until that is on disk. */
int cbtrfs_snapshot(int directory, const char *name, int source, int read_only);
/* ENOTEMPTY where subvolumes are below. Its space is freed later. */
int cbtrfs_delete(int directory, const char *name);
int cbtrfs_is_read_only(int subvolume, int *read_only);
int cbtrfs_set_read_only(int subvolume, int read_only);

struct cbtrfs_info {
    uint64_t id, parent_id, directory_id;
    /* The transaction that made it, the last that changed it, and the last that wrote its tree. */
    uint64_t made, changed, written;
    uint8_t uuid[BTRFS_UUID_SIZE];
    /* Of what it is a snapshot of. */
    uint8_t origin_uuid[BTRFS_UUID_SIZE];
};
int cbtrfs_info(int subvolume, struct cbtrfs_info *info);

struct cbtrfs_key {
    uint64_t object, offset;
    uint8_t type;
};

/* Where in the buffer of a search its first item is. */
static const size_t CBTRFS_SEARCH_ITEMS = sizeof(struct btrfs_ioctl_search_args_v2);
/*
 * Items of a tree from `first` to `last`, in the order of their keys, that stand in leaves written by transaction
 * `transaction` or later: `most` of them, or as many as fit into `buffer`. The count, each as a struct
 * btrfs_ioctl_search_header and its data; EOVERFLOW if not even one fits. `tree` 0 is the subvolume of `fd`.
 */
int64_t cbtrfs_search(int fd, uint64_t tree, struct cbtrfs_key first, struct cbtrfs_key last, uint64_t transaction,
                      uint32_t most, void *buffer, size_t size);

/* Tells the device what of it is free; EOPNOTSUPP if that has no use for it. */
int cbtrfs_trim(int fd);

/* Ends when all that was written to the file system is on disk, and wakes who frees deleted subvolumes. */
int cbtrfs_sync(int fd);

struct cbtrfs_file_system {
    /* By what it is known below /sys/fs/btrfs. */
    uint8_t identifier[BTRFS_FSID_SIZE];
    uint64_t devices;
    /* The newest transaction; 0 where the kernel does not tell (before 5.10). */
    uint64_t transaction;
};
int cbtrfs_file_system(int fd, struct cbtrfs_file_system *file_system);

/* The file system takes all of its device; EINPROGRESS while it is balanced. */
int cbtrfs_grow(int fd);

/* Counts by the extents that each subvolume wrote; EINVAL or ENOTTY before Linux 6.7. */
int cbtrfs_enable_simple_quota(int fd);
int cbtrfs_enable_quota(int fd);
int cbtrfs_disable_quota(int fd);
/* EBUSY while a rescan runs. */
int cbtrfs_make_qgroup(int fd, uint64_t id);
int cbtrfs_remove_qgroup(int fd, uint64_t id);
int cbtrfs_assign_qgroup(int fd, uint64_t member, uint64_t group);
/* Limits of what it refers to and of what is its alone; 0 is none. */
int cbtrfs_limit_qgroup(int fd, uint64_t id, uint64_t referenced, uint64_t exclusive);
int cbtrfs_wait_for_rescan(int fd);

/*
 * What was set aside for data and holds none can be used for metadata; the kernel does so by itself, half a minute later.
 * Returns how many of such groups there were, `most` at most; EINPROGRESS while the file system is balanced or resized.
 */
int cbtrfs_give_up_unused_groups(int fd, int most);

/* Space by kind: what is given to data, metadata (with system), and what of that is used. */
struct cbtrfs_space {
    uint64_t data_total, data_used, metadata_total, metadata_used;
};
int cbtrfs_space(int fd, struct cbtrfs_space *space);

/* The kernel's own list of what changed since `parent`, without file content, as a stream to `out`: for tests. */
int cbtrfs_send(int subvolume, uint64_t parent, int out);

#endif
