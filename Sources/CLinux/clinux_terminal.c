/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "clinux_terminal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int clinux_get_window_size(int fd, unsigned short *rows, unsigned short *columns) {
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) == -1) return -1;
    *rows = size.ws_row;
    *columns = size.ws_col;
    return 0;
}

int clinux_set_window_size(int fd, unsigned short rows, unsigned short columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return ioctl(fd, TIOCSWINSZ, &size);
}

static volatile int relays[65];

static void relay(int signal) {
    int saved = errno;
    unsigned char byte = (unsigned char)signal;
    if (relays[signal] >= 0 && write(relays[signal], &byte, 1) == -1) { /* full: enough of them are waiting */
    }
    errno = saved;
}

static int install(int signal, void (*handler)(int), int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = flags;
    return sigaction(signal, &action, NULL);
}

int clinux_relay_signal(int signal, int fd) {
    if (signal < 1 || signal > 64) {
        errno = EINVAL;
        return -1;
    }
    relays[signal] = fd;
    return install(signal, relay, SA_RESTART);
}

int clinux_default_signal(int signal) { return install(signal, SIG_DFL, 0); }

static struct termios kept;
static volatile int kept_fd = -1;

static void put_back(int signal) {
    if (kept_fd >= 0) tcsetattr(kept_fd, TCSANOW, &kept);
    raise(signal); /* reset to its default and unblocked (SA_RESETHAND, SA_NODEFER) */
}

int clinux_restore_terminal_on(int signal, int fd, const struct termios *settings) {
    kept = *settings;
    kept_fd = fd;
    return install(signal, put_back, SA_RESETHAND | SA_NODEFER);
}
