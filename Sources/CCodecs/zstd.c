/* SPDX-License-Identifier: Apache-2.0 */
#include <zstd.h>

#include "codecs.h"

CCODECS_POINTER(ZSTD_createDStream);
CCODECS_POINTER(ZSTD_freeDStream);
CCODECS_POINTER(ZSTD_decompressStream);
CCODECS_POINTER(ZSTD_DCtx_setParameter);
CCODECS_POINTER(ZSTD_isError);
CCODECS_POINTER(ZSTD_getErrorName);

const struct ccodecs_symbol ccodecs_zstd_symbols[] = {
    CCODECS_SYMBOL(ZSTD_createDStream),     CCODECS_SYMBOL(ZSTD_freeDStream), CCODECS_SYMBOL(ZSTD_decompressStream),
    CCODECS_SYMBOL(ZSTD_DCtx_setParameter), CCODECS_SYMBOL(ZSTD_isError),     CCODECS_SYMBOL(ZSTD_getErrorName),
    {0},
};

static enum ccodecs_result zstd_decode(void *state, struct ccodecs_buffers *b, const char **error)
{
    ZSTD_inBuffer in = {b->in, b->in_left, 0};
    ZSTD_outBuffer out = {b->out, b->out_left, 0};
    size_t code = x_ZSTD_decompressStream(state, &out, &in);
    if (x_ZSTD_isError(code)) {
        *error = x_ZSTD_getErrorName(code);
        return CCODECS_ERROR;
    }
    b->in += in.pos;
    b->in_left -= in.pos;
    b->out += out.pos;
    b->out_left -= out.pos;
    return code == 0 ? CCODECS_END : CCODECS_MORE; /* 0: a frame is decoded and flushed whole */
}

static void zstd_free(void *state)
{
    x_ZSTD_freeDStream(state);
}

int ccodecs_open_zstd(ccodecs_decoder *decoder, uint64_t max_window)
{
    ZSTD_DStream *stream = x_ZSTD_createDStream();
    if (!stream)
        return -1;
    int log = 63 - __builtin_clzll(max_window | 1024);
    if (x_ZSTD_isError(x_ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, log))) {
        x_ZSTD_freeDStream(stream);
        return -1;
    }
    decoder->state = stream;
    decoder->decode = zstd_decode;
    decoder->free = zstd_free;
    return 0;
}
