/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_KEYED_HASH_H
#define FASTPATH_KEYED_HASH_H

/*
 * Hashing with secret random seeds, so that nobody can choose flows or ids that
 * collide.
 */

#include <stdint.h>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "fastpath/flow_key.h"

/* A 32-bit seed for each half word of a key, and one for the last step. */
struct hash_seed {
    uint32_t halves[sizeof(struct flow_key) / 4];
    uint64_t last;
} __attribute__((aligned(64)));

/* Fills 'seed' with secret random bits. Aborts when the system has none to give. */
void hash_seed_fill(struct hash_seed *seed);

/* Both halves of a 128-bit product folded: each bit of the result depends on all of 'a' (wyhash's step). */
static inline uint64_t hash_fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/*
 * A hash of 'value', which may be one of an arithmetic progression, as consecutive addresses and ids make it. A
 * product alone would be one too, and for some seeds in a hundred leave most buckets empty:
 * therefore the halves are mixed first.
 */
static inline uint64_t hash_finish(uint64_t value, const struct hash_seed *seed)
{
    return hash_fold(value ^ value >> 32, seed->last);
}

/*
 * Hash of 'key' under 'mask': NH of Black, Halevi, Krawczyk, Krovetz and Rogaway, "UMAC" (CRYPTO 1999), by which two
 * different keys collide with a probability of 2^-32 over the choice of the seed, then finished so
 * that all bits may be used.
 */
static inline uint64_t hash_key(const struct flow_key *key, const struct flow_key *mask,
                                const struct hash_seed *seed)
{
#ifdef __AVX512F__
    __m512i masked = _mm512_and_si512(_mm512_load_si512(key), _mm512_load_si512(mask));
    __m512i sums = _mm512_add_epi32(masked, _mm512_load_si512(seed->halves));
    __m512i products = _mm512_mul_epu32(sums, _mm512_srli_epi64(sums, 32));
    /* Not _mm512_reduce_add_epi64(): its last addition is a signed one, which must not overflow. */
    __m256i four = _mm256_add_epi64(_mm512_castsi512_si256(products), _mm512_extracti64x4_epi64(products, 1));
    __m128i two = _mm_add_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    __m128i total = _mm_add_epi64(two, _mm_unpackhi_epi64(two, two));

    /* hash_finish(), begun before the value leaves the vector unit. */
    total = _mm_xor_si128(total, _mm_srli_epi64(total, 32));
    return hash_fold(_mm_cvtsi128_si64(total), seed->last);
#else
    const uint32_t *k = (const uint32_t *)key, *m = (const uint32_t *)mask;
    uint64_t total = 0;

    for (unsigned i = 0; i < sizeof *key / sizeof k[0]; i += 2)
        total += (uint64_t)((k[i] & m[i]) + seed->halves[i]) * ((k[i + 1] & m[i + 1]) + seed->halves[i + 1]);
    return hash_finish(total, seed);
#endif
}

#endif
