/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_VRING_BUFFER_H
#define FASTPATH_VRING_BUFFER_H

/*
 * What split and packed rings share: from a guest's buffer to a packet, and from a
 * packet into a guest's buffer. Inline, since it is most of what a packet costs.
 */

#include <linux/virtio_net.h>
#include <stddef.h>

#include "fastpath/copy.h"
#include "fastpath/doorbell.h"
#include "fastpath/vring.h"
#include "fastpath/worker_internal.h"
#include "lib/compiler.h"

#define ETHERNET_HEADER_SIZE 14

/*
 * Loads of memory that the guest may be writing: once, and never again by the compiler's choice.
 * Where it may lie at any address (virtio headers, indirect tables), and the loads need not be
 * atomic, volatile says the same.
 */
#define guest_load(pointer) __atomic_load_n(pointer, __ATOMIC_RELAXED)
#define guest_load_acquire(pointer) __atomic_load_n(pointer, __ATOMIC_ACQUIRE)
#define guest_store(pointer, value) __atomic_store_n(pointer, value, __ATOMIC_RELAXED)
#define guest_store_release(pointer, value) __atomic_store_n(pointer, value, __ATOMIC_RELEASE)

typedef uint64_t unaligned_64 __attribute__((aligned(1), may_alias));
typedef uint16_t unaligned_16 __attribute__((aligned(1), may_alias));

#define guest_load_64(pointer) (*(const volatile unaligned_64 *)(pointer))
#define guest_load_16(pointer) (*(const volatile unaligned_16 *)(pointer))

/* A packed or split descriptor, read in two loads. */
struct descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t flags; /* split layout; packed: id */
    uint16_t next;  /* split layout; packed: flags */
};

static inline struct descriptor descriptor_load(const void *memory)
{
    uint64_t address = guest_load_64(memory);
    uint64_t rest = guest_load_64((const uint8_t *)memory + 8);

    return (struct descriptor){address, (uint32_t)rest, (uint16_t)(rest >> 32), (uint16_t)(rest >> 48)};
}

static inline void vring_stop(struct virtqueue *ring, _Atomic bool *ready, enum vring_fault fault)
{
    atomic_store_explicit(&ring->fault, fault, memory_order_relaxed);
    atomic_store_explicit(ready, false, memory_order_release);
}

static inline void vring_call(const struct virtqueue *ring)
{
    if (ring->call_fd >= 0)
        doorbell_ring(ring->peer, ring->call_fd);
}

/* The first 'n' buffers that were prepared are taken. */
static inline void vring_consume(struct virtqueue *ring, uint32_t n)
{
    ring->next_buffer += n;
    ring->n_prepared = n < ring->n_prepared ? ring->n_prepared - n : 0;
}

/* Gets a buffer's first cache lines on their way, for reading or (with VRING_DESC_F_WRITE) for writing. */
static inline void buffer_prefetch(const uint8_t *data, uint32_t size, uint32_t header_size, uint16_t direction)
{
    const uint8_t *frame = data + header_size;

    /* The virtio header is read first in both directions, see offload_store(). */
    __builtin_prefetch(data);
    if (direction) {
        __builtin_prefetch(frame, 1);
        __builtin_prefetch(frame + 63, 1);
    } else {
        __builtin_prefetch(frame + 63);
        if (size > SNAPSHOT_SIZE)
            __builtin_prefetch(frame + 127);
    }
}

static_assert(offsetof(struct packet_offload, gso_type) == 1 && offsetof(struct packet_offload, hdr_len) == 2 &&
                  offsetof(struct packet_offload, gso_size) == 4 &&
                  offsetof(struct packet_offload, csum_start) == 6 &&
                  offsetof(struct packet_offload, csum_offset) == 8,
              "struct packet_offload is laid out as struct virtio_net_hdr");

/* Reads struct virtio_net_hdr from 'header' (a guest's memory, or a copy): what senders may say. Returns whether it says anything. */
static inline bool offload_load(const uint8_t *header, struct packet_offload *offload)
{
    uint64_t low = guest_load_64(header) & ~(uint64_t)(UINT8_MAX ^ PACKET_NEEDS_CSUM);

    memcpy(offload, &low, sizeof low);
    offload->csum_offset = guest_load_16(header + 8);
    return low & UINT16_MAX;
}

/* How many header bytes of a frame of 'size' bytes are copied: enough for what 'offload' speaks of, if 'open'. */
static inline uint32_t snapshot_size(const struct packet_offload *offload, bool open, uint32_t size)
{
    uint32_t wanted = SNAPSHOT_SIZE;

    if (unlikely(open)) {
        uint32_t end = (uint32_t)offload->csum_start + 60; /* the longest TCP header */

        if (end > wanted)
            wanted = end < SNAPSHOT_SIZE_MAX ? end : SNAPSHOT_SIZE_MAX;
    }
    return size < wanted ? size : wanted;
}

