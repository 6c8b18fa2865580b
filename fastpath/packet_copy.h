/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_PACKET_COPY_H
#define FASTPATH_PACKET_COPY_H

/* From a packet in pieces to contiguous memory of the fast path or of a packet ring. */

#include "fastpath/copy.h"
#include "fastpath/packet.h"
#include "proto/packet_ring.h"

/*
 * Copies the first 'size' bytes of the frame (at most packet->size) to 'to'. Bytes
 * behind the head are read from the sender's memory, each of them once. 'next' is what is copied next.
 */
static inline void packet_copy_ahead(uint8_t *to, const struct packet *packet, uint32_t size,
                                     const struct copy_ahead *next)
{
    uint32_t part = size < packet->head_size ? size : packet->head_size;

    copy_head(to, packet->head, part);
    to += part;
    size -= part;
    if (size == 0)
        return;
    part = size < packet->tail_size ? size : packet->tail_size;
    if (part)
        copy_payload_ahead(to, packet->tail, part, next);
    for (uint8_t i = 0; i < packet->n_more && size > part; i++) {
        to += part;
        size -= part;
        part = size < packet->more[i].size ? size : packet->more[i].size;
        copy_payload(to, packet->more[i].data, part);
    }
}

/* The same, of what nothing is known to follow. */
static inline void packet_copy(uint8_t *to, const struct packet *packet, uint32_t size)
{
    static const struct copy_ahead nothing;

    packet_copy_ahead(to, packet, size, &nothing);
}

/* Between the two: both are struct virtio_net_hdr without num_buffers, in native byte order. */
static_assert(sizeof(struct packet_ring_offload) == sizeof(struct packet_offload) &&
                  offsetof(struct packet_ring_offload, csum_offset) ==
                      offsetof(struct packet_offload, csum_offset),
              "offload fields can be copied as they are");

/*
 * Puts the first 'size' bytes (at most packet->size) of 'packet' and its offload fields into
 * 'ring', to be published by the caller. 'next' (NULL: none is known) is the packet that will follow it there,
 * whole: its lines are fetched meanwhile. Returns false when the ring is full (or broken).
 */
static inline bool packet_to_ring(struct packet_ring_producer *ring, const struct packet *packet,
                                  uint32_t size, uint32_t mark, uint64_t metadata, const struct packet *next)
{
    struct packet_ring_frame frame = {.size = size, .mark = mark, .metadata = metadata};
    uint8_t *data = packet_ring_reserve(ring, size);
    struct copy_ahead ahead = {0};

    if (!data)
        return false;
    if (next && next->tail_size)
        ahead = (struct copy_ahead){next->tail, data + PACKET_RING_RECORD_SIZE(size) + next->head_size,
                                    next->tail_size};
    packet_copy_ahead(data, packet, size, &ahead);
    memcpy(&frame.offload, &packet->offload, sizeof frame.offload);
    packet_ring_commit(ring, &frame);
    return true;
}

#endif
