/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/flow_carry.h"

#include <stdlib.h>
#include <string.h>

#include "pmd/flow_internal.h"

void flow_carry_init(struct flow_carry *carry)
{
    *carry = (struct flow_carry){0};
    TAILQ_INIT(&carry->order);
}

static struct flow_bucket *bucket_of(struct flow_carry *carry, const struct rte_flow *flow)
{
    return &carry->buckets[flow->match_hash & (FLOW_CARRY_BUCKETS - 1)];
}

static void take_out(struct flow_carry *carry, struct rte_flow *flow)
{
    TAILQ_REMOVE(bucket_of(carry, flow), flow, of_port);
    TAILQ_REMOVE(&carry->order, flow, of_list);
    carry->n--;
}

static void forget(struct flow_carry *carry, struct rte_flow *flow)
{
    carry->n_forgotten_packets -= flow->packets;
    take_out(carry, flow);
    free(flow);
}

void flow_carry_finish(struct flow_carry *carry)
{
    while (!TAILQ_EMPTY(&carry->order))
        forget(carry, TAILQ_FIRST(&carry->order));
    free(carry->buckets);
    carry->buckets = NULL;
}

static struct rte_flow *find(struct flow_carry *carry, const struct rte_flow *like)
{
    struct rte_flow *flow;

    TAILQ_FOREACH(flow, bucket_of(carry, like), of_port)
    if (flow->match_hash == like->match_hash && flow->matches_size == like->matches_size &&
        flow_get_port(flow->wire + FLOW_IN_PORT) == flow_get_port(like->wire + FLOW_IN_PORT) &&
        !memcmp(flow->wire + FLOW_MATCHES, like->wire + FLOW_MATCHES, like->matches_size))
        return flow;
    return NULL;
}

void flow_carry_put(struct flow_carry *carry, struct rte_flow *flow)
{
    struct rte_flow *same;

    if (!carry->buckets) {
        carry->buckets = calloc(FLOW_CARRY_BUCKETS, sizeof *carry->buckets);
        if (!carry->buckets) {
            free(flow);
            return;
        }
        for (unsigned i = 0; i < FLOW_CARRY_BUCKETS; i++)
            TAILQ_INIT(&carry->buckets[i]);
    }
    /* Both of two flows with one match may end before there is a third. */
    same = find(carry, flow);
    if (same) {
        flow->packets += same->packets;
        flow->bytes += same->bytes;
        take_out(carry, same);
        free(same);
    }
    if (carry->n == FLOW_CARRY_MAX)
        forget(carry, TAILQ_FIRST(&carry->order));
    TAILQ_INSERT_TAIL(bucket_of(carry, flow), flow, of_port);
    TAILQ_INSERT_TAIL(&carry->order, flow, of_list);
    carry->n++;
}

uint64_t flow_carry_take(struct flow_carry *carry, struct rte_flow *flow)
{
    struct rte_flow *kept = carry->n ? find(carry, flow) : NULL;
    uint64_t n_packets;

    if (!kept)
        return 0;
    n_packets = -kept->packets;
    flow->packets += kept->packets;
    flow->bytes += kept->bytes;
    take_out(carry, kept);
    free(kept);
    return n_packets;
}

void flow_carry_forget(struct flow_carry *carry, uint16_t port)
{
    struct rte_flow *flow, *next;

    for (flow = TAILQ_FIRST(&carry->order); flow; flow = next) {
        next = TAILQ_NEXT(flow, of_list);
        if (flow_get_port(flow->wire + FLOW_IN_PORT) == port)
            forget(carry, flow);
    }
}