static inline struct packet *packet_begin(struct burst *burst, uint16_t i, uint16_t in_port)
{
    struct packet *packet = &burst->packets[i];

    packet->head = burst->heads[i].bytes;
    packet->headroom = PACKET_HEADROOM;
    packet->in_port = in_port;
    packet->mbuf = NULL;
    packet->n_more = 0;
    return packet;
}

/* Makes 'packet' of the 'size' contiguous bytes at 'buffer': virtio header and frame, of at least 14 bytes. */
static inline void packet_take(struct packet *packet, const uint8_t *buffer, uint32_t size, uint32_t header_size)
{
    bool open = offload_load(buffer, &packet->offload);
    uint32_t head_size;

    buffer += header_size;
    size -= header_size;
    head_size = snapshot_size(&packet->offload, open, size);
    copy_head(packet->head, buffer, head_size);
    packet->size = size;
    packet->head_size = (uint16_t)head_size;
    packet->tail = buffer + head_size;
    packet->tail_size = size - head_size;
}

/*
 * Makes 'packet' of 'n' pieces of guest memory that hold the virtio header and the
 * frame. 'pieces' are consumed and kept: they are the packet's tail and more.
 * Returns 0 or a drop reason + 1.
 */
int packet_take_pieces(struct packet *packet, struct packet_segment *pieces, uint32_t n, uint32_t header_size);

/*
 * Writes struct virtio_net_hdr for 'packet' at 'to', which has 'header_size' (10 or 12)
 * bytes. What is there already is not written again: a header line that the guest only
 * reads then stays in both caches.
 */
static inline void offload_store(uint8_t *to, const struct packet *packet, uint32_t header_size,
                                 uint16_t n_buffers)
{
    const struct packet_offload *offload = &packet->offload;
    uint64_t low = 0;
    uint16_t csum_offset = 0;

    if (unlikely(offload->flags | offload->gso_type)) {
        low = offload->flags | (uint64_t)offload->gso_type << 8 | (uint64_t)offload->hdr_len << 16 |
              (uint64_t)offload->gso_size << 32 | (uint64_t)offload->csum_start << 48;
        csum_offset = offload->csum_offset;
    }
    if (guest_load_64(to) != low)
        memcpy(to, &low, 8);
    if (guest_load_16(to + 8) != csum_offset)
        memcpy(to + 8, &csum_offset, 2);
    if (likely(header_size == 12) && guest_load_16(to + 10) != n_buffers)
        memcpy(to + 10, &n_buffers, 2);
}

/*
 * Copies what lies behind the head of 'packet' to 'to'. Meanwhile the lines of the frame that comes next are fetched:
 * 'next' (NULL: none is known), whose buffer is 'next_buffer'.
 */
void packet_put_tail(uint8_t *to, const struct packet *packet, const struct packet *next,
                     const struct vring_buffer *next_buffer, uint32_t header_size);

/* Copies the frame of 'packet' to the contiguous memory at 'to'. 'next' is what comes next, as above. */
static inline void packet_put(uint8_t *to, const struct packet *packet, const struct packet *next,
                              const struct vring_buffer *next_buffer, uint32_t header_size)
{
    copy_head(to, packet->head, packet->head_size);
    if (packet->tail_size)
        packet_put_tail(to + packet->head_size, packet, next, next_buffer, header_size);
}

/* Writes virtio header and frame of 'packet' into 'pieces', which have room for it. */
void packet_put_pieces(const struct packet *packet, const struct packet_segment *pieces, uint32_t header_size,
                       uint16_t n_buffers);

/*
 * Adds the guest buffer at 'address' to the '*n' 'pieces' there are, one for each region that it
 * lies in. BAD_ADDRESS: it lies outside the guest's memory; TOO_MANY_PIECES: there
 * would be more than PACKET_SEGMENTS_MAX.
 */
enum vring_fault pieces_add(struct packet_segment *pieces, uint32_t *n, const struct guest_memory *memory,
                            uint64_t address, uint32_t size);

/* Bytes in 'n' pieces, which may overlap: more than any guest has memory. */
static inline uint64_t pieces_size(const struct packet_segment *pieces, uint32_t n)
{
    uint64_t size = 0;

    for (uint32_t i = 0; i < n; i++)
        size += pieces[i].size;
    return size;
}

#endif
