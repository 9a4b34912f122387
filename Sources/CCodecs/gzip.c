/* SPDX-License-Identifier: Apache-2.0 */
#include <isa-l/igzip_lib.h>
#include <limits.h>
#include <stdlib.h>

#include "codecs.h"

CCODECS_POINTER(isal_inflate_init);
CCODECS_POINTER(isal_inflate_reset);
CCODECS_POINTER(isal_inflate);
CCODECS_POINTER(isal_deflate_init);
CCODECS_POINTER(isal_deflate);

const struct ccodecs_symbol ccodecs_isal_symbols[] = {
    CCODECS_SYMBOL(isal_inflate_init), CCODECS_SYMBOL(isal_inflate_reset), CCODECS_SYMBOL(isal_inflate),
    CCODECS_SYMBOL(isal_deflate_init), CCODECS_SYMBOL(isal_deflate),       {0},
};

static size_t clamp(size_t count)
{
    return count > INT_MAX ? INT_MAX : count;
}

static const char *inflate_error(int code)
{
    switch (code) {
    case ISAL_INVALID_BLOCK:
        return "invalid deflate block";
    case ISAL_INVALID_SYMBOL:
        return "invalid deflate symbol";
    case ISAL_INVALID_LOOKBACK:
        return "invalid deflate distance";
    case ISAL_INVALID_WRAPPER:
        return "invalid gzip header";
    case ISAL_UNSUPPORTED_METHOD:
        return "unsupported gzip method";
    case ISAL_INCORRECT_CHECKSUM:
        return "incorrect gzip checksum";
    default:
        return "invalid gzip data";
    }
}

static enum ccodecs_result gzip_decode(void *opaque, struct ccodecs_buffers *b, const char **error)
{
    struct inflate_state *state = opaque;
    size_t in = clamp(b->in_left), out = clamp(b->out_left);
    state->next_in = (uint8_t *)b->in;
    state->avail_in = (uint32_t)in;
    state->next_out = b->out;
    state->avail_out = (uint32_t)out;
    int code = x_isal_inflate(state);
    if (code < 0) {
        *error = inflate_error(code);
        return CCODECS_ERROR;
    }
    /* A length that grew or passed the buffer would be an error of the library: never believe it. */
    if (state->avail_in > in || state->avail_out > out) {
        *error = "gzip decoder returned a wrong length";
        return CCODECS_ERROR;
    }
    b->in += in - state->avail_in;
    b->in_left -= in - state->avail_in;
    b->out += out - state->avail_out;
    b->out_left -= out - state->avail_out;
    if (state->block_state != ISAL_BLOCK_FINISH)
        return CCODECS_MORE;
    x_isal_inflate_reset(state);
    return CCODECS_END;
}

int ccodecs_open_gzip(ccodecs_decoder *decoder, uint64_t max_window)
{
    (void)max_window; /* deflate's window is 32 KiB */
    struct inflate_state *state = malloc(sizeof *state);
    if (!state)
        return -1;
    x_isal_inflate_init(state);
    state->crc_flag = ISAL_GZIP;
    decoder->state = state;
    decoder->decode = gzip_decode;
    decoder->free = free;
    return 0;
}

struct ccodecs_encoder {
    struct isal_zstream stream;
    uint8_t level[ISAL_DEF_LVL2_DEFAULT];
};

ccodecs_encoder *ccodecs_encoder_new(void)
{
    if (ccodecs_load(CCODECS_ISAL) == -1)
        return NULL;
    ccodecs_encoder *encoder = malloc(sizeof *encoder);
    if (!encoder)
        return NULL;
    x_isal_deflate_init(&encoder->stream);
    encoder->stream.gzip_flag = IGZIP_GZIP;
    encoder->stream.level = 2;
    encoder->stream.level_buf = encoder->level;
    encoder->stream.level_buf_size = sizeof encoder->level;
    return encoder;
}

enum ccodecs_result ccodecs_encode(ccodecs_encoder *encoder, struct ccodecs_buffers *b, int finish)
{
    struct isal_zstream *stream = &encoder->stream;
    size_t in = clamp(b->in_left), out = clamp(b->out_left);
    stream->next_in = (uint8_t *)b->in;
    stream->avail_in = (uint32_t)in;
    stream->next_out = b->out;
    stream->avail_out = (uint32_t)out;
    stream->end_of_stream = finish && in == b->in_left;
    if (x_isal_deflate(stream) != COMP_OK)
        return CCODECS_ERROR;
    b->in += in - stream->avail_in;
    b->in_left -= in - stream->avail_in;
    b->out += out - stream->avail_out;
    b->out_left -= out - stream->avail_out;
    return stream->internal_state.state == ZSTATE_END ? CCODECS_END : CCODECS_MORE;
}

void ccodecs_encoder_free(ccodecs_encoder *encoder)
{
    free(encoder);
}
