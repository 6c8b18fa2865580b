/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_GUEST_MEMORY_H
#define FASTPATH_GUEST_MEMORY_H

/*
 * A guest's memory as the fast path has it mapped: up to GUEST_REGIONS_MAX
 * regions of guest physical addresses. Immutable while workers use it; every
 * address that a guest names goes through here, where it is checked without
 * overflow against the regions.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_REGIONS_MAX 8 /* as vhost-user and DPDK's vhost library have it */

struct guest_region {
    uint64_t address; /* guest physical, of the first byte */
    uint64_t size;    /* bytes */
    uint8_t *host;    /* where that byte is mapped here */
};

struct guest_memory {
    uint32_t n_regions;
    struct guest_region regions[GUEST_REGIONS_MAX]; /* largest first: nearly every look-up ends there */
};

/* Where the 'size' bytes at guest address 'address' are, or NULL when they do not lie inside one region. */
static inline uint8_t *guest_memory_at(const struct guest_memory *memory, uint64_t address, uint32_t size)
{
    for (uint32_t i = 0; i < memory->n_regions; i++) {
        const struct guest_region *region = &memory->regions[i];
        uint64_t offset = address - region->address;

        if (offset < region->size && size <= region->size - offset)
            return region->host + offset;
    }
    return NULL;
}

/*
 * Like guest_memory_at(), for a buffer that may run on into the next region:
 * returns where it begins and sets '*contiguous' to how many of its 'size' bytes
 * follow one another here (at least 1), or returns NULL.
 */
static inline uint8_t *guest_memory_begin(const struct guest_memory *memory, uint64_t address, uint32_t size,
                                          uint32_t *contiguous)
{
    for (uint32_t i = 0; i < memory->n_regions; i++) {
        const struct guest_region *region = &memory->regions[i];
        uint64_t offset = address - region->address;

        if (offset < region->size) {
            uint64_t rest = region->size - offset;

            *contiguous = size < rest ? size : (uint32_t)rest;
            return region->host + offset;
        }
    }
    return NULL;
}

#endif
