/* SPDX-License-Identifier: Apache-2.0 */
/* System calls without a C library: each answers as the kernel does, a negative errno on failure. */
#ifndef INTERPRETER_SYSTEM_H
#define INTERPRETER_SYSTEM_H

#include <asm/unistd.h>
#include <linux/errno.h>
#include <stddef.h>
#include <stdint.h>

static inline long call6(long n, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
#else
#error "the interpreter is written for x86-64 and arm64"
#endif
}

#define SYS1(n, a) call6(n, (long)(a), 0, 0, 0, 0, 0)
#define SYS2(n, a, b) call6(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS3(n, a, b, c) call6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS4(n, a, b, c, d) call6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS5(n, a, b, c, d, e) call6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS6(n, a, b, c, d, e, f) call6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

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
