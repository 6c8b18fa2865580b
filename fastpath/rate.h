/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_RATE_H
#define FASTPATH_RATE_H

/*
 * A bucket that limits a rate: 'burst' bytes deep, filled at 'rate' bits a second. Bytes may be taken while there is
 * something in it, even if they are more than that: it then has a debt, which has to be filled up first. So
 * in any time T no more than rate * T + burst and what is taken at once can pass, and whoever always has something to send
 * gets 'rate' exactly.
 *
 *     rate_bucket_init(&bucket, 500000000, 1 << 20, rate_now());
 *     if (!rate_is_empty(&bucket, rate_now()))
 *         rate_take(&bucket, n_bytes, rate_now());
 *
 * Any number of threads may use one bucket: its state is a single 64-bit word. Functions that return say how far that
 * word was ahead of time, so that no second look is needed.
 *
 * Time is counted in 16ths of a tick of the clock (which for the fast path is the CPU's time stamp counter), modulo 2^64:
 * 14 years at 2.5 GHz, of which a bucket may lie idle for half.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define RATE_UNITS_PER_TICK 16

struct rate_clock {
    uint64_t hz;
    uint64_t (*read)(void); /* in ticks */
};

extern struct rate_clock rate_clock;

/* Before the first bucket: a clock for all threads, which counts 'hz' ticks a second. */
void rate_start(uint64_t hz, uint64_t (*read)(void));

/* The time, in units. */
static inline uint64_t rate_now(void)
{
    return rate_clock.read() * RATE_UNITS_PER_TICK;
}

/* The units in 'ns' nanoseconds, and the other way round. */
uint64_t rate_units(uint64_t ns);
uint64_t rate_ns(uint64_t units);

struct rate_bucket {
    /* set once */
    uint64_t burst;     /* bytes */
    uint64_t byte_cost; /* the time of a byte, in 2^-32 units */
    int64_t tolerance;  /* the time of 'burst', in units */

    /* shared, on a line of its own */
    _Atomic uint64_t due __attribute__((aligned(64))); /* when the bucket will be full, or was last */
};

/* Makes a full bucket. 'rate' and 'burst' are within the bounds of lib/limits.h. */
void rate_bucket_init(struct rate_bucket *bucket, uint64_t rate, uint64_t burst, uint64_t now);

/* Takes out of 'bucket', a full one, as many bytes as there lack in 'old', but no more than there are. */
void rate_bucket_inherit(struct rate_bucket *bucket, const struct rate_bucket *old, uint64_t now);

/* The time that 'n_bytes' take, in units. */
static inline uint64_t rate_cost(const struct rate_bucket *bucket, uint64_t n_bytes)
{
    return (uint64_t)((unsigned __int128)n_bytes * bucket->byte_cost >> 32);
}

/* When there is, or was, something in the bucket again whose 'due' is this. */
static inline uint64_t rate_refilled(const struct rate_bucket *bucket, uint64_t due)
{
    return due - (uint64_t)bucket->tolerance;
}

static inline bool rate_is_empty_at(const struct rate_bucket *bucket, uint64_t due, uint64_t now)
{
    return (int64_t)(due - now) >= bucket->tolerance;
}

/* Whether nothing is in the bucket; '*due' becomes what that was decided by. */
static inline bool rate_is_empty(struct rate_bucket *bucket, uint64_t now, uint64_t *due)
{
    /* Relaxed, here and below: nothing else depends on the word. */
    *due = atomic_load_explicit(&bucket->due, memory_order_relaxed);
    return rate_is_empty_at(bucket, *due, now);
}

/* Takes 'n_bytes' in any case. Returns the new 'due'. */
static inline uint64_t rate_take(struct rate_bucket *bucket, uint64_t n_bytes, uint64_t now)
{
    uint64_t due = atomic_load_explicit(&bucket->due, memory_order_relaxed), new;
    uint64_t cost = rate_cost(bucket, n_bytes);

    do
        new = ((int64_t)(due - now) > 0 ? due : now) + cost;
    while (!atomic_compare_exchange_weak_explicit(&bucket->due, &due, new, memory_order_relaxed,
                                                  memory_order_relaxed));
    return new;
}

/* Takes packets of these sizes, one after the other, while there is something in the bucket. Returns how many. */
uint16_t rate_admit(struct rate_bucket *bucket, const uint32_t sizes[], uint16_t n, uint64_t now);

#endif
