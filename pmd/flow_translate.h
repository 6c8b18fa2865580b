/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_FLOW_TRANSLATE_H
#define PMD_FLOW_TRANSLATE_H

/*
 * Rules of rte_flow (attributes, a pattern of items, a list of actions) become rules of the fast path, or are
 * refused with a sentence. A rule never matches a packet that the pattern does not mean. Where the fast path
 * cannot tell packets apart the rule is made narrower, when that is a rule still, or refused; the
 * packets that it leaves out go through the vSwitch. docs/offload.md has the table.
 *
 * Patterns are read as Open vSwitch means them (lib/netdev-offload-dpdk.c of its 3.1; lib/dpif-offload-dpdk-netdev.c of
 * 3.7), who follows rte_flow.h but for these: the protocol in an IPV6 item is the one behind the extension headers; all
 * actions are done in their order, an output is not the last one.
 *
 * Nothing here keeps state or takes a lock; any thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include <rte_flow.h>

#include "proto/rule.h"

/* Why a rule was refused: identifier, name of the counter, what it is about. */
#define FLOW_REASONS(X)                                                                               \
    X(NOT_ATTACHED, "rules_refused_not_attached", "the fast path is not there")                       \
    X(NOT_TRANSFER, "rules_refused_not_transfer", "the vSwitch wants to go on with the packets")      \
    X(ATTRIBUTE, "rules_refused_attribute", "a group or a priority")                                  \
    X(MATCH, "rules_refused_match_not_supported", "the fast path cannot tell such packets apart")     \
    X(ACTION, "rules_refused_action_not_supported", "the fast path cannot do that with a packet")     \
    X(OUTPUT_ELSEWHERE, "rules_refused_output_elsewhere", "a port that is not of the same fast path") \
    X(TABLE_FULL, "rules_refused_table_full", "there are no more counters for rules")                 \
    X(NO_MEMORY, "rules_refused_no_memory", "there is no memory for the rule")

enum flow_reason {
#define X(id, name, about) FLOW_REFUSED_##id,
    FLOW_REASONS(X)
#undef X
        FLOW_REASONS_END
};

struct flow_refusal {
    enum flow_reason reason;
    int code; /* positive errno value */
    enum rte_flow_error_type type;
    const void *cause;    /* the item or the action, or what of the attributes; the caller's memory */
    const char *sentence; /* static */
};

/* Fills 'refusal' in; returns 'code', for a caller to return. */
int flow_refuse(struct flow_refusal *refusal, enum flow_reason reason, int code,
                enum rte_flow_error_type type, const void *cause, const char *sentence);

/* Where the rule is to be, and which ports it may name. */
struct flow_place {
    uint16_t in_port; /* DPDK's id of the port whose packets are meant */
    /* Whether DPDK's port 'port' belongs to the same fast path. */
    bool (*is_ours)(uint16_t port, const void *context);
    const void *context;
};

/*
 * Makes a managed rule in 'rule', with id 0; its ports, in_port and the operands of outputs, are DPDK's ids, to be
 * replaced by the fast path's. The matches are in a fixed order, so that equal patterns give equal bytes. Returns 0, or the
 * refusal's code. Both lists end with their END; they are read no further.
 */
int flow_translate(const struct flow_place *place, const struct rte_flow_attr *attributes,
                   const struct rte_flow_item items[], const struct rte_flow_action actions[],
                   struct wire_rule *rule, struct flow_refusal *refusal);

#endif
