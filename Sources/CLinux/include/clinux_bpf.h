/* SPDX-License-Identifier: Apache-2.0 */
/* bpf(2) for device programs of cgroup v2. Each wraps one call: -1 and errno on failure. */
#ifndef CLINUX_BPF_H
#define CLINUX_BPF_H

#include <stdint.h>

/* Loads a program of `count` instructions; `log` gets what the verifier says. Its descriptor. */
int clinux_bpf_load_device_program(const uint64_t *instructions, uint32_t count, char *log, uint32_t size);
/* Attaches it to a cgroup beside those that are there. */
int clinux_bpf_attach_device_program(int cgroup, int program);
int clinux_bpf_detach_device_program(int cgroup, int program);
/* The ids of the device programs attached to a cgroup itself: `*count` says how many there is room for, then how many. */
int clinux_bpf_device_programs(int cgroup, uint32_t *ids, uint32_t *count);
int clinux_bpf_program_by_id(uint32_t id);

#endif
