/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "csqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

int csqlite_no_checkpoint_on_close(sqlite3 *db)
{
	return sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)0);
}

int csqlite_persist_wal(sqlite3 *db)
{
	int on = 1;
	return sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &on);
}

/* What is mapped of indexes: 32 KiB for each 4096 pages of a log, of which 64 are the aim. */
static struct region {
	char *start;
	size_t size;
	int fd;
	off_t offset;
} regions[64];
static pthread_mutex_t regions_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction bus_before;
static _Thread_local const char *reserve;

/* EFAULT stands for the signal that a touch would have brought. Kernels without the call say EINVAL. */
static int has_space(void *start, size_t size)
{
	return madvise(start, size, MADV_POPULATE_WRITE) == 0 || errno != EFAULT;
}

static void *map_with_space(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	void *start = mmap(address, size, protection, flags, fd, offset);
	if (start == MAP_FAILED || !(protection & PROT_WRITE))
		return start;
	if (!has_space(start, size)) {
		munmap(start, size);
		errno = ENOSPC;
		return MAP_FAILED;
	}
	pthread_mutex_lock(&regions_lock);
	for (size_t i = 0; i < sizeof regions / sizeof *regions; i++)
		if (!regions[i].start) {
			regions[i] = (struct region){ start, size, fd, offset };
			break;
		}
	pthread_mutex_unlock(&regions_lock);
	return start;
}

static int unmap(void *start, size_t size)
{
	pthread_mutex_lock(&regions_lock);
	for (size_t i = 0; i < sizeof regions / sizeof *regions; i++)
		if (regions[i].start == start)
			regions[i].start = NULL;
	pthread_mutex_unlock(&regions_lock);
	return munmap(start, size);
}

/* Whether the page is one of the file, on a file system that is written to: else no space would help. */
static int may_want_space(const struct region *region, const char *page)
{
	struct stat status;
	struct statvfs figures;
	return fstat(region->fd, &status) == 0 && region->offset + (page - region->start) < status.st_size &&
	       fstatvfs(region->fd, &figures) == 0 && !(figures.f_flag & ST_RDONLY);
}

/* btrfs gives out again what is freed once that is on disk. */
static int finds_space(const struct region *region, void *page, size_t size)
{
	for (int tries = 0; tries < 2; tries++) {
		syncfs(region->fd);
		if (madvise(page, size, MADV_POPULATE_WRITE) == 0)
			return 1;
	}
	if (!reserve || unlink(reserve) != 0)
		return 0;
	syncfs(region->fd);
	return madvise(page, size, MADV_POPULATE_WRITE) == 0;
}

/* The kernel may have written a page to disk since it got its space, and the next touch asks for space anew. Whoever is
 * killed between two instructions leaves a whole database, so one that cannot go on ends. */
static void find_space(int number, siginfo_t *info, void *context)
{
	static const char failure[] = "strata: write the index of the store's database: No space left on device; free space on "
				      "the file system of the store (strata system df, strata system prune)\n";
	int error = errno;
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	char *page = (char *)((uintptr_t)info->si_addr & ~(uintptr_t)(size - 1));
	(void)context;
	for (size_t i = 0; i < sizeof regions / sizeof *regions; i++) {
		const struct region *region = &regions[i];
		if (!region->start || page < region->start || page >= region->start + region->size)
			continue;
		if (!may_want_space(region, page))
			break;
		if (!finds_space(region, page, size)) {
			ssize_t unused = write(STDERR_FILENO, failure, sizeof failure - 1);
			(void)unused;
			_exit(125);
		}
		errno = error;
		return;
	}
	sigaction(number, &bus_before, NULL); /* the touch is repeated */
}

void csqlite_may_use(const char *path)
{
	reserve = path;
}

int csqlite_map_with_space(void)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
	struct sigaction on_bus = { .sa_sigaction = find_space, .sa_flags = SA_SIGINFO };
	sigemptyset(&on_bus.sa_mask);
	sigaction(SIGBUS, &on_bus, &bus_before);
	int result = vfs->xSetSystemCall(vfs, "mmap", (sqlite3_syscall_ptr)map_with_space);
	return result == SQLITE_OK ? vfs->xSetSystemCall(vfs, "munmap", (sqlite3_syscall_ptr)unmap) : result;
}

