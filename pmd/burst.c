/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/burst.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_memcpy.h>
#include <rte_prefetch.h>

#include "lib/compiler.h"

#define OFFLOAD_NEEDS_CSUM 1 /* flags of struct virtio_net_hdr */
#define OFFLOAD_DATA_VALID 2

/* Receiving */

static bool fill_spare(struct receive_queue *queue, uint16_t n)
{
    uint16_t missing = n - queue->n_spare;

    if (rte_pktmbuf_alloc_bulk(queue->pool, &queue->spare[queue->n_spare], missing)) {
        driver_count(&queue->n_no_mbuf, 1);
        return false;
    }
    queue->n_spare = n;
    return true;
}

/* The fast path says so of a checksum that it has checked or made. */
static inline uint64_t receive_flags(const struct packet_ring_frame *frame)
{
    return frame->offload.flags & OFFLOAD_DATA_VALID ? RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0;
}

/* Whether Open vSwitch can have the frame. It takes one mbuf for a packet, and leaves nothing to be finished later. */
static inline bool is_acceptable(struct receive_ring *ring, const struct packet_ring_frame *frame, uint32_t room)
{
    if (unlikely(frame->size > room)) {
        driver_count(&ring->n_oversized, 1);
        return false;
    }
    if (unlikely(frame->offload.flags & OFFLOAD_NEEDS_CSUM || frame->offload.gso_type)) {
        driver_count(&ring->n_unfinished, 1);
        return false;
    }
    return true;
}

static uint16_t copy_frames(struct receive_queue *queue, struct receive_ring *ring,
                            const struct packet_ring_frame frames[], uint16_t n, struct rte_mbuf **packets)
{
    uint16_t ethdev_id = queue->representor->ethdev_id;
    uint16_t n_received = 0;

    for (uint16_t i = 0; i < n; i++) {
        struct rte_mbuf *packet = queue->spare[queue->n_spare - 1];

        if (i + 1 < n)
            rte_prefetch0(frames[i + 1].data);
        if (!is_acceptable(ring, &frames[i], queue->room))
            continue;
        queue->n_spare--;
        rte_memcpy(rte_pktmbuf_mtod(packet, void *), frames[i].data, frames[i].size);
        packet->port = ethdev_id;
        packet->pkt_len = frames[i].size;
        packet->data_len = (uint16_t)frames[i].size;
        packet->ol_flags = receive_flags(&frames[i]);
        packets[n_received++] = packet;
    }
    driver_count(&ring->n_packets, n_received);
    return n_received;
}

static uint16_t receive_from(struct receive_queue *queue, struct receive_ring *ring,
                             struct rte_mbuf **packets, uint16_t n)
{
    struct packet_ring_frame frames[REPRESENTOR_BURST_MAX];
    uint16_t n_received = 0;

    /* Taken: the ring is being exchanged. There will be another poll. */
    if (!ring_claim_try(&ring->claim))
        return 0;
    if (likely(ring->attached)) {
        uint16_t n_frames = packet_ring_peek(&ring->consumer, frames, n);

        if (n_frames) {
            n_received = copy_frames(queue, ring, frames, n_frames, packets);
            packet_ring_release(&ring->consumer);
        } else if (unlikely(ring->consumer.fault != PACKET_RING_FAULT_NONE && !ring->faulty)) {
            ring->faulty = true;
            driver_count(&ring->n_faults, 1);
        }
    }
    ring_claim_end(&ring->claim);
    return n_received;
}

uint16_t representor_receive(void *argument, struct rte_mbuf **packets, uint16_t n)
{
    struct receive_queue *queue = argument;
    struct representor *representor = queue->representor;
    uint32_t n_rings = atomic_load_explicit(&representor->n_rings, memory_order_relaxed);
    uint16_t n_received = 0;
    uint16_t index;

    if (n > REPRESENTOR_BURST_MAX)
        n = REPRESENTOR_BURST_MAX;
    /* Frames stay in the ring while there is nothing to put them into. */
    if (queue->n_spare < n && !fill_spare(queue, n))
        n = queue->n_spare;
    if (likely(n_rings <= queue->n_queues))
        return queue->index < n_rings && n
                   ? receive_from(queue, &representor->receive[queue->index], packets, n)
                   : 0;
    index = queue->turn;
    do {
        n_received += receive_from(queue, &representor->receive[index], packets + n_received, n - n_received);
        index += queue->n_queues;
        if (index >= n_rings)
            index = queue->index;
    } while (index != queue->turn && n_received < n);
    queue->turn = index;
    return n_received;
}

void receive_queue_drain(struct receive_queue *queue)
{
    rte_pktmbuf_free_bulk(queue->spare, queue->n_spare);
    queue->n_spare = 0;
}

