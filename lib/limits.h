/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VNODE_LIMITS_H
#define VNODE_LIMITS_H

/*
 * Every bound of the node in one place. A bound that other code relies on for
 * safety is stated there with a static_assert.
 */

#define PORTS_MAX 512      /* ports of one fast path */
#define PORT_NAME_SIZE 80  /* bytes of a port's name, with the final NUL: SLICE.NODE.INTERFACE fits */
#define SLICE_NAME_SIZE 32 /* bytes of a slice's name, with the final NUL */
#define QUEUES_MAX 16      /* receive (and send) queues of one port */
#define WORKERS_MAX 16     /* worker threads of one fast path */
#define BURST_MAX 32       /* packets a worker takes from a queue at once */

#define PORT_RATE_MIN 1000ull              /* bit/s: the least that a port's rate can be limited to ... */
#define PORT_RATE_MAX 1000000000000ull     /* ... and the most */
#define PORT_BURST_MAX (UINT64_C(1) << 30) /* bytes that a port may send at once, before its rate counts */

#define FRAME_SIZE_MAX 65550    /* bytes: an Ethernet and VLAN header and 64 KiB - 1 of IP */
#define SNAPSHOT_SIZE 128       /* header bytes copied out of a guest's memory ... */
#define SNAPSHOT_SIZE_MAX 256   /* ... and when the checksum field lies further back */
#define PACKET_HEADROOM 128     /* bytes that actions may put before a frame */
#define PACKET_SEGMENTS_MAX 128 /* pieces of guest memory that one packet may consist of */

/*
 * Segments or fragments that one packet may become: 64 KiB at 64 bytes each, far more than
 * any MSS in use makes, and few enough to be one packet's share of a burst.
 */
#define GSO_SEGMENTS_MAX 1024

#define RULES_MAX ((1u << 21) - 1)         /* rules of one fast path */
#define MASKS_MAX 128                      /* different masks among the rules of one input port */
#define MOVES_MAX 1024                     /* rules on their way into the fast path at a time */
#define RULE_ACTIONS_MAX 16                /* actions of one rule */
#define RAW_ENCAP_SIZE_MAX PACKET_HEADROOM /* bytes of a raw encapsulation header */

#endif
