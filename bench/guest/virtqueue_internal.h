/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_VIRTQUEUE_INTERNAL_H
#define GUEST_VIRTQUEUE_INTERNAL_H

/* What virtqueue.c shares with the two ring formats. */

#include "bench/guest/virtqueue.h"

/* Orders our writes to the ring before the following reads of the other side's wishes. */
#define full_barrier() atomic_thread_fence(memory_order_seq_cst)

void virtqueue_split_reset(struct virtqueue *queue);
uint16_t virtqueue_split_take(struct virtqueue *queue, struct virtqueue_buffer buffers[], uint16_t max);
void virtqueue_split_post(struct virtqueue *queue, const struct virtqueue_buffer buffers[], uint16_t n);
bool virtqueue_split_has_used(const struct virtqueue *queue);
void virtqueue_split_want_call(struct virtqueue *queue, bool want);

void virtqueue_packed_reset(struct virtqueue *queue);
uint16_t virtqueue_packed_take(struct virtqueue *queue, struct virtqueue_buffer buffers[], uint16_t max);
void virtqueue_packed_post(struct virtqueue *queue, const struct virtqueue_buffer buffers[], uint16_t n);
bool virtqueue_packed_has_used(const struct virtqueue *queue);
void virtqueue_packed_want_call(struct virtqueue *queue, bool want);

/* Gets the data of a buffer into the cache: to be read (receive) or to be written (send). */
static inline void virtqueue_prefetch(const struct virtqueue *queue, const uint8_t *start)
{
    const uint8_t *frame = start + queue->header_size;

    if (queue->device_writes)
        __builtin_prefetch(frame);
    else
        __builtin_prefetch(frame, 1);
}

/* Hands out one buffer. */
static inline void virtqueue_give(const struct virtqueue *queue, struct virtqueue_buffer *buffer,
                                  uint16_t slot, uint32_t size)
{
    buffer->start = virtqueue_slot_start(queue, slot);
    buffer->size = size;
    buffer->slot = slot;
    virtqueue_prefetch(queue, buffer->start);
}

/*
 * The next buffer in order (virtio 1.2, 2.7.9 and 2.8.9): 'slot' and 'size' are those of the used entry at
 * the current place, which stands for all buffers up to 'slot'; those before the last count as wholly used.
 */
static inline void virtqueue_give_in_order(struct virtqueue *queue, struct virtqueue_buffer *buffer)
{
    virtqueue_give(queue, buffer, queue->in_order_slot,
                   --queue->in_order_left ? queue->capacity : queue->in_order_size);
    if (++queue->in_order_slot == queue->n_slots)
        queue->in_order_slot = 0;
}

static inline void virtqueue_open_batch(struct virtqueue *queue, uint16_t last_slot, uint32_t size)
{
    uint16_t distance = last_slot >= queue->in_order_slot ? last_slot - queue->in_order_slot
                                                          : last_slot + queue->n_slots - queue->in_order_slot;

    queue->in_order_left = distance + 1;
    queue->in_order_size = size;
}

#endif
