/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "cfuse_device.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

struct backing_map {
    int32_t fd;
    uint32_t flags;
    uint64_t padding;
};
#define IOC_CLONE _IOR(229, 0, uint32_t)
#define IOC_BACKING_OPEN _IOW(229, 1, struct backing_map)
#define IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)

int cfuse_store(int device, uint64_t node, const void *data, size_t size)
{
    enum { NOTIFY_STORE = 4 };
    struct {
        uint32_t length;
        int32_t code;
        uint64_t unique;
        uint64_t node, offset;
        uint32_t size, padding;
    } head = {.length = (uint32_t)(sizeof head + size), .code = NOTIFY_STORE, .node = node, .size = (uint32_t)size};
    struct iovec parts[] = {{.iov_base = &head, .iov_len = sizeof head}, {.iov_base = (void *)data, .iov_len = size}};
    return writev(device, parts, 2) < 0 ? -errno : 0;
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
