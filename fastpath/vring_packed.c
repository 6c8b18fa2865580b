/* SPDX-License-Identifier: Apache-2.0 */
/* Packed virtqueues: virtio specification 1.2, 2.8. The model is in vring.h. */
#include "fastpath/vring_buffer.h"

#define FLAG_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define FLAG_USED (1u << VRING_PACKED_DESC_F_USED)

/* A position in the ring: where, and in which lap. */
struct position {
    uint16_t at;
    bool wrap;
};

static void advance(const struct virtqueue *ring, struct position *position, uint16_t n)
{
    position->at += n;
    if (position->at >= ring->size) {
        position->at -= ring->size;
        position->wrap = !position->wrap;
    }
}

/* Whether the guest has made the descriptor at 'position' available: 2.8.1. Orders the loads behind it. */
static bool is_available(const struct virtqueue *ring, struct position position)
{
    uint16_t flags = guest_load_acquire(&ring->packed[position.at].flags);

    return !!(flags & FLAG_AVAIL) == position.wrap && !!(flags & FLAG_USED) != position.wrap;
}

/* The flags of a descriptor used in lap 'wrap', into whose buffer 'size' bytes were written: 2.8.1, 2.8.5. */
static uint16_t used_flags(bool wrap, uint32_t size)
{
    return (wrap ? FLAG_AVAIL | FLAG_USED : 0) | (size ? VRING_DESC_F_WRITE : 0);
}

/* Where used descriptors are being written; all but the first are visible to the guest at once when that one is. */
struct used_batch {
    struct position next;
    uint16_t first;
    uint16_t first_flags;
    uint32_t n_slots;
};

static struct used_batch used_begin(const struct virtqueue *ring)
{
    return (struct used_batch){.next = {ring->last_used, ring->used_wrap}};
}

static void used_put(struct virtqueue *ring, struct used_batch *batch, const struct vring_buffer *taken,
                     uint32_t size)
{
    struct vring_packed_desc *descriptor = &ring->packed[batch->next.at];
    uint16_t flags = used_flags(batch->next.wrap, size);

    guest_store(&descriptor->len, size);
    guest_store(&descriptor->id, taken->id);
    if (batch->n_slots) {
        /* The guest looks here only when it has seen those before, so any order will do ... */
        guest_store_release(&descriptor->flags, flags);
    } else {
        batch->first = batch->next.at;
        batch->first_flags = flags;
    }
    batch->n_slots += taken->n_descriptors;
    advance(ring, &batch->next, taken->n_descriptors);
}

/* ... and the first one goes out last: 2.8.10.1. */
static void used_publish(struct virtqueue *ring, const struct used_batch *batch)
{
    if (!batch->n_slots)
        return;
    guest_store_release(&ring->packed[batch->first].flags, batch->first_flags);
    ring->last_used = batch->next.at;
    ring->used_wrap = batch->next.wrap;
    ring->n_unsignalled += batch->n_slots;
}

/* Whether the descriptor that the guest waits for is among the last 'n' used ones: 2.8.10, 2.7.7.2. */
static bool event_passed(const struct virtqueue *ring, uint32_t n)
{
    uint16_t wanted = guest_load(&ring->driver_event->off_wrap);
    uint16_t event = wanted & 0x7fff;
    uint16_t used = ring->last_used;

    /* After a whole lap, or when it asks for a place that is not there: let it look. */
    if (n >= ring->size || event >= ring->size)
        return true;
    /* Positions of the lap before count from below 0. */
    if (wanted >> 15 != ring->used_wrap)
        event -= ring->size;
    return vring_need_event(event, used, (uint16_t)(used - n));
}

/*
 * Notifies the guest of what was used since the last call, if it wants to know. A
 * full fence lies between the caller's used descriptors and this.
 */
static void packed_notify(struct virtqueue *ring)
{
    uint32_t n = ring->n_unsignalled;
    uint16_t flags;

    if (!n || ring->call_fd < 0)
        return;
    ring->n_unsignalled = 0;
    flags = guest_load_acquire(&ring->driver_event->flags);
    if (flags == VRING_PACKED_EVENT_FLAG_DISABLE)
        return;
    if (flags != VRING_PACKED_EVENT_FLAG_DESC || event_passed(ring, n))
        vring_call(ring);
}

