/* SPDX-License-Identifier: Apache-2.0 */
/* A process's tree of files as others may look at it, and acting there with its ids. */
#ifndef CLINUX_VIEW_H
#define CLINUX_VIEW_H

/* A detached copy of what is mounted at `/` of the mount namespace `mounts`: a descriptor, or -1 and errno. `users` is the
 * user namespace that owns it, or -1 if that is the caller's. Without `hidden` it is that mount alone; else all mounts
 * below come along, but for those at the paths of `hidden`, which ends with NULL. Safe in a process with threads. */
int clinux_clone_namespace_root(int mounts, int users, const char *const *hidden);

/* Lets the calling thread reach files as `uid` and `gid`, with the capabilities that it has: 0, or -1 and errno. */
int clinux_act_as(unsigned int uid, unsigned int gid);

#endif
