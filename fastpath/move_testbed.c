/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/move_testbed.h"

#include <stdlib.h>
#include <string.h>

#include "fastpath/match_cache.h"
#include "fastpath/vring_buffer.h"

_Atomic(struct port *) ports[PORTS_MAX];
void (*bed_synchronize)(void);
unsigned bed_n_synchronized, bed_n_woken;

static struct bed *the_bed;

/* What worker.c does. */

void workers_synchronize(void)
{
    bed_n_synchronized++;
    if (bed_synchronize)
        bed_synchronize();
}

uint16_t workers_count(void)
{
    return 2;
}

void workers_add_queues(struct receive_queue *queues[], uint16_t n)
{
    for (uint16_t i = 0; i < n; i++) {
        queues[i]->worker = i % 2;
        the_bed->ports[queues[i]->port->id].rings[i] = queues[i];
    }
}

void workers_remove_queues(struct receive_queue *queues[], uint16_t n)
{
    for (uint16_t i = 0; i < n; i++)
        the_bed->ports[queues[i]->port->id].rings[i] = NULL;
}

int worker_watch(const struct receive_queue *queue, int fd)
{
    return 0;
}

void worker_unwatch(const struct receive_queue *queue, int fd)
{
}

void worker_wake(const struct receive_queue *queue)
{
    bed_n_woken++;
}

/* Frames: addresses, the flow in the last two bytes of the source's; a type for experiments; a sequence number. */

unsigned bed_flow(const uint8_t *frame)
{
    return (unsigned)frame[10] << 8 | frame[11];
}

uint64_t bed_sequence(const uint8_t *frame)
{
    uint64_t sequence;

    memcpy(&sequence, frame + 16, sizeof sequence);
    return sequence;
}

