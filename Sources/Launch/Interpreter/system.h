/* SPDX-License-Identifier: Apache-2.0 */
/* System calls without a C library: each answers as the kernel does, a negative errno on failure. */
#ifndef INTERPRETER_SYSTEM_H
#define INTERPRETER_SYSTEM_H

#include "clinux_call.h"

#include <asm/unistd.h>
#include <linux/errno.h>
#include <stddef.h>
#include <stdint.h>

#define SYS1(n, a) clinux_call(n, (long)(a), 0, 0, 0, 0, 0)
#define SYS2(n, a, b) clinux_call(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS3(n, a, b, c) clinux_call(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS4(n, a, b, c, d) clinux_call(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS5(n, a, b, c, d, e) clinux_call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS6(n, a, b, c, d, e, f) clinux_call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#define TRY(expression)                                                                                      \
    do {                                                                                                     \
        long tried_ = (expression);                                                                          \
        if (tried_ < 0)                                                                                      \
            return tried_;                                                                                   \
    } while (0)

void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int byte, size_t count);

static inline size_t text_length(const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}

static inline void close_fd(long fd)
{
    SYS1(__NR_close, fd);
}

static inline _Noreturn void leave(int code)
{
    for (;;)
        SYS1(__NR_exit_group, code);
}

#endif