/* Sending */

static void copy_packet(uint8_t *to, const struct rte_mbuf *packet)
{
    for (; packet; packet = packet->next) {
        rte_memcpy(to, rte_pktmbuf_mtod(packet, const void *), packet->data_len);
        to += packet->data_len;
    }
}

/* Returns how many packets are done with: in the ring, or of a size that no ring takes. */
static uint16_t fill_ring(struct send_ring *ring, struct rte_mbuf **packets, uint16_t n)
{
    uint16_t n_sent = 0;
    uint16_t i;

    for (i = 0; i < n; i++) {
        struct packet_ring_frame frame = {.size = packets[i]->pkt_len};
        uint8_t *data;

        if (i + 1 < n)
            rte_prefetch0(rte_pktmbuf_mtod(packets[i + 1], const void *));
        if (unlikely(frame.size == 0 || frame.size > FRAME_SIZE_MAX)) {
            driver_count(&ring->n_oversized, 1);
            continue;
        }
        data = packet_ring_reserve(&ring->producer, frame.size);
        if (unlikely(!data))
            break;
        copy_packet(data, packets[i]);
        packet_ring_commit(&ring->producer, &frame);
        n_sent++;
    }
    driver_count(&ring->n_packets, n_sent);
    if (unlikely(i < n)) {
        driver_count(&ring->n_full, n - i);
        packet_ring_count_dropped(&ring->producer, n - i);
    }
    return i;
}

uint16_t representor_send(void *argument, struct rte_mbuf **packets, uint16_t n)
{
    const struct send_queue *queue = argument;
    struct representor *representor = queue->representor;
    uint32_t n_rings = atomic_load_explicit(&representor->n_rings, memory_order_relaxed);
    struct send_ring *ring = &representor->send[n_rings ? queue->index % n_rings : 0];
    uint16_t n_sent = n;

    ring_claim_wait(&ring->claim);
    if (likely(ring->attached)) {
        n_sent = fill_ring(ring, packets, n);
        /* The doorbell never waits; it is the claim that keeps it from being closed. */
        if (packet_ring_publish(&ring->producer))
            packet_ring_ring_doorbell(ring->doorbell);
    } else {
        driver_count(&ring->n_detached, n);
    }
    ring_claim_end(&ring->claim);
    rte_pktmbuf_free_bulk(packets, n_sent);
    return n_sent;
}

/* The connection's thread */

static int attach_ring(struct representor *representor, uint32_t i, struct error *error)
{
    struct receive_ring *receive = &representor->receive[i];
    struct send_ring *send = &representor->send[i];
    struct packet_ring_consumer consumer;
    struct packet_ring_producer producer;
    int result = packet_ring_consumer_attach(&consumer, &representor->memory, 2 * i, error);

    if (!result)
        result = packet_ring_producer_attach(&producer, &representor->memory, 2 * i + 1, error);
    if (result)
        return result;
    ring_claim_wait(&receive->claim);
    receive->consumer = consumer;
    receive->attached = true;
    receive->faulty = false;
    ring_claim_end(&receive->claim);
    ring_claim_wait(&send->claim);
    send->producer = producer;
    send->doorbell = representor->doorbells[1];
    send->attached = true;
    ring_claim_end(&send->claim);
    return 0;
}

int representor_attach_rings(struct representor *representor, struct error *error)
{
    uint32_t n = representor->memory.n_rings / 2;
    int result = 0;

    if (n == 0 || n > QUEUES_MAX || representor->memory.n_rings % 2)
        return error_set(error, EINVAL, "Port %s: a representor cannot have %u rings.",
                         representor->spec.name, representor->memory.n_rings);
    for (uint32_t i = 0; i < n && !result; i++)
        result = attach_ring(representor, i, error);
    if (result) {
        representor_detach_rings(representor);
        return result;
    }
    atomic_store_explicit(&representor->n_rings, n, memory_order_release);
    return 0;
}

void representor_detach_rings(struct representor *representor)
{
    atomic_store_explicit(&representor->n_rings, 0, memory_order_relaxed);
    for (unsigned i = 0; i < QUEUES_MAX; i++) {
        struct receive_ring *receive = &representor->receive[i];
        struct send_ring *send = &representor->send[i];

        ring_claim_wait(&receive->claim);
        if (receive->attached)
            receive->n_dropped_before += packet_ring_n_dropped(&receive->consumer);
        receive->attached = false;
        ring_claim_end(&receive->claim);
        ring_claim_wait(&send->claim);
        send->attached = false;
        ring_claim_end(&send->claim);
    }
}
