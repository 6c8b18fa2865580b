/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/deliver.h"

#include <rte_pause.h>

#include "fastpath/capture.h"
#include "fastpath/port_rate.h"
#include "fastpath/segment.h"
#include "lib/compiler.h"

static bool conforms(const struct port *out, const struct packet *packet)
{
    struct demands demands = {0};

    demands_add(&demands, packet);
    return demands_met(out, &demands);
}

static void claim(const struct worker *worker, struct send_queue *queue)
{
    if (worker->alone)
        return;
    /* Held for one burst by a worker that never waits meanwhile. */
    while (atomic_exchange_explicit(&queue->busy, true, memory_order_acquire))
        while (atomic_load_explicit(&queue->busy, memory_order_relaxed))
            rte_pause();
}

static void unclaim(const struct worker *worker, struct send_queue *queue)
{
    if (!worker->alone)
        atomic_store_explicit(&queue->busy, false, memory_order_release);
}

/* Remembers that 'queue' is to be notified. */
static void note_sent(struct worker *worker, struct send_queue *queue)
{
    if (!queue->ops->notify)
        return;
    for (uint16_t i = worker->n_sent; i-- > 0;)
        if (worker->sent[i] == queue)
            return;
    if (worker->n_sent == BURST_MAX)
        deliver_notify(worker);
    worker->sent[worker->n_sent++] = queue;
}

static void send_ready(struct worker *worker, struct port *out, struct send_queue *queue,
                       struct packet *const packets[], uint16_t n, bool shared)
{
    claim(worker, queue);
    if (likely(atomic_load_explicit(&queue->ready, memory_order_acquire)))
        queue->ops->send(queue, worker, packets, n, shared);
    else
        worker_counters(worker, out)->drops[DROP_TX_DOWN] += n;
    unclaim(worker, queue);
    note_sent(worker, queue);
}

/* The send queue for a packet's flow: any spread that keeps a flow on one queue, and both ways of it alike. */
static struct send_queue *queue_of(const struct worker *worker, const struct port *out,
                                   const struct packet *packet)
{
    const struct flow_key *key = &worker->burst.keys[packet->slot];
    /* Read once: it becomes 0 under our eyes when the guest goes. Its queues are not ready then. */
    uint16_t n_active = atomic_load_explicit(&out->n_send_active, memory_order_relaxed);
    uint64_t hash;

    if (n_active <= 1)
        return out->send[0];
    hash = key->l4_src ^ key->l4_dst;
    for (unsigned i = 0; i < 16; i += 4) {
        uint32_t source, destination;

        memcpy(&source, &key->ip_src[i], 4);
        memcpy(&destination, &key->ip_dst[i], 4);
        hash ^= source ^ destination;
    }
    hash *= 0x9e3779b97f4a7c15;
    return out->send[(hash >> 32) % n_active];
}

/* Sends packets that conform; a port with several send queues gets runs of packets that share one. */
static void send_conforming(struct worker *worker, struct port *out, struct packet *const packets[],
                            uint16_t n, bool shared)
{
    uint16_t begin = 0;

    if (likely(out->n_send_active <= 1)) {
        send_ready(worker, out, out->send[0], packets, n, shared);
        return;
    }
    while (begin < n) {
        struct send_queue *queue = queue_of(worker, out, packets[begin]);
        uint16_t end = begin + 1;

        while (end < n && queue_of(worker, out, packets[end]) == queue)
            end++;
        send_ready(worker, out, queue, packets + begin, end - begin, shared);
        begin = end;
    }
}

struct finish_context {
    struct worker *worker;
    struct port *out;
    struct send_queue *queue;
};

static bool send_piece(struct packet *piece, void *argument)
{
    struct finish_context *context = argument;

    if (piece->offload.flags & PACKET_NEEDS_CSUM && !(context->out->offloads & PORT_OFFLOAD_CSUM))
        packet_finish_checksum(piece);
    send_ready(context->worker, context->out, context->queue, &piece, 1, false);
    return true;
}

