/* SPDX-License-Identifier: Apache-2.0 */
/* Split virtqueues: virtio specification 1.2, 2.7. The model is in vring.h. */
#include "fastpath/vring_buffer.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rings are read and written as little endian");

/* The event-index fields lie behind the rings: virtio 1.2, 2.7.6 and 2.7.8. */
static uint16_t *used_event(const struct virtqueue *ring)
{
    return &ring->avail->ring[ring->size];
}

static uint16_t *avail_event(const struct virtqueue *ring)
{
    return (uint16_t *)&ring->used->ring[ring->size];
}

static void used_put(struct virtqueue *ring, uint16_t at, uint16_t id, uint32_t size)
{
    const struct vring_used_elem element = {id, size};

    memcpy(&ring->used->ring[at & ring->mask], &element, sizeof element);
}

/* Gets the cache lines of the next 'n' used entries on their way: a store that has to wait for one holds up all behind it. */
static void used_prefetch(const struct virtqueue *ring, uint16_t n)
{
    for (uint16_t i = 0; i < n + 7; i += 8)
        __builtin_prefetch(&ring->used->ring[(uint16_t)(ring->last_used + i) & ring->mask], 1);
}

/* Makes the used entries before 'used' visible to the guest. */
static void used_publish(struct virtqueue *ring, uint16_t used)
{
    ring->n_unsignalled += (uint16_t)(used - ring->last_used);
    ring->last_used = used;
    guest_store_release(&ring->used->idx, used);
}

/*
 * Notifies the guest of what was used since the last call, if it wants to know: 2.7.7.
 * A full fence lies between the caller's used index and this: the guest writes what
 * it wants, fences, and reads the index.
 */
