/* SPDX-License-Identifier: Apache-2.0 */
/* libdevmapper, loaded when first needed: most commands use another driver.
 *
 * Every call but the first is 0, or -1 with errno; then `cdevmapper_message` is what the library or the kernel said, for
 * the calling thread. The library keeps state of its own, so one call runs at a time. */
#ifndef CDEVMAPPER_H
#define CDEVMAPPER_H

#include <stddef.h>
#include <stdint.h>

struct cdevmapper_info {
    int exists, suspended, live_table, open_count, read_only, deferred_remove;
    uint32_t major, minor;
};

/* One line of a table: `length` sectors served by `target`. */
struct cdevmapper_table {
    uint64_t length;
    const char *target, *parameters;
    int read_only;
};

/* Whether the library is there; -1 if not, and `cdevmapper_message` says why. */
int cdevmapper_load(void);
const char *cdevmapper_message(void);

/* Makes the device and starts it. EBUSY: there is one of that name or uuid. */
int cdevmapper_create(const char *name, const char *uuid, const struct cdevmapper_table *table,
                      struct cdevmapper_info *info);
/* Gives the device another table, which a suspend and a resume put in place. */
int cdevmapper_reload(const char *name, const struct cdevmapper_table *table);
/* Waits for what is under way; a file system on the device is frozen if `freezes`. */
int cdevmapper_suspend(const char *name, int freezes);
int cdevmapper_resume(const char *name);
/* Removes the device; one that is open goes with its last user if `deferred`, else EBUSY. Absent: ENXIO. */
int cdevmapper_remove(const char *name, int deferred);
int cdevmapper_info(const char *name, struct cdevmapper_info *info);
int cdevmapper_target_message(const char *name, const char *message);
/* The parameters of the device's first target: its state or, if `table`, its table. `flushes`: a thin pool commits first. */
int cdevmapper_status(const char *name, int table, int flushes, char *parameters, size_t size);
/* The names of all devices, each ended by a zero byte; the length needed, which may exceed `size`. */
long cdevmapper_names(char *names, size_t size);
/* The version of a target of the kernel, e.g. "1.23.0"; ENOENT if it has none of that name. */
int cdevmapper_target_version(const char *target, uint32_t version[3]);

#endif
