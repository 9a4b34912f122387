/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "clinux_block.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>

const int CLINUX_O_DIRECT = O_DIRECT;

int clinux_block_size(int device, uint64_t *bytes)
{
    return ioctl(device, BLKGETSIZE64, bytes);
}

int clinux_block_discard(int device, uint64_t offset, uint64_t length)
{
    uint64_t range[2] = {offset, length};
    return ioctl(device, BLKDISCARD, range);
}

/* EXT4_IOC_RESIZE_FS and XFS_IOC_FSGROWFSDATA, whose headers are not the kernel's. */
int clinux_ext4_resize(int fd, uint64_t blocks)
{
    return ioctl(fd, _IOW('f', 16, uint64_t), &blocks);
}

int clinux_xfs_grow(int fd, uint64_t blocks)
{
    struct {
        uint64_t blocks;
        uint32_t inode_percent;
    } grow = {blocks, 25};
    return ioctl(fd, _IOW('X', 110, grow), &grow);
}

int clinux_loop_get_free(int control)
{
    return ioctl(control, LOOP_CTL_GET_FREE);
}

int clinux_loop_attach(int loop, int backing, const char *name, int read_only, int direct)
{
    __u32 flags = LO_FLAGS_AUTOCLEAR | (read_only ? LO_FLAGS_READ_ONLY : 0) | (direct ? LO_FLAGS_DIRECT_IO : 0);
    struct loop_config config = {.fd = (__u32)backing, .info = {.lo_flags = flags}};
    snprintf((char *)config.info.lo_file_name, sizeof config.info.lo_file_name, "%s", name);
    return ioctl(loop, LOOP_CONFIGURE, &config);
}

int clinux_loop_backing(int loop, uint64_t *device, uint64_t *inode)
{
    struct loop_info64 info;
    if (ioctl(loop, LOOP_GET_STATUS64, &info) == -1)
        return -1;
    *device = info.lo_device;
    *inode = info.lo_inode;
    return 0;
}

int clinux_loop_set_capacity(int loop)
{
    return ioctl(loop, LOOP_SET_CAPACITY, 0);
}
