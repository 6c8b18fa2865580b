/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/loadgen/histogram.h"

#include <math.h>
#include <string.h>

void histogram_reset(struct histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
}

/* The highest value that counts in bucket 'index'. */
static uint64_t bucket_end(unsigned index)
{
    unsigned row = index >> HISTOGRAM_SUB_BITS;
    unsigned shift = row ? row - 1 : 0;
    uint64_t top = index - ((uint64_t)shift << HISTOGRAM_SUB_BITS);

    return ((top + 1) << shift) - 1;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile)
{
    uint64_t wanted = (uint64_t)ceil(quantile * (double)histogram->n_values);
    uint64_t n = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        n += histogram->counts[i];
        if (n && n >= wanted)
            return bucket_end(i) < histogram->max ? bucket_end(i) : histogram->max;
    }
    return histogram->max;
}
