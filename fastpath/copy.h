/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_COPY_H
#define FASTPATH_COPY_H

/*
 * Copies for the packet path. Sizes up to 256 bytes are done with a few wide,
 * overlapping moves, chosen by comparisons that predict well because packets of a
 * burst resemble each other. The compiler turns the vectors into what the CPU has.
 */

#include <stdint.h>
#include <string.h>

typedef uint8_t copy_64 __attribute__((vector_size(64), aligned(1), may_alias));
typedef uint8_t copy_64_aligned __attribute__((vector_size(64), may_alias));
typedef uint8_t copy_32 __attribute__((vector_size(32), aligned(1), may_alias));
typedef uint8_t copy_16 __attribute__((vector_size(16), aligned(1), may_alias));

#define COPY_MOVE(type, to, from) (*(type *)(to) = *(const type *)(from))

/* Copies 'size' < 64 bytes. */
static inline void copy_small(uint8_t *to, const uint8_t *from, uint32_t size)
{
    if (size >= 32) {
        copy_32 first = *(const copy_32 *)from, last = *(const copy_32 *)(from + size - 32);

        *(copy_32 *)to = first;
        *(copy_32 *)(to + size - 32) = last;
    } else if (size >= 16) {
        copy_16 first = *(const copy_16 *)from, last = *(const copy_16 *)(from + size - 16);

        *(copy_16 *)to = first;
        *(copy_16 *)(to + size - 16) = last;
    } else {
        memcpy(to, from, size);
    }
}

/* Copies a packet's head, of up to a few hundred bytes. The areas do not overlap. */
static inline void copy_head(uint8_t *to, const uint8_t *from, uint32_t size)
{
    if (size < 64) {
        copy_small(to, from, size);
        return;
    }
    COPY_MOVE(copy_64, to, from);
    if (size == 64)
        return;
    for (uint32_t done = 64; done + 64 < size; done += 64)
        COPY_MOVE(copy_64, to + done, from + done);
    COPY_MOVE(copy_64, to + size - 64, from + size - 64);
}

/* What is to be copied next. A hint only: nothing is read or written there. */
struct copy_ahead {
    const uint8_t *from;
    uint8_t *to;
    uint32_t size;
};

/* How many bytes ahead of the copy its lines are fetched. */
#define COPY_DISTANCE 512u

/*
 * Copies payload, of any size. The areas do not overlap. Whole, aligned cache lines are
 * written, with ordinary stores: when both areas are in another core's cache this beat
 * libc's memcpy and `rep movsb`. Non-temporal stores cost us less in large frames, but the
 * guest that reads them more (docs/performance.md).
 *
 * The lines of both areas are fetched ahead, those of 'next' during the last lines of this one: a frame
 * is too short for the hardware to see where it goes, and stores wait for their lines one by one.
 */
static inline void copy_payload_ahead(uint8_t *to, const uint8_t *from, uint32_t size,
                                      const struct copy_ahead *next)
{
    uint32_t lead = -(uintptr_t)to % 64, ahead = 0;

    if (size <= 256) {
        copy_head(to, from, size);
        return;
    }
    copy_small(to, from, lead);
    to += lead;
    from += lead;
    size -= lead;
    for (; size >= 64 + COPY_DISTANCE; size -= 64, to += 64, from += 64) {
        __builtin_prefetch(from + COPY_DISTANCE);
        __builtin_prefetch(to + COPY_DISTANCE, 1);
        *(copy_64_aligned *)to = *(const copy_64 *)from;
    }
    for (; size >= 64; size -= 64, to += 64, from += 64) {
        if (ahead < next->size) {
            __builtin_prefetch(next->from + ahead);
            __builtin_prefetch(next->to + ahead, 1);
            ahead += 64;
        }
        *(copy_64_aligned *)to = *(const copy_64 *)from;
    }
    copy_small(to, from, size);
}

/* The same, of what nothing is known to follow. */
static inline void copy_payload(uint8_t *to, const uint8_t *from, uint32_t size)
{
    static const struct copy_ahead nothing;

    copy_payload_ahead(to, from, size, &nothing);
}

#endif
