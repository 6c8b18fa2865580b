/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LOADGEN_HISTOGRAM_H
#define LOADGEN_HISTOGRAM_H

/*
 * Counts values of 0 to 2^40 - 1 in buckets whose width grows with the value, so that each percentile is
 * exact to one part in 64, with a fixed memory: the bucket is found from the highest bits, as in
 * HdrHistogram.
 */

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_VALUE_BITS 40
#define HISTOGRAM_BUCKETS ((HISTOGRAM_VALUE_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t n_values;
    uint64_t max;
    uint64_t counts[HISTOGRAM_BUCKETS];
};

void histogram_reset(struct histogram *histogram);

/* Values of 2^40 and more count as 2^40 - 1, except for 'max'. */
static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
    const uint64_t limit = (UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1;
    uint64_t bounded = value < limit ? value : limit;
    unsigned shift = 63 - (unsigned)__builtin_clzll(bounded | (1u << HISTOGRAM_SUB_BITS)) - HISTOGRAM_SUB_BITS;

    /* Bucket numbers go on without a gap: the leading bit of 'bounded >> shift' adds one row per shift. */
    histogram->counts[((uint64_t)shift << HISTOGRAM_SUB_BITS) + (bounded >> shift)]++;
    histogram->n_values++;
    if (value > histogram->max)
        histogram->max = value;
}

/*
 * The value that a share 'quantile' (0 to 1) of all values does not exceed (upper end of its bucket); 0 when
 * empty.
 */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);

#endif
