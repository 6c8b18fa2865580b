/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/guest/fake_ring.h"

#include <stdatomic.h>
#include <unistd.h>

uint8_t *fake_memory_guest(const struct fake_memory *memory, uint64_t address, uint64_t size)
{
    for (unsigned i = 0; i < memory->n_regions; i++) {
        uint64_t offset = address - memory->regions[i].guest_address;

        if (offset < memory->regions[i].size && size <= memory->regions[i].size - offset)
            return memory->regions[i].start + offset;
    }
    return NULL;
}

uint8_t *fake_memory_user(const struct fake_memory *memory, uint64_t address)
{
    for (unsigned i = 0; i < memory->n_regions; i++) {
        uint64_t offset = address - memory->regions[i].user_address;

        if (offset < memory->regions[i].size)
            return memory->regions[i].start + offset;
    }
    return NULL;
}

static bool add_piece(const struct fake_memory *memory, struct fake_buffer *buffer, uint64_t address,
                      uint32_t size)
{
    uint8_t *start = fake_memory_guest(memory, address, size);

    if (!start || buffer->n_pieces == FAKE_PIECES_MAX)
        return false;
    buffer->pieces[buffer->n_pieces].start = start;
    buffer->pieces[buffer->n_pieces++].size = size;
    buffer->size += size;
    return true;
}

static bool pop_split(struct fake_ring *ring, const struct fake_memory *memory, struct fake_buffer *buffer)
{
    struct vring_avail *available = ring->available;
    struct vring_desc *table = ring->descriptors;
    uint16_t index;

    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load((_Atomic uint16_t *)&available->idx) == ring->next_available)
        return false;
    index = available->ring[ring->next_available & (ring->size - 1)];
    if (index >= ring->size)
        return false;
    buffer->id = index;
    if (table[index].flags & VRING_DESC_F_INDIRECT) {
        table = (struct vring_desc *)fake_memory_guest(memory, table[index].addr, table[index].len);
        index = 0;
        if (!table)
            return false;
    }
    for (;;) {
        if (!add_piece(memory, buffer, table[index].addr, table[index].len))
            return false;
        if (!(table[index].flags & VRING_DESC_F_NEXT))
            break;
        index = table[index].next;
    }
    ring->next_available++;
    return true;
}

static bool packed_ready(const struct fake_ring *ring, uint16_t flags)
{
    bool available = flags >> VRING_PACKED_DESC_F_AVAIL & 1;
    bool used = flags >> VRING_PACKED_DESC_F_USED & 1;

    return available == ring->available_wrap && used != ring->available_wrap;
}

static void advance(struct fake_ring *ring, uint16_t *position, uint16_t *wrap, uint16_t n)
{
    *position += n;
    if (*position >= ring->size) {
        *position -= ring->size;
        *wrap ^= 1;
    }
}

static bool pop_packed(struct fake_ring *ring, const struct fake_memory *memory, struct fake_buffer *buffer)
{
    struct vring_packed_desc *table = ring->descriptors;
    uint16_t position = ring->next_available;
    struct vring_packed_desc *head = &table[position];

    if (!packed_ready(ring, atomic_load((_Atomic uint16_t *)&head->flags)))
        return false;
    buffer->id = head->id;
    buffer->n_descriptors = 1;
    if (head->flags & VRING_DESC_F_INDIRECT) {
        struct vring_packed_desc *indirect =
            (struct vring_packed_desc *)fake_memory_guest(memory, head->addr, head->len);

        for (unsigned i = 0; i < head->len / sizeof *indirect; i++) {
            if (!indirect || !add_piece(memory, buffer, indirect[i].addr, indirect[i].len))
                return false;
        }
    } else {
        for (;;) {
            if (!add_piece(memory, buffer, table[position].addr, table[position].len))
                return false;
            if (!(table[position].flags & VRING_DESC_F_NEXT))
                break;
            position = (uint16_t)((position + 1) % ring->size);
            buffer->n_descriptors++;
        }
    }
    advance(ring, &ring->next_available, &ring->available_wrap, buffer->n_descriptors);
    return true;
}

