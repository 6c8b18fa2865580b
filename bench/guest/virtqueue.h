/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_VIRTQUEUE_H
#define GUEST_VIRTQUEUE_H

/*
 * The driver's side of a virtqueue, split or packed (virtio specification 1.2, 2.7 and 2.8).
 *
 * A queue comes with all its buffers. Each lives in a *slot* and keeps its place in memory and its
 * descriptors for ever, so that posting a buffer again writes only what differs from last time: mostly
 * nothing but the index. A slot's buffer holds the virtio-net header at 'start' and the frame directly behind
 * it; 'start' is such that the frame is aligned to a cache line.
 *
 * Buffers go round between driver and device:
 *
 *     struct virtqueue_buffer buffers[32];
 *     uint16_t n = virtqueue_take(queue, buffers, 32);    // free ones (send), filled ones (receive)
 *     for (uint16_t i = 0; i < n; i++)
 *         buffers[i].size = write_packet(buffers[i].start);
 *     virtqueue_post(queue, buffers, n);                  // to the device again
 *
 * The first virtqueue_take() calls of a queue give its never used buffers; virtqueue_fill() posts all of a
 * receive queue. Whoever takes buffers must post them all, and in the order taken when IN_ORDER was
 * negotiated.
 *
 * One thread uses a queue at a time. The structure is open: tests may write to the rings what they like, by
 * the raw pointers, instead of using take and post.
 */

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/guest/memory.h"
#include "lib/error.h"

#ifndef VIRTIO_F_IN_ORDER
#define VIRTIO_F_IN_ORDER 35
#endif

#define VIRTQUEUE_SIZE_MAX 32768
#define VIRTQUEUE_PIECES_MAX 64

struct virtqueue_buffer {
    uint8_t *start; /* the virtio-net header; in a mergeable buffer but the first: frame bytes */
    uint32_t size;  /* bytes from 'start' on, header included; receive: what the device says it wrote */
    uint16_t slot;
    uint16_t unused;
};

struct virtqueue_config {
    uint16_t size; /* descriptors; split: a power of two */
    uint16_t pieces; /* descriptors of a buffer, 1 to VIRTQUEUE_PIECES_MAX; 2 and more: 1st has the header alone */
    bool indirect;        /* a buffer takes one descriptor of the ring, which points to a table */
    uint32_t buffer_size; /* bytes of a frame that fit into a buffer */
};

struct virtqueue {
    /* set by virtqueue_init() */
    bool is_packed;
    bool in_order;
    bool event_index;
    bool indirect;
    bool device_writes; /* a receive queue */
    uint16_t size;
    uint16_t pieces;
    uint16_t descriptors; /* of the ring, for one buffer */
    uint16_t n_slots;
    uint16_t header_size;      /* bytes of the virtio-net header */
    uint32_t capacity;         /* bytes of a buffer from 'start' on */
    uint32_t stride;           /* bytes from one buffer to the next */
    uint8_t *buffers;          /* 'start' of slot 0 */
    struct vring_desc *tables; /* 'n_slots' x 'pieces' indirect descriptors; or struct vring_packed_desc */
    const struct guest_memory *memory;

    union {
        struct {
            struct vring_desc *descriptor;
            struct vring_avail *available;
            struct vring_used *used;
            _Atomic uint16_t *used_event;      /* driver writes: the used index that it wants a call for */
            _Atomic uint16_t *available_event; /* device writes: the index that it wants a kick for */
        } split;
        struct {
            struct vring_packed_desc *descriptor;
            struct vring_packed_desc_event *driver_event;
            struct vring_packed_desc_event *device_event;
        } packed;
    };

    /* set by the owner of the queue */
    int kick_fd; /* eventfd, -1: none */
    int call_fd;

    /* the data path's state */
    uint16_t next_available; /* split: free running index; packed: position in the ring */
    uint16_t next_used;
    uint16_t n_fresh;        /* slots that were never taken */
    uint16_t in_order_slot;  /* the slot that comes back next */
    uint16_t in_order_left;  /* buffers of a batch that one used entry stands for, still to be taken ... */
    uint32_t in_order_size;  /* ... and the bytes written to the last of them */
    uint16_t available_wrap; /* packed: wrap counters, 0 or 1 */
    uint16_t used_wrap;
    bool is_broken; /* the device wrote an index or id that cannot be */
    uint64_t n_kicks;
};

/*
 * Sets up a queue for the negotiated virtio 'features', with rings and buffers in 'memory'. 'device_writes':
 * a receive queue. EINVAL with a sentence when the configuration cannot be; ENOMEM.
 */
int virtqueue_init(struct virtqueue *queue, const struct virtqueue_config *config, uint64_t features,
                   bool device_writes, struct guest_memory *memory, struct error *error);

/* Bytes of guest memory that virtqueue_init() takes at most. */
size_t virtqueue_memory_size(const struct virtqueue_config *config);

/* Brings rings and state back to those of a queue never used. The device must have stopped. */
void virtqueue_reset(struct virtqueue *queue);

/*
 * What SET_VRING_BASE needs so that the device goes on where it stopped (all that it had not returned, it
 * sees again).
 */
uint32_t virtqueue_base(const struct virtqueue *queue);

/*
 * Takes up to 'max' buffers from the device, or never used ones; returns how many. Sets is_broken when the
 * device wrote rubbish.
 */
uint16_t virtqueue_take(struct virtqueue *queue, struct virtqueue_buffer buffers[], uint16_t max);

/*
 * Gives 'n' buffers to the device, and kicks it if it asked for that. Send queues: 'size' of each is what the
 * device may read, up to the capacity. Receive queues: always the whole buffer. 'start' is not looked at.
 */
void virtqueue_post(struct virtqueue *queue, const struct virtqueue_buffer buffers[], uint16_t n);

/* Posts all buffers that were never used; for receive queues, once before the start. */
void virtqueue_fill(struct virtqueue *queue);

/* Whether virtqueue_take() would find a buffer that the device returned. */
bool virtqueue_has_used(const struct virtqueue *queue);

/*
 * Asks the device for a call (interrupt) when it returns the next buffer, or for none. A new queue wants
 * none.
 */
void virtqueue_want_call(struct virtqueue *queue, bool want);

/* Sleeps until the device has returned a buffer; false when 'timeout_ms' (-1: no limit) passed. */
bool virtqueue_wait(struct virtqueue *queue, int timeout_ms);

/* Kicks the device whether or not it asked. */
void virtqueue_kick(struct virtqueue *queue);

/* First byte of slot 'slot's buffer as the device sees it. */
static inline uint8_t *virtqueue_slot_start(const struct virtqueue *queue, uint16_t slot)
{
    return queue->buffers + (uint64_t)slot * queue->stride;
}

/*
 * How many frame and header bytes piece 'piece' of a buffer of 'size' bytes holds (see struct
 * virtqueue_config).
 */
uint32_t virtqueue_piece_size(const struct virtqueue *queue, uint32_t size, uint16_t piece);

#endif
