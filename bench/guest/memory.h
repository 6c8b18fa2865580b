/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_MEMORY_H
#define GUEST_MEMORY_H

/*
 * The memory of a guest: one memfd that the back end maps as well. It is cut
 * into up to VHOST_USER_REGIONS_MAX regions with gaps between their guest
 * physical addresses, so that a back end has to translate and to notice a
 * buffer that leaves its region.
 *
 * One thread uses a memory at a time. Nothing is freed before destroy.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/guest/vhost_user.h"
#include "lib/error.h"

struct guest_memory {
    uint8_t *base; /* where the memfd is mapped here */
    size_t size;   /* bytes, a multiple of the page size */
    int fd;
    bool is_huge; /* made of hugepages */

    unsigned n_regions;
    size_t region_size;        /* bytes of each region; the last one ends at 'size' */
    uint64_t guest_base;       /* guest physical address of region 0 */
    uint64_t guest_region_gap; /* unused guest physical bytes behind each region */

    size_t allocated; /* bytes given out by guest_memory_allocate() */
};

/*
 * Makes a memory of at least 'size' bytes in 'n_regions' (1 to
 * VHOST_USER_REGIONS_MAX) regions. With 'want_huge' it takes 2-MiB hugepages when enough are free, else
 * ordinary pages, with a hint that asks for transparent hugepages. Returns 0, or a positive errno value
 * with a sentence in 'error'.
 */
int guest_memory_create(struct guest_memory *memory, size_t size, unsigned n_regions, bool want_huge,
                        struct error *error);

void guest_memory_destroy(struct guest_memory *memory);

/*
 * 'size' zeroed bytes, aligned to 'alignment' (a power of two), within one region; NULL when there are not
 * so many left. 'size' may exceed a region only when the memory has a single one.
 */
void *guest_memory_allocate(struct guest_memory *memory, size_t size, size_t alignment);

/* The guest physical address of 'pointer', which lies in the memory. */
static inline uint64_t guest_memory_address(const struct guest_memory *memory, const void *pointer)
{
    size_t offset = (size_t)((const uint8_t *)pointer - memory->base);

    if (memory->n_regions == 1) /* spares the data path a division */
        return memory->guest_base + offset;
    return memory->guest_base + offset + offset / memory->region_size * memory->guest_region_gap;
}

/* The table for SET_MEM_TABLE; each of its regions goes with the memfd. */
void guest_memory_table(const struct guest_memory *memory, struct vhost_user_memory *table);

#endif
