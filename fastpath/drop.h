/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_DROP_H
#define FASTPATH_DROP_H

/*
 * Every reason to drop a packet: identifier, the name that users see, and a
 * sentence that says what it means. A counter per reason and port; `vnode
 * drops` lists them.
 */
#define DROP_REASONS(X)                                                                              \
    X(RX_TOO_SHORT, "rx-too-short", "the frame is shorter than an Ethernet header")                  \
    X(RX_TOO_LONG, "rx-too-long", "the frame is longer than the port's limit")                       \
    X(RX_BAD_OFFLOAD, "rx-bad-offload", "checksum or segmentation fields point outside the headers") \
    X(RX_RUNT_HEADERS, "rx-truncated-headers", "the frame ends inside its own headers")              \
    X(RULE, "rule", "a rule says drop")                                                              \
    X(NO_RULE, "no-rule", "no rule matches and no vSwitch is attached to the port")                  \
    X(TTL, "ttl", "a rule would take the TTL below 1")                                               \
    X(ACTION, "action-impossible", "an action does not fit the packet, or no room for its header")   \
    X(TX_FULL, "tx-full", "the receiver has no buffer free")                                         \
    X(TX_DOWN, "tx-down", "the output port is down or gone")                                         \
    X(TX_NO_ROOM, "tx-buffer-too-small", "the receiver's buffers cannot hold the frame")             \
    X(TX_MTU, "tx-mtu", "the frame is larger than the output port's MTU and may not be cut up")      \
    X(TX_RATE, "tx-rate", "the output port may not send faster than its rate_out")                   \
    X(NO_MEMORY, "no-memory", "no packet buffer was free")                                           \
    X(RING_FULL, "vswitch-ring-full", "the vSwitch does not take packets fast enough")               \
    X(RING_BAD, "vswitch-ring-bad", "the vSwitch returned a frame that is malformed")

enum drop_reason {
#define X(id, name, sentence) DROP_##id,
    DROP_REASONS(X)
#undef X
        DROP_REASON_COUNT
};

/* The user-visible name, such as "tx-full". */
const char *drop_reason_name(enum drop_reason reason);

/* One sentence, without a final full stop. */
const char *drop_reason_sentence(enum drop_reason reason);

#endif
