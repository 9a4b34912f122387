/* SPDX-License-Identifier: Apache-2.0 */
/* What compilers expect of any C program. */
#include "system.h"

void *memcpy(void *to, const void *from, size_t count)
{
    char *t = to;
    const char *f = from;
    while (count--)
        *t++ = *f++;
    return to;
}

void *memset(void *to, int byte, size_t count)
{
    char *t = to;
    while (count--)
        *t++ = (char)byte;
    return to;
}
