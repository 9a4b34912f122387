/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the files of an uncompressed tar below a directory with no call that could be left out, and prints the seconds that it
 * took: what an unpack cannot do without on one processor. The tar is in memory before the clock starts.
 * usage: untar FILE.tar DIRECTORY */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char path[4096], target[4096];
static char parent[4096];
static int directory = AT_FDCWD;

static long octal(const char *field, int length)
{
    long value = 0;
    for (int i = 0; i < length && field[i]; i++)
        if (field[i] >= '0' && field[i] <= '7') value = value * 8 + (field[i] - '0');
    return value;
}

/* Path, link target and time, where a PAX header says them. */
static void records(const char *text, long size, struct timespec *time)
{
    for (const char *end = text + size; text < end;) {
        char *key;
        long length = strtol(text, &key, 10);
        key++;
        const char *value = memchr(key, '=', length);
        if (length <= 0 || !value) errx(1, "a PAX record is malformed");
        int count = (int)(text + length - 1 - ++value);
        if (!strncmp(key, "path=", 5)) snprintf(path, sizeof path, "%.*s", count, value);
        if (!strncmp(key, "linkpath=", 9)) snprintf(target, sizeof target, "%.*s", count, value);
        if (!strncmp(key, "mtime=", 6)) {
            double seconds = strtod(value, NULL);
            time->tv_sec = (time_t)seconds;
            time->tv_nsec = (long)((seconds - (double)time->tv_sec) * 1e9);
        }
        text += length;
    }
}

static void make_parents(void)
{
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0755);
        *slash = '/';
    }
}

/* The name to use below `directory`, which stays open while names lie in it. */
static const char *enter(void)
{
    char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (directory == AT_FDCWD || strlen(parent) != length || memcmp(parent, path, length)) {
        if (directory != AT_FDCWD) close(directory);
        snprintf(parent, sizeof parent, "%.*s", (int)length, path);
        directory = open(length ? parent : ".", O_PATH | O_DIRECTORY);
        if (directory < 0) {
            make_parents();
            directory = open(parent, O_PATH | O_DIRECTORY);
        }
        if (directory < 0) err(1, "open %s", parent);
    }
    return slash ? slash + 1 : path;
}

static void regular(const char *name, const char *data, long size, mode_t mode, const struct timespec *time)
{
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
    if (fd < 0) err(1, "create %s", path);
    for (long done = 0; done < size;) {
        /* In pieces, as whoever decompresses has them. */
        ssize_t count = write(fd, data + done, size - done > 1 << 20 ? 1 << 20 : (size_t)(size - done));
        if (count < 0) err(1, "write %s", path);
        done += count;
    }
    struct timespec times[2] = {*time, *time};
    if (futimens(fd, times) || close(fd)) err(1, "close %s", path);
}

static void entry(const char *header, const char *data, long size, const struct timespec *time)
{
    mode_t mode = (mode_t)octal(header + 100, 8) & 07777;
    const char *name;
    size_t length = strlen(path);
    if (length && path[length - 1] == '/') path[length - 1] = 0;
    switch (header[156]) {
    case '0': case 0: regular(enter(), data, size, mode, time); break;
    case '1': make_parents(); if (link(target, path)) err(1, "link %s", path); break;
    case '2': name = enter(); if (symlinkat(target, directory, name)) err(1, "symlink %s", path); break;
    case '5': make_parents(); mkdir(path, mode); break;
    default: errx(1, "%s is of type %c", path, header[156]);
    }
}

int main(int count, char **words)
{
    struct stat status;
    int file = count == 3 ? open(words[1], O_RDONLY) : -1;
    if (file < 0 || fstat(file, &status)) errx(2, "usage: untar FILE.tar DIRECTORY");
    char *tar = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (tar == MAP_FAILED || chdir(words[2])) err(1, "%s", words[1]);
    umask(0);
    struct timespec start, end, said = {0};
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (char *header = tar; header + 512 <= tar + status.st_size && *header;) {
        long size = octal(header + 124, 12);
        char *data = header + 512;
        if (header[156] == 'x') {
            records(data, size, &said);
        } else {
            struct timespec time = said.tv_sec ? said : (struct timespec){octal(header + 136, 12), 0};
            if (!*path)
                snprintf(path, sizeof path, "%.*s%s%.100s", 155, header + 345, header[345] ? "/" : "", header);
            if (!*target) snprintf(target, sizeof target, "%.100s", header + 157);
            if (header[156] == '1' || header[156] == '2' || header[156] == '5') size = 0;
            entry(header, data, size, &time);
            *path = *target = 0;
            said = (struct timespec){0};
        }
        header = data + ((size + 511) & ~511L);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.6f\n", (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9);
}
