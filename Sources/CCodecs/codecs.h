/* SPDX-License-Identifier: Apache-2.0 */
/* What each format gives to the common decoder. */
#ifndef CCODECS_CODECS_H
#define CCODECS_CODECS_H

#include "library.h"

struct ccodecs_decoder {
    enum ccodecs_result (*decode)(void *state, struct ccodecs_buffers *buffers, const char **error);
    void (*free)(void *state);
    void *state;
    const char *error;
};

/* Each returns 0 and fills `decode`, `free` and `state`, or -1 without memory; its library is loaded. */
int ccodecs_open_gzip(ccodecs_decoder *decoder, uint64_t max_window);
int ccodecs_open_zstd(ccodecs_decoder *decoder, uint64_t max_window);
int ccodecs_open_xz(ccodecs_decoder *decoder, uint64_t max_window);
int ccodecs_open_bzip2(ccodecs_decoder *decoder, uint64_t max_window);

#endif
