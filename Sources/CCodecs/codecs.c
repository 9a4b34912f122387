/* SPDX-License-Identifier: Apache-2.0 */
#include "codecs.h"

#include <stdlib.h>

static const struct {
    enum ccodecs_library library;
    int (*open)(ccodecs_decoder *, uint64_t);
} formats[] = {
    [CCODECS_GZIP] = {CCODECS_ISAL, ccodecs_open_gzip},
    [CCODECS_ZSTD_FRAMES] = {CCODECS_ZSTD, ccodecs_open_zstd},
    [CCODECS_XZ] = {CCODECS_LZMA, ccodecs_open_xz},
    [CCODECS_BZIP2_STREAM] = {CCODECS_BZIP2, ccodecs_open_bzip2},
};

ccodecs_decoder *ccodecs_decoder_new(enum ccodecs_format format, uint64_t max_window)
{
    if (ccodecs_load(formats[format].library) == -1)
        return NULL;
    ccodecs_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder && formats[format].open(decoder, max_window) == -1) {
        free(decoder);
        decoder = NULL;
    }
    return decoder;
}

enum ccodecs_result ccodecs_decode(ccodecs_decoder *decoder, struct ccodecs_buffers *buffers)
{
    return decoder->decode(decoder->state, buffers, &decoder->error);
}

const char *ccodecs_decoder_error(const ccodecs_decoder *decoder)
{
    return decoder->error ? decoder->error : "unknown error";
}

void ccodecs_decoder_free(ccodecs_decoder *decoder)
{
    if (!decoder)
        return;
    decoder->free(decoder->state);
    free(decoder);
}