/* Adds the buffers of the indirect table that 'entry' names to 'pieces': 2.8.7. */
static enum vring_fault packed_indirect(const struct virtqueue *ring, const struct descriptor *entry,
                                        uint16_t direction, struct packet_segment *pieces, uint32_t *n)
{
    uint32_t n_entries = entry->size / sizeof(struct vring_packed_desc);
    const struct vring_packed_desc *table =
        (const void *)guest_memory_at(ring->memory, entry->address, entry->size);

    if (!table || !n_entries || n_entries > ring->size || entry->size % sizeof *table)
        return VRING_FAULT_BAD_INDIRECT;
    /* Empty descriptors are no pieces, but count here: a table costs bounded time. */
    if (n_entries > PACKET_SEGMENTS_MAX)
        return VRING_FAULT_TOO_MANY_PIECES;
    for (uint32_t i = 0; i < n_entries; i++) {
        struct descriptor descriptor = descriptor_load(&table[i]);
        enum vring_fault fault;

        if ((descriptor.next & VRING_DESC_F_WRITE) != direction)
            return VRING_FAULT_BAD_DIRECTION;
        fault = pieces_add(pieces, n, ring->memory, descriptor.address, descriptor.size);
        if (fault)
            return fault;
    }
    return VRING_FAULT_NONE;
}

/*
 * Adds the buffers of the chain that begins at 'position' to the '*n' 'pieces' and sets
 * '*taken'. Returns what is wrong with the chain.
 */
static enum vring_fault packed_chain(const struct virtqueue *ring, struct position position, uint16_t direction,
                                     struct packet_segment *pieces, uint32_t *n, struct vring_buffer *taken)
{
    uint32_t length_max = ring->size < PACKET_SEGMENTS_MAX ? ring->size : PACKET_SEGMENTS_MAX;

    taken->n_descriptors = 0;
    while (taken->n_descriptors < length_max) {
        struct descriptor descriptor = descriptor_load(&ring->packed[position.at]);
        uint16_t flags = descriptor.next;
        enum vring_fault fault;

        taken->n_descriptors++;
        taken->id = descriptor.flags;
        if (flags & VRING_DESC_F_INDIRECT) {
            /* Not in a chain: 2.8.19. */
            if (taken->n_descriptors > 1 || flags & VRING_DESC_F_NEXT)
                return VRING_FAULT_BAD_INDIRECT;
            return packed_indirect(ring, &descriptor, direction, pieces, n);
        }
        if ((flags & VRING_DESC_F_WRITE) != direction)
            return VRING_FAULT_BAD_DIRECTION;
        fault = pieces_add(pieces, n, ring->memory, descriptor.address, descriptor.size);
        if (fault || !(flags & VRING_DESC_F_NEXT))
            return fault;
        advance(ring, &position, 1);
    }
    return VRING_FAULT_BAD_NEXT;
}

#define FLAGS_OF_CHAINS (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT)

/*
 * Prepares buffers until 'wanted' are, there are no more, or one is not a single
 * plain descriptor of 'direction'. Those prepared are on their way into the cache.
 */
static void packed_prepare(struct virtqueue *ring, uint16_t wanted, uint16_t direction)
{
    struct position position = {ring->last_avail, ring->avail_wrap};

    /* Not a second lap, though a guest may flip flags so that it seems to begin. */
    if (wanted > ring->size)
        wanted = ring->size;
    advance(ring, &position, ring->n_prepared);
    while (ring->n_prepared < wanted && is_available(ring, position)) {
        struct descriptor descriptor = descriptor_load(&ring->packed[position.at]);
        struct vring_buffer *buffer = vring_buffer(ring, ring->n_prepared);

        if (unlikely((descriptor.next & FLAGS_OF_CHAINS) != direction))
            break;
        buffer->data = guest_memory_at(ring->memory, descriptor.address, descriptor.size);
        if (unlikely(!buffer->data))
            break;
        buffer->size = descriptor.size;
        buffer->id = descriptor.flags;
        buffer->n_descriptors = 1;
        buffer_prefetch(buffer->data, buffer->size, ring->header_size, direction);
        ring->n_prepared++;
        advance(ring, &position, 1);
    }
}

/* The first 'n_buffers' available buffers, of 'n_descriptors' in all, are taken. */
static void packed_consume(struct virtqueue *ring, uint32_t n_buffers, uint32_t n_descriptors)
{
    struct position position = {ring->last_avail, ring->avail_wrap};

    vring_consume(ring, n_buffers);
    advance(ring, &position, (uint16_t)n_descriptors);
    ring->last_avail = position.at;
    ring->avail_wrap = position.wrap;
}

static uint16_t packed_receive_prepare(struct receive_queue *receive_queue)
{
    struct virtqueue *ring = &((struct vring_receive_queue *)receive_queue)->ring;

    packed_prepare(ring, BURST_MAX, 0);
    return ring->n_prepared;
}