int csqlite_has_space(void)
{
	int all = 1;
	pthread_mutex_lock(&regions_lock);
	for (size_t i = 0; i < sizeof regions / sizeof *regions; i++)
		if (regions[i].start && !has_space(regions[i].start, regions[i].size))
			all = 0;
	pthread_mutex_unlock(&regions_lock);
	return all;
}

/* Root gives the log and its index to the database's owner each time that it opens them; that changes their times, which
 * is a write. */
static int keep_owner(int fd, uid_t user, gid_t group)
{
	struct stat status;
	if (fstat(fd, &status) == 0 && status.st_uid == user && status.st_gid == group)
		return 0;
	return fchown(fd, user, group);
}

int csqlite_configure(void)
{
	int result = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL); /* begins SQLite's life, so it comes last */
	vfs->xSetSystemCall(vfs, "fchown", (sqlite3_syscall_ptr)keep_owner);
	return result;
}

/* https://sqlite.org/fileformat2.html#wal_file_format */
static int is_log_head(const unsigned char *bytes)
{
	uint32_t words[8]; /* magic, version, page size, sequence, two salts, two sums */
	for (int i = 0; i < 8; i++, bytes += 4)
		words[i] = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
	if ((words[0] & ~1u) != 0x377f0682)
		return 0;
	/* The magic's last bit says in which order of bytes the sums are made. */
	uint32_t sums[2] = { 0, 0 };
	for (int i = 0; i < 6; i++)
		sums[i & 1] += (words[0] & 1 ? words[i] : __builtin_bswap32(words[i])) + sums[~i & 1];
	return sums[0] == words[6] && sums[1] == words[7];
}

int csqlite_reads_alone(const char *log)
{
	unsigned char head[33];
	int file = open(log, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (file < 0)
		return 1;
	ssize_t count = read(file, head, sizeof head);
	close(file);
	return count < 32 || (count > 32 && is_log_head(head));
}

int csqlite_bind_text(sqlite3_stmt *statement, int index, const char *text, int length)
{
	return sqlite3_bind_text(statement, index, text, length, SQLITE_TRANSIENT);
}

int csqlite_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, int length)
{
	if (length == 0)
		return sqlite3_bind_zeroblob(statement, index, 0);
	return sqlite3_bind_blob(statement, index, bytes, length, SQLITE_TRANSIENT);
}

/* 0.1 ms doubling to 3.2 ms, then 5 ms each: a writer's transaction is over in well under a millisecond, so a
 * short first wait decides how fast many processes that start at once get through. */
static int wait_a_little(void *unused, int attempt)
{
	(void)unused;
	long microseconds = attempt < 6 ? 100L << attempt : 5000;
	if (attempt > 12000)
		return 0;
	microseconds += (long)((unsigned)random() % (unsigned)(microseconds / 2 + 1));
	struct timespec step = { .tv_sec = 0, .tv_nsec = microseconds * 1000 };
	nanosleep(&step, NULL);
	return 1;
}

int csqlite_wait_when_busy(sqlite3 *db)
{
	return sqlite3_busy_handler(db, wait_a_little, NULL);
}

void csqlite_truncate_wal(sqlite3 *db, struct csqlite_wal *wal)
{
	if (wal->pages < wal->most_pages)
		return;
	sqlite3_busy_handler(db, NULL, NULL); /* a reader in the way is no reason to wait */
	if (sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) == SQLITE_OK)
		wal->pages = 0;
	csqlite_wait_when_busy(db);
}

static int after_commit(void *state, sqlite3 *db, const char *schema, int pages)
{
	struct csqlite_wal *wal = state;
	(void)schema; /* there is one */
	wal->pages = pages;
	if (!wal->is_left)
		csqlite_truncate_wal(db, wal);
	return SQLITE_OK;
}

void csqlite_keep_wal_short(sqlite3 *db, struct csqlite_wal *wal)
{
	sqlite3_wal_hook(db, after_commit, wal);
}
