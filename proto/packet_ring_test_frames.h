/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_PACKET_RING_TEST_FRAMES_H
#define PROTO_PACKET_RING_TEST_FRAMES_H

/* Numbered frames for the tests of packet rings: each number has its size, bytes and fields. */

#include <string.h>

#include "proto/packet_ring.h"

/* Sizes that meet every alignment, the smallest, the largest and the wrap, in an order that looks random. */
static inline uint32_t size_of_frame(uint64_t number)
{
    uint64_t mixed = (number + 1) * 0x9e3779b97f4a7c15ull;

    if (mixed >> 60 == 0)
        return FRAME_SIZE_MAX - (uint32_t)(mixed >> 32 & 63);
    if (mixed >> 60 < 4)
        return 1 + (uint32_t)(mixed >> 32) % 9018;
    return 1 + (uint32_t)(mixed >> 32 & 127);
}

static inline uint8_t byte_of_frame(uint64_t number, uint32_t offset)
{
    return (uint8_t)(number * 31 + offset * 7 + (offset >> 8));
}

/* False: full. */
static inline bool produce(struct packet_ring_producer *producer, uint64_t number, uint32_t size)
{
    uint8_t *data = packet_ring_reserve(producer, size);

    if (!data)
        return false;
    for (uint32_t i = 0; i < size; i++)
        data[i] = byte_of_frame(number, i);
    packet_ring_commit(producer, &(struct packet_ring_frame){.size = size,
                                                             .mark = (uint32_t)~number,
                                                             .metadata = number,
                                                             .offload = {.flags = 1,
                                                                         .gso_type = 4,
                                                                         .hdr_len = 54,
                                                                         .gso_size = 1448,
                                                                         .csum_start = 34,
                                                                         .csum_offset = (uint16_t)number}});
    return true;
}

/* Whether 'frame' is frame 'number', every byte and field of it. */
static inline bool frame_is(const struct packet_ring_frame *frame, uint64_t number, uint32_t size)
{
    uint8_t copy[FRAME_SIZE_MAX];

    if (frame->size != size || frame->metadata != number || frame->mark != (uint32_t)~number ||
        frame->offload.flags != 1 || frame->offload.gso_type != 4 || frame->offload.hdr_len != 54 ||
        frame->offload.gso_size != 1448 || frame->offload.csum_start != 34 ||
        frame->offload.csum_offset != (uint16_t)number)
        return false;
    memcpy(copy, frame->data, size);
    for (uint32_t i = 0; i < size; i++)
        if (copy[i] != byte_of_frame(number, i))
            return false;
    return true;
}

#endif
