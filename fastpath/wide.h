/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_WIDE_H
#define FASTPATH_WIDE_H

/*
 * Whole cache lines at once: with AVX-512 where the CPU that we build for has
 * it, else in loops that the compiler turns into the vectors there are.
 */

#include <stdbool.h>
#include <stdint.h>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "fastpath/flow_key.h"

static inline bool wide_equal(const struct flow_key *a, const struct flow_key *b)
{
#ifdef __AVX512F__
    return _mm512_cmpneq_epi64_mask(_mm512_load_si512(a), _mm512_load_si512(b)) == 0;
#else
    const uint64_t *x = (const uint64_t *)a, *y = (const uint64_t *)b;
    uint64_t difference = 0;

    for (int i = 0; i < 8; i++)
        difference |= x[i] ^ y[i];
    return difference == 0;
#endif
}

/*
 * What reads memory that another thread may be writing, with plain loads. Its callers take the words that count
 * again, one by one and atomically, so that tearing between words does no harm.
 */
#ifdef __SANITIZE_THREAD__
#define WIDE_RACING __attribute__((no_sanitize("thread"), noinline, unused))
#else
#define WIDE_RACING inline
#endif

/* Bit i of the result: whether words[i] & mask == value, for the 16 words of a cache line. */
static WIDE_RACING uint32_t wide_match16(const void *line, uint32_t mask, uint32_t value)
{
#ifdef __AVX512F__
    __m512i words = _mm512_and_epi32(_mm512_load_si512(line), _mm512_set1_epi32(mask));

    return _mm512_cmpeq_epi32_mask(words, _mm512_set1_epi32(value));
#else
    const uint32_t *words = line;
    uint32_t bits = 0;

    for (int i = 0; i < 16; i++)
        bits |= (uint32_t)((words[i] & mask) == value) << i;
    return bits;
#endif
}

/* The lowest 'n' <= 32 bits. */
static inline uint32_t bits_below(unsigned n)
{
    return (uint32_t)((1ull << n) - 1);
}

#endif
