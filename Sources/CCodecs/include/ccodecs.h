/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compression and digests through the system's libraries, each loaded when it is first needed, so that a program
 * which hashes nothing pays for none of them at start. All functions may be called from any thread; one decoder,
 * encoder or digest is used by one thread at a time.
 */
#ifndef CCODECS_H
#define CCODECS_H

#include <stddef.h>
#include <stdint.h>

enum ccodecs_library {
    CCODECS_ISAL,
    CCODECS_ZSTD,
    CCODECS_CRYPTO,
    CCODECS_LZMA,
    CCODECS_BZIP2,
};

/* Loads a library once. 0, or -1: then ccodecs_load_error() says why and ccodecs_package() which package has it. */
int ccodecs_load(enum ccodecs_library library);
const char *ccodecs_load_error(enum ccodecs_library library);
const char *ccodecs_package(enum ccodecs_library library);

/*
 * SHA-256: libcrypto's, or portable code where that is missing, so it cannot fail. `finish` also frees.
 * `short` is the portable code at once: right for up to some hundred KiB, which hash sooner than libcrypto loads.
 */
typedef struct ccodecs_sha256 ccodecs_sha256;
ccodecs_sha256 *ccodecs_sha256_new(void);
void ccodecs_sha256_update(ccodecs_sha256 *digest, const void *bytes, size_t count);
void ccodecs_sha256_finish(ccodecs_sha256 *digest, uint8_t out[32]);
void ccodecs_sha256_free(ccodecs_sha256 *digest);
void ccodecs_sha256_short(const void *bytes, size_t count, uint8_t out[32]);

enum ccodecs_format {
    CCODECS_GZIP,
    CCODECS_ZSTD_FRAMES,
    CCODECS_XZ,
    CCODECS_BZIP2_STREAM,
};

/* The next unread input byte and the next free output byte, with how many follow each. */
struct ccodecs_buffers {
    const uint8_t *in;
    size_t in_left;
    uint8_t *out;
    size_t out_left;
};

enum ccodecs_result {
    CCODECS_MORE,  /* Wants more input, or more room for output. */
    CCODECS_END,   /* A member (gzip), frame (zstd) or stream (xz, bzip2) ended; `in` points behind it. */
    CCODECS_ERROR, /* See ccodecs_decoder_error(). */
};

/*
 * A decoder of one format. After CCODECS_END it stands at the start of a next member, whose checksum and
 * dictionary state are its own. A zstd window or xz dictionary above `max_window` bytes is an error.
 */
typedef struct ccodecs_decoder ccodecs_decoder;
ccodecs_decoder *ccodecs_decoder_new(enum ccodecs_format format, uint64_t max_window);
enum ccodecs_result ccodecs_decode(ccodecs_decoder *decoder, struct ccodecs_buffers *buffers);
const char *ccodecs_decoder_error(const ccodecs_decoder *decoder);
void ccodecs_decoder_free(ccodecs_decoder *decoder);

/* One gzip member without name and time. With `finish` true, repeated until CCODECS_END. */
typedef struct ccodecs_encoder ccodecs_encoder;
ccodecs_encoder *ccodecs_encoder_new(void);
enum ccodecs_result ccodecs_encode(ccodecs_encoder *encoder, struct ccodecs_buffers *buffers, int finish);
void ccodecs_encoder_free(ccodecs_encoder *encoder);

#endif
