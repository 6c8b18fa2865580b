/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <string.h>

#include "bench/guest/virtqueue_internal.h"

#define FLAG_AVAILABLE (1u << VRING_PACKED_DESC_F_AVAIL)
#define FLAG_USED (1u << VRING_PACKED_DESC_F_USED)

#define shared16(field) ((_Atomic uint16_t *)&(field))
#define shared32(field) ((_Atomic uint32_t *)&(field))

static struct vring_packed_desc *slot_table(const struct virtqueue *queue, uint16_t slot)
{
    return (struct vring_packed_desc *)queue->tables + (size_t)slot * queue->pieces;
}

static void write_table(const struct virtqueue *queue, uint16_t slot, uint32_t size)
{
    struct vring_packed_desc *table = slot_table(queue, slot);
    const uint8_t *start = virtqueue_slot_start(queue, slot);

    for (uint16_t i = 0; i < queue->pieces; i++) {
        uint32_t piece_size = virtqueue_piece_size(queue, size, i);

        table[i] = (struct vring_packed_desc){
            .addr = guest_memory_address(queue->memory, start),
            .len = piece_size,
            .flags = queue->device_writes ? VRING_DESC_F_WRITE : 0,
        };
        start += piece_size;
    }
}

void virtqueue_packed_reset(struct virtqueue *queue)
{
    memset(queue->packed.descriptor, 0, queue->size * sizeof *queue->packed.descriptor);
    memset(queue->packed.driver_event, 0, sizeof *queue->packed.driver_event);
    memset(queue->packed.device_event, 0, sizeof *queue->packed.device_event);
    for (uint16_t slot = 0; queue->indirect && slot < queue->n_slots; slot++)
        write_table(queue, slot, queue->capacity);
    virtqueue_packed_want_call(queue, false);
}

static inline bool is_used(const struct virtqueue *queue, uint16_t flags)
{
    return !(flags & FLAG_AVAILABLE) == !queue->used_wrap && !(flags & FLAG_USED) == !queue->used_wrap;
}

bool virtqueue_packed_has_used(const struct virtqueue *queue)
{
    return is_used(queue, atomic_load_explicit(shared16(queue->packed.descriptor[queue->next_used].flags),
                                               memory_order_acquire));
}

static inline void advance_used(struct virtqueue *queue)
{
    queue->next_used += queue->descriptors;
    if (queue->next_used >= queue->size) {
        queue->next_used -= queue->size;
        queue->used_wrap ^= 1;
    }
}

uint16_t virtqueue_packed_take(struct virtqueue *queue, struct virtqueue_buffer buffers[], uint16_t max)
{
    uint16_t n = 0;

    for (; n < max; n++) {
        struct vring_packed_desc *descriptor = &queue->packed.descriptor[queue->next_used];
        uint16_t slot;

        if (queue->in_order_left) {
            virtqueue_give_in_order(queue, &buffers[n]);
            advance_used(queue);
            continue;
        }
        if (!is_used(queue, atomic_load_explicit(shared16(descriptor->flags), memory_order_acquire)))
            break;
        slot = descriptor->id;
        if (__builtin_expect(slot >= queue->n_slots, 0)) {
            queue->is_broken = true;
            slot = 0;
        }
        if (queue->in_order) {
            virtqueue_open_batch(queue, slot, descriptor->len);
            virtqueue_give_in_order(queue, &buffers[n]);
        } else {
            virtqueue_give(queue, &buffers[n], slot, descriptor->len);
        }
        advance_used(queue);
    }
    return n;
}

/* Whether the device wants a kick, now that 'n_posted' descriptors were added (virtio 1.2, 2.8.10). */
static bool wants_kick(const struct virtqueue *queue, uint16_t n_posted)
{
    uint32_t event;
    uint16_t flags;
    uint16_t position;

    full_barrier();
    event = atomic_load_explicit(shared32(*queue->packed.device_event), memory_order_relaxed);
    flags = event >> 16;
    if (flags != VRING_PACKED_EVENT_FLAG_DESC || !queue->event_index)
        return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
    position = event & 0x7fff;
    if ((event >> 15 & 1) != queue->available_wrap)
        position -= queue->size;
    return vring_need_event(position, queue->next_available, (uint16_t)(queue->next_available - n_posted));
}

/* Puts one descriptor into the ring, at the next position; its flags are returned, not yet written. */
static inline uint16_t put(struct virtqueue *queue, const uint8_t *start, uint32_t size, uint16_t slot,
                           uint16_t flags)
{
    struct vring_packed_desc *descriptor = &queue->packed.descriptor[queue->next_available];

    flags |= (queue->available_wrap ? FLAG_AVAILABLE : FLAG_USED) |
             (queue->device_writes ? VRING_DESC_F_WRITE : 0);
    descriptor->addr = guest_memory_address(queue->memory, start);
    descriptor->len = size;
    descriptor->id = slot;
    if (++queue->next_available == queue->size) {
        queue->next_available = 0;
        queue->available_wrap ^= 1;
    }
    return flags;
}

static void post_one(struct virtqueue *queue, const struct virtqueue_buffer *buffer)
{
    struct vring_packed_desc *head = &queue->packed.descriptor[queue->next_available];
    uint32_t size = queue->device_writes ? queue->capacity : buffer->size;
    uint16_t head_flags = 0;

    if (queue->indirect) {
        struct vring_packed_desc *table = slot_table(queue, buffer->slot);
        uint32_t table_size = queue->pieces * (uint32_t)sizeof *table;

        if (!queue->device_writes)
            write_table(queue, buffer->slot, size);
        /* WRITE of a descriptor that refers to a table is reserved (2.8.7). */
        head_flags = put(queue, (const uint8_t *)table, table_size, buffer->slot, VRING_DESC_F_INDIRECT) &
                     (uint16_t)~VRING_DESC_F_WRITE;
    } else {
        const uint8_t *start = virtqueue_slot_start(queue, buffer->slot);

        for (uint16_t i = 0; i < queue->pieces; i++) {
            struct vring_packed_desc *descriptor = &queue->packed.descriptor[queue->next_available];
            uint32_t piece_size = virtqueue_piece_size(queue, size, i);
            uint16_t flags =
                put(queue, start, piece_size, buffer->slot, i + 1 < queue->pieces ? VRING_DESC_F_NEXT : 0);

            if (i == 0)
                head_flags = flags;
            else
                descriptor->flags = flags;
            start += piece_size;
        }
    }
    /* The head's flags last: they make the whole chain visible. */
    atomic_store_explicit(shared16(head->flags), head_flags, memory_order_release);
}

void virtqueue_packed_post(struct virtqueue *queue, const struct virtqueue_buffer buffers[], uint16_t n)
{
    for (uint16_t i = 0; i < n; i++)
        post_one(queue, &buffers[i]);
    if (wants_kick(queue, n * queue->descriptors))
        virtqueue_kick(queue);
}

void virtqueue_packed_want_call(struct virtqueue *queue, bool want)
{
    uint16_t flags = VRING_PACKED_EVENT_FLAG_DISABLE;
    uint16_t position = queue->next_used | (uint16_t)(queue->used_wrap << 15);

    if (want)
        flags = queue->event_index ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE;
    atomic_store_explicit(shared32(*queue->packed.driver_event), position | (uint32_t)flags << 16,
                          memory_order_relaxed);
}
