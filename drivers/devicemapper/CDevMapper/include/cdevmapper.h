/* SPDX-License-Identifier: Apache-2.0 */
/* Device-mapper's calls: the kernel's own, and libdevmapper's where udev has a part in it; that is loaded when first
 * needed.
 *
 * Every call but the first ones is 0, or -1 with errno; then `cdevmapper_message` is what the library said, if it had a
 * part, for the calling thread. The library keeps state of its own, so one call of it runs at a time. */
#ifndef CDEVMAPPER_H
#define CDEVMAPPER_H

#include <stddef.h>
#include <stdint.h>

struct cdevmapper_info {
    int exists, live_table, read_only;
    uint32_t major, minor;
};

/* One line of a table: `length` sectors served by `target`. */
struct cdevmapper_table {
    uint64_t length;
    const char *target, *parameters;
    int read_only;
};

/* Whether the kernel has device-mapper. */
int cdevmapper_is_there(void);
/* Whether udev runs, without which nothing needs the library. */
int cdevmapper_has_udev(void);
/* Whether the library is there; -1 if not, and `cdevmapper_message` says why. */
int cdevmapper_load(void);
const char *cdevmapper_message(void);

/* Makes the device and starts it. EBUSY: there is one of that name or uuid. `with_node`: in /dev/mapper it has a node even
 * where no udev makes it. */
int cdevmapper_create(const char *name, const char *uuid, const struct cdevmapper_table *table, int with_node,
                      struct cdevmapper_info *info);
/* Gives the device another table, which a suspend and a resume put in place. */
int cdevmapper_reload(const char *name, const struct cdevmapper_table *table);
/* Waits for what is under way, and freezes a file system on the device. */
int cdevmapper_suspend(const char *name);
int cdevmapper_resume(const char *name);
/* Removes the device; one that is open goes with its last user if `deferred`, else EBUSY. Absent: ENXIO. */
int cdevmapper_remove(const char *name, int deferred);
int cdevmapper_info(const char *name, struct cdevmapper_info *info);
int cdevmapper_target_message(const char *name, const char *message);
/* The parameters of the device's first target: its state or, if `table`, its table. `flushes`: a thin pool commits first. */
int cdevmapper_status(const char *name, int table, int flushes, char *parameters, size_t size,
                      struct cdevmapper_info *info);
/* The version of a target of the kernel, e.g. "1.23.0"; ENOENT if it has none of that name. */
int cdevmapper_target_version(const char *target, uint32_t version[3]);

#endif
