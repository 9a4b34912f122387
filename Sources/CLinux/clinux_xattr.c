/* SPDX-License-Identifier: Apache-2.0 */
#include "clinux_xattr.h"

#include <sys/xattr.h>

ssize_t clinux_flistxattr(int fd, char *list, size_t size)
{
    return flistxattr(fd, list, size);
}

ssize_t clinux_fgetxattr(int fd, const char *name, void *value, size_t size)
{
    return fgetxattr(fd, name, value, size);
}

int clinux_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
    return fsetxattr(fd, name, value, size, flags);
}

int clinux_fremovexattr(int fd, const char *name)
{
    return fremovexattr(fd, name);
}

ssize_t clinux_llistxattr(const char *path, char *list, size_t size)
{
    return llistxattr(path, list, size);
}

ssize_t clinux_lgetxattr(const char *path, const char *name, void *value, size_t size)
{
    return lgetxattr(path, name, value, size);
}

int clinux_lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)
{
    return lsetxattr(path, name, value, size, flags);
}

int clinux_lremovexattr(const char *path, const char *name)
{
    return lremovexattr(path, name);
}
