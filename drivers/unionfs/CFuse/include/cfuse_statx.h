/* SPDX-License-Identifier: Apache-2.0 */
/* STATX (linux/fuse.h, 7.39), which libfuse does not know: GETATTR that tells the time of birth too. */
#ifndef CFUSE_STATX_H
#define CFUSE_STATX_H

#include <stddef.h>
#include <stdint.h>

enum {
    CFUSE_ATTR_REPLY = 104, /* struct fuse_attr_out, in bytes */
    CFUSE_STATX_REPLY = 288,
};

/* Turns the reply to GETATTR into the one to STATX. `birth`: nanoseconds since 1970; 0: it is not known. */
void cfuse_to_statx(const void *attributes, int64_t birth, void *reply);

#endif
