/* SPDX-License-Identifier: Apache-2.0 */
#include <lzma.h>
#include <stdlib.h>

#include "codecs.h"

CCODECS_POINTER(lzma_stream_decoder);
CCODECS_POINTER(lzma_code);
CCODECS_POINTER(lzma_end);

const struct ccodecs_symbol ccodecs_lzma_symbols[] = {
    CCODECS_SYMBOL(lzma_stream_decoder),
    CCODECS_SYMBOL(lzma_code),
    CCODECS_SYMBOL(lzma_end),
    {0},
};

struct xz {
    lzma_stream stream;
    uint64_t limit;
    int ended; /* A stream ended: the next call starts another one. */
};

static const char *xz_error(lzma_ret code)
{
    switch (code) {
    case LZMA_MEM_ERROR:
        return "out of memory";
    case LZMA_MEMLIMIT_ERROR:
        return "xz dictionary too large";
    case LZMA_FORMAT_ERROR:
        return "not xz data";
    case LZMA_OPTIONS_ERROR:
        return "unsupported xz options";
    default:
        return "corrupt xz data";
    }
}

static enum ccodecs_result xz_decode(void *opaque, struct ccodecs_buffers *b, const char **error)
{
    struct xz *xz = opaque;
    lzma_ret code = LZMA_OK;
    if (xz->ended)
        code = x_lzma_stream_decoder(&xz->stream, xz->limit, 0);
    xz->ended = 0;
    if (code == LZMA_OK) {
        xz->stream.next_in = b->in;
        xz->stream.avail_in = b->in_left;
        xz->stream.next_out = b->out;
        xz->stream.avail_out = b->out_left;
        code = x_lzma_code(&xz->stream, LZMA_RUN);
        b->in = xz->stream.next_in;
        b->in_left = xz->stream.avail_in;
        b->out = xz->stream.next_out;
        b->out_left = xz->stream.avail_out;
    }
    if (code == LZMA_OK || code == LZMA_BUF_ERROR)
        return CCODECS_MORE;
    if (code != LZMA_STREAM_END) {
        *error = xz_error(code);
        return CCODECS_ERROR;
    }
    xz->ended = 1;
    return CCODECS_END;
}

static void xz_free(void *opaque)
{
    struct xz *xz = opaque;
    x_lzma_end(&xz->stream);
    free(xz);
}

int ccodecs_open_xz(ccodecs_decoder *decoder, uint64_t max_window)
{
    struct xz *xz = calloc(1, sizeof *xz); /* all zero is LZMA_STREAM_INIT */
    if (!xz)
        return -1;
    xz->limit = max_window + (1 << 20); /* the decoder's own tables beside the dictionary */
    xz->ended = 1;
    decoder->state = xz;
    decoder->decode = xz_decode;
    decoder->free = xz_free;
    return 0;
}
