/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "cdevmapper.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libdevmapper.h>
#include <linux/dm-ioctl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The library's part: where udev runs it has to be told what it may do to a device, and waited for. */

/* Every function that is used, with the type that the header gives it. */
#define FUNCTIONS(each)                                                                                                \
    each(dm_log_with_errno_init) each(dm_task_create) each(dm_task_destroy) each(dm_task_set_name)                     \
        each(dm_task_set_uuid) each(dm_task_set_ro) each(dm_task_add_target) each(dm_task_run)                         \
            each(dm_task_get_info) each(dm_task_get_errno) each(dm_task_deferred_remove) each(dm_task_set_cookie)      \
                each(dm_udev_wait) each(dm_lib_release) each(dm_udev_set_sync_support)                                 \
                    each(dm_udev_get_sync_support)

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
    p_dm_udev_set_sync_support(1);
    loaded = 0;
}

int cdevmapper_load(void)
{
    pthread_once(&once, load);
    return loaded;
}

const char *cdevmapper_message(void)
{
    return message[0] ? message : load_message;
}

int cdevmapper_has_udev(void)
{
    return access("/run/udev/control", F_OK) == 0;
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
    if (task && p_dm_task_set_name(task, name))
        return task;
    int code = errno;
    if (task)
        p_dm_task_destroy(task);
    pthread_mutex_unlock(&lock);
    errno = code ? code : ENODEV; /* it looked for the kernel's side at its first call, and remembers */
    return NULL;
}

/* Ends a task; with `code` 0 it went well. Closes the control device, which the library opens without O_CLOEXEC. */
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

/* Runs a task that makes or takes away a device node, and waits until it is so; 0 or an errno. udev leaves the device
 * alone. */
static int run(struct dm_task *task)
{
    uint32_t cookie = 0;
    uint16_t flags = DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG | DM_UDEV_DISABLE_DISK_RULES_FLAG | DM_UDEV_DISABLE_OTHER_RULES_FLAG;
    errno = 0;
    if (!p_dm_task_set_cookie(task, &cookie, flags))
        return errno ? errno : EIO;
    int code = 0;
    if (!p_dm_task_run(task)) {
        code = p_dm_task_get_errno(task);
        if (!code)
            code = errno ? errno : EIO;
    }
    if (p_dm_udev_get_sync_support())
        p_dm_udev_wait(cookie);
    return code;
}

static int create_with_udev(const char *name, const char *uuid, const struct cdevmapper_table *table,
                            struct cdevmapper_info *info)
{
    struct dm_task *task = start(DM_DEVICE_CREATE, name);
    if (!task)
        return -1;
    if (!p_dm_task_set_uuid(task, uuid) ||
        !p_dm_task_add_target(task, 0, table->length, table->target, table->parameters) ||
        (table->read_only && !p_dm_task_set_ro(task)))
        return finish(task, errno ? errno : ENOMEM);
    int code = run(task);
    struct dm_info found;
    if (!code && p_dm_task_get_info(task, &found))
        *info = (struct cdevmapper_info){1, found.live_table, found.read_only, found.major, found.minor};
    return finish(task, code);
}

static int run_with_udev(int type, const char *name, int deferred)
{
    struct dm_task *task = start(type, name);
    if (!task)
        return -1;
    if (deferred)
        p_dm_task_deferred_remove(task);
    return finish(task, run(task));
}

/* The kernel's own calls, for all else: to load the library and what it needs costs more than most of what is done. */

#define CONTROL "/dev/mapper/control"

struct call {
    struct dm_ioctl head;
    char data[16384 - sizeof(struct dm_ioctl)];
};

/* Begins a call on the device of that name. */
static int begin(struct call *call, const char *name, uint32_t flags)
{
    message[0] = 0;
    memset(&call->head, 0, sizeof call->head);
    if (strlen(name) >= sizeof call->head.name) {
        errno = ENAMETOOLONG;
        return -1;
    }
    call->head.version[0] = DM_VERSION_MAJOR; /* of 4.0.0 on: the kernel refuses what it does not know */
    call->head.data_size = sizeof *call;
    call->head.data_start = sizeof call->head;
    call->head.flags = flags;
    strcpy(call->head.name, name);
    return 0;
}

/* The library makes the control device's node where /dev lacks it. */
static void make_control(void)
{
    if (cdevmapper_load() == -1)
        return;
    pthread_mutex_lock(&lock);
    struct dm_task *task = p_dm_task_create(DM_DEVICE_VERSION);
    if (task) {
        p_dm_task_run(task);
        p_dm_task_destroy(task);
    }
    p_dm_lib_release();
    pthread_mutex_unlock(&lock);
}

static int open_control(void)
{
    int control = open(CONTROL, O_RDWR | O_CLOEXEC);
    if (control != -1 || errno != ENOENT)
        return control;
    make_control();
    control = open(CONTROL, O_RDWR | O_CLOEXEC);
    if (control == -1)
        errno = ENODEV;
    return control;
}

int cdevmapper_is_there(void)
{
    int control = open_control();
    if (control == -1)
        return 0;
    close(control);
    return 1;
}

static int call_kernel(unsigned long request, struct call *call)
{
    int control = open_control();
    if (control == -1)
        return -1;
    int result = ioctl(control, request, call);
    int code = errno;
    close(control);
    if (result == 0 && call->head.flags & DM_BUFFER_FULL_FLAG) {
        result = -1;
        code = ERANGE;
    }
    errno = code;
    return result;
}

