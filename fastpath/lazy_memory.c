/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/lazy_memory.h"

#include <stdint.h>
#include <sys/mman.h>

#define HUGE_PAGE_SIZE ((size_t)2 << 20)

void *lazy_memory_map(size_t size)
{
    size_t slack = size >= HUGE_PAGE_SIZE ? HUGE_PAGE_SIZE : 0;
    uint8_t *start, *aligned;
    size_t before;

    start =
        mmap(NULL, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    if (!slack)
        return start;
    before = -(uintptr_t)start & (HUGE_PAGE_SIZE - 1);
    aligned = start + before;
    if (before)
        munmap(start, before);
    munmap(aligned + size, slack - before);
    /* Without huge pages everything still works, only slower. */
    madvise(aligned, size, MADV_HUGEPAGE);
    return aligned;
}

void lazy_memory_unmap(void *memory, size_t size)
{
    if (memory)
        munmap(memory, size);
}
