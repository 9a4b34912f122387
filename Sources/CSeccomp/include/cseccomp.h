/* SPDX-License-Identifier: Apache-2.0 */
/* libseccomp, loaded when first needed: most commands never compile a filter. */
#ifndef CSECCOMP_H
#define CSECCOMP_H

#include <stdint.h>

/* struct scmp_arg_cmp */
struct cseccomp_compare {
    unsigned int argument;
    int operation;
    uint64_t a, b;
};

/* 0, or -1 if the library is not installed. */
int cseccomp_load(void);
/* The others may be called after that. They answer as the functions of the same name do: 0 or a negative errno. */
void *cseccomp_init(uint32_t default_action);
void cseccomp_release(void *context);
int cseccomp_arch_add(void *context, uint32_t architecture);
int cseccomp_attr_set(void *context, int attribute, uint32_t value);
/* The number of a system call by name; -1 if this version of the library does not know it. */
int cseccomp_resolve(const char *name);
/* The same for another architecture; other negative numbers: it has no call of that name. */
int cseccomp_resolve_on(uint32_t architecture, const char *name);
int cseccomp_rule_add(void *context, uint32_t action, int number, unsigned int count,
                      const struct cseccomp_compare *compares);
int cseccomp_export_bpf(void *context, int fd);

#endif
