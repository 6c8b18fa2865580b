/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The generic cell rate algorithm, in its form of virtual scheduling: ATM Forum, Traffic Management Specification 4.0
 * (af-tm-0056.000), section 4.4.2 and annex C; the same as ITU-T I.371, annex A. Its one variable is the theoretical
 * arrival time, here 'due': a packet conforms unless it comes earlier than 'due' by the tolerance or more, and moves 'due' on by
 * its own time, from now if 'due' has passed. Seen as a bucket: it is full when 'due' has passed, and empty when 'due' is
 * the tolerance ahead.
 *
 * Two things differ, since cells all have one size and packets have not. The time that a packet moves 'due' on by is that of its bytes.
 * And it is not asked whether a packet fits, as the token buckets of RFC 2697 do (a large one might never), but only whether
 * there is anything left; the bucket may so go below zero by what is taken at once.
 */
#include "fastpath/rate.h"

struct rate_clock rate_clock;

void rate_start(uint64_t hz, uint64_t (*read)(void))
{
    rate_clock = (struct rate_clock){hz, read};
}

uint64_t rate_units(uint64_t ns)
{
    return (uint64_t)((unsigned __int128)ns * rate_clock.hz * RATE_UNITS_PER_TICK / 1000000000);
}

uint64_t rate_ns(uint64_t units)
{
    return (uint64_t)((unsigned __int128)units * 1000000000 /
                      ((unsigned __int128)rate_clock.hz * RATE_UNITS_PER_TICK));
}

void rate_bucket_init(struct rate_bucket *bucket, uint64_t rate, uint64_t burst, uint64_t now)
{
    bucket->burst = burst;
    bucket->byte_cost = (uint64_t)(((unsigned __int128)rate_clock.hz * RATE_UNITS_PER_TICK * 8 << 32) / rate);
    bucket->tolerance = (int64_t)rate_cost(bucket, burst);
    if (!bucket->tolerance)
        bucket->tolerance = 1; /* a full bucket is not empty */
    atomic_store_explicit(&bucket->due, now, memory_order_relaxed);
}

void rate_bucket_inherit(struct rate_bucket *bucket, const struct rate_bucket *old, uint64_t now)
{
    int64_t ahead = (int64_t)(atomic_load_explicit(&old->due, memory_order_relaxed) - now);
    unsigned __int128 lacking = ahead > 0 ? ((unsigned __int128)ahead << 32) / old->byte_cost : 0;

    rate_take(bucket, lacking < bucket->burst ? (uint64_t)lacking : bucket->burst, now);
}

uint16_t rate_admit(struct rate_bucket *bucket, const uint32_t sizes[], uint16_t n, uint64_t now)
{
    uint64_t due = atomic_load_explicit(&bucket->due, memory_order_relaxed), new;
    uint16_t n_admitted;

    do {
        new = (int64_t)(due - now) > 0 ? due : now;
        for (n_admitted = 0; n_admitted < n && !rate_is_empty_at(bucket, new, now); n_admitted++)
            new += rate_cost(bucket, sizes[n_admitted]);
    } while (n_admitted && !atomic_compare_exchange_weak_explicit(
                               &bucket->due, &due, new, memory_order_relaxed, memory_order_relaxed));
    return n_admitted;
}
