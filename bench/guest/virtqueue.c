/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/guest/virtqueue.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "bench/guest/virtqueue_internal.h"

#define CACHE_LINE 64u
#define RING_ALIGNMENT 4096u

/*
 * Bytes from one buffer to the next: an odd number of cache lines, so that the first lines of all buffers
 * spread over the sets of a cache. With 2 KiB between them they would share 2 of the 64 sets of a first-level
 * cache.
 */
static uint32_t buffer_stride(uint32_t buffer_size)
{
    uint32_t n_lines = 1 + (buffer_size + CACHE_LINE - 1) / CACHE_LINE;

    return (n_lines | 1) * CACHE_LINE;
}

size_t virtqueue_memory_size(const struct virtqueue_config *config)
{
    size_t per_descriptor = sizeof(struct vring_desc) + sizeof(struct vring_used_elem) + sizeof(uint16_t);
    size_t rings = config->size * per_descriptor + CACHE_LINE;
    size_t tables = config->indirect ? (size_t)config->size * config->pieces * sizeof(struct vring_desc) : 0;
    size_t buffers = (size_t)config->size * buffer_stride(config->buffer_size);

    return rings + tables + buffers + 4 * RING_ALIGNMENT;
}

static bool has_feature(uint64_t features, unsigned bit)
{
    return features >> bit & 1;
}

static int check_config(const struct virtqueue_config *config, uint64_t features, struct error *error)
{
    bool packed = has_feature(features, VIRTIO_F_RING_PACKED);

    if (!config->size || config->size > VIRTQUEUE_SIZE_MAX || (!packed && config->size & (config->size - 1)))
        return error_set(error, EINVAL, "a virtqueue cannot have %u descriptors", config->size);
    if (!config->pieces || config->pieces > VIRTQUEUE_PIECES_MAX || config->pieces > config->size)
        return error_set(error, EINVAL, "a buffer cannot have %u pieces", config->pieces);
    if (config->indirect && !has_feature(features, VIRTIO_RING_F_INDIRECT_DESC))
        return error_set(error, EINVAL, "the back end has not agreed to indirect descriptors");
    if (has_feature(features, VIRTIO_F_IN_ORDER) && !config->indirect && config->size % config->pieces)
        return error_set(error, EINVAL, "with IN_ORDER, %u descriptors cannot hold buffers of %u pieces",
                         config->size, config->pieces);
    if (config->buffer_size < config->pieces)
        return error_set(error, EINVAL, "a buffer of %u bytes is too small for %u pieces",
                         config->buffer_size, config->pieces);
    return 0;
}

static bool allocate_rings(struct virtqueue *queue, struct guest_memory *memory)
{
    size_t size = queue->size;

    if (queue->is_packed) {
        queue->packed.descriptor =
            guest_memory_allocate(memory, size * sizeof *queue->packed.descriptor, RING_ALIGNMENT);
        queue->packed.driver_event = guest_memory_allocate(memory, CACHE_LINE, CACHE_LINE);
        queue->packed.device_event = guest_memory_allocate(memory, CACHE_LINE, CACHE_LINE);
        return queue->packed.descriptor && queue->packed.driver_event && queue->packed.device_event;
    }
    queue->split.descriptor =
        guest_memory_allocate(memory, size * sizeof *queue->split.descriptor, RING_ALIGNMENT);
    queue->split.available = guest_memory_allocate(memory, 6 + 2 * size, CACHE_LINE);
    queue->split.used =
        guest_memory_allocate(memory, 6 + size * sizeof(struct vring_used_elem), RING_ALIGNMENT);
    if (!queue->split.descriptor || !queue->split.available || !queue->split.used)
        return false;
    queue->split.used_event = (_Atomic uint16_t *)&queue->split.available->ring[size];
    queue->split.available_event = (_Atomic uint16_t *)&queue->split.used->ring[size];
    return true;
}

int virtqueue_init(struct virtqueue *queue, const struct virtqueue_config *config, uint64_t features,
                   bool device_writes, struct guest_memory *memory, struct error *error)
{
    bool long_header =
        has_feature(features, VIRTIO_F_VERSION_1) || has_feature(features, VIRTIO_NET_F_MRG_RXBUF);
    uint32_t stride = buffer_stride(config->buffer_size);
    uint8_t *buffers;
    int code = check_config(config, features, error);

    if (code)
        return code;
    memset(queue, 0, sizeof *queue);
    queue->is_packed = has_feature(features, VIRTIO_F_RING_PACKED);
    queue->in_order = has_feature(features, VIRTIO_F_IN_ORDER);
    queue->event_index = has_feature(features, VIRTIO_RING_F_EVENT_IDX);
    queue->indirect = config->indirect;
    queue->device_writes = device_writes;
    queue->size = config->size;
    queue->pieces = config->pieces;
    queue->descriptors = config->indirect ? 1 : config->pieces;
    queue->n_slots = config->size / queue->descriptors;
    queue->header_size = long_header ? sizeof(struct virtio_net_hdr_mrg_rxbuf) : sizeof(struct virtio_net_hdr);
    queue->capacity = queue->header_size + config->buffer_size;
    queue->stride = stride;
    queue->memory = memory;
    queue->kick_fd = -1;
    queue->call_fd = -1;

    buffers = guest_memory_allocate(memory, (size_t)queue->n_slots * stride, CACHE_LINE);
    if (config->indirect)
        queue->tables = guest_memory_allocate(
            memory, (size_t)queue->n_slots * queue->pieces * sizeof(struct vring_desc), CACHE_LINE);
    if (!buffers || (config->indirect && !queue->tables) || !allocate_rings(queue, memory))
        return error_set(error, ENOMEM, "guest memory is too small for a queue of %u buffers of %u bytes",
                         queue->n_slots, config->buffer_size);
    queue->buffers = buffers + CACHE_LINE - queue->header_size;
    virtqueue_reset(queue);
    return 0;
}

