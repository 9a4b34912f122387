/* SPDX-License-Identifier: Apache-2.0 */
/* Counts allocations of the program it is preloaded into, and writes the count to the file that ALLOCATIONS names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_ulong count;
static pid_t owner;

void *malloc(size_t size) { count++; return __libc_malloc(size); }
void *calloc(size_t items, size_t size) { count++; return __libc_calloc(items, size); }
void *realloc(void *old, size_t size) { count++; return __libc_realloc(old, size); }
void *aligned_alloc(size_t alignment, size_t size) { count++; return __libc_memalign(alignment, size); }

int posix_memalign(void **out, size_t alignment, size_t size)
{
    count++;
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}

__attribute__((constructor)) static void begin(void) { owner = getpid(); }

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("ALLOCATIONS");
    if (!path || getpid() != owner) return;
    char text[32];
    int length = snprintf(text, sizeof text, "%lu\n", (unsigned long)count);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || write(file, text, length) != length) _exit(126);
}
