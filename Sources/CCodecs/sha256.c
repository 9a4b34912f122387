/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"

CCODECS_POINTER(OPENSSL_init_crypto);
CCODECS_POINTER(EVP_MD_CTX_new);
CCODECS_POINTER(EVP_MD_CTX_free);
CCODECS_POINTER(EVP_sha256);
CCODECS_POINTER(EVP_DigestInit_ex);
CCODECS_POINTER(EVP_DigestUpdate);
CCODECS_POINTER(EVP_DigestFinal_ex);

const struct ccodecs_symbol ccodecs_crypto_symbols[] = {
    CCODECS_SYMBOL(OPENSSL_init_crypto), CCODECS_SYMBOL(EVP_MD_CTX_new),    CCODECS_SYMBOL(EVP_MD_CTX_free),
    CCODECS_SYMBOL(EVP_sha256),          CCODECS_SYMBOL(EVP_DigestInit_ex), CCODECS_SYMBOL(EVP_DigestUpdate),
    CCODECS_SYMBOL(EVP_DigestFinal_ex),  {0},
};

/* FIPS 180-4, for inputs so short that loading libcrypto costs more than hashing them does. */
static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void compress(uint32_t h[8], const uint8_t *block)
{
    uint32_t w[64];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
               (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], last = h[7];
    for (int i = 0; i < 64; i++) {
        uint32_t t = last + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + round_constants[i] + w[i];
        uint32_t u = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        last = g, g = f, f = e, e = d + t;
        d = c, c = b, b = a, a = t + u;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d;
    h[4] += e, h[5] += f, h[6] += g, h[7] += last;
}

struct ccodecs_sha256 {
    EVP_MD_CTX *evp; /* NULL: the portable code below */
    uint32_t h[8];
    uint64_t length;
    uint8_t block[64];
};

static void portable_init(ccodecs_sha256 *digest)
{
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memset(digest, 0, sizeof *digest);
    memcpy(digest->h, initial, sizeof initial);
}

static void portable_update(ccodecs_sha256 *digest, const uint8_t *bytes, size_t count)
{
    size_t used = digest->length % 64;
    digest->length += count;
    while (count > 0) {
        size_t take = 64 - used < count ? 64 - used : count;
        memcpy(digest->block + used, bytes, take);
        bytes += take;
        count -= take;
        used += take;
        if (used == 64) {
            compress(digest->h, digest->block);
            used = 0;
        }
    }
}

static void portable_finish(ccodecs_sha256 *digest, uint8_t out[32])
{
    uint64_t bits = digest->length * 8;
    size_t used = digest->length % 64;
    uint8_t pad[72] = {0x80};
    size_t zeros = used < 56 ? 56 - used : 120 - used; /* the 0x80 byte counts among them */
    for (int i = 0; i < 8; i++)
        pad[zeros + i] = (uint8_t)(bits >> (56 - 8 * i));
    portable_update(digest, pad, zeros + 8);
    for (int i = 0; i < 32; i++)
        out[i] = (uint8_t)(digest->h[i / 4] >> (24 - 8 * (i % 4)));
}

void ccodecs_sha256_short(const void *bytes, size_t count, uint8_t out[32])
{
    ccodecs_sha256 digest;
    portable_init(&digest);
    portable_update(&digest, bytes, count);
    portable_finish(&digest, out);
}

ccodecs_sha256 *ccodecs_sha256_new(void)
{
    ccodecs_sha256 *digest = malloc(sizeof *digest);
    if (!digest)
        abort(); /* 112 bytes: nothing else would go on either */
    portable_init(digest);
    if (ccodecs_load(CCODECS_CRYPTO) == -1)
        return digest;
    /* Threads may still hash when the process exits, and no configuration file has a say in what SHA-256 is. */
    if (x_OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
        return digest;
    EVP_MD_CTX *context = x_EVP_MD_CTX_new();
    if (context && x_EVP_DigestInit_ex(context, x_EVP_sha256(), NULL) == 1)
        digest->evp = context;
    else if (context)
        x_EVP_MD_CTX_free(context);
    return digest;
}

void ccodecs_sha256_update(ccodecs_sha256 *digest, const void *bytes, size_t count)
{
    if (!digest->evp)
        portable_update(digest, bytes, count);
    else if (x_EVP_DigestUpdate(digest->evp, bytes, count) != 1)
        abort(); /* no input makes it fail */
}

void ccodecs_sha256_finish(ccodecs_sha256 *digest, uint8_t out[32])
{
    if (!digest->evp)
        portable_finish(digest, out);
    else if (x_EVP_DigestFinal_ex(digest->evp, out, NULL) != 1)
        abort();
    ccodecs_sha256_free(digest);
}

void ccodecs_sha256_free(ccodecs_sha256 *digest)
{
    if (digest->evp)
        x_EVP_MD_CTX_free(digest->evp);
    free(digest);
}
