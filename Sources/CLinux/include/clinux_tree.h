/* SPDX-License-Identifier: Apache-2.0 */
/* What making trees of files needs beyond clinux_file.h. Each wraps one call: -1 and errno on failure. */
#ifndef CLINUX_TREE_H
#define CLINUX_TREE_H

/* Gives the calling thread a umask (and working directory) of its own: unshare(CLONE_FS). */
int clinux_unshare_fs(void);

#endif
