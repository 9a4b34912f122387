/* SPDX-License-Identifier: Apache-2.0 */
#include "cbtrfs.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#ifndef BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA
#define BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA 4
#endif

static int take_name(char *field, size_t size, const char *name)
{
    size_t length = strlen(name);
    if (length >= size) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(field, name, length + 1);
    return 0;
}

int cbtrfs_create(int directory, const char *name)
{
    struct btrfs_ioctl_vol_args_v2 args = {0};
    return take_name(args.name, sizeof args.name, name) ? -1 : ioctl(directory, BTRFS_IOC_SUBVOL_CREATE_V2, &args);
}

int cbtrfs_snapshot(int directory, const char *name, int source, int read_only)
{
    struct btrfs_ioctl_vol_args_v2 args = {.fd = source, .flags = read_only ? BTRFS_SUBVOL_RDONLY : 0};
    return take_name(args.name, sizeof args.name, name) ? -1 : ioctl(directory, BTRFS_IOC_SNAP_CREATE_V2, &args);
}

int cbtrfs_delete(int directory, const char *name)
{
    struct btrfs_ioctl_vol_args args = {0};
    return take_name(args.name, sizeof args.name, name) ? -1 : ioctl(directory, BTRFS_IOC_SNAP_DESTROY, &args);
}

int cbtrfs_is_read_only(int subvolume, int *read_only)
{
    __u64 flags;
    if (ioctl(subvolume, BTRFS_IOC_SUBVOL_GETFLAGS, &flags) == -1)
        return -1;
    *read_only = !!(flags & BTRFS_SUBVOL_RDONLY);
    return 0;
}

int cbtrfs_set_read_only(int subvolume, int read_only)
{
    __u64 flags = read_only ? BTRFS_SUBVOL_RDONLY : 0;
    return ioctl(subvolume, BTRFS_IOC_SUBVOL_SETFLAGS, &flags);
}

int cbtrfs_info(int subvolume, struct cbtrfs_info *info)
{
    struct btrfs_ioctl_get_subvol_info_args args;
    if (ioctl(subvolume, BTRFS_IOC_GET_SUBVOL_INFO, &args) == -1)
        return -1;
    info->id = args.treeid;
    info->parent_id = args.parent_id;
    info->directory_id = args.dirid;
    info->made = args.otransid;
    info->changed = args.ctransid;
    info->written = args.generation;
    memcpy(info->uuid, args.uuid, sizeof info->uuid);
    memcpy(info->origin_uuid, args.parent_uuid, sizeof info->origin_uuid);
    return 0;
}

int64_t cbtrfs_search(int fd, uint64_t tree, struct cbtrfs_key first, struct cbtrfs_key last, uint64_t transaction,
                      uint32_t most, void *buffer, size_t size)
{
    struct btrfs_ioctl_search_args_v2 *args = buffer;
    args->key = (struct btrfs_ioctl_search_key){
        .tree_id = tree,
        .min_objectid = first.object,
        .min_type = first.type,
        .min_offset = first.offset,
        .max_objectid = last.object,
        .max_type = last.type,
        .max_offset = last.offset,
        .min_transid = transaction,
        .max_transid = UINT64_MAX,
        .nr_items = most,
    };
    args->buf_size = size - sizeof *args;
    if (ioctl(fd, BTRFS_IOC_TREE_SEARCH_V2, args) == -1)
        return -1;
    return args->key.nr_items;
}

int cbtrfs_trim(int fd)
{
    struct fstrim_range range = {.len = UINT64_MAX};
    return ioctl(fd, FITRIM, &range);
}

/* Some requests exclude each other on a file system; the kernel then answers with a number of its own. */
static int alone(int result)
{
    if (result > 0) errno = EINPROGRESS;
    return result ? -1 : 0;
}

int cbtrfs_give_up_unused_groups(int fd, int most)
{
    struct btrfs_ioctl_balance_args args = {
        .flags = BTRFS_BALANCE_DATA,
        .data = {.flags = BTRFS_BALANCE_ARGS_USAGE | BTRFS_BALANCE_ARGS_LIMIT, .usage = 0, .limit = (__u64)most},
    };
    return alone(ioctl(fd, BTRFS_IOC_BALANCE_V2, &args)) ? -1 : (int)args.stat.completed;
}

int cbtrfs_sync(int fd)
{
    return ioctl(fd, BTRFS_IOC_SYNC);
}

