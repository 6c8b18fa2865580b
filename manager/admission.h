/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_ADMISSION_H
#define MANAGER_ADMISSION_H

/*
 * Whether one more slice fits: what the machine has for slices against what is promised. Nothing here has state; what a
 * slice is promised is its budget, or where it names none what its nodes and links need.
 *
 *     struct admission_claim claim = admission_claim_of(slice);
 *
 *     if (admission_check(&capacity, claims, n_claims, &claim, &error))
 *         puts(error.text);   // Slice b needs 8 CPUs, 4 more than are free: of 16, a has 12.
 */

#include "lib/error.h"
#include "slice/slice.h"

#define SLICES_MAX 128 /* on one machine */

enum resource {
    RESOURCE_CPU,    /* virtual CPUs */
    RESOURCE_MEMORY, /* bytes */
    RESOURCE_RATE,   /* bit/s that are guaranteed */
    RESOURCE_RULES,  /* in the fast path */
    RESOURCE_PORTS,  /* of the fast path */
    RESOURCES
};

struct admission_capacity {
    uint64_t amounts[RESOURCES];
};

/* What one slice has, or wants. */
struct admission_claim {
    char slice[SLICE_NAME_SIZE];
    uint64_t amounts[RESOURCES];
};

/* "cpu", "memory", "rate", "rules", "ports". */
const char *resource_name(enum resource resource);

struct admission_claim admission_claim_of(const struct slice *slice);

/*
 * Whether 'wanted' fits beside 'claims'; one of them that is of the same slice is what it has now, and does not count. Returns 0, or
 * ENOSPC with a sentence: what is short, by how much, and who has the rest.
 */
int admission_check(const struct admission_capacity *capacity, const struct admission_claim claims[],
                    unsigned n_claims, const struct admission_claim *wanted, struct error *error);

/* What all claims are together of one resource. */
uint64_t admission_sum(const struct admission_claim claims[], unsigned n_claims, enum resource resource);

#endif
