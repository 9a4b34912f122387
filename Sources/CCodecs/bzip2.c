/* SPDX-License-Identifier: Apache-2.0 */
#include <bzlib.h>
#include <limits.h>
#include <stdlib.h>

#include "codecs.h"

CCODECS_POINTER(BZ2_bzDecompressInit);
CCODECS_POINTER(BZ2_bzDecompress);
CCODECS_POINTER(BZ2_bzDecompressEnd);

const struct ccodecs_symbol ccodecs_bzip2_symbols[] = {
    CCODECS_SYMBOL(BZ2_bzDecompressInit),
    CCODECS_SYMBOL(BZ2_bzDecompress),
    CCODECS_SYMBOL(BZ2_bzDecompressEnd),
    {0},
};

struct bzip2 {
    bz_stream stream;
    int open;
};

static const char *bzip2_error(int code)
{
    switch (code) {
    case BZ_MEM_ERROR:
        return "out of memory";
    case BZ_DATA_ERROR_MAGIC:
        return "not bzip2 data";
    default:
        return "corrupt bzip2 data";
    }
}

static enum ccodecs_result bzip2_decode(void *opaque, struct ccodecs_buffers *b, const char **error)
{
    struct bzip2 *bz = opaque;
    int code = bz->open ? BZ_OK : x_BZ2_bzDecompressInit(&bz->stream, 0, 0);
    if (code == BZ_OK) {
        bz->open = 1;
        size_t in = b->in_left > INT_MAX ? INT_MAX : b->in_left, out = b->out_left > INT_MAX ? INT_MAX : b->out_left;
        bz->stream.next_in = (char *)b->in;
        bz->stream.avail_in = (unsigned)in;
        bz->stream.next_out = (char *)b->out;
        bz->stream.avail_out = (unsigned)out;
        code = x_BZ2_bzDecompress(&bz->stream);
        b->in += in - bz->stream.avail_in;
        b->in_left -= in - bz->stream.avail_in;
        b->out += out - bz->stream.avail_out;
        b->out_left -= out - bz->stream.avail_out;
    }
    if (code == BZ_OK)
        return CCODECS_MORE;
    if (code != BZ_STREAM_END) {
        *error = bzip2_error(code);
        return CCODECS_ERROR;
    }
    x_BZ2_bzDecompressEnd(&bz->stream);
    bz->open = 0;
    return CCODECS_END;
}

static void bzip2_free(void *opaque)
{
    struct bzip2 *bz = opaque;
    if (bz->open)
        x_BZ2_bzDecompressEnd(&bz->stream);
    free(bz);
}

int ccodecs_open_bzip2(ccodecs_decoder *decoder, uint64_t max_window)
{
    (void)max_window; /* at most 900 KiB */
    struct bzip2 *bz = calloc(1, sizeof *bz);
    if (!bz)
        return -1;
    decoder->state = bz;
    decoder->decode = bzip2_decode;
    decoder->free = bzip2_free;
    return 0;
}
