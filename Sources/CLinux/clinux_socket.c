/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "clinux_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int clinux_packet_socket(void) { return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

static int address_of(const char *path, struct sockaddr_un *address, socklen_t *length) {
    size_t count = strlen(path);
    if (count >= sizeof address->sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, count);
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + count + 1);
    return 0;
}

int clinux_unix_bind(int fd, const char *path) {
    struct sockaddr_un address;
    socklen_t length;
    if (address_of(path, &address, &length) == -1) return -1;
    return bind(fd, (struct sockaddr *)&address, length);
}

int clinux_unix_connect(int fd, const char *path) {
    struct sockaddr_un address;
    socklen_t length;
    if (address_of(path, &address, &length) == -1) return -1;
    return connect(fd, (struct sockaddr *)&address, length);
}

int clinux_accept(int fd) { return accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); }

long clinux_send(int fd, const void *message, size_t size, int waits) {
    return send(fd, message, size, MSG_NOSIGNAL | (waits ? 0 : MSG_DONTWAIT));
}

long clinux_recv(int fd, void *buffer, size_t size, long *whole) {
    *whole = recv(fd, buffer, size, MSG_TRUNC);
    if (*whole == -1) return -1;
    return *whole < (long)size ? *whole : (long)size;
}

static int change(int fd, int get, int set, int flag, int on) {
    int flags = fcntl(fd, get);
    if (flags == -1) return -1;
    return fcntl(fd, set, on ? flags | flag : flags & ~flag);
}

int clinux_set_nonblocking(int fd, int on) { return change(fd, F_GETFL, F_SETFL, O_NONBLOCK, on); }

int clinux_set_close_on_exec(int fd, int on) { return change(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on); }