int cbtrfs_file_system(int fd, struct cbtrfs_file_system *file_system)
{
    struct btrfs_ioctl_fs_info_args args = {.flags = BTRFS_FS_INFO_FLAG_GENERATION};
    if (ioctl(fd, BTRFS_IOC_FS_INFO, &args) == -1)
        return -1;
    memcpy(file_system->identifier, args.fsid, BTRFS_FSID_SIZE);
    file_system->devices = args.num_devices;
    file_system->transaction = args.flags & BTRFS_FS_INFO_FLAG_GENERATION ? args.generation : 0;
    return 0;
}

int cbtrfs_grow(int fd)
{
    struct btrfs_ioctl_vol_args args = {.name = "max"};
    return alone(ioctl(fd, BTRFS_IOC_RESIZE, &args));
}

static int quota(int fd, uint64_t command)
{
    struct btrfs_ioctl_quota_ctl_args args = {.cmd = command};
    return ioctl(fd, BTRFS_IOC_QUOTA_CTL, &args);
}

int cbtrfs_enable_simple_quota(int fd)
{
    return quota(fd, BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA);
}

int cbtrfs_enable_quota(int fd)
{
    return quota(fd, BTRFS_QUOTA_CTL_ENABLE);
}

int cbtrfs_disable_quota(int fd)
{
    return quota(fd, BTRFS_QUOTA_CTL_DISABLE);
}

int cbtrfs_make_qgroup(int fd, uint64_t id)
{
    struct btrfs_ioctl_qgroup_create_args args = {.create = 1, .qgroupid = id};
    return ioctl(fd, BTRFS_IOC_QGROUP_CREATE, &args);
}

int cbtrfs_remove_qgroup(int fd, uint64_t id)
{
    struct btrfs_ioctl_qgroup_create_args args = {.create = 0, .qgroupid = id};
    return ioctl(fd, BTRFS_IOC_QGROUP_CREATE, &args);
}

int cbtrfs_assign_qgroup(int fd, uint64_t member, uint64_t group)
{
    struct btrfs_ioctl_qgroup_assign_args args = {.assign = 1, .src = member, .dst = group};
    /* 1: the sums are not exact until a rescan; a member that is new has nothing to be summed up. */
    return ioctl(fd, BTRFS_IOC_QGROUP_ASSIGN, &args) == -1 ? -1 : 0;
}

int cbtrfs_limit_qgroup(int fd, uint64_t id, uint64_t referenced, uint64_t exclusive)
{
    struct btrfs_ioctl_qgroup_limit_args args = {.qgroupid = id};
    if (referenced) {
        args.lim.flags |= BTRFS_QGROUP_LIMIT_MAX_RFER;
        args.lim.max_rfer = referenced;
    }
    if (exclusive) {
        args.lim.flags |= BTRFS_QGROUP_LIMIT_MAX_EXCL;
        args.lim.max_excl = exclusive;
    }
    return ioctl(fd, BTRFS_IOC_QGROUP_LIMIT, &args);
}

int cbtrfs_wait_for_rescan(int fd)
{
    return ioctl(fd, BTRFS_IOC_QUOTA_RESCAN_WAIT);
}

int cbtrfs_space(int fd, struct cbtrfs_space *space)
{
    struct btrfs_ioctl_space_args count = {0};
    if (ioctl(fd, BTRFS_IOC_SPACE_INFO, &count) == -1)
        return -1;
    size_t slots = count.total_spaces + 8; /* a kind may come in between */
    struct btrfs_ioctl_space_args *args = calloc(1, sizeof *args + slots * sizeof args->spaces[0]);
    if (!args)
        return -1;
    args->space_slots = slots;
    int result = ioctl(fd, BTRFS_IOC_SPACE_INFO, args);
    memset(space, 0, sizeof *space);
    for (uint64_t i = 0; result == 0 && i < args->total_spaces; i++) {
        const struct btrfs_ioctl_space_info *info = &args->spaces[i];
        if (info->flags & BTRFS_BLOCK_GROUP_DATA) {
            space->data_total += info->total_bytes;
            space->data_used += info->used_bytes;
        } else if (info->flags & (BTRFS_BLOCK_GROUP_METADATA | BTRFS_BLOCK_GROUP_SYSTEM)) {
            space->metadata_total += info->total_bytes;
            space->metadata_used += info->used_bytes;
        }
    }
    free(args);
    return result;
}

int cbtrfs_send(int subvolume, uint64_t parent, int out)
{
    __u64 source = parent;
    struct btrfs_ioctl_send_args args = {
        .send_fd = out,
        .clone_sources_count = 1,
        .clone_sources = &source,
        .parent_root = parent,
        .flags = BTRFS_SEND_FLAG_NO_FILE_DATA,
    };
    return ioctl(subvolume, BTRFS_IOC_SEND, &args);
}
