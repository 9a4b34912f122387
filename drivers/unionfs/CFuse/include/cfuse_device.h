/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the kernel by /dev/fuse beside replies: another descriptor, backing files, content that it is to hold. */
#ifndef CFUSE_DEVICE_H
#define CFUSE_DEVICE_H

#include <stddef.h>
#include <stdint.h>

/* Another descriptor of the connection of `device`, -errno on failure. */
int cfuse_clone_device(int device);

/* Registers `file` as a backing file of the connection: its id > 0, or -errno. The kernel writes to it with what the
 * thread may do now; set-id bits that the writer must not keep it has the server drop first. */
int cfuse_backing_open(int device, int file);
int cfuse_backing_close(int device, int backing);

/* Gives the kernel the content of a file that was never open, from its beginning; -errno on failure. */
int cfuse_store(int device, uint64_t node, const void *data, size_t size);

#endif