/* Takes the next buffer, which is not plain and good. Returns 0, a drop reason + 1, or -1 with '*fault'. */
static int packed_receive_chain(struct virtqueue *ring, struct burst *burst, uint16_t i, enum vring_fault *fault)
{
    const struct position position = {ring->last_avail, ring->avail_wrap};
    struct vring_buffer *buffer = vring_buffer(ring, 0);
    uint32_t n = 0;

    *fault = packed_chain(ring, position, 0, burst->more[i], &n, buffer);
    if (*fault)
        return -1;
    return packet_take_pieces(&burst->packets[i], burst->more[i], n, ring->header_size);
}

static uint16_t packed_receive(struct receive_queue *receive_queue, struct burst *burst, uint16_t most)
{
    struct vring_receive_queue *queue = (struct vring_receive_queue *)receive_queue;
    struct virtqueue *ring = &queue->ring;
    const uint32_t size_min = ring->header_size + ETHERNET_HEADER_SIZE;
    const uint32_t size_max = ring->header_size + FRAME_SIZE_MAX;
    uint16_t n_packets = 0, n;

    for (n = 0; n < most; n++) {
        struct packet *packet = packet_begin(burst, n_packets, receive_queue->port->id);
        const struct vring_buffer *buffer = vring_buffer(ring, 0);
        enum vring_fault fault;
        int result;

        if (!ring->n_prepared)
            packed_prepare(ring, most - n, 0);
        if (likely(ring->n_prepared && buffer->size >= size_min && buffer->size <= size_max)) {
            packet_take(packet, buffer->data, buffer->size, ring->header_size);
            packed_consume(ring, 1, 1);
            n_packets++;
            continue;
        }
        if (!ring->n_prepared && !is_available(ring, (struct position){ring->last_avail, ring->avail_wrap}))
            break;
        result = packed_receive_chain(ring, burst, n_packets, &fault);
        if (result < 0) {
            vring_stop(ring, &receive_queue->ready, fault);
            break;
        }
        if (result)
            worker_counters(burst->worker, receive_queue->port)->drops[result - 1]++;
        else
            n_packets++;
        packed_consume(ring, 1, buffer->n_descriptors);
    }
    burst->n = n_packets;
    ring->n_taken = n;
    return n;
}

static void packed_release(struct receive_queue *receive_queue, struct burst *burst)
{
    struct virtqueue *ring = &((struct vring_receive_queue *)receive_queue)->ring;
    struct used_batch batch = used_begin(ring);

    for (int i = -ring->n_taken; i < 0; i++)
        used_put(ring, &batch, vring_buffer(ring, i), 0);
    used_publish(ring, &batch);
}

static void packed_receive_notify(struct receive_queue *receive_queue)
{
    packed_notify(&((struct vring_receive_queue *)receive_queue)->ring);
}

