/* SPDX-License-Identifier: Apache-2.0 */
/* Paths inside the container's root, whose content is hostile: resolved by the kernel, once, never leaving the root. */
#include "plan.h"

#include <linux/fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#define O_DIRECTORY_ 0200000

struct statfs_head {
    long type;
    long rest[32];
};

long open_inside(const struct state *s, const char *path, uint64_t flags, uint64_t resolve)
{
    struct open_how how = {
        .flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve};
    for (int tries = 0;; tries++) {
        long fd = SYS4(__NR_openat2, s->root, *path ? path : ".", &how, sizeof how);
        /* EAGAIN: a rename raced with `..`. */
        if (fd != -EAGAIN || tries == 128)
            return fd;
    }
}

/* Copies the directory part of `path` to `buffer`; the last name. */
static long split(const char *path, char *buffer, size_t size, const char **name)
{
    size_t length = text_length(path);
    size_t end = length;
    while (end > 0 && path[end - 1] != '/')
        end--;
    if (length == 0 || end == length)
        return -EINVAL;
    if (end >= size)
        return -ENAMETOOLONG;
    memcpy(buffer, path, end);
    buffer[end] = 0;
    *name = path + end;
    return 0;
}

static long open_parent(const struct state *s, const char *path, const char **name)
{
    char directory[4096];
    TRY(split(path, directory, sizeof directory, name));
    return open_inside(s, directory, O_PATH | O_DIRECTORY_, 0);
}

/* Opens the directory `path`, making what is missing of it. The open after each mkdir checks what was made. */
static long ensure_directory(const struct state *s, const char *path, uint32_t mode)
{
    long found = open_inside(s, path, O_PATH | O_DIRECTORY_, 0);
    if (found != -ENOENT)
        return found;
    char part[4096];
    size_t length = text_length(path);
    if (length >= sizeof part)
        return -ENAMETOOLONG;
    long directory = open_inside(s, "", O_PATH | O_DIRECTORY_, 0);
    for (size_t at = 0; directory >= 0 && at < length;) {
        while (path[at] == '/')
            at++;
        size_t end = at;
        while (end < length && path[end] != '/')
            end++;
        if (end == at)
            break;
        memcpy(part, path, end);
        part[end] = 0;
        long made = SYS3(__NR_mkdirat, directory, part + at, mode);
        close_fd(directory);
        if (made < 0 && made != -EEXIST && made != -EROFS)
            return made;
        directory = open_inside(s, part, O_PATH | O_DIRECTORY_, 0);
        at = end;
    }
    return directory;
}

long make_directories(const struct state *s, const char *path, uint32_t mode)
{
    long fd = ensure_directory(s, path, mode);
    if (fd < 0)
        return fd;
    close_fd(fd);
    return 0;
}

long step_mkdir(const struct state *s, args a)
{
    return make_directories(s, text(s, a[0]), (uint32_t)a[1]);
}

/* Opens a mount's target, making it as `kind` says. */
long open_target(const struct state *s, const char *path, uint64_t kind)
{
    uint64_t type = kind & CLINUX_TARGET_DIRECTORY ? O_DIRECTORY_ : 0;
    long fd = open_inside(s, path, O_PATH | type, kind & CLINUX_TARGET_NO_SYMLINKS ? RESOLVE_NO_SYMLINKS : 0);
    if (fd != -ENOENT)
        return fd;
    if (kind & CLINUX_TARGET_DIRECTORY)
        return ensure_directory(s, path, 0755);
    if (!(kind & CLINUX_TARGET_FILE))
        return fd;
    char directory[4096];
    const char *name;
    TRY(split(path, directory, sizeof directory, &name));
    long parent = ensure_directory(s, directory, 0755);
    if (parent < 0)
        return parent;
    fd = SYS4(__NR_openat, parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_WRONLY, 0644);
    close_fd(parent);
    if (fd < 0)
        return fd;
    close_fd(fd);
    return open_inside(s, path, O_PATH, 0);
}

long step_mknod(const struct state *s, args a)
{
    const char *name;
    long parent = open_parent(s, text(s, a[0]), &name);
    if (parent < 0)
        return parent;
    uint64_t device = (a[3] & 0xff) | (a[2] & 0xfff) << 8 | (a[3] & ~0xffULL) << 12;
    long result = SYS4(__NR_mknodat, parent, name, a[1], device);
    if (result == 0 && (a[4] != 0 || a[5] != 0))
        result = SYS5(__NR_fchownat, parent, name, a[4], a[5], AT_SYMLINK_NOFOLLOW);
    close_fd(parent);
    return result;
}

long step_symlink(const struct state *s, args a)
{
    const char *name;
    long parent = open_parent(s, text(s, a[1]), &name);
    if (parent < 0)
        return parent;
    long result = SYS3(__NR_symlinkat, text(s, a[0]), parent, name);
    close_fd(parent);
    return result == -EEXIST ? 0 : result;
}

long check_device(long fd, uint32_t major, uint32_t minor)
{
    struct statx status;
    TRY(SYS5(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &status));
    int same = (status.stx_mode & 0170000) == 0020000 && status.stx_rdev_major == major &&
               status.stx_rdev_minor == minor;
    return same ? 0 : -ENODEV;
}

long step_sysctl(const struct state *s, args a)
{
    static const char prefix[] = "/proc/sys/";
    char path[512];
    size_t length = text_length(text(s, a[0]));
    if (length + sizeof prefix > sizeof path)
        return -ENAMETOOLONG;
    memcpy(path, prefix, sizeof prefix - 1);
    memcpy(path + sizeof prefix - 1, text(s, a[0]), length + 1);
    long fd = open_inside(s, path, O_WRONLY, RESOLVE_NO_SYMLINKS);
    if (fd < 0)
        return fd;
    struct statfs_head head;
    long result = SYS2(__NR_fstatfs, fd, &head);
    if (result == 0 && head.type != PROC_SUPER_MAGIC)
        result = -EXDEV;
    if (result == 0)
        result = SYS3(__NR_write, fd, text(s, a[1]), a[2]);
    close_fd(fd);
    return result < 0 ? result : 0;
}

long step_chdir(const struct state *s, args a)
{
    const char *path = text(s, a[0]);
    long result = SYS1(__NR_chdir, path);
    if (result == -ENOENT && a[1]) {
        TRY(make_directories(s, path, 0755));
        result = SYS1(__NR_chdir, path);
    }
    TRY(result);
    /* The kernel prefixes "(unreachable)" to a directory outside the root (CVE-2024-21626). */
    char buffer[4096];
    TRY(SYS2(__NR_getcwd, buffer, sizeof buffer));
    return buffer[0] == '/' ? 0 : -EXDEV;
}
