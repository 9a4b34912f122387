/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets that keep message boundaries. */
#ifndef CLINUX_SOCKET_H
#define CLINUX_SOCKET_H

#include <stddef.h>

/* A SOCK_SEQPACKET socket, closed on exec and non-blocking. */
int clinux_packet_socket(void);
/* bind(2) and connect(2) to a path: ENAMETOOLONG where it does not fit an address. */
int clinux_unix_bind(int fd, const char *path);
int clinux_unix_connect(int fd, const char *path);
/* accept4(2), closed on exec and non-blocking. */
int clinux_accept(int fd);
/* send(2) of one message, never waiting and without SIGPIPE; `waits` allows it to wait. */
long clinux_send(int fd, const void *message, size_t size, int waits);
/* recv(2) of one message; `*whole` is its real length, which may exceed `size`. 0 at the end. */
long clinux_recv(int fd, void *buffer, size_t size, long *whole);

int clinux_set_nonblocking(int fd, int on);
int clinux_set_close_on_exec(int fd, int on);

#endif
