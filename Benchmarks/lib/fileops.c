/* SPDX-License-Identifier: Apache-2.0 */
/* One kind of file operation, many times; prints the seconds that it took. usage: fileops WHAT DIRECTORY [COUNT] */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static long count = 10000;
static char buffer[1 << 17];

static int open_checked(const char *name, int flags)
{
    int fd = open(name, flags, 0644);
    if (fd < 0) err(1, "open %s", name);
    return fd;
}

static char *name(const char *prefix, long i)
{
    static char text[64];
    snprintf(text, sizeof text, "%s%ld", prefix, i);
    return text;
}

static void create(void)
{
    for (long i = 0; i < count; i++) {
        int fd = open_checked(name("c", i), O_WRONLY | O_CREAT | O_EXCL);
        if (write(fd, "content\n", 8) != 8) err(1, "write");
        close(fd);
    }
}

static void rename_all(void)
{
    for (long i = 0; i < count; i++) {
        char old[64];
        strcpy(old, name("c", i));
        if (rename(old, name("r", i))) err(1, "rename");
    }
}

static void unlink_all(const char *prefix)
{
    for (long i = 0; i < count; i++)
        if (unlink(name(prefix, i))) err(1, "unlink %s", name(prefix, i));
}

static int visit_chown(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status, (void)type, (void)ftw;
    if (lchown(path, 1, 1)) err(1, "chown %s", path);
    return 0;
}

static long visited;

static int visit(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)path, (void)status, (void)type, (void)ftw;
    visited++;
    return 0;
}

static int visit_read(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status, (void)ftw;
    if (type != FTW_F) return 0;
    int fd = open_checked(path, O_RDONLY);
    while (read(fd, buffer, sizeof buffer) > 0) {}
    close(fd);
    return 0;
}

static void list(void)
{
    DIR *directory = opendir(".");
    if (!directory) err(1, "opendir");
    while (readdir(directory)) visited++;
    closedir(directory);
}

static void read_sequentially(void)
{
    int fd = open_checked("big", O_RDONLY);
    while (read(fd, buffer, sizeof buffer) > 0) {}
    close(fd);
}

static void read_randomly(void)
{
    int fd = open_checked("big", O_RDONLY);
    off_t size = lseek(fd, 0, SEEK_END);
    unsigned long state = 1;
    for (long i = 0; i < count; i++) {
        state = state * 6364136223846793005ul + 1442695040888963407ul;
        if (pread(fd, buffer, 4096, (off_t)((state >> 20) % ((unsigned long)size / 4096) * 4096)) != 4096) err(1, "pread");
    }
    close(fd);
}

static void write_small(void)
{
    int fd = open_checked("written", O_WRONLY | O_CREAT | O_TRUNC);
    for (long i = 0; i < count; i++)
        if (write(fd, buffer, 4096) != 4096) err(1, "write");
    close(fd);
}

static void write_large(void)
{
    int fd = open_checked("written", O_WRONLY | O_CREAT | O_TRUNC);
    for (long i = 0; i < count; i++)
        if (write(fd, buffer, sizeof buffer) != sizeof buffer) err(1, "write");
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc < 3) errx(2, "usage: fileops WHAT DIRECTORY [COUNT]");
    const char *what = argv[1];
    if (argc > 3) count = atol(argv[3]);
    if (chdir(argv[2])) err(1, "%s", argv[2]);
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    if (!strcmp(what, "create")) create();
    else if (!strcmp(what, "rename")) rename_all();
    else if (!strcmp(what, "unlink")) unlink_all("r");
    else if (!strcmp(what, "unlink-lower")) unlink_all("f");
    else if (!strcmp(what, "chown")) nftw(".", visit_chown, 64, FTW_PHYS);
    else if (!strcmp(what, "walk")) nftw(".", visit, 64, FTW_PHYS);
    else if (!strcmp(what, "read")) nftw(".", visit_read, 64, FTW_PHYS);
    else if (!strcmp(what, "list")) list();
    else if (!strcmp(what, "sequential")) read_sequentially();
    else if (!strcmp(what, "random")) read_randomly();
    else if (!strcmp(what, "write4k")) write_small();
    else if (!strcmp(what, "write128k")) write_large();
    else errx(2, "unknown operation %s", what);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.9f\n", (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9);
    return 0;
}