uint32_t virtqueue_piece_size(const struct virtqueue *queue, uint32_t size, uint16_t piece)
{
    uint32_t n_rest = queue->pieces - 1u;
    uint32_t rest = size - queue->header_size;

    if (queue->pieces == 1)
        return size;
    if (piece == 0)
        return queue->header_size;
    return rest / n_rest + (piece <= rest % n_rest);
}

void virtqueue_reset(struct virtqueue *queue)
{
    queue->next_available = 0;
    queue->next_used = 0;
    queue->n_fresh = queue->n_slots;
    queue->in_order_slot = 0;
    queue->in_order_left = 0;
    queue->available_wrap = 1;
    queue->used_wrap = 1;
    queue->is_broken = false;
    if (queue->is_packed)
        virtqueue_packed_reset(queue);
    else
        virtqueue_split_reset(queue);
}

/*
 * Split: the index of the next buffer that the device looks at. Packed: position and wrap counter, for the
 * available and the used side, behind all that the device has returned, taken from here or not. Buffers that
 * the device had taken and not returned are given to it again.
 */
uint32_t virtqueue_base(const struct virtqueue *queue)
{
    struct virtqueue ahead = *queue;
    struct virtqueue_buffer buffer;
    uint32_t position;

    if (!queue->is_packed)
        return atomic_load_explicit((_Atomic uint16_t *)&queue->split.used->idx, memory_order_acquire);
    for (uint16_t i = 0; i < queue->n_slots && virtqueue_packed_take(&ahead, &buffer, 1); i++)
        ;
    position = ahead.next_used | (uint32_t)ahead.used_wrap << 15;
    return position | position << 16;
}

uint16_t virtqueue_take(struct virtqueue *queue, struct virtqueue_buffer buffers[], uint16_t max)
{
    uint16_t n = 0;

    while (n < max && queue->n_fresh)
        virtqueue_give(queue, &buffers[n++], queue->n_slots - queue->n_fresh--, 0);
    if (n == max)
        return n;
    return n + (queue->is_packed ? virtqueue_packed_take(queue, buffers + n, max - n)
                                 : virtqueue_split_take(queue, buffers + n, max - n));
}

void virtqueue_post(struct virtqueue *queue, const struct virtqueue_buffer buffers[], uint16_t n)
{
    if (!n)
        return;
    if (queue->is_packed)
        virtqueue_packed_post(queue, buffers, n);
    else
        virtqueue_split_post(queue, buffers, n);
}

void virtqueue_fill(struct virtqueue *queue)
{
    while (queue->n_fresh) {
        struct virtqueue_buffer buffer;

        virtqueue_give(queue, &buffer, queue->n_slots - queue->n_fresh--, queue->capacity);
        virtqueue_post(queue, &buffer, 1);
    }
}

bool virtqueue_has_used(const struct virtqueue *queue)
{
    return queue->in_order_left ||
           (queue->is_packed ? virtqueue_packed_has_used(queue) : virtqueue_split_has_used(queue));
}

void virtqueue_want_call(struct virtqueue *queue, bool want)
{
    if (queue->is_packed)
        virtqueue_packed_want_call(queue, want);
    else
        virtqueue_split_want_call(queue, want);
    full_barrier();
}

bool virtqueue_wait(struct virtqueue *queue, int timeout_ms)
{
    struct pollfd call = {.fd = queue->call_fd, .events = POLLIN};
    uint64_t n_calls;

    virtqueue_want_call(queue, true);
    while (!virtqueue_has_used(queue)) {
        if (poll(&call, 1, timeout_ms) == 0)
            break;
        if (read(queue->call_fd, &n_calls, sizeof n_calls) < 0 && errno != EAGAIN && errno != EINTR)
            break;
    }
    virtqueue_want_call(queue, false);
    return virtqueue_has_used(queue);
}

void virtqueue_kick(struct virtqueue *queue)
{
    uint64_t one = 1;

    queue->n_kicks++;
    if (queue->kick_fd >= 0 && write(queue->kick_fd, &one, sizeof one) < 0)
        return; /* the counter is full: the device has been kicked often enough */
}