static bool packed_arm(struct receive_queue *receive_queue)
{
    struct virtqueue *ring = &((struct vring_receive_queue *)receive_queue)->ring;
    struct position position = {ring->last_avail, ring->avail_wrap};

    if (ring->event_index) {
        guest_store(&ring->device_event->off_wrap, (uint16_t)(position.at | position.wrap << 15));
        guest_store_release(&ring->device_event->flags, VRING_PACKED_EVENT_FLAG_DESC);
    } else {
        guest_store(&ring->device_event->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
    }
    /* The request must be out before we look for the last time: the guest does both the other way round. */
    atomic_thread_fence(memory_order_seq_cst);
    return !is_available(ring, position);
}

static void packed_disarm(struct receive_queue *receive_queue)
{
    struct virtqueue *ring = &((struct vring_receive_queue *)receive_queue)->ring;

    guest_store(&ring->device_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
}

/*
 * Sends one packet into as many guest buffers as it needs. Returns false when the
 * ring has no more, or is faulty; counts a packet that can never fit as dropped.
 */
static bool packed_send_pieces(struct vring_send_queue *queue, struct port_counters *counters,
                               const struct packet *packet, struct used_batch *batch)
{
    struct virtqueue *ring = &queue->ring;
    struct position position = {ring->last_avail, ring->avail_wrap};
    struct packet_segment pieces[PACKET_SEGMENTS_MAX];
    uint64_t needed = ring->header_size + packet->size, room = 0;
    struct vring_buffer buffers[PACKET_SEGMENTS_MAX];
    uint64_t sizes[PACKET_SEGMENTS_MAX];
    uint32_t n = 0, n_buffers = 0, n_descriptors = 0;

    pieces[0] = (struct packet_segment){0};
    while (room < needed) {
        uint32_t n_before = n;
        enum vring_fault fault;

        if (n_buffers == (ring->mergeable ? PACKET_SEGMENTS_MAX : 1)) {
            counters->drops[DROP_TX_NO_ROOM]++;
            return true;
        }
        if (!is_available(ring, position))
            return false;
        fault = packed_chain(ring, position, VRING_DESC_F_WRITE, pieces, &n, &buffers[n_buffers]);
        if (fault == VRING_FAULT_TOO_MANY_PIECES && n_buffers) {
            counters->drops[DROP_TX_NO_ROOM]++;
            return true;
        }
        n_descriptors += buffers[n_buffers].n_descriptors;
        /* Chains that together are longer than the ring have been made up of what is no longer the guest's. */
        if (!fault && n_descriptors > ring->size)
            fault = VRING_FAULT_BAD_NEXT;
        if (fault) {
            vring_stop(ring, &queue->queue.ready, fault);
            return false;
        }
        sizes[n_buffers] = pieces_size(&pieces[n_before], n - n_before);
        room += sizes[n_buffers];
        advance(ring, &position, buffers[n_buffers++].n_descriptors);
    }
    packet_put_pieces(packet, pieces, ring->header_size, (uint16_t)n_buffers);
    for (uint32_t i = 0; i < n_buffers; i++) {
        uint64_t filled = needed < sizes[i] ? needed : sizes[i];

        used_put(ring, batch, &buffers[i], (uint32_t)filled);
        needed -= filled;
    }
    packed_consume(ring, n_buffers, n_descriptors);
    counters->tx_packets++;
    counters->tx_bytes += packet->size;
    return true;
}

static void packed_send_prepare(struct send_queue *send_queue, uint16_t n)
{
    packed_prepare(&((struct vring_send_queue *)send_queue)->ring, n, VRING_DESC_F_WRITE);
}

/* Sends the packets that each fit the next plain descriptor of the ring; returns how many that were. */
static uint16_t packed_send_plain(struct vring_send_queue *queue, struct port_counters *counters,
                                  struct packet *const packets[], uint16_t n, struct used_batch *batch)
{
    struct virtqueue *ring = &queue->ring;
    const uint32_t header_size = ring->header_size;
    uint64_t n_bytes = 0;
    uint16_t sent;

    packed_prepare(ring, n, VRING_DESC_F_WRITE);
    if (n > ring->n_prepared)
        n = ring->n_prepared;
    for (sent = 0; sent < n; sent++) {
        const struct packet *packet = packets[sent];
        const struct vring_buffer *buffer = vring_buffer(ring, sent);

        if (unlikely(buffer->size < header_size + packet->size))
            break;
        offload_store(buffer->data, packet, header_size, 1);
        packet_put(buffer->data + header_size, packet, sent + 1 < n ? packets[sent + 1] : NULL,
                   vring_buffer(ring, sent + 1), header_size);
        used_put(ring, batch, buffer, header_size + packet->size);
        n_bytes += packet->size;
    }
    packed_consume(ring, sent, sent);
    counters->tx_packets += sent;
    counters->tx_bytes += n_bytes;
    return sent;
}

static uint16_t packed_send(struct send_queue *send_queue, struct worker *worker,
                            struct packet *const packets[], uint16_t n, bool shared)
{
    struct vring_send_queue *queue = (struct vring_send_queue *)send_queue;
    struct port_counters *counters = worker_counters(worker, send_queue->port);
    struct used_batch batch = used_begin(&queue->ring);
    uint16_t sent = packed_send_plain(queue, counters, packets, n, &batch);

    while (unlikely(sent < n) && packed_send_pieces(queue, counters, packets[sent], &batch))
        sent++;
    used_publish(&queue->ring, &batch);
    counters->drops[DROP_TX_FULL] += n - sent;
    return sent;
}

static void packed_send_notify(struct send_queue *send_queue)
{
    packed_notify(&((struct vring_send_queue *)send_queue)->ring);
}

void vring_packed_start(struct virtqueue *ring)
{
    ring->n_taken = ring->n_prepared = 0;
    guest_store(&ring->device_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
    ring->n_unsignalled = ring->size;
    atomic_thread_fence(memory_order_seq_cst);
    packed_notify(ring);
}

const struct receive_ops vring_packed_receive_ops = {
    .prepare = packed_receive_prepare,
    .receive = packed_receive,
    .release = packed_release,
    .notify = packed_receive_notify,
    .arm = packed_arm,
    .disarm = packed_disarm,
};

const struct send_ops vring_packed_send_ops = {
    .prepare = packed_send_prepare,
    .send = packed_send,
    .notify = packed_send_notify,
};
