/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_VRING_H
#define FASTPATH_VRING_H

/*
 * The data path of one virtqueue, the device's side: virtio specification 1.2,
 * 2.7 (split) and 2.8 (packed). The guest owns the ring and the buffers and may
 * change both at any time; so each value is loaded once, checked, and only the
 * checked copy is used. What breaks the rules of the ring is a *fault*: the
 * queue is stopped with a reason and stays so until the guest sets it up again.
 *
 * Descriptors are given back in the order in which they were taken. That gives a
 * guest VIRTIO_F_IN_ORDER for nothing, and lets a fast path that died be followed
 * by one that resumes from the ring's own used index, with no in-flight log.
 *
 * Threads: the set-once part is written by the vhost thread while the queue is not
 * ready; the rest belongs to the worker that polls or has claimed the queue.
 */

#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fastpath/doorbell.h"
#include "fastpath/guest_memory.h"
#include "fastpath/port_internal.h"

#define VRING_FAULTS(X)                                                                        \
    X(NONE, "")                                                                                \
    X(BAD_INDEX, "the guest's available index is further ahead than its ring is long")         \
    X(BAD_HEAD, "the guest made a descriptor available that its ring does not have")           \
    X(BAD_NEXT, "a descriptor chain points outside the ring, loops or is too long")            \
    X(BAD_ADDRESS, "a descriptor points outside the guest's memory")                           \
    X(BAD_DIRECTION, "a descriptor to be read is marked for writing, or the other way round")  \
    X(BAD_INDIRECT, "an indirect table has an impossible size, address or nesting")            \
    X(TOO_MANY_PIECES, "a buffer lies in more pieces than the fast path takes")                \
    X(BAD_SETUP, "the ring's size, address or alignment is not what the specification allows") \
    X(MEMORY_GONE, "the front end took memory away from under the ring")

enum vring_fault {
#define X(id, sentence) VRING_FAULT_##id,
    VRING_FAULTS(X)
#undef X
        VRING_FAULT_COUNT
};

const char *vring_fault_sentence(enum vring_fault fault);

/* A buffer that the guest made available, as it was when we looked at its descriptor. */
struct vring_buffer {
    uint8_t *data; /* checked to be 'size' bytes of the guest's memory; NULL: not one plain descriptor */
    uint32_t size;
    uint16_t id;            /* split: head descriptor; packed: buffer id */
    uint16_t n_descriptors; /* packed: how many it occupies; 0: not known yet */
};

/*
 * Buffers are looked at (*prepared*) up to a burst before they are used, so that the loads
 * of one burst overlap with the work on another; those of a burst under way
 * are kept until they are given back.
 */
#define VRING_BUFFERS (2 * BURST_MAX)

static_assert((VRING_BUFFERS & (VRING_BUFFERS - 1)) == 0, "places are found by masking");

struct virtqueue {
    /* set while the queue is not ready */
    union {
        struct {
            struct vring_desc *desc;
            struct vring_avail *avail;
            struct vring_used *used;
        };
        struct {
            struct vring_packed_desc *packed;
            struct vring_packed_desc_event *driver_event;
            struct vring_packed_desc_event *device_event;
        };
    };
    const struct guest_memory *memory;
    uint16_t size;       /* descriptors */
    uint16_t mask;       /* split: size - 1 */
    uint8_t header_size; /* of struct virtio_net_hdr in each packet: 10 or 12 */
    bool is_packed;
    bool event_index;
    bool mergeable;
    int call_fd;                /* -1: the guest polls */
    struct doorbell_peer *peer; /* who has made it */

    /* worker only */
    uint16_t last_avail; /* next descriptor to take */
    uint16_t last_used;  /* next used entry to write */
    uint16_t avail_seen; /* split: the guest's index when it was last looked at */
    bool avail_wrap, used_wrap;
    uint32_t n_unsignalled; /* used entries (packed: slots) since the guest was last considered for notification */
    uint16_t n_taken;       /* buffers of the last receive() */
    uint16_t n_prepared;  /* buffers prepared and not yet taken */
    uint16_t next_buffer; /* place of the first of those, running freely */
    struct vring_buffer buffers[VRING_BUFFERS];

    /* shared */
    _Atomic uint8_t fault; /* enum vring_fault */
};

struct vring_receive_queue {
    struct receive_queue queue;
    struct virtqueue ring;
};

struct vring_send_queue {
    struct send_queue queue;
    struct virtqueue ring;
};

extern const struct receive_ops vring_split_receive_ops, vring_packed_receive_ops;
extern const struct send_ops vring_split_send_ops, vring_packed_send_ops;

/* The buffer 'offset' places on from the next one to be taken; behind it (offset < 0) are those taken last. */
static inline struct vring_buffer *vring_buffer(struct virtqueue *ring, int offset)
{
    return &ring->buffers[(uint16_t)(ring->next_buffer + offset) % VRING_BUFFERS];
}

/*
 * Begins to use a ring whose set-once part, last_avail, last_used and wrap counters are set:
 * turns the guest's notifications off, and notifies the guest of what somebody
 * before us may have used without saying so. The queue is not ready.
 */
void vring_split_start(struct virtqueue *ring);
void vring_packed_start(struct virtqueue *ring);

#endif
