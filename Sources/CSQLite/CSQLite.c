/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "csqlite.h"

#include <stdlib.h>
#include <time.h>

int csqlite_no_checkpoint_on_close(sqlite3 *db)
{
	return sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)0);
}

int csqlite_persist_wal(sqlite3 *db)
{
	int on = 1;
	return sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &on);
}

int csqlite_configure(void)
{
	return sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
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

static int after_commit(void *threshold, sqlite3 *db, const char *schema, int pages)
{
	if (pages < (int)(long)threshold)
		return SQLITE_OK;
	sqlite3_busy_handler(db, NULL, NULL); /* a reader in the way is no reason to wait */
	sqlite3_wal_checkpoint_v2(db, schema, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	csqlite_wait_when_busy(db);
	return SQLITE_OK;
}

void csqlite_truncate_wal_after(sqlite3 *db, int pages)
{
	sqlite3_wal_hook(db, after_commit, (void *)(long)pages);
}
