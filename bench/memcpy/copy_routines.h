/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMCPY_COPY_ROUTINES_H
#define MEMCPY_COPY_ROUTINES_H

/*
 * Ways to copy a burst of packets. Each copies 'n' packets of 'size' bytes from sources[i] to targets[i];
 * sources and targets are aligned to cache lines and have room for whole lines.
 */

#include <stdbool.h>
#include <stdint.h>

struct copy_routine {
    const char *name;
    void (*copy)(uint8_t *const targets[], const uint8_t *const sources[], unsigned n, uint32_t size);
    bool (*is_possible)(void); /* on this CPU */
    bool past_caches;          /* the copies lie in memory, so that whoever reads them pays */
};

extern const struct copy_routine copy_routines[];
extern const unsigned n_copy_routines;

#endif
