/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/representor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fastpath/packet_copy.h"
#include "fastpath/vring_buffer.h"
#include "lib/compiler.h"

/*
 * Bytes of a ring: for 1,300 frames of 1,518 bytes, 230 of 9,018, 30 of the largest packets. What comes from the vSwitch, which waits for
 * nobody, finds about as much room as in the queue of a NIC; larger rings stay out of the caches (docs/performance.md). Who sends to the
 * vSwitch waits (onload.h) before its ring is full, so that less is under way.
 */
#define RING_SIZE (2u << 20)
#define TO_VSWITCH_MOST (1u << 20) /* bytes that are under way when senders wait */

/* One pair of rings. Two workers may use it, one each way. */
struct representor_queue {
    struct receive_queue receive; /* the ring from the vSwitch, as workers poll it */
    struct packet_ring_consumer from_vswitch;
    bool fault_counted;
    _Atomic uint64_t delivered; /* position: all before it have been forwarded; any worker reads it */

    struct packet_ring_producer to_vswitch __attribute__((aligned(128)));
} __attribute__((aligned(128)));

struct representor {
    /* set once */
    uint32_t handle;
    uint16_t n_queues;
    int memory_fd;
    int to_vswitch_fd, from_vswitch_fd;
    struct doorbell_peer *peer;
    struct packet_ring_memory memory;
    struct representor_queue queues[]; /* 'n_queues' of them */
};

/* Workers */

/* Puts a packet that 'next' (NULL: nobody knows) will follow into the ring, or counts that it did not fit. */
static bool put(struct packet_ring_producer *ring, const struct packet *packet, const struct packet *next)
{
    if (likely(packet_to_ring(ring, packet, packet->size, 0, 0, next)))
        return true;
    packet_ring_count_dropped(ring, 1);
    return false;
}

bool representor_put(struct representor *representor, uint16_t queue, const struct packet *packet)
{
    return put(&representor->queues[queue].to_vswitch, packet, NULL);
}

void representor_publish(struct representor *representor, uint16_t queue)
{
    if (packet_ring_publish(&representor->queues[queue].to_vswitch))
        doorbell_ring(representor->peer, representor->to_vswitch_fd);
}

uint16_t representor_send(struct representor *representor, uint16_t queue, struct packet *const packets[],
                          uint16_t n)
{
    struct packet_ring_producer *ring = &representor->queues[queue].to_vswitch;
    uint16_t n_sent = 0;

    while (n_sent < n && put(ring, packets[n_sent], n_sent + 1 < n ? packets[n_sent + 1] : NULL))
        n_sent++;
    if (n_sent + 1 < n)
        packet_ring_count_dropped(ring, n - n_sent - 1);
    representor_publish(representor, queue);
    return n_sent;
}

uint64_t representor_room(struct representor *representor, uint16_t queue, uint64_t enough)
{
    const uint64_t kept = RING_SIZE - TO_VSWITCH_MOST;
    uint64_t room = packet_ring_room(&representor->queues[queue].to_vswitch, enough + kept);

    return room > kept ? room - kept : 0;
}

uint32_t representor_handle(const struct representor *representor)
{
    return representor->handle;
}

uint64_t representor_tail(const struct representor *representor, uint16_t queue)
{
    return packet_ring_tail(&representor->queues[queue].to_vswitch);
}

bool representor_came_back(struct representor *representor, uint16_t queue, uint64_t tail)
{
    return packet_ring_came_back(&representor->queues[queue].to_vswitch, tail);
}

uint64_t representor_progress(const struct representor *representor, uint16_t queue)
{
    return packet_ring_progress(&representor->queues[queue].to_vswitch);
}

bool representor_is_broken(const struct representor *representor, uint16_t queue)
{
    return atomic_load_explicit(&representor->queues[queue].to_vswitch.fault, memory_order_relaxed) !=
           PACKET_RING_FAULT_NONE;
}

bool representor_returned(const struct representor *representor, uint16_t queue, uint64_t *position)
{
    const struct representor_queue *pair = &representor->queues[queue];
    const struct packet_ring_consumer *ring = &pair->from_vswitch;
    /* In this order, so that a good position is never further ahead than the ring is long. */
    uint64_t produced = atomic_load_explicit(&ring->shared->produced, memory_order_acquire);
    uint64_t delivered = atomic_load_explicit(&pair->delivered, memory_order_relaxed);

    *position = produced;
    return atomic_load_explicit(&ring->fault, memory_order_relaxed) == PACKET_RING_FAULT_NONE &&
           (produced <= delivered || produced - delivered <= ring->data_size);
}

uint64_t representor_delivered(const struct representor *representor, uint16_t queue)
{
    return atomic_load_explicit(&representor->queues[queue].delivered, memory_order_acquire);
}

