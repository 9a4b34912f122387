/* SPDX-License-Identifier: Apache-2.0 */
#include "cseccomp.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

static struct {
    void *(*init)(uint32_t);
    void (*release)(void *);
    int (*arch_add)(void *, uint32_t);
    int (*attr_set)(void *, int, uint32_t);
    int (*resolve)(const char *);
    int (*resolve_on)(uint32_t, const char *);
    int (*rule_add)(void *, uint32_t, int, unsigned int, const struct cseccomp_compare *);
    int (*export_bpf)(const void *, int);
} library;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int loaded = -1;

static void load(void)
{
    void *handle = dlopen("libseccomp.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return;
    *(void **)&library.init = dlsym(handle, "seccomp_init");
    *(void **)&library.release = dlsym(handle, "seccomp_release");
    *(void **)&library.arch_add = dlsym(handle, "seccomp_arch_add");
    *(void **)&library.attr_set = dlsym(handle, "seccomp_attr_set");
    *(void **)&library.resolve = dlsym(handle, "seccomp_syscall_resolve_name");
    *(void **)&library.resolve_on = dlsym(handle, "seccomp_syscall_resolve_name_arch");
    *(void **)&library.rule_add = dlsym(handle, "seccomp_rule_add_array");
    *(void **)&library.export_bpf = dlsym(handle, "seccomp_export_bpf");
    if (library.init && library.release && library.arch_add && library.attr_set && library.resolve && library.resolve_on &&
        library.rule_add && library.export_bpf)
        loaded = 0;
}

int cseccomp_load(void)
{
    pthread_once(&once, load);
    return loaded;
}

void *cseccomp_init(uint32_t default_action)
{
    return library.init(default_action);
}

void cseccomp_release(void *context)
{
    library.release(context);
}

int cseccomp_arch_add(void *context, uint32_t architecture)
{
    return library.arch_add(context, architecture);
}

int cseccomp_attr_set(void *context, int attribute, uint32_t value)
{
    return library.attr_set(context, attribute, value);
}

int cseccomp_resolve(const char *name)
{
    return library.resolve(name);
}

int cseccomp_resolve_on(uint32_t architecture, const char *name)
{
    return library.resolve_on(architecture, name);
}

int cseccomp_rule_add(void *context, uint32_t action, int number, unsigned int count,
                      const struct cseccomp_compare *compares)
{
    return library.rule_add(context, action, number, count, compares);
}

int cseccomp_export_bpf(void *context, int fd)
{
    return library.export_bpf(context, fd);
}
