/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CSQLITE_H
#define CSQLITE_H

#include <sqlite3.h>

/* What Swift cannot import of SQLite's C API: variadic calls and the SQLITE_TRANSIENT cast. */

/* SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE: closing the last connection neither syncs nor removes the WAL. */
int csqlite_no_checkpoint_on_close(sqlite3 *db);

/* SQLITE_FCNTL_PERSIST_WAL: the -wal and -shm files stay when the last connection closes. */
int csqlite_persist_wal(sqlite3 *db);

/* Process-wide, before the first connection: no memory statistics, so no lock around each allocation; and a log that has
 * the database's owner is not given to him anew. */
int csqlite_configure(void);

/*
 * Process-wide, after csqlite_configure: what SQLite maps from now on has its space on disk when it is
 * mapped, or the mapping fails (ENOSPC). Where a file system has to find space for each page of a mapped file that is
 * written (btrfs), the process is ended otherwise (SIGBUS). Where a page needs its space again later, and there is none
 * even after a sync of the file system, the process ends with one line and the exit code 125.
 */
int csqlite_map_with_space(void);

/* The file that may be removed where this thread needs the space for what is mapped; NULL for none. The text stays the caller's. */
void csqlite_may_use(const char *path);

/* Whether what is mapped can be written to; what was written to disk since the last time needs its space anew. */
int csqlite_has_space(void);

/*
 * Whether a connection without an index on disk (readonly_shm) can read beside this log. SQLite (3.40) takes one whose head
 * it does not accept, or with nothing after the head, for one that somebody is just changing: it tries again and again, and
 * gives up after ten seconds. A writer that is killed between the two leaves a bare head.
 */
int csqlite_reads_alone(const char *log);

/* Binds a copy of the bytes. */
int csqlite_bind_text(sqlite3_stmt *statement, int index, const char *text, int length);
int csqlite_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, int length);

/* Waits for a busy database in short steps, 60 seconds at most. SQLite's own handler sleeps 1 to 100 ms at a time. */
int csqlite_wait_when_busy(sqlite3 *db);

struct csqlite_wal {
	int most_pages;
	int pages; /* after the last commit of this connection */
	int is_left; /* it may grow: whoever set this calls csqlite_truncate_wal at a better time */
};

/* After each commit that leaves `most_pages` or more in the WAL: carries them over and truncates it, unless a reader
 * is in the way. SQLite's own automatic checkpoint would only mark them in the -shm file, which the next lone process
 * throws away, so that a WAL written by one short command after the other would grow for ever.
 * `wal` stays as long as the connection. */
void csqlite_keep_wal_short(sqlite3 *db, struct csqlite_wal *wal);

/* The same now, if the WAL is that long. */
void csqlite_truncate_wal(sqlite3 *db, struct csqlite_wal *wal);

#endif