static void write_frame(uint8_t *frame, unsigned flow, uint64_t sequence)
{
    const uint8_t header[14] = {2,    0,   0, 0, 1, 1, 2, 0, 0, 0, (uint8_t)(flow >> 8), (uint8_t)flow,
                                0x88, 0xb5};

    memset(frame, 0, BED_FRAME_SIZE);
    memcpy(frame, header, sizeof header);
    memcpy(frame + 16, &sequence, sizeof sequence);
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint16_t check_and_count(struct send_queue *queue, struct worker *worker,
                                struct packet *const packets[], uint16_t n, bool shared)
{
    struct bed_port *port = &the_bed->ports[queue->port->id];

    for (uint16_t i = 0; i < n; i++) {
        _Atomic uint64_t *next = &port->next[bed_flow(packets[i]->head)];
        uint64_t sequence = bed_sequence(packets[i]->head), expected = *next;

        if (sequence < expected)
            add(&port->n_reordered, 1);
        else
            add(&port->n_lost, sequence - expected);
        atomic_store(next, sequence + 1);
        add(&port->n_offloaded, packets[i]->in_port != queue->port->id);
    }
    add(&port->n_delivered, n);
    return n;
}

static const struct receive_ops guest_ops = {.crowded = NULL}; /* tests forward bursts that they made themselves */
static const struct send_ops send_ops = {.send = check_and_count};

static void set_up_port(struct bed *bed, enum bed_port_id id)
{
    struct bed_port *port = &bed->ports[id];

    port->port.id = id;
    port->port.n_receive = BED_QUEUES;
    port->port.n_send = 1;
    port->port.table = flow_tables_get(bed->tables, id);
    port->port.counters = port->counters;
    port->port.offloads = PORT_OFFLOAD_BASE;
    port->port.frame_size_max = FRAME_SIZE_MAX;
    port->port.shared_rules = true;
    port->port.spec.mtu = 1500;
    port->port.spec.name[0] = (char)('a' + id);
    atomic_store(&port->port.n_send_active, 1);
    for (uint16_t i = 0; i < BED_QUEUES; i++) {
        port->receive[i] =
            (struct receive_queue){.port = &port->port, .ops = &guest_ops, .index = i, .worker = i % 2};
        port->port.receive[i] = &port->receive[i];
    }
    port->send.port = &port->port;
    port->send.ops = &send_ops;
    atomic_store(&port->send.ready, true);
    port->port.send[0] = &port->send;
    atomic_store(&ports[id], &port->port);
}

struct bed *bed_create(void)
{
    struct bed *bed = aligned_alloc(128, (sizeof *bed + 127) & ~127ul);

    if (!bed)
        abort();
    memset(bed, 0, sizeof *bed);
    the_bed = bed;
    bed->tables = flow_tables_create(2 * MOVES_MAX, NULL);
    for (uint16_t i = 0; i < 2; i++) {
        struct worker *worker = &bed->workers[i];

        worker->index = i;
        worker->burst.worker = worker;
        worker->cache = match_cache_create();
        for (uint16_t j = 0; j < BURST_MAX; j++)
            worker->burst.all[j] = &worker->burst.packets[j];
    }
    for (enum bed_port_id id = 0; id < BED_PORTS; id++) {
        set_up_port(bed, id);
        bed_attach(bed, id);
    }
    return bed;
}

void bed_destroy(struct bed *bed)
{
    for (enum bed_port_id id = 0; id < BED_PORTS; id++) {
        bed_detach(bed, id);
        atomic_store(&ports[id], NULL);
    }
    for (unsigned i = 0; i < 2; i++)
        match_cache_destroy(bed->workers[i].cache);
    flow_tables_destroy(bed->tables);
    free(bed);
    the_bed = NULL;
}

void bed_attach(struct bed *bed, enum bed_port_id id)
{
    struct bed_port *port = &bed->ports[id];

    if (representor_open(id, &port->offer, NULL) || packet_ring_map(&port->memory, port->offer.memory_fd, NULL))
        abort();
    for (uint32_t i = 0; i < BED_QUEUES; i++)
        if (packet_ring_consumer_attach(&port->from_fastpath[i], &port->memory, 2 * i, NULL) ||
            packet_ring_producer_attach(&port->to_fastpath[i], &port->memory, 2 * i + 1, NULL))
            abort();
}

void bed_detach(struct bed *bed, enum bed_port_id id)
{
    packet_ring_unmap(&bed->ports[id].memory);
    representor_detach(&bed->ports[id].port);
}

struct rule *bed_add_rule(struct bed *bed, uint64_t id, unsigned flow, const struct action actions[], uint16_t n)
{
    struct rule_spec spec = {.id = id, .in_port = BED_IN, .n_actions = n, .onload = true};

    memset(spec.mask.eth_src, UINT8_MAX, sizeof spec.mask.eth_src);
    spec.key.eth_src[0] = 2;
    spec.key.eth_src[4] = (uint8_t)(flow >> 8);
    spec.key.eth_src[5] = (uint8_t)flow;
    memcpy(spec.actions, actions, n * sizeof actions[0]);
    if (flow_tables_insert(bed->tables, &spec, NULL))
        abort();
    return flow_tables_find(bed->tables, id);
}

void bed_forward(struct bed *bed, unsigned worker, unsigned queue, unsigned flow, uint16_t n)
{
    unsigned flows[BURST_MAX];

    for (uint16_t i = 0; i < n; i++)
        flows[i] = flow;
    bed_forward_mixed(bed, worker, queue, flows, n);
}

void bed_forward_mixed(struct bed *bed, unsigned worker, unsigned queue, const unsigned flows[], uint16_t n)
{
    struct burst *burst = &bed->workers[worker].burst;

    for (uint16_t i = 0; i < n; i++) {
        struct packet *packet = packet_begin(burst, i, BED_IN);

        write_frame(packet->head, flows[i], bed->next[flows[i]]++);
        packet->size = packet->head_size = BED_FRAME_SIZE;
        packet->tail_size = 0;
        memset(&packet->offload, 0, sizeof packet->offload);
    }
    burst->n = n;
    forward_burst(&bed->workers[worker], &bed->ports[BED_IN].receive[queue], burst);
    bed->workers[worker].n_sent = 0;
}

uint16_t bed_poll_ring(struct bed *bed, unsigned worker, enum bed_port_id port, unsigned queue)
{
    struct receive_queue *ring = bed->ports[port].rings[queue];
    struct burst *burst = &bed->workers[worker].burst;
    uint16_t n = ring->ops->receive(ring, burst, BURST_MAX);

    if (n) {
        forward_burst(&bed->workers[worker], ring, burst);
        ring->ops->release(ring, burst);
    }
    return n;
}

bool bed_output(struct bed *bed, enum bed_port_id port, unsigned queue, const struct packet_ring_frame *frame)
{
    struct packet_ring_producer *ring = &bed->ports[port].to_fastpath[queue];
    uint8_t *data = packet_ring_reserve(ring, frame->size);

    if (!data)
        return false;
    memcpy(data, frame->data, frame->size);
    packet_ring_commit(ring, frame);
    return true;
}
