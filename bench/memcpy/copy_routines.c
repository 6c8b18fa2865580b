/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/memcpy/copy_routines.h"

#include <immintrin.h>
#include <string.h>

#define LINE 64u
#define AVX2 __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f")))

#define PARAMETERS uint8_t *const targets[], const uint8_t *const sources[], unsigned n, uint32_t size

static void copy_libc(PARAMETERS)
{
    for (unsigned i = 0; i < n; i++)
        memcpy(targets[i], sources[i], size);
}

static void copy_movsb(PARAMETERS)
{
    for (unsigned i = 0; i < n; i++) {
        uint8_t *target = targets[i];
        const uint8_t *source = sources[i];
        size_t left = size;

        __asm__ volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(left) : : "memory");
    }
}

/*
 * The first lines of the packet 'ahead' places further: the hardware follows a stream, but must see its
 * start.
 */
static inline void prefetch_packet(PARAMETERS, unsigned i, unsigned ahead, bool targets_too)
{
    uint32_t bytes = size < 8 * LINE ? size : 8 * LINE;

    if (i + ahead >= n)
        return;
    for (uint32_t offset = 0; offset < bytes; offset += LINE) {
        __builtin_prefetch(sources[i + ahead] + offset);
        if (targets_too)
            __builtin_prefetch(targets[i + ahead] + offset, 1);
    }
}

static void copy_libc_prefetch(PARAMETERS)
{
    for (unsigned i = 0; i < n; i++) {
        prefetch_packet(targets, sources, n, size, i, 2, true);
        memcpy(targets[i], sources[i], size);
    }
}

static inline AVX2 void copy_one_avx2(uint8_t *target, const uint8_t *source, uint32_t size)
{
    for (uint32_t offset = 0; offset < size; offset += LINE) {
        __m256i low = _mm256_load_si256((const __m256i *)(source + offset));
        __m256i high = _mm256_load_si256((const __m256i *)(source + offset + 32));

        _mm256_store_si256((__m256i *)(target + offset), low);
        _mm256_store_si256((__m256i *)(target + offset + 32), high);
    }
}

static AVX2 void copy_avx2(PARAMETERS)
{
    for (unsigned i = 0; i < n; i++)
        copy_one_avx2(targets[i], sources[i], size);
}

static AVX2 void copy_avx2_prefetch(PARAMETERS)
{
    for (unsigned i = 0; i < n; i++) {
        prefetch_packet(targets, sources, n, size, i, 2, true);
        copy_one_avx2(targets[i], sources[i], size);
    }
}

static inline AVX512 void copy_one_avx512(uint8_t *target, const uint8_t *source, uint32_t size)
{
    uint32_t offset = 0;

    for (; offset + 4 * LINE <= size; offset += 4 * LINE) {
        __m512i a = _mm512_load_si512(source + offset);
        __m512i b = _mm512_load_si512(source + offset + LINE);
        __m512i c = _mm512_load_si512(source + offset + 2 * LINE);
        __m512i d = _mm512_load_si512(source + offset + 3 * LINE);

        _mm512_store_si512(target + offset, a);
        _mm512_store_si512(target + offset + LINE, b);
        _mm512_store_si512(target + offset + 2 * LINE, c);
        _mm512_store_si512(target + offset + 3 * LINE, d);
    }
    for (; offset < size; offset += LINE)
        _mm512_store_si512(target + offset, _mm512_load_si512(source + offset));
}

static AVX512 void copy_avx512(PARAMETERS)
{
    for (unsigned i = 0; i < n; i++)
        copy_one_avx512(targets[i], sources[i], size);
}

static AVX512 void copy_avx512_prefetch_sources(PARAMETERS)
{
    for (unsigned i = 0; i < n; i++) {
        prefetch_packet(targets, sources, n, size, i, 2, false);
        copy_one_avx512(targets[i], sources[i], size);
    }
}

static AVX512 void copy_avx512_prefetch(PARAMETERS)
{
    for (unsigned i = 0; i < n; i++) {
        prefetch_packet(targets, sources, n, size, i, 2, true);
        copy_one_avx512(targets[i], sources[i], size);
    }
}

/* Prefetches both sides all along, a fixed distance ahead, across the border to the next packet. */
static AVX512 void copy_avx512_prefetch_stream(PARAMETERS)
{
    const uint32_t distance = 16 * LINE;

    for (unsigned i = 0; i < n; i++) {
        const uint8_t *next_source = i + 1 < n ? sources[i + 1] : sources[i];
        uint8_t *next_target = i + 1 < n ? targets[i + 1] : targets[i];

        for (uint32_t offset = 0; offset < size; offset += LINE) {
            uint32_t ahead = offset + distance;

            if (ahead < size) {
                __builtin_prefetch(sources[i] + ahead);
                __builtin_prefetch(targets[i] + ahead, 1);
            } else {
                __builtin_prefetch(next_source + (ahead - size) / LINE * LINE);
                __builtin_prefetch(next_target + (ahead - size) / LINE * LINE, 1);
            }
            _mm512_store_si512(targets[i] + offset, _mm512_load_si512(sources[i] + offset));
        }
    }
}

/* Past the caches: the reader fetches from memory. */
static AVX512 void copy_avx512_stream(PARAMETERS)
{
    for (unsigned i = 0; i < n; i++) {
        for (uint32_t offset = 0; offset < size; offset += LINE)
            _mm512_stream_si512((__m512i *)(targets[i] + offset), _mm512_load_si512(sources[i] + offset));
    }
    _mm_sfence();
}

static bool always(void)
{
    return true;
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f");
}

const struct copy_routine copy_routines[] = {
    {"libc memcpy", copy_libc, always, false},
    {"libc memcpy, prefetch", copy_libc_prefetch, always, false},
    {"rep movsb", copy_movsb, always, false},
    {"avx2", copy_avx2, has_avx2, false},
    {"avx2, prefetch", copy_avx2_prefetch, has_avx2, false},
    {"avx512", copy_avx512, has_avx512, false},
    {"avx512, prefetch sources", copy_avx512_prefetch_sources, has_avx512, false},
    {"avx512, prefetch", copy_avx512_prefetch, has_avx512, false},
    {"avx512, prefetch all along", copy_avx512_prefetch_stream, has_avx512, false},
    {"avx512, non-temporal", copy_avx512_stream, has_avx512, true},
};

const unsigned n_copy_routines = sizeof copy_routines / sizeof *copy_routines;
