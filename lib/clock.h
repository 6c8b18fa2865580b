/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VNODE_CLOCK_H
#define VNODE_CLOCK_H

/* Milliseconds of a clock that nobody can set, CLOCK_MONOTONIC, for deadlines. Any thread. */

#include <stdint.h>
#include <time.h>

static inline int64_t clock_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000) + time.tv_nsec / 1000000;
}

#endif
