/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_FAKE_RING_H
#define GUEST_FAKE_RING_H

/* The device's side of a virtqueue, for the fake back end: buffer by buffer. */

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_PIECES_MAX 64

struct fake_memory {
    unsigned n_regions;
    struct {
        uint64_t guest_address, user_address, size, map_size;
        uint8_t *start; /* of the region */
        uint8_t *map;
    } regions[8];
};

/* The address here for 'size' bytes at a guest physical address, or NULL. */
uint8_t *fake_memory_guest(const struct fake_memory *memory, uint64_t address, uint64_t size);

/* The same for an address of the front end. */
uint8_t *fake_memory_user(const struct fake_memory *memory, uint64_t address);

struct fake_ring {
    bool is_packed, event_index;
    uint16_t size;
    void *descriptors, *available, *used; /* packed: ring, driver event, device event */
    uint16_t next_available, next_used;
    uint16_t available_wrap, used_wrap;
    int kick_fd, call_fd;
    bool enabled;
};

struct fake_buffer {
    uint16_t id;
    uint16_t n_descriptors; /* places in a packed ring */
    unsigned n_pieces;
    struct {
        uint8_t *start;
        uint32_t size;
    } pieces[FAKE_PIECES_MAX];
    uint32_t size;
};

/* Takes the next buffer; false when there is none, or when it is not what a driver may write. */
bool fake_ring_pop(struct fake_ring *ring, const struct fake_memory *memory, struct fake_buffer *buffer);

/*
 * Returns buffers: one used entry with 'id' and 'written', which stands for 'n_buffers' buffers that took
 * 'n_descriptors' places of a packed ring. Calls the driver if it wants that.
 */
void fake_ring_push(struct fake_ring *ring, uint16_t id, uint32_t written, uint16_t n_buffers,
                    uint16_t n_descriptors);

/* Asks for a kick with the next buffer; the caller looks once more afterwards. */
void fake_ring_want_kick(struct fake_ring *ring);

#endif
