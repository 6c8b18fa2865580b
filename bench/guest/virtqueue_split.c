/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <string.h>

#include "bench/guest/virtqueue_internal.h"

/* The shared indexes, seen as atomics; the kernel's header declares them as plain fields. */
#define shared16(field) ((_Atomic uint16_t *)&(field))

static void write_descriptor(const struct virtqueue *queue, struct vring_desc *descriptor,
                             const uint8_t *start, uint32_t size, uint16_t flags, uint16_t next)
{
    descriptor->addr = guest_memory_address(queue->memory, start);
    descriptor->len = size;
    descriptor->flags = flags | (queue->device_writes ? VRING_DESC_F_WRITE : 0);
    descriptor->next = next;
}

/*
 * Writes the descriptors of one slot, for its full capacity, to 'table', whose entry 0 is number 'first' in
 * its table.
 */
static void write_chain(const struct virtqueue *queue, struct vring_desc *table, uint16_t first, uint16_t slot)
{
    const uint8_t *start = virtqueue_slot_start(queue, slot);

    for (uint16_t i = 0; i < queue->pieces; i++) {
        uint32_t size = virtqueue_piece_size(queue, queue->capacity, i);
        bool more = i + 1 < queue->pieces;

        write_descriptor(queue, &table[i], start, size, more ? VRING_DESC_F_NEXT : 0, more ? first + i + 1 : 0);
        start += size;
    }
}

void virtqueue_split_reset(struct virtqueue *queue)
{
    memset(queue->split.available, 0, 6 + 2u * queue->size);
    memset(queue->split.used, 0, 6 + queue->size * sizeof(struct vring_used_elem));
    for (uint16_t slot = 0; slot < queue->n_slots; slot++) {
        if (queue->indirect) {
            struct vring_desc *table = &queue->tables[(size_t)slot * queue->pieces];

            write_chain(queue, table, 0, slot);
            queue->split.descriptor[slot] = (struct vring_desc){
                .addr = guest_memory_address(queue->memory, table),
                .len = queue->pieces * (uint32_t)sizeof *table,
                .flags = VRING_DESC_F_INDIRECT,
            };
        } else {
            uint16_t first = slot * queue->pieces;

            write_chain(queue, &queue->split.descriptor[first], first, slot);
        }
    }
    virtqueue_split_want_call(queue, false);
}

/* The slot that a used entry names; a wrong one is brought into range and noted. */
static inline uint16_t used_slot(struct virtqueue *queue, uint32_t id)
{
    uint32_t slot = queue->descriptors == 1 ? id : id / queue->descriptors;

    if (__builtin_expect(slot >= queue->n_slots, 0)) {
        queue->is_broken = true;
        return 0;
    }
    return (uint16_t)slot;
}

uint16_t virtqueue_split_take(struct virtqueue *queue, struct virtqueue_buffer buffers[], uint16_t max)
{
    struct vring_used *used = queue->split.used;
    uint16_t mask = queue->size - 1;
    uint16_t ready =
        (uint16_t)(atomic_load_explicit(shared16(used->idx), memory_order_acquire) - queue->next_used);
    uint16_t n = ready < max ? ready : max;

    if (__builtin_expect(ready > queue->size, 0)) {
        queue->is_broken = true;
        return 0;
    }
    for (uint16_t i = 0; i < n; i++) {
        const struct vring_used_elem *element = &used->ring[queue->next_used++ & mask];

        if (queue->in_order) {
            if (!queue->in_order_left)
                virtqueue_open_batch(queue, used_slot(queue, element->id), element->len);
            virtqueue_give_in_order(queue, &buffers[i]);
        } else {
            virtqueue_give(queue, &buffers[i], used_slot(queue, element->id), element->len);
        }
    }
    return n;
}

bool virtqueue_split_has_used(const struct virtqueue *queue)
{
    return atomic_load_explicit(shared16(queue->split.used->idx), memory_order_acquire) != queue->next_used;
}

/*
 * Fits one buffer's descriptors to 'size'; the pieces lie one behind the other. Writes only what differs from
 * the last use.
 */
static void resize_chain(const struct virtqueue *queue, struct vring_desc *table, uint32_t size)
{
    uint64_t address = table[0].addr;

    for (uint16_t i = 0; i < queue->pieces; i++) {
        uint32_t piece_size = virtqueue_piece_size(queue, size, i);

        if (table[i].addr != address)
            table[i].addr = address;
        if (table[i].len != piece_size)
            table[i].len = piece_size;
        address += piece_size;
    }
}

static inline void resize(const struct virtqueue *queue, uint16_t slot, uint32_t size)
{
    if (queue->pieces == 1 && !queue->indirect) {
        struct vring_desc *descriptor = &queue->split.descriptor[slot];

        if (descriptor->len != size)
            descriptor->len = size;
    } else if (queue->indirect) {
        resize_chain(queue, &queue->tables[(size_t)slot * queue->pieces], size);
    } else {
        resize_chain(queue, &queue->split.descriptor[slot * queue->pieces], size);
    }
}

/* Whether the device wants a kick for the buffers published since the index was 'old_index'. */
static bool wants_kick(const struct virtqueue *queue, uint16_t old_index)
{
    full_barrier();
    if (queue->event_index)
        return vring_need_event(atomic_load_explicit(queue->split.available_event, memory_order_relaxed),
                                queue->next_available, old_index);
    return !(atomic_load_explicit(shared16(queue->split.used->flags), memory_order_relaxed) &
             VRING_USED_F_NO_NOTIFY);
}

void virtqueue_split_post(struct virtqueue *queue, const struct virtqueue_buffer buffers[], uint16_t n)
{
    struct vring_avail *available = queue->split.available;
    uint16_t mask = queue->size - 1;
    uint16_t old_index = queue->next_available;

    for (uint16_t i = 0; i < n; i++) {
        uint16_t slot = buffers[i].slot;
        uint16_t head = slot * queue->descriptors;
        uint16_t *entry = &available->ring[queue->next_available++ & mask];

        if (!queue->device_writes)
            resize(queue, slot, buffers[i].size);
        if (*entry != head) /* mostly equal: a line that nobody writes stays in both cores' caches */
            *entry = head;
    }
    atomic_store_explicit(shared16(available->idx), queue->next_available, memory_order_release);
    if (wants_kick(queue, old_index))
        virtqueue_kick(queue);
}

void virtqueue_split_want_call(struct virtqueue *queue, bool want)
{
    atomic_store_explicit(shared16(queue->split.available->flags),
                          want || queue->event_index ? 0 : VRING_AVAIL_F_NO_INTERRUPT, memory_order_relaxed);
    if (queue->event_index)
        atomic_store_explicit(queue->split.used_event, (uint16_t)(queue->next_used - (want ? 0 : 1)),
                              memory_order_relaxed);
}
