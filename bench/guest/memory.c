/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/guest/memory.h"

#include <errno.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_SIZE_HUGE ((size_t)2 << 20)
#define GUEST_BASE 0x100000000u /* 4 GiB: an address that is no offset and no pointer */
#define GUEST_REGION_GAP ((uint64_t)64 << 20)

static size_t round_up(size_t value, size_t step)
{
    return (value + step - 1) / step * step;
}

/*
 * Maps a memfd of 'size' bytes; false and errno on failure. Populating tells a lack of hugepages here and
 * now.
 */
static bool map_memfd(struct guest_memory *memory, size_t size, bool huge)
{
    int fd = memfd_create("guest", MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0));
    void *base;
    int code;

    if (fd < 0)
        return false;
    if (ftruncate(fd, (off_t)size))
        goto fail;
    base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | (huge ? MAP_POPULATE : 0), fd, 0);
    if (base == MAP_FAILED)
        goto fail;
    if (!huge) {
        madvise(base, size, MADV_HUGEPAGE); /* a hint: many systems refuse it for shared memory */
        memset(base, 0, size);
    }
    memory->base = base;
    memory->size = size;
    memory->fd = fd;
    memory->is_huge = huge;
    return true;

fail:
    code = errno;
    close(fd);
    errno = code;
    return false;
}

int guest_memory_create(struct guest_memory *memory, size_t size, unsigned n_regions, bool want_huge,
                        struct error *error)
{
    if (n_regions < 1 || n_regions > VHOST_USER_REGIONS_MAX)
        return error_set(error, EINVAL, "guest memory cannot have %u regions: 1 to %d are possible",
                         n_regions, VHOST_USER_REGIONS_MAX);
    memset(memory, 0, sizeof *memory);
    memory->region_size = round_up((size + n_regions - 1) / n_regions, PAGE_SIZE_HUGE);
    size = memory->region_size * n_regions;
    if (!(want_huge && map_memfd(memory, size, true)) && !map_memfd(memory, size, false))
        return error_set(error, errno, "cannot get %zu MiB of guest memory: %s", size >> 20, strerror(errno));
    memory->n_regions = n_regions;
    memory->guest_base = GUEST_BASE;
    memory->guest_region_gap = GUEST_REGION_GAP;
    return 0;
}

void guest_memory_destroy(struct guest_memory *memory)
{
    if (!memory->base)
        return;
    munmap(memory->base, memory->size);
    close(memory->fd);
    memory->base = NULL;
}

void *guest_memory_allocate(struct guest_memory *memory, size_t size, size_t alignment)
{
    size_t start = round_up(memory->allocated, alignment);
    size_t region_left = memory->region_size - start % memory->region_size;

    if (size > region_left)
        start += region_left; /* the next region's start is aligned to 2 MiB */
    if (size > memory->region_size || start > memory->size || size > memory->size - start)
        return NULL;
    memory->allocated = start + size;
    return memory->base + start;
}

void guest_memory_table(const struct guest_memory *memory, struct vhost_user_memory *table)
{
    memset(table, 0, sizeof *table);
    table->n_regions = memory->n_regions;
    for (unsigned i = 0; i < memory->n_regions; i++) {
        size_t offset = i * memory->region_size;

        table->regions[i] = (struct vhost_user_region){
            .guest_address = guest_memory_address(memory, memory->base + offset),
            .size = memory->region_size,
            .user_address = (uintptr_t)(memory->base + offset),
            .mmap_offset = offset,
        };
    }
}
