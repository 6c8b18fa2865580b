/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/admission.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HOLDERS_SHOWN 3

static const struct {
    const char *name;
    const char *unit; /* behind the number */
    uint64_t divisor; /* to get at that unit */
    const char *what; /* of it is short */
} resources[RESOURCES] = {
    [RESOURCE_CPU] = {"cpu", "", 1, "CPUs"},
    [RESOURCE_MEMORY] = {"memory", " MiB", 1 << 20, "of memory"},
    [RESOURCE_RATE] = {"rate", " Mbit/s", 1000000, "guaranteed"},
    [RESOURCE_RULES] = {"rules", "", 1, "rules"},
    [RESOURCE_PORTS] = {"ports", "", 1, "ports of the fast path"},
};

const char *resource_name(enum resource resource)
{
    return resources[resource].name;
}

static uint64_t guaranteed(const struct slice *slice)
{
    uint64_t rate = 0;

    for (unsigned i = 0; i < slice->n_links; i++)
        if (__builtin_add_overflow(rate, slice->links[i].min, &rate))
            return UINT64_MAX;
    return rate;
}

/* Each end of a link that is no switch is a port of the fast path. */
static unsigned count_ports(const struct slice *slice)
{
    unsigned n = 0;

    for (unsigned i = 0; i < slice->n_links; i++)
        for (unsigned j = 0; j < 2; j++)
            n += slice->nodes[slice->links[i].ends[j].node].kind != NODE_SWITCH;
    return n;
}

struct admission_claim admission_claim_of(const struct slice *slice)
{
    struct admission_claim claim = {
        .amounts =
            {
                [RESOURCE_CPU] = slice->budget.cpu ? slice->budget.cpu : slice_cpu(slice),
                [RESOURCE_MEMORY] = slice->budget.memory ? slice->budget.memory : slice_memory(slice),
                [RESOURCE_RATE] = slice->budget.rate ? slice->budget.rate : guaranteed(slice),
                [RESOURCE_RULES] = slice->budget.rules,
                [RESOURCE_PORTS] = count_ports(slice),
            },
    };

    strcpy(claim.slice, slice->name);
    return claim;
}

uint64_t admission_sum(const struct admission_claim claims[], unsigned n_claims, enum resource resource)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < n_claims; i++)
        if (__builtin_add_overflow(sum, claims[i].amounts[resource], &sum))
            return UINT64_MAX;
    return sum;
}

/* The largest claim below 'limit' in order (amount, then place), of others than 'but'; -1: there is none. */
static int next_holder(const struct admission_claim claims[], unsigned n_claims, enum resource resource,
                       const char *but, int last)
{
    int best = -1;

    for (int i = 0; i < (int)n_claims; i++) {
        uint64_t amount = claims[i].amounts[resource];
        bool after = last < 0 || amount < claims[last].amounts[resource] ||
                     (amount == claims[last].amounts[resource] && i > last);

        if (amount && after && strcmp(claims[i].slice, but) != 0 &&
            (best < 0 || amount > claims[best].amounts[resource]))
            best = i;
    }
    return best;
}

/* "red has 12, blue 3": who has most of it, as far as it fits; "nobody has any". */
static void list_holders(const struct admission_claim claims[], unsigned n_claims, enum resource resource,
                         const char *but, char text[120])
{
    int holder = -1;
    size_t size = 0;

    snprintf(text, 120, "no other slice has any");
    for (unsigned i = 0; i < HOLDERS_SHOWN && size < 120; i++) {
        holder = next_holder(claims, n_claims, resource, but, holder);
        if (holder < 0)
            return;
        size += (size_t)snprintf(text + size, 120 - size, "%s%s%s %" PRIu64 "%s", size ? ", " : "",
                                 claims[holder].slice, i ? "" : " has",
                                 claims[holder].amounts[resource] / resources[resource].divisor,
                                 resources[resource].unit);
    }
}

int admission_check(const struct admission_capacity *capacity, const struct admission_claim claims[],
                    unsigned n_claims, const struct admission_claim *wanted, struct error *error)
{
    for (enum resource resource = 0; resource < RESOURCES; resource++) {
        uint64_t divisor = resources[resource].divisor, total = capacity->amounts[resource];
        uint64_t amount = wanted->amounts[resource], taken = 0, left;
        const char *unit = resources[resource].unit;
        char holders[120];

        for (unsigned i = 0; i < n_claims; i++)
            if (strcmp(claims[i].slice, wanted->slice) != 0 &&
                __builtin_add_overflow(taken, claims[i].amounts[resource], &taken))
                taken = UINT64_MAX;
        left = total > taken ? total - taken : 0;
        if (amount <= left)
            continue;
        list_holders(claims, n_claims, resource, wanted->slice, holders);
        return error_set(error, ENOSPC,
                         "Slice %s needs %" PRIu64 "%s %s, %" PRIu64 "%s more than there is left: of %" PRIu64
                         "%s, %s.",
                         wanted->slice, amount / divisor, unit, resources[resource].what,
                         (amount - left + divisor - 1) / divisor, unit, total / divisor, unit, holders);
    }
    return 0;
}
