/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_OFFLOAD_RULE_H
#define FASTPATH_OFFLOAD_RULE_H

/*
 * What there is to know about a rule beside what its offloaded packets need, which is all that 'struct rule' has
 * room for. One for each rule, in an array parallel to the rules', whose pages come into being when they are
 * written: a rule that was never onload costs nothing. rule_offload() (flow_table.h) finds it.
 */

#include <stdatomic.h>
#include <stdint.h>

struct move;

struct offload_rule {
    /* written by workers: what the rule matched, but the vSwitch got */
    _Atomic uint64_t n_packets;
    _Atomic uint64_t n_bytes;

    /* written by control, read by workers: the move under way while the rule is RULE_MOVING (move.h), else NULL */
    _Atomic(struct move *) move;
} __attribute__((aligned(64)));

/* Makes 'offload' that of a new rule. Writes only what differs, so that untouched pages stay so. Control thread. */
static inline void offload_rule_reset(struct offload_rule *offload)
{
    if (atomic_load_explicit(&offload->n_packets, memory_order_relaxed) != 0) {
        atomic_store_explicit(&offload->n_packets, 0, memory_order_relaxed);
        atomic_store_explicit(&offload->n_bytes, 0, memory_order_relaxed);
    }
}

#endif
