/* SPDX-License-Identifier: Apache-2.0 */
/* Terminals, and signals turned into bytes of a pipe. */
#ifndef CLINUX_TERMINAL_H
#define CLINUX_TERMINAL_H

#include <termios.h>

int clinux_get_window_size(int fd, unsigned short *rows, unsigned short *columns);
int clinux_set_window_size(int fd, unsigned short rows, unsigned short columns);

/* From now on `signal` writes its number, one byte, to `fd` (non-blocking); with -1 it only does nothing. Not inherited
   over exec, unlike ignoring it. */
int clinux_relay_signal(int signal, int fd);
int clinux_default_signal(int signal);
/* Puts the settings back when `signal` comes, then lets it do what it does by default. `settings` is copied. */
int clinux_restore_terminal_on(int signal, int fd, const struct termios *settings);

#endif