/* Operations of the receive queues; the rules are those of struct receive_ops. */

static uint16_t queue_receive(struct receive_queue *receive, struct burst *burst, uint16_t most)
{
    struct representor_queue *queue = (struct representor_queue *)receive;
    struct port_counters *counters = worker_counters(burst->worker, receive->port);
    struct packet_ring_frame frames[BURST_MAX];
    uint16_t n = packet_ring_peek(&queue->from_vswitch, frames, most);

    burst->n = 0;
    if (unlikely(queue->from_vswitch.fault != PACKET_RING_FAULT_NONE && !queue->fault_counted)) {
        queue->fault_counted = true;
        counters->drops[DROP_RING_BAD]++;
    }
    for (uint16_t i = 0; i < n; i++) {
        const struct packet_ring_frame *frame = &frames[i];
        struct packet *packet;

        if (frame->size < ETHERNET_HEADER_SIZE) {
            counters->drops[DROP_RING_BAD]++;
            continue;
        }
        packet = packet_begin(burst, burst->n++, receive->port->id);
        memcpy(&packet->offload, &frame->offload, sizeof packet->offload);
        packet->offload.flags &= PACKET_NEEDS_CSUM;
        packet->size = frame->size;
        packet->head_size = (uint16_t)snapshot_size(
            &packet->offload, packet->offload.flags | packet->offload.gso_type, frame->size);
        packet->tail = frame->data + packet->head_size;
        packet->tail_size = frame->size - packet->head_size;
        copy_head(packet->head, frame->data, packet->head_size);
    }
    return n;
}

static void queue_release(struct receive_queue *receive, struct burst *burst)
{
    struct representor_queue *queue = (struct representor_queue *)receive;

    /* Release: who sees this sees the frames in the receivers' queues. First, so that it is never behind what the peer sees. */
    atomic_store_explicit(&queue->delivered, queue->from_vswitch.position, memory_order_release);
    packet_ring_release(&queue->from_vswitch);
}

static bool queue_arm(struct receive_queue *receive)
{
    struct representor_queue *queue = (struct representor_queue *)receive;

    /* Nothing will come from a broken ring: the worker may well sleep. */
    return packet_ring_may_sleep(&queue->from_vswitch) || queue->from_vswitch.fault != PACKET_RING_FAULT_NONE;
}

static void queue_disarm(struct receive_queue *receive)
{
    packet_ring_awake(&((struct representor_queue *)receive)->from_vswitch);
}

static const struct receive_ops queue_ops = {
    .receive = queue_receive, .release = queue_release, .arm = queue_arm, .disarm = queue_disarm};

/* Control thread */

/* Frees what representor_create() made, or as much of it as there is. */
static void representor_destroy(struct representor *representor)
{
    packet_ring_unmap(&representor->memory);
    if (representor->memory_fd >= 0)
        close(representor->memory_fd);
    if (representor->to_vswitch_fd >= 0)
        close(representor->to_vswitch_fd);
    if (representor->from_vswitch_fd >= 0)
        close(representor->from_vswitch_fd);
    free(representor);
}

static int make_rings(struct representor *representor, struct error *error)
{
    int code;

    if (representor->to_vswitch_fd < 0 || representor->from_vswitch_fd < 0)
        return error_set(error, EMFILE, "No eventfd can be made for a representor: are too many files open?");
    code = packet_ring_create("vnode-representor", 2u * representor->n_queues, RING_SIZE,
                              &representor->memory_fd, error);
    if (code == 0)
        code = packet_ring_map(&representor->memory, representor->memory_fd, error);
    for (uint16_t i = 0; code == 0 && i < representor->n_queues; i++) {
        struct representor_queue *queue = &representor->queues[i];

        code = packet_ring_producer_attach(&queue->to_vswitch, &representor->memory, 2u * i, error);
        if (code == 0)
            code = packet_ring_consumer_attach(&queue->from_vswitch, &representor->memory, 2u * i + 1, error);
    }
    return code;
}

static struct representor *representor_create(struct port *port, struct error *error)
{
    static uint32_t last_handle;
    size_t size = sizeof(struct representor) + port->n_receive * sizeof(struct representor_queue);
    struct representor *representor = aligned_alloc(128, (size + 127) & ~(size_t)127);