bool fake_ring_pop(struct fake_ring *ring, const struct fake_memory *memory, struct fake_buffer *buffer)
{
    buffer->n_pieces = 0;
    buffer->size = 0;
    buffer->n_descriptors = 0;
    return ring->is_packed ? pop_packed(ring, memory, buffer) : pop_split(ring, memory, buffer);
}

static void call_driver(const struct fake_ring *ring)
{
    uint64_t one = 1;

    if (ring->call_fd >= 0 && write(ring->call_fd, &one, sizeof one) < 0)
        return; /* enough calls are pending */
}

static void push_split(struct fake_ring *ring, uint16_t id, uint32_t written, uint16_t n_buffers)
{
    struct vring_used *used = ring->used;
    struct vring_avail *available = ring->available;
    uint16_t old = ring->next_used;
    bool wants;

    used->ring[old & (ring->size - 1)] = (struct vring_used_elem){.id = id, .len = written};
    ring->next_used += n_buffers;
    atomic_store((_Atomic uint16_t *)&used->idx, ring->next_used);
    atomic_thread_fence(memory_order_seq_cst);
    if (ring->event_index)
        wants = vring_need_event(atomic_load((_Atomic uint16_t *)&available->ring[ring->size]),
                                 ring->next_used, old);
    else
        wants = !(atomic_load((_Atomic uint16_t *)&available->flags) & VRING_AVAIL_F_NO_INTERRUPT);
    if (wants)
        call_driver(ring);
}

static void push_packed(struct fake_ring *ring, uint16_t id, uint32_t written, uint16_t n_descriptors)
{
    struct vring_packed_desc *descriptor = (struct vring_packed_desc *)ring->descriptors + ring->next_used;
    struct vring_packed_desc_event *driver = ring->available;
    uint16_t flags = ring->used_wrap ? 1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED : 0;
    uint16_t old = ring->next_used;
    uint16_t wants;

    descriptor->id = id;
    descriptor->len = written;
    atomic_store((_Atomic uint16_t *)&descriptor->flags, flags);
    advance(ring, &ring->next_used, &ring->used_wrap, n_descriptors);
    atomic_thread_fence(memory_order_seq_cst);
    wants = atomic_load((_Atomic uint16_t *)&driver->flags);
    if (wants == VRING_PACKED_EVENT_FLAG_DESC) {
        /* Whether the wanted position is among the 'n_descriptors' from 'old' on. */
        uint16_t position = driver->off_wrap & 0x7fff;
        uint16_t distance = (uint16_t)((position + ring->size - old) % ring->size);

        if (distance < n_descriptors)
            call_driver(ring);
    } else if (wants == VRING_PACKED_EVENT_FLAG_ENABLE) {
        call_driver(ring);
    }
}

void fake_ring_push(struct fake_ring *ring, uint16_t id, uint32_t written, uint16_t n_buffers,
                    uint16_t n_descriptors)
{
    if (ring->is_packed)
        push_packed(ring, id, written, n_descriptors);
    else
        push_split(ring, id, written, n_buffers);
}

/*
 * Buffers that lie there untaken, because they are too few for a frame, must not hide the ones that follow:
 * neither those that were there before, nor those that come while the wish is being written. So it is looked at again
 * once the wish is out.
 */
void fake_ring_want_kick(struct fake_ring *ring)
{
    if (ring->is_packed) {
        struct vring_packed_desc *next = (struct vring_packed_desc *)ring->descriptors + ring->next_available;
        struct vring_packed_desc_event *device = ring->used;

        device->off_wrap = ring->next_available | (uint16_t)(ring->available_wrap << 15);
        atomic_store((_Atomic uint16_t *)&device->flags,
                     ring->event_index ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE);
        if (packed_ready(ring, atomic_load((_Atomic uint16_t *)&next->flags)))
            atomic_store((_Atomic uint16_t *)&device->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
    } else {
        _Atomic uint16_t *index = (_Atomic uint16_t *)&((struct vring_avail *)ring->available)->idx;
        struct vring_used *used = ring->used;
        uint16_t seen;

        used->flags = 0;
        do {
            seen = atomic_load(index);
            atomic_store((_Atomic uint16_t *)&used->ring[ring->size], seen);
        } while (atomic_load(index) != seen);
    }
    atomic_thread_fence(memory_order_seq_cst);
}
