/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "cdevmapper.h"

#include <dlfcn.h>
#include <errno.h>
#include <libdevmapper.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Every function that is used, with the type that the header gives it. */
#define FUNCTIONS(each)                                                                                                \
    each(dm_log_with_errno_init) each(dm_task_create) each(dm_task_destroy) each(dm_task_set_name)                     \
        each(dm_task_set_uuid) each(dm_task_set_ro) each(dm_task_set_message) each(dm_task_set_sector)                 \
            each(dm_task_add_target) each(dm_task_run) each(dm_task_get_info) each(dm_task_get_errno)                  \
                each(dm_task_no_flush) each(dm_task_skip_lockfs) each(dm_task_no_open_count)                           \
                    each(dm_task_deferred_remove) each(dm_task_get_names) each(dm_task_get_versions)                   \
                        each(dm_get_next_target) each(dm_task_set_cookie) each(dm_udev_wait) each(dm_lib_release)     \
                            each(dm_udev_set_sync_support) each(dm_udev_get_sync_support)

#define DECLARE(function) static __typeof__(&function) p_##function;
FUNCTIONS(DECLARE)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int loaded = -1;
static char load_message[256];
static __thread char message[512];

/* The first error is the cause; what follows it are its consequences. */
static void keep_message(int level, const char *file, int line, int code, const char *format, ...)
{
    (void)file, (void)line, (void)code;
    if ((level & 7) > 3 || message[0])
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
}