static void split_notify(struct virtqueue *ring)
{
    uint32_t n = ring->n_unsignalled;
    uint16_t used = ring->last_used;

    if (!n || ring->call_fd < 0)
        return;
    ring->n_unsignalled = 0;
    if (ring->event_index
            ? n > UINT16_MAX || vring_need_event(guest_load(used_event(ring)), used, (uint16_t)(used - n))
            : !(guest_load(&ring->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT))
        vring_call(ring);
}

/*
 * Adds the buffers of the chain that begins at descriptor 'head' to the '*n' 'pieces';
 * flag VRING_DESC_F_WRITE of each must be 'direction'. Returns what is wrong with the chain.
 */
static enum vring_fault split_chain(const struct virtqueue *ring, uint16_t head, uint16_t direction,
                                    struct packet_segment *pieces, uint32_t *n)
{
    const struct vring_desc *table = ring->desc;
    uint32_t table_size = ring->size, index = head;
    bool indirect = false;

    /* Empty descriptors are no pieces, but count here: a chain costs bounded time. One more may lead to a table. */
    for (uint32_t visited = 0; visited <= PACKET_SEGMENTS_MAX + 1; visited++) {
        struct descriptor descriptor;
        enum vring_fault fault;

        if (index >= table_size)
            return VRING_FAULT_BAD_NEXT;
        descriptor = descriptor_load(&table[index]);
        if (descriptor.flags & VRING_DESC_F_INDIRECT) {
            uint32_t n_entries = descriptor.size / sizeof *table;

            /* 2.7.5.3: the last of a chain, not nested, and no longer than the ring. */
            if (indirect || descriptor.flags & VRING_DESC_F_NEXT || !n_entries || n_entries > ring->size ||
                descriptor.size % sizeof *table)
                return VRING_FAULT_BAD_INDIRECT;
            table = (const void *)guest_memory_at(ring->memory, descriptor.address, descriptor.size);
            if (!table)
                return VRING_FAULT_BAD_INDIRECT;
            table_size = n_entries;
            index = 0;
            indirect = true;
            continue;
        }
        if ((descriptor.flags & VRING_DESC_F_WRITE) != direction)
            return VRING_FAULT_BAD_DIRECTION;
        fault = pieces_add(pieces, n, ring->memory, descriptor.address, descriptor.size);
        if (fault || !(descriptor.flags & VRING_DESC_F_NEXT))
            return fault;
        index = descriptor.next;
    }
    return VRING_FAULT_BAD_NEXT;
}

/*
 * Takes one packet whose buffer is not a single plain descriptor. Returns 0, a drop
 * reason + 1, or -1 with '*fault'.
 */
static int split_receive_chain(struct virtqueue *ring, struct burst *burst, uint16_t i, uint16_t head,
                               enum vring_fault *fault)
{
    struct packet_segment *pieces = burst->more[i];
    uint32_t n = 0;

    *fault = split_chain(ring, head, 0, pieces, &n);
    if (*fault)
        return -1;
    return packet_take_pieces(&burst->packets[i], pieces, n, ring->header_size);
}

static void receive_drop(struct receive_queue *queue, const struct burst *burst, int reason)
{
    worker_counters(burst->worker, queue->port)->drops[reason]++;
}

#define FLAGS_OF_CHAINS (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT)

/*
 * The two halves of split_prepare(), for the places [begin, end) behind the buffer to be
 * taken next. What they use of the ring is copied first: the compiler must assume that
 * each store changes it.
 */
static uint16_t split_prepare_heads(struct virtqueue *ring, _Atomic bool *ready, uint16_t begin, uint16_t end)
{
    const struct vring_desc *desc = ring->desc;
    const uint16_t *available = ring->avail->ring;
    const uint16_t last_avail = ring->last_avail, mask = ring->mask, size = ring->size;

    for (uint16_t i = begin; i < end; i++) {
        uint16_t head = guest_load(&available[(uint16_t)(last_avail + i) & mask]);

        if (unlikely(head >= size)) {
            vring_stop(ring, ready, VRING_FAULT_BAD_HEAD);
            return i;
        }
        __builtin_prefetch(&desc[head]);
        vring_buffer(ring, i)->id = head;
    }
    return end;
}

static void split_prepare_buffers(struct virtqueue *ring, uint16_t begin, uint16_t end, uint16_t direction)
{
    const struct vring_desc *desc = ring->desc;
    const struct guest_memory *memory = ring->memory;
    const struct guest_region largest = memory->regions[0];
    const uint32_t header_size = ring->header_size;

    for (uint16_t i = begin; i < end; i++) {
        struct vring_buffer *buffer = vring_buffer(ring, i);
        struct descriptor descriptor = descriptor_load(&desc[buffer->id]);
        uint64_t offset = descriptor.address - largest.address;
        uint8_t *data = NULL;

        if (likely((descriptor.flags & FLAGS_OF_CHAINS) == direction)) {
            if (likely(offset < largest.size && descriptor.size <= largest.size - offset))
                data = largest.host + offset;
            else
                data = guest_memory_at(memory, descriptor.address, descriptor.size);
        }
        buffer->size = descriptor.size;
        buffer->data = data;
        if (likely(data != NULL))
            buffer_prefetch(data, descriptor.size, header_size, direction);
    }
}

/*
 * Prepares buffers until 'wanted' are, or the guest has made no more available. Plain
 * ones, a single descriptor of 'direction', are on their way into the cache then.
 */
static void split_prepare(struct virtqueue *ring, _Atomic bool *ready, uint16_t wanted, uint16_t direction)
{
    uint16_t begin = ring->n_prepared, end;

    if (begin >= wanted)
        return;
    end = ring->avail_seen - ring->last_avail;
    if (end < wanted) {
        end = guest_load_acquire(&ring->avail->idx) - ring->last_avail;
        if (unlikely(end > ring->size)) {
            vring_stop(ring, ready, VRING_FAULT_BAD_INDEX);
            return;
        }
        ring->avail_seen = ring->last_avail + end;
    }
    if (end > wanted)
        end = wanted;
    used_prefetch(ring, end);
    end = split_prepare_heads(ring, ready, begin, end);
    split_prepare_buffers(ring, begin, end, direction);
    ring->n_prepared = end;
}

static uint16_t split_receive_prepare(struct receive_queue *receive_queue)
{
    struct vring_receive_queue *queue = (struct vring_receive_queue *)receive_queue;

    split_prepare(&queue->ring, &receive_queue->ready, BURST_MAX, 0);
    return queue->ring.n_prepared;
}

static uint16_t split_receive(struct receive_queue *receive_queue, struct burst *burst, uint16_t most)
{
    struct vring_receive_queue *queue = (struct vring_receive_queue *)receive_queue;
    struct virtqueue *ring = &queue->ring;
    const uint32_t size_min = ring->header_size + ETHERNET_HEADER_SIZE;
    const uint32_t size_max = ring->header_size + FRAME_SIZE_MAX;
    uint16_t n_packets = 0, n;

    split_prepare(ring, &receive_queue->ready, BURST_MAX, 0);
    if (most > ring->n_prepared)
        most = ring->n_prepared;
    for (n = 0; n < most; n++) {
        struct vring_buffer *buffer = vring_buffer(ring, n);
        struct packet *packet = packet_begin(burst, n_packets, receive_queue->port->id);
        enum vring_fault fault;
        int result;

        if (likely(buffer->data && buffer->size >= size_min && buffer->size <= size_max)) {
            packet_take(packet, buffer->data, buffer->size, ring->header_size);
            n_packets++;
            continue;
        }
        result = split_receive_chain(ring, burst, n_packets, buffer->id, &fault);
        if (result == 0) {
            n_packets++;
        } else if (result > 0) {
            receive_drop(receive_queue, burst, result - 1);
        } else {
            vring_stop(ring, &receive_queue->ready, fault);
            break;
        }
    }
    vring_consume(ring, n);
    ring->last_avail += n;
    ring->n_taken = n;
    burst->n = n_packets;
    return n;
}

static void split_release(struct receive_queue *receive_queue, struct burst *burst)
{
    struct virtqueue *ring = &((struct vring_receive_queue *)receive_queue)->ring;
    uint16_t used = ring->last_used;

    for (int i = -ring->n_taken; i < 0; i++)
        used_put(ring, used++, vring_buffer(ring, i)->id, 0);
    used_publish(ring, used);
}

static void split_receive_notify(struct receive_queue *receive_queue)
{
    split_notify(&((struct vring_receive_queue *)receive_queue)->ring);
}

static bool split_arm(struct receive_queue *receive_queue)
{
    struct virtqueue *ring = &((struct vring_receive_queue *)receive_queue)->ring;

    if (ring->event_index)
        guest_store(avail_event(ring), ring->last_avail);
    else
        guest_store(&ring->used->flags, 0);
    /* The request must be out before we look for the last time: the guest does both the other way round. */
    atomic_thread_fence(memory_order_seq_cst);
    return guest_load(&ring->avail->idx) == ring->last_avail;
}

static void split_disarm(struct receive_queue *receive_queue)
{
    struct virtqueue *ring = &((struct vring_receive_queue *)receive_queue)->ring;

    /* With the event index nothing is due: an index left behind asks for no notification. */
    if (!ring->event_index)
        guest_store(&ring->used->flags, VRING_USED_F_NO_NOTIFY);
}

/*
 * Sends one packet into as many guest buffers as it needs. Returns false when the
 * ring has no more, or is faulty; counts a packet that can never fit as dropped.
 */
static bool split_send_pieces(struct vring_send_queue *queue, struct port_counters *counters,
                              const struct packet *packet, uint16_t *used)
{
    struct virtqueue *ring = &queue->ring;
    struct packet_segment pieces[PACKET_SEGMENTS_MAX];
    uint64_t needed = ring->header_size + packet->size, room = 0;
    uint32_t n = 0, n_buffers = 0;
    struct {
        uint16_t head;
        uint64_t size;
    } buffers[PACKET_SEGMENTS_MAX];

    pieces[0] = (struct packet_segment){0};
    while (room < needed) {
        uint16_t at = ring->last_avail + n_buffers;
        uint32_t n_before = n;
        enum vring_fault fault;
        uint16_t head;

        if (n_buffers == (ring->mergeable ? PACKET_SEGMENTS_MAX : 1)) {
            counters->drops[DROP_TX_NO_ROOM]++;
            return true;
        }
        if (at == ring->avail_seen)
            return false;
        head = guest_load(&ring->avail->ring[at & ring->mask]);
        fault = head < ring->size ? split_chain(ring, head, VRING_DESC_F_WRITE, pieces, &n)
                                  : VRING_FAULT_BAD_HEAD;
        if (fault == VRING_FAULT_TOO_MANY_PIECES && n_buffers) {
            counters->drops[DROP_TX_NO_ROOM]++;
            return true;
        }
        if (fault) {
            vring_stop(ring, &queue->queue.ready, fault);
            return false;
        }
        buffers[n_buffers].head = head;
        buffers[n_buffers].size = pieces_size(&pieces[n_before], n - n_before);
        room += buffers[n_buffers++].size;
    }
    packet_put_pieces(packet, pieces, ring->header_size, (uint16_t)n_buffers);
    for (uint32_t i = 0; i < n_buffers; i++) {
        uint64_t filled = needed < buffers[i].size ? needed : buffers[i].size;

        used_put(ring, (*used)++, buffers[i].head, (uint32_t)filled);
        needed -= filled;
    }
    vring_consume(ring, n_buffers);
    ring->last_avail += n_buffers;
    counters->tx_packets++;
    counters->tx_bytes += packet->size;
    return true;
}

static void split_send_prepare(struct send_queue *send_queue, uint16_t n)
{
    struct vring_send_queue *queue = (struct vring_send_queue *)send_queue;

    split_prepare(&queue->ring, &send_queue->ready, n, VRING_DESC_F_WRITE);
}

/* Sends the packets that each fit the next plain descriptor of the ring; returns how many that were. */
static uint16_t split_send_plain(struct vring_send_queue *queue, struct port_counters *counters,
                                 struct packet *const packets[], uint16_t n)
{
    struct virtqueue *ring = &queue->ring;
    const uint32_t header_size = ring->header_size;
    uint16_t used = ring->last_used, sent;
    uint64_t n_bytes = 0;

    split_prepare(ring, &queue->queue.ready, n, VRING_DESC_F_WRITE);
    if (n > ring->n_prepared)
        n = ring->n_prepared;
    for (sent = 0; sent < n; sent++) {
        const struct packet *packet = packets[sent];
        const struct vring_buffer *buffer = vring_buffer(ring, sent);

        if (unlikely(!buffer->data || buffer->size < header_size + packet->size))
            break;
        offload_store(buffer->data, packet, header_size, 1);
        packet_put(buffer->data + header_size, packet, sent + 1 < n ? packets[sent + 1] : NULL,
                   vring_buffer(ring, sent + 1), header_size);
        used_put(ring, used++, buffer->id, header_size + packet->size);
        n_bytes += packet->size;
    }
    vring_consume(ring, sent);
    ring->last_avail += sent;
    counters->tx_packets += sent;
    counters->tx_bytes += n_bytes;
    if (sent)
        used_publish(ring, used);
    return sent;
}

/* Looks how far the guest has come; returns how many buffers are available, 0 when its index is a fault. */
static uint16_t split_look(struct vring_send_queue *queue)
{
    struct virtqueue *ring = &queue->ring;
    uint16_t index = guest_load_acquire(&ring->avail->idx);
    uint16_t available = index - ring->last_avail;

    if (unlikely(available > ring->size)) {
        vring_stop(ring, &queue->queue.ready, VRING_FAULT_BAD_INDEX);
        return 0;
    }
    ring->avail_seen = index;
    return available;
}

static uint16_t split_send(struct send_queue *send_queue, struct worker *worker,
                           struct packet *const packets[], uint16_t n, bool shared)
{
    struct vring_send_queue *queue = (struct vring_send_queue *)send_queue;
    struct port_counters *counters = worker_counters(worker, send_queue->port);
    struct virtqueue *ring = &queue->ring;
    uint16_t sent = split_send_plain(queue, counters, packets, n), used;

    if (likely(sent == n))
        return n;
    used = ring->last_used;
    while (sent < n && !atomic_load_explicit(&ring->fault, memory_order_relaxed)) {
        uint16_t seen = ring->avail_seen;

        /* What did not fit may do so when room has been made since we looked. */
        if (split_send_pieces(queue, counters, packets[sent], &used))
            sent++;
        else if (ring->fault || !split_look(queue) || ring->avail_seen == seen)
            break;
    }
    if (used != ring->last_used)
        used_publish(ring, used);
    counters->drops[DROP_TX_FULL] += n - sent;
    return sent;
}

static void split_send_notify(struct send_queue *send_queue)
{
    split_notify(&((struct vring_send_queue *)send_queue)->ring);
}

void vring_split_start(struct virtqueue *ring)
{
    ring->avail_seen = ring->last_avail;
    ring->n_taken = ring->n_prepared = 0;
    /* 2.7.10: with the event index the flag is to be 0. */
    guest_store(&ring->used->flags, ring->event_index ? 0 : VRING_USED_F_NO_NOTIFY);
    ring->n_unsignalled = UINT16_MAX + 1;
    atomic_thread_fence(memory_order_seq_cst);
    split_notify(ring);
}

const struct receive_ops vring_split_receive_ops = {
    .prepare = split_receive_prepare,
    .receive = split_receive,
    .release = split_release,
    .notify = split_receive_notify,
    .arm = split_arm,
    .disarm = split_disarm,
};

const struct send_ops vring_split_send_ops = {
    .prepare = split_send_prepare,
    .send = split_send,
    .notify = split_send_notify,
};
