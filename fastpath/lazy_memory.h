/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_LAZY_MEMORY_H
#define FASTPATH_LAZY_MEMORY_H

/*
 * Large zeroed memory: address space is taken at once, pages when they are
 * first touched. The kernel is asked to back it with huge pages, so that random
 * access to a million rules does not also miss the TLB.
 */

#include <stddef.h>

/* 'size' zero bytes at a 2-MiB boundary when 'size' is that large, else at a page's; NULL: no memory. */
void *lazy_memory_map(size_t size);

/* Gives back what lazy_memory_map(size) returned; NULL is allowed. */
void lazy_memory_unmap(void *memory, size_t size);

#endif