static void fragment(struct packet *packet, struct finish_context *context)
{
    int result =
        packet_fragment(packet, context->out->frame_size_max - PORT_FRAME_OVERHEAD, send_piece, context);

    if (result)
        worker_counters(context->worker, context->out)->drops[result - 1]++;
}

/* The sender's segments may be larger than what the receiver takes. */
static bool send_segment(struct packet *segment, void *argument)
{
    struct finish_context *context = argument;

    if (likely(segment->size <= context->out->frame_size_max))
        return send_piece(segment, context);
    fragment(segment, context);
    return true;
}

/* Sends one packet that the receiver does not take as it is. */
static void send_finished(struct worker *worker, struct port *out, struct packet *packet, bool shared)
{
    struct finish_context context = {worker, out, queue_of(worker, out, packet)};

    if (packet->offload.gso_type && packet->offload.gso_type != PACKET_GSO_UDP) {
        int result = packet_segment_gso(packet, out->offloads & PORT_OFFLOAD_CSUM, send_segment, &context);

        if (result)
            worker_counters(worker, out)->drops[result - 1]++;
    } else if (packet->offload.gso_type || packet->size > out->frame_size_max) {
        fragment(packet, &context);
    } else {
        packet_finish_checksum(packet);
        send_ready(worker, out, context.queue, &packet, 1, shared);
    }
}

void deliver(struct worker *worker, struct port *out, struct packet *const packets[], uint16_t n,
             const struct demands *known, bool shared)
{
    struct demands demands = {0};
    uint16_t begin = 0;

    if (unlikely(!out || !out->n_send_active)) {
        for (uint16_t i = 0; i < n; i++)
            worker_counters(worker, out ? out : port_by_id(packets[i]->in_port))->drops[DROP_TX_DOWN]++;
        return;
    }
    if (unlikely(atomic_load_explicit(&out->rate_out, memory_order_relaxed) != NULL)) {
        n = rate_out_admit(worker, out, packets, n);
        if (!n)
            return;
    }
    if (unlikely(atomic_load_explicit(&out->capture, memory_order_relaxed) != NULL))
        capture_packets(worker, out, packets, n, CAPTURE_OUT);
    for (uint16_t i = 0; !known && i < n; i++)
        demands_add(&demands, packets[i]);
    if (likely(demands_met(out, known ? known : &demands))) {
        send_conforming(worker, out, packets, n, shared);
        return;
    }
    while (begin < n) {
        uint16_t end = begin;

        while (end < n && conforms(out, packets[end]))
            end++;
        if (end > begin)
            send_conforming(worker, out, packets + begin, end - begin, shared);
        if (end < n)
            send_finished(worker, out, packets[end++], shared);
        begin = end;
    }
}

void deliver_prepare(struct worker *worker, uint16_t id, uint16_t n)
{
    struct port *out = port_by_id(id);
    struct send_queue *queue;

    if (!out || out->n_send_active != 1)
        return;
    queue = out->send[0];
    claim(worker, queue);
    if (atomic_load_explicit(&queue->ready, memory_order_acquire) && queue->ops->prepare)
        queue->ops->prepare(queue, n);
    unclaim(worker, queue);
}

void deliver_notify(struct worker *worker)
{
    if (!worker->n_sent && !worker->n_released)
        return;
    /* What was used must be seen before it is asked who waits for it: one fence for the whole round. */
    atomic_thread_fence(memory_order_seq_cst);
    for (uint16_t i = 0; i < worker->n_sent; i++) {
        struct send_queue *queue = worker->sent[i];

        claim(worker, queue);
        if (atomic_load_explicit(&queue->ready, memory_order_acquire))
            queue->ops->notify(queue);
        unclaim(worker, queue);
    }
    for (uint16_t i = 0; i < worker->n_released; i++)
        if (atomic_load_explicit(&worker->released[i]->ready, memory_order_acquire))
            worker->released[i]->ops->notify(worker->released[i]);
    worker->n_sent = worker->n_released = 0;
}
