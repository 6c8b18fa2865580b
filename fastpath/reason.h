/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_REASON_H
#define FASTPATH_REASON_H

/*
 * Why a rule of the vSwitch is not offloaded: identifier, code, sentence. The codes are part of what programs see
 * and stay; docs/offload.md lists them with those of the driver, which refuses some rules before they get here.
 */
#define OFFLOAD_REASONS(X)                                                                              \
    X(NONE, "none", "it is offloaded")                                                                  \
    X(MODE_OFF, "mode-off", "its offload mode is off")                                                  \
    X(BELOW_PROMOTE, "below-promote", "its rate is below what mode auto promotes at")                   \
    X(TABLE_FULL, "table-full", "as many rules as may be are offloaded, and none is clearly less busy") \
    X(MOVES_LIMITED, "moves-limited", "others move first; only so many moves begin in a second")        \
    X(MOVING, "moving", "it is on its way")                                                             \
    X(MOVE_DEADLINE, "move-deadline", "the vSwitch kept its packets too long; it is tried again later") \
    X(RECEIVER_DOWN, "receiver-down", "a port that it outputs to has no link")                          \
    X(NO_VSWITCH, "no-vswitch", "the vSwitch that gave it is gone, and it was not offloaded then")      \
    X(QUOTA_RULES, "quota-rules", "its slice has as many rules as its quota allows")                    \
    X(QUOTA_MASKS, "quota-masks", "its slice's rules have as many masks as its quota allows")           \
    X(QUOTA_OPERATIONS, "quota-operations", "its slice changes rules faster than its quota allows")     \
    X(RULES_FULL, "rules-full", "the fast path has no room for more rules")                             \
    X(MASKS_FULL, "masks-full", "the rules of its input port have as many masks as is possible")

enum offload_reason {
#define X(id, code, sentence) REASON_##id,
    OFFLOAD_REASONS(X)
#undef X
        REASON_COUNT
};

/* The code, such as "mode-off". */
const char *offload_reason_code(enum offload_reason reason);

/* One sentence, without a final full stop. */
const char *offload_reason_sentence(enum offload_reason reason);

#endif
