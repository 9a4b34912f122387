/* SPDX-License-Identifier: Apache-2.0 */
/* Symbols of a library that is loaded when first needed. */
#ifndef CCODECS_LIBRARY_H
#define CCODECS_LIBRARY_H

#include "ccodecs.h"

/* Points `*slot` to the symbol `name`; the type is that of the declaration in the library's header. */
struct ccodecs_symbol {
    const char *name;
    void **slot;
};

/* Defines `static` pointers named x_FUNCTION and their table entries. */
#define CCODECS_POINTER(function) static __typeof__(&function) x_##function
#define CCODECS_SYMBOL(function) {#function, (void **)&x_##function}

extern const struct ccodecs_symbol ccodecs_isal_symbols[], ccodecs_zstd_symbols[], ccodecs_crypto_symbols[],
    ccodecs_lzma_symbols[], ccodecs_bzip2_symbols[];

#endif
