/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the driver's tests alone, which link libbtrfs (GPL-2.0-only) for it: the kernel's own list of what a subvolume changed,
 * read by the library of btrfs-progs.
 */
#ifndef CBTRFS_ORACLE_H
#define CBTRFS_ORACLE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Does to the directory `root`, a writable snapshot of the parent, what the stream `stream` says, but for the content of
 * files, owners, modes, times and attributes; `touched` gets the inode there of each file and directory that the
 * stream names. 0, or -1 and errno; ENOSYS if it was built without the library.
 */
int cbtrfs_oracle_replay(int stream, int root, void (*touched)(uint64_t inode, void *context), void *context);

#endif