static void load(void)
{
    void *handle = dlopen("libdevmapper.so.1.02.1", RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *why = dlerror();
        snprintf(load_message, sizeof load_message, "%s", why ? why : "dlopen failed");
        return;
    }
#define FIND(function)                                                                                                 \
    *(void **)&p_##function = dlsym(handle, #function);                                                                \
    if (!p_##function) {                                                                                               \
        snprintf(load_message, sizeof load_message, "libdevmapper has no %s", #function);                              \
        return;                                                                                                        \
    }
    FUNCTIONS(FIND)
    p_dm_log_with_errno_init(keep_message);
    /* Where udev runs, it is waited for, since it opens new devices to look at them; elsewhere nobody would answer. */
    p_dm_udev_set_sync_support(access("/run/udev/control", F_OK) == 0);
    loaded = 0;
}

int cdevmapper_load(void)
{
    pthread_once(&once, load);
    return loaded;
}

const char *cdevmapper_message(void)
{
    return loaded == 0 ? message : load_message;
}

static struct dm_task *start(int type, const char *name)
{
    if (cdevmapper_load() == -1) {
        errno = ENOSYS;
        return NULL;
    }
    pthread_mutex_lock(&lock);
    message[0] = 0;
    errno = 0;
    struct dm_task *task = p_dm_task_create(type);
    if (task && (!name || p_dm_task_set_name(task, name)))
        return task;
    int code = errno;
    if (task)
        p_dm_task_destroy(task);
    pthread_mutex_unlock(&lock);
    errno = code ? code : ENODEV; /* it looked for the kernel's side at its first call, and remembers */
    return NULL;
}

/* Ends a task; with `code` 0 it went well. Makes nodes that udev does not, and closes the control device, which the
 * library opens without O_CLOEXEC. */
static int finish(struct dm_task *task, int code)
{
    p_dm_task_destroy(task);
    p_dm_lib_release();
    pthread_mutex_unlock(&lock);
    if (!code)
        return 0;
    errno = code;
    return -1;
}

/* Runs a task; 0 or an errno. */
static int run(struct dm_task *task)
{
    errno = 0;
    if (p_dm_task_run(task))
        return 0;
    int code = p_dm_task_get_errno(task);
    if (!code)
        code = errno;
    return code ? code : EIO;
}

/* Runs a task that makes or takes away a device node, and waits until it is so. udev leaves the device alone. */
static int run_with_node(struct dm_task *task)
{
    uint32_t cookie = 0;
    uint16_t flags = DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG | DM_UDEV_DISABLE_DISK_RULES_FLAG | DM_UDEV_DISABLE_OTHER_RULES_FLAG;
    if (!p_dm_task_set_cookie(task, &cookie, flags))
        return errno ? errno : EIO;
    int code = run(task);
    if (p_dm_udev_get_sync_support())
        p_dm_udev_wait(cookie);
    return code;
}

static void copy_info(struct dm_task *task, struct cdevmapper_info *out)
{
    struct dm_info info;
    memset(out, 0, sizeof *out);
    if (!p_dm_task_get_info(task, &info) || !info.exists)
        return;
    *out = (struct cdevmapper_info){
        .exists = 1,
        .suspended = info.suspended,
        .live_table = info.live_table,
        .open_count = info.open_count,
        .read_only = info.read_only,
        .deferred_remove = info.deferred_remove,
        .major = info.major,
        .minor = info.minor,
    };
}

static int set_table(struct dm_task *task, const struct cdevmapper_table *table)
{
    return p_dm_task_add_target(task, 0, table->length, table->target, table->parameters) &&
           (!table->read_only || p_dm_task_set_ro(task));
}

int cdevmapper_create(const char *name, const char *uuid, const struct cdevmapper_table *table,
                      struct cdevmapper_info *info)
{
    struct dm_task *task = start(DM_DEVICE_CREATE, name);
    if (!task)
        return -1;
    if (!p_dm_task_set_uuid(task, uuid) || !set_table(task, table))
        return finish(task, errno ? errno : ENOMEM);
    int code = run_with_node(task);
    if (!code)
        copy_info(task, info);
    return finish(task, code);
}

int cdevmapper_reload(const char *name, const struct cdevmapper_table *table)
{
    struct dm_task *task = start(DM_DEVICE_RELOAD, name);
    if (!task)
        return -1;
    return finish(task, set_table(task, table) ? run(task) : ENOMEM);
}

int cdevmapper_suspend(const char *name, int freezes)
{
    struct dm_task *task = start(DM_DEVICE_SUSPEND, name);
    if (!task)
        return -1;
    if (!freezes)
        p_dm_task_skip_lockfs(task);
    return finish(task, run(task));
}

int cdevmapper_resume(const char *name)
{
    struct dm_task *task = start(DM_DEVICE_RESUME, name);
    return task ? finish(task, run_with_node(task)) : -1;
}

int cdevmapper_remove(const char *name, int deferred)
{
    struct dm_task *task = start(DM_DEVICE_REMOVE, name);
    if (!task)
        return -1;
    if (deferred)
        p_dm_task_deferred_remove(task);
    return finish(task, run_with_node(task));
}

int cdevmapper_info(const char *name, struct cdevmapper_info *info)
{
    struct dm_task *task = start(DM_DEVICE_INFO, name);
    if (!task)
        return -1;
    int code = run(task);
    if (!code)
        copy_info(task, info);
    return finish(task, code);
}

int cdevmapper_target_message(const char *name, const char *text)
{
    struct dm_task *task = start(DM_DEVICE_TARGET_MSG, name);
    if (!task)
        return -1;
    if (!p_dm_task_set_sector(task, 0) || !p_dm_task_set_message(task, text))
        return finish(task, ENOMEM);
    return finish(task, run(task));
}

int cdevmapper_status(const char *name, int table, int flushes, char *parameters, size_t size)
{
    struct dm_task *task = start(table ? DM_DEVICE_TABLE : DM_DEVICE_STATUS, name);
    if (!task)
        return -1;
    if (!flushes)
        p_dm_task_no_flush(task);
    p_dm_task_no_open_count(task);
    int code = run(task);
    if (!code) {
        struct dm_info info;
        uint64_t first, length;
        char *type = NULL, *text = NULL;
        if (!p_dm_task_get_info(task, &info) || !info.exists)
            return finish(task, ENXIO);
        p_dm_get_next_target(task, NULL, &first, &length, &type, &text);
        if (!text || strlen(text) >= size)
            return finish(task, text ? ERANGE : ENODATA);
        memcpy(parameters, text, strlen(text) + 1);
    }
    return finish(task, code);
}

long cdevmapper_names(char *names, size_t size)
{
    struct dm_task *task = start(DM_DEVICE_LIST, NULL);
    if (!task)
        return -1;
    int code = run(task);
    if (code)
        return finish(task, code);
    size_t needed = 0;
    struct dm_names *entry = p_dm_task_get_names(task);
    while (entry && entry->dev) {
        size_t length = strlen(entry->name) + 1;
        if (needed + length <= size)
            memcpy(names + needed, entry->name, length);
        needed += length;
        if (!entry->next)
            break;
        entry = (struct dm_names *)((char *)entry + entry->next);
    }
    finish(task, 0);
    return (long)needed;
}

int cdevmapper_target_version(const char *target, uint32_t version[3])
{
    struct dm_task *task = start(DM_DEVICE_LIST_VERSIONS, NULL);
    if (!task)
        return -1;
    int code = run(task);
    if (code)
        return finish(task, code);
    struct dm_versions *entry = p_dm_task_get_versions(task);
    code = ENOENT;
    while (entry) {
        if (!strcmp(entry->name, target)) {
            memcpy(version, entry->version, 3 * sizeof *version);
            code = 0;
        }
        if (!entry->next)
            break;
        entry = (struct dm_versions *)((char *)entry + entry->next);
    }
    return finish(task, code);
}
