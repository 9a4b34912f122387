/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

static struct {
    const char *soname, *package;
    const struct ccodecs_symbol *symbols;
    int state; /* 0 not tried, 1 loaded, -1 failed; written under `lock`, read by atomics */
    char error[256];
} libraries[] = {
    [CCODECS_ISAL] = {"libisal.so.2", "libisal2", ccodecs_isal_symbols},
    [CCODECS_ZSTD] = {"libzstd.so.1", "libzstd1", ccodecs_zstd_symbols},
    [CCODECS_CRYPTO] = {"libcrypto.so.3", "libssl3", ccodecs_crypto_symbols},
    [CCODECS_LZMA] = {"liblzma.so.5", "liblzma5", ccodecs_lzma_symbols},
    [CCODECS_BZIP2] = {"libbz2.so.1.0", "libbz2-1.0", ccodecs_bzip2_symbols},
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Never unloaded: threads of ours may be inside it at exit. */
static int load(enum ccodecs_library library)
{
    char *error = libraries[library].error;
    size_t room = sizeof libraries[library].error;
    void *handle = dlopen(libraries[library].soname, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *why = dlerror();
        snprintf(error, room, "%s", why ? why : "dlopen failed");
        return -1;
    }
    for (const struct ccodecs_symbol *s = libraries[library].symbols; s->name; s++) {
        *s->slot = dlsym(handle, s->name);
        if (!*s->slot) {
            snprintf(error, room, "%s has no %s", libraries[library].soname, s->name);
            return -1;
        }
    }
    return 1;
}

int ccodecs_load(enum ccodecs_library library)
{
    int state = __atomic_load_n(&libraries[library].state, __ATOMIC_ACQUIRE);
    if (state == 0) {
        pthread_mutex_lock(&lock);
        state = libraries[library].state;
        if (state == 0) {
            state = load(library);
            __atomic_store_n(&libraries[library].state, state, __ATOMIC_RELEASE);
        }
        pthread_mutex_unlock(&lock);
    }
    return state == 1 ? 0 : -1;
}

const char *ccodecs_load_error(enum ccodecs_library library)
{
    return libraries[library].error;
}

const char *ccodecs_package(enum ccodecs_library library)
{
    return libraries[library].package;
}
