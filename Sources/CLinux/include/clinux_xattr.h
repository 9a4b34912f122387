/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes, by descriptor and by path (the l forms never follow a final symlink). */
#ifndef CLINUX_XATTR_H
#define CLINUX_XATTR_H

#include <stddef.h>
#include <sys/types.h>

ssize_t clinux_flistxattr(int fd, char *list, size_t size);
ssize_t clinux_fgetxattr(int fd, const char *name, void *value, size_t size);
int clinux_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);
int clinux_fremovexattr(int fd, const char *name);
ssize_t clinux_llistxattr(const char *path, char *list, size_t size);
ssize_t clinux_lgetxattr(const char *path, const char *name, void *value, size_t size);
int clinux_lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags);
int clinux_lremovexattr(const char *path, const char *name);

#endif
