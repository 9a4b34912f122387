/* SPDX-License-Identifier: Apache-2.0 */
/* Block devices and loop devices. Each wraps one call: -1 and errno on failure. */
#ifndef CLINUX_BLOCK_H
#define CLINUX_BLOCK_H

#include <stdint.h>

/* Reads and writes past the kernel's pages, of aligned memory at aligned places. */
extern const int CLINUX_O_DIRECT;

int clinux_block_size(int device, uint64_t *bytes);
int clinux_block_discard(int device, uint64_t offset, uint64_t length);

/* Gives a mounted file system, by a file on it, a new size in blocks; it only grows. */
int clinux_ext4_resize(int fd, uint64_t blocks);
int clinux_xfs_grow(int fd, uint64_t blocks);

/* A free loop device's number, by an open /dev/loop-control. */
int clinux_loop_get_free(int control);
/* Binds `backing` to an open loop device, which frees itself with its last user. EBUSY: somebody else took it.
 * `direct`: past the file's page cache, where its file system can. */
int clinux_loop_attach(int loop, int backing, const char *name, int read_only, int direct);
/* The file behind a loop device; ENXIO if there is none. */
int clinux_loop_backing(int loop, uint64_t *device, uint64_t *inode);
/* Takes over the file's new size. */
int clinux_loop_set_capacity(int loop);

#endif