    if (!representor) {
        error_set(error, ENOMEM, "There is no memory for the representor of port %s.", port->spec.name);
        return NULL;
    }
    memset(representor, 0, size);
    representor->handle = ++last_handle;
    representor->n_queues = port->n_receive;
    representor->peer = &port->vswitch;
    representor->memory_fd = -1;
    representor->to_vswitch_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    representor->from_vswitch_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (make_rings(representor, error)) {
        representor_destroy(representor);
        return NULL;
    }
    for (uint16_t i = 0; i < representor->n_queues; i++)
        representor->queues[i].receive =
            (struct receive_queue){.port = port, .ops = &queue_ops, .index = i, .from_vswitch = true};
    return representor;
}

static void list_queues(struct representor *representor, struct receive_queue *queues[])
{
    for (uint16_t i = 0; i < representor->n_queues; i++)
        queues[i] = &representor->queues[i].receive;
}

/* Gives the rings to the workers: each polls its share, and the doorbell wakes all that do. */
static int start_polling(struct representor *representor, struct error *error)
{
    struct receive_queue *queues[QUEUES_MAX];

    list_queues(representor, queues);
    workers_add_queues(queues, representor->n_queues);
    for (uint16_t i = 0; i < representor->n_queues; i++) {
        int code = worker_watch(queues[i], representor->from_vswitch_fd);

        /* EEXIST: the same worker polls another of these queues. */
        if (code && code != EEXIST)
            return error_set(error, code, "The doorbell of a representor cannot be watched: %s.",
                             strerror(code));
    }
    for (uint16_t i = 0; i < representor->n_queues; i++) {
        atomic_store_explicit(&queues[i]->ready, true, memory_order_release);
        worker_wake(queues[i]);
    }
    return 0;
}

static void stop_polling(struct representor *representor)
{
    struct receive_queue *queues[QUEUES_MAX];

    list_queues(representor, queues);
    for (uint16_t i = 0; i < representor->n_queues; i++) {
        atomic_store_explicit(&queues[i]->ready, false, memory_order_release);
        worker_unwatch(queues[i], representor->from_vswitch_fd);
    }
    workers_remove_queues(queues, representor->n_queues);
    workers_synchronize();
}

int representor_open(uint16_t port_id, struct representor_offer *offer, struct error *error)
{
    struct port *port = port_by_id(port_id);
    struct error why = {.code = 0};
    struct representor *representor;

    if (!port)
        return error_set(error, ENOENT, "There is no port with id %u to represent.", port_id);
    if (atomic_load(&port->representor))
        return error_set(error, EBUSY,
                         "The representor of port %s is held by another vSwitch; end that one first.",
                         port->spec.name);
    if (doorbell_peer_blocks(&port->vswitch))
        return error_set(error, EPERM,
                         "The vSwitch made the doorbell of port %s's representor block, which holds other ports "
                         "up; to represent the port again, remove it and add it again.",
                         port->spec.name);
    representor = representor_create(port, &why);
    if (!representor)
        return error_set(error, why.code, "%s", why.text);
    if (start_polling(representor, &why)) {
        stop_polling(representor);
        representor_destroy(representor);
        return error_set(error, why.code, "%s", why.text);
    }
    *offer = (struct representor_offer){.memory_fd = representor->memory_fd,
                                        .to_vswitch_fd = representor->to_vswitch_fd,
                                        .from_vswitch_fd = representor->from_vswitch_fd,
                                        .n_queues = representor->n_queues,
                                        .handle = representor->handle};
    /* Release: a worker that sees the representor sees its rings. */
    atomic_store_explicit(&port->representor, representor, memory_order_release);
    return 0;
}

void representor_detach(struct port *port)
{
    struct representor *representor = atomic_load(&port->representor);

    if (!representor)
        return;
    /* First: who sees that the port has no representor may rely on it that nothing comes from its rings (move.c). */
    stop_polling(representor);
    atomic_store_explicit(&port->representor, NULL, memory_order_release);
    workers_synchronize();
    representor_destroy(representor);
}

void representor_close(uint32_t handle)
{
    for (uint16_t id = 0; id < PORTS_MAX; id++) {
        struct port *port = port_by_id(id);
        const struct representor *representor = port ? atomic_load(&port->representor) : NULL;

        if (representor && representor->handle == handle) {
            representor_detach(port);
            return;
        }
    }
}

const char *representor_fault(uint16_t port_id)
{
    struct port *port = port_by_id(port_id);
    const struct representor *representor = port ? atomic_load(&port->representor) : NULL;

    for (uint16_t i = 0; representor && i < representor->n_queues; i++) {
        const struct representor_queue *queue = &representor->queues[i];

        if (queue->to_vswitch.fault != PACKET_RING_FAULT_NONE)
            return packet_ring_fault_sentence(queue->to_vswitch.fault);
        if (queue->from_vswitch.fault != PACKET_RING_FAULT_NONE)
            return packet_ring_fault_sentence(queue->from_vswitch.fault);
    }
    return NULL;
}