static struct cdevmapper_info info_of(const struct call *call)
{
    return (struct cdevmapper_info){
        .exists = 1,
        .live_table = !!(call->head.flags & DM_ACTIVE_PRESENT_FLAG),
        .read_only = !!(call->head.flags & DM_READONLY_FLAG),
        .major = major(call->head.dev),
        .minor = minor(call->head.dev),
    };
}

int cdevmapper_reload(const char *name, const struct cdevmapper_table *table)
{
    struct call call;
    if (begin(&call, name, table->read_only ? DM_READONLY_FLAG : 0) == -1)
        return -1;
    size_t length = strlen(table->parameters) + 1;
    struct dm_target_spec target = {.length = table->length};
    if (strlen(table->target) >= sizeof target.target_type || length > sizeof call.data - sizeof target - 8) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(target.target_type, table->target);
    target.next = (uint32_t)(sizeof target + length + 7) & ~7u;
    call.head.target_count = 1;
    memcpy(call.data, &target, sizeof target);
    memcpy(call.data + sizeof target, table->parameters, length);
    return call_kernel(DM_TABLE_LOAD, &call);
}

static int resume(const char *name, struct call *call)
{
    return begin(call, name, 0) == -1 ? -1 : call_kernel(DM_DEV_SUSPEND, call);
}

static void node_path(const char *name, char path[static 256])
{
    snprintf(path, 256, "/dev/mapper/%s", name);
}

int cdevmapper_create(const char *name, const char *uuid, const struct cdevmapper_table *table, int with_node,
                      struct cdevmapper_info *info)
{
    if (cdevmapper_has_udev())
        return create_with_udev(name, uuid, table, info);
    struct call call;
    if (begin(&call, name, 0) == -1)
        return -1;
    if (strlen(uuid) >= sizeof call.head.uuid) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(call.head.uuid, uuid);
    if (call_kernel(DM_DEV_CREATE, &call) == -1)
        return -1;
    if (cdevmapper_reload(name, table) == -1 || resume(name, &call) == -1) {
        int code = errno;
        cdevmapper_remove(name, 0);
        errno = code;
        return -1;
    }
    *info = info_of(&call);
    if (with_node) {
        /* For people and their programs; it may be there from a device that is no more. */
        char path[256];
        node_path(name, path);
        unlink(path);
        mknod(path, S_IFBLK | 0600, makedev(info->major, info->minor));
    }
    return 0;
}

int cdevmapper_suspend(const char *name)
{
    struct call call;
    return begin(&call, name, DM_SUSPEND_FLAG) == -1 ? -1 : call_kernel(DM_DEV_SUSPEND, &call);
}

int cdevmapper_resume(const char *name)
{
    if (cdevmapper_has_udev())
        return run_with_udev(DM_DEVICE_RESUME, name, 0);
    struct call call;
    return resume(name, &call);
}

int cdevmapper_remove(const char *name, int deferred)
{
    if (cdevmapper_has_udev())
        return run_with_udev(DM_DEVICE_REMOVE, name, deferred);
    struct call call;
    if (begin(&call, name, deferred ? DM_DEFERRED_REMOVE : 0) == -1 || call_kernel(DM_DEV_REMOVE, &call) == -1)
        return -1;
    char path[256];
    node_path(name, path);
    unlink(path);
    return 0;
}

int cdevmapper_info(const char *name, struct cdevmapper_info *info)
{
    struct call call;
    *info = (struct cdevmapper_info){0};
    if (begin(&call, name, 0) == -1)
        return -1;
    if (call_kernel(DM_DEV_STATUS, &call) == -1)
        return errno == ENXIO ? 0 : -1;
    *info = info_of(&call);
    return 0;
}

int cdevmapper_target_message(const char *name, const char *text)
{
    struct call call;
    struct dm_target_msg head = {.sector = 0};
    size_t length = strlen(text) + 1;
    if (begin(&call, name, 0) == -1)
        return -1;
    if (length > sizeof call.data - sizeof head) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(call.data, &head, sizeof head);
    memcpy(call.data + sizeof head, text, length);
    return call_kernel(DM_TARGET_MSG, &call);
}

int cdevmapper_status(const char *name, int table, int flushes, char *parameters, size_t size,
                      struct cdevmapper_info *info)
{
    struct call call;
    uint32_t flags = DM_SKIP_BDGET_FLAG | (table ? DM_STATUS_TABLE_FLAG : 0) | (flushes ? 0 : DM_NOFLUSH_FLAG);
    if (begin(&call, name, flags) == -1 || call_kernel(DM_TABLE_STATUS, &call) == -1)
        return -1;
    *info = info_of(&call);
    if (call.head.target_count == 0) {
        errno = ENODATA;
        return -1;
    }
    const char *text = (char *)&call + call.head.data_start + sizeof(struct dm_target_spec);
    size_t length = strnlen(text, size);
    if (length == size) {
        errno = ERANGE;
        return -1;
    }
    memcpy(parameters, text, length + 1);
    return 0;
}

int cdevmapper_target_version(const char *target, uint32_t version[3])
{
    struct call call;
    if (begin(&call, target, 0) == -1)
        return -1;
    if (call_kernel(DM_GET_TARGET_VERSION, &call) == -1) {
        if (errno == EINVAL)
            errno = ENOENT;
        return -1;
    }
    struct dm_target_versions found;
    memcpy(&found, (char *)&call + call.head.data_start, sizeof found);
    memcpy(version, found.version, sizeof found.version);
    return 0;
}
