/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/onload.h"

#include "fastpath/rate.h"
#include "fastpath/representor.h"
#include "fastpath/segment.h"
#include "lib/compiler.h"
#include "proto/packet_ring.h"

#define LOOK_US 50 /* between two looks whether there is room again */

struct onload_context {
    struct representor *representor;
    uint16_t queue;
    uint32_t mtu;
    struct port_counters *counters;
};

static bool put_piece(struct packet *piece, void *argument)
{
    const struct onload_context *context = argument;

    if (representor_put(context->representor, context->queue, piece))
        context->counters->to_vswitch++;
    else
        context->counters->drops[DROP_RING_FULL]++;
    return true;
}

static void put_fragments(struct packet *packet, struct onload_context *context)
{
    int result = packet_fragment(packet, context->mtu, put_piece, context);

    if (result)
        context->counters->drops[result - 1]++;
}

/* The sender's segments may be larger than what its port allows. */
static bool put_segment(struct packet *segment, void *argument)
{
    struct onload_context *context = argument;

    if (likely(segment->size <= context->mtu + PORT_FRAME_OVERHEAD))
        return put_piece(segment, context);
    put_fragments(segment, context);
    return true;
}

/* Finishes what the packet's sender left open, and hands on what comes of it. */
static void put_finished(struct packet *packet, struct onload_context *context)
{
    if (packet->offload.gso_type == PACKET_GSO_NONE) {
        packet_finish_checksum(packet);
        put_piece(packet, context);
        return;
    }
    if (packet->offload.gso_type == PACKET_GSO_UDP) {
        put_fragments(packet, context);
    } else {
        int result = packet_segment_gso(packet, false, put_segment, context);

        if (result)
            context->counters->drops[result - 1]++;
    }
    /* A few of these fill the ring: the vSwitch may begin. */
    representor_publish(context->representor, context->queue);
}

static inline bool is_finished(const struct packet *packet)
{
    return !(packet->offload.flags & PACKET_NEEDS_CSUM) && packet->offload.gso_type == PACKET_GSO_NONE;
}

static uint32_t largest(struct packet *const packets[], uint16_t n)
{
    uint32_t size = 0;

    for (uint16_t i = 0; i < n; i++)
        size = packets[i]->size > size ? packets[i]->size : size;
    return size;
}

/* What a packet of that size takes in the ring at most, headers and records of its segments included. */
static uint64_t room_for(uint32_t size)
{
    return PACKET_RING_RECORD_SIZE(size + size / 4);
}

static bool is_patient(struct onload_state *state, uint64_t progress, uint64_t now)
{
    if (state->progress != progress) {
        state->progress = progress;
        state->since = now;
    }
    return now - state->since <= rate_units(ONLOAD_PATIENCE_US * 1000);
}

uint16_t onload_allowance(struct receive_queue *queue)
{
    struct onload_state *state = &queue->onload;
    struct representor *representor = atomic_load_explicit(&queue->port->representor, memory_order_acquire);
    uint64_t each = room_for(state->gso_bursts ? FRAME_SIZE_MAX : state->size), n, now;

    n = representor ? representor_room(representor, queue->index, BURST_MAX * each) / each : BURST_MAX;
    if (!n) {
        now = rate_now();
        state->is_held = !representor_is_broken(representor, queue->index) &&
                         is_patient(state, representor_progress(representor, queue->index), now);
        state->until = now + rate_units(LOOK_US * 1000);
        if (state->is_held)
            return 0;
        n = BURST_MAX;
    }
    state->is_held = false;
    return n < BURST_MAX ? (uint16_t)n : BURST_MAX;
}

void onload(struct worker *worker, struct receive_queue *queue, struct packet *const packets[], uint16_t n)
{
    struct onload_context context = {
        .representor = atomic_load_explicit(&queue->port->representor, memory_order_acquire),
        .queue = queue->index,
        .mtu = queue->port->spec.mtu,
        .counters = worker_counters(worker, queue->port)};
    uint16_t begin = 0;

    if (!context.representor) {
        context.counters->drops[DROP_NO_RULE] += n;
        return;
    }
    if (onload_can_wait(queue))
        queue->onload.size = largest(packets, n);
    while (begin < n) {
        uint16_t end = begin, sent;

        while (end < n && is_finished(packets[end]))
            end++;
        if (end > begin) {
            sent = representor_send(context.representor, context.queue, packets + begin, end - begin);
            context.counters->to_vswitch += sent;
            context.counters->drops[DROP_RING_FULL] += end - begin - sent;
        }
        if (end < n)
            put_finished(packets[end++], &context);
        begin = end;
    }
    /* What was finished last, if nothing plain came behind it. */
    representor_publish(context.representor, context.queue);
}
