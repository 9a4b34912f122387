/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "clinux_tree.h"

#include <sched.h>

int clinux_unshare_fs(void)
{
    return unshare(CLONE_FS);
}
