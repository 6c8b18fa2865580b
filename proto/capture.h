/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_CAPTURE_H
#define PROTO_CAPTURE_H

/*
 * What the frames in the packet rings of a capture mean (the fast path produces,
 * `vnode capture` consumes; one ring for each worker, so a reader merges by time):
 *
 *     frame      the first bytes of the packet, up to the snap length
 *     mark       bytes of the whole packet in the low 31 bits, direction in the highest
 *     metadata   nanoseconds since 1970, UTC, when the worker handled the packet's burst
 *     offload    what its sender left to the receiver (struct virtio_net_hdr)
 *
 * A ring's n_dropped counts the packets that this capture missed because its reader was slow.
 */

#include <stdint.h>

enum capture_direction {
    CAPTURE_IN,  /* came in by the port */
    CAPTURE_OUT, /* left by it */
};

static inline uint32_t capture_mark(uint32_t packet_size, enum capture_direction direction)
{
    return packet_size | (uint32_t)direction << 31;
}

static inline uint32_t capture_packet_size(uint32_t mark)
{
    return mark & INT32_MAX;
}

static inline enum capture_direction capture_direction_of(uint32_t mark)
{
    return mark >> 31 ? CAPTURE_OUT : CAPTURE_IN;
}

#endif
