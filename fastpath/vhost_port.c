/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports for guests: the vhost-user protocol (QEMU's docs/interop/vhost-user.rst),
 * spoken by DPDK's vhost library, whose threads call us here. The data path is
 * ours (vring.h). The library changes memory and rings under a running device, so
 * each message that may do that is bracketed: before it, all queues of the port
 * are taken from the workers; behind it, what is set up now is read, checked and
 * given back to them.
 *
 * Locks: a vhost port's 'lock' guards its state against the library's threads and
 * the control thread; 'ports_lock' the list of them. Neither is held while the
 * library is called to connect or disconnect, which calls back.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <pthread.h>
#include <rte_malloc.h>
#include <rte_vhost.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "fastpath/control.h"
#include "fastpath/vhost_guard.h"
#include "fastpath/vhost_port.h"
#include "fastpath/vhost_setup.h"
#include "fastpath/vhost_socket.h"
#include "fastpath/vring.h"
#include "fastpath/worker_internal.h"
#include "lib/log.h"

/* Requests of the vhost-user protocol that concern us. */
enum {
    REQUEST_GET_FEATURES = 1,
    REQUEST_RESET_OWNER = 4,
    REQUEST_SET_VRING_NUM = 8,
    REQUEST_GET_PROTOCOL_FEATURES = 15,
    REQUEST_GET_QUEUE_NUM = 17,
};

/* The head of every vhost-user message, in the host's byte order. */
struct vhost_message {
    uint32_t request;
    uint32_t flags;
    uint32_t size;
    uint64_t value;
} __attribute__((packed));

struct vhost_port {
    struct port port;
    struct vring_receive_queue receive[QUEUES_MAX];
    struct vring_send_queue send[QUEUES_MAX];
    struct guest_memory memory;

    pthread_mutex_t lock;
    int vid;      /* of the library's device; -1: not connected */
    bool running; /* the library says that the device is complete */
    bool registered;
    bool enabled[2 * QUEUES_MAX]; /* by the guest, per ring */
    int kick_fds[QUEUES_MAX];     /* watched by the workers; -1: none */
    uint64_t features;
    uint64_t n_connects;
    uint8_t logged_fault[2 * QUEUES_MAX];
    const char *refusal;      /* why the last guest was cut off, by vhost_guard.c; "" when it was not */
    _Atomic bool memory_gone; /* set by the SIGBUS handler */
    struct doorbell_peer guest; /* rung by the rings' call eventfds; when it blocks, the port is closed for good */
    bool is_closed;             /* control thread */
    LIST_ENTRY(vhost_port) entry;
};

static LIST_HEAD(, vhost_port) vhost_ports = LIST_HEAD_INITIALIZER(vhost_ports);
static pthread_mutex_t ports_lock = PTHREAD_MUTEX_INITIALIZER;

/* What is said of a port whose guest's doorbell has blocked. */
static const char closed_sentence[] =
    "stopped: its call eventfd blocks, which holds other ports up; remove the port and add it again";

/* Whose message this thread of the library is handling: it may touch memory that we do not know of yet. */
static _Thread_local const struct vhost_port *handling;

/* The port whose socket the library's device 'vid' belongs to; locked. NULL: none. */
static struct vhost_port *port_of(int vid)
{
    struct vhost_port *port;
    char path[sizeof port->port.spec.path];

    if (rte_vhost_get_ifname(vid, path, sizeof path))
        return NULL;
    pthread_mutex_lock(&ports_lock);
    LIST_FOREACH(port, &vhost_ports, entry)
    if (!strcmp(port->port.spec.path, path))
        break;
    if (port)
        pthread_mutex_lock(&port->lock);
    pthread_mutex_unlock(&ports_lock);
    return port;
}

/* The ring numbered 'index' in the protocol: even ones the guest receives from, odd ones it sends by. */
static struct virtqueue *ring_of(struct vhost_port *port, uint16_t index, _Atomic bool **ready)
{
    if (index % 2) {
        *ready = &port->receive[index / 2].queue.ready;
        return &port->receive[index / 2].ring;
    }
    *ready = &port->send[index / 2].queue.ready;
    return &port->send[index / 2].ring;
}

/* Takes all rings from the workers and tells the library where each one stands. */
static void pause_rings(struct vhost_port *port)
{
    bool was_ready[2 * QUEUES_MAX], any = false;

    for (uint16_t i = 0; i < 2 * port->port.n_receive; i++) {
        _Atomic bool *ready;
        struct virtqueue *ring = ring_of(port, i, &ready);

        /* A ring stopped by a fault may still be in a worker's hands. */
        was_ready[i] = atomic_exchange(ready, false);
        any |= was_ready[i] || atomic_load(&ring->fault);
    }
    if (any)
        workers_synchronize();
    for (uint16_t i = 0; i < 2 * port->port.n_receive; i++) {
        _Atomic bool *ready;
        const struct virtqueue *ring = ring_of(port, i, &ready);

        if (was_ready[i] && port->vid >= 0)
            rte_vhost_set_vring_base(port->vid, i, ring->last_avail | ring->avail_wrap << 15,
                                     ring->last_used | ring->used_wrap << 15);
    }
    for (uint16_t i = 0; i < port->port.n_receive; i++) {
        if (port->kick_fds[i] >= 0)
            worker_unwatch(&port->receive[i].queue, port->kick_fds[i]);
        port->kick_fds[i] = -1;
    }
}

static bool load_ring(const struct vhost_port *port, uint16_t index, struct virtqueue *ring, int *kick_fd)
{
    return vhost_load_ring(port->vid, index, port->features, &port->memory, ring, kick_fd);
}

static void start_ring(struct virtqueue *ring)
{
    if (ring->is_packed)
        vring_packed_start(ring);
    else
        vring_split_start(ring);
}

/* Gives a ring that has been started to the workers, unless the start found its memory gone. */
static void give_ring(const struct virtqueue *ring, _Atomic bool *ready)
{
    atomic_store_explicit(ready, !atomic_load(&ring->fault), memory_order_release);
}

/* Gives the rings that are set up and enabled to the workers. The rings are paused. */
static void resume_rings(struct vhost_port *port)
{
    uint16_t n_send = 0;

    if (!port->running || atomic_load(&port->memory_gone) || doorbell_peer_blocks(&port->guest) ||
        !vhost_load_memory(port->vid, &port->memory) ||
        rte_vhost_get_negotiated_features(port->vid, &port->features))
        return;
    port->port.offloads = vhost_guest_offloads(port->features);
    for (uint16_t i = 0; i < port->port.n_send; i++) {
        struct vring_send_queue *queue = &port->send[i];
        int kick_fd;

        if (!port->enabled[2 * i] || atomic_load(&queue->ring.fault) ||
            !load_ring(port, 2 * i, &queue->ring, &kick_fd))
            break;
        start_ring(&queue->ring);
        queue->queue.ops = queue->ring.is_packed ? &vring_packed_send_ops : &vring_split_send_ops;
        n_send++;
    }
    port->port.n_send_active = n_send;
    for (uint16_t i = 0; i < n_send; i++)
        give_ring(&port->send[i].ring, &port->send[i].queue.ready);
    for (uint16_t i = 0; i < port->port.n_receive; i++) {
        struct vring_receive_queue *queue = &port->receive[i];
        int kick_fd;

        if (!port->enabled[2 * i + 1] || atomic_load(&queue->ring.fault) ||
            !load_ring(port, 2 * i + 1, &queue->ring, &kick_fd))
            continue;
        start_ring(&queue->ring);
        queue->queue.ops = queue->ring.is_packed ? &vring_packed_receive_ops : &vring_split_receive_ops;
        if (kick_fd >= 0 && !worker_watch(&queue->queue, kick_fd))
            port->kick_fds[i] = kick_fd;
        give_ring(&queue->ring, &queue->queue.ready);
        worker_wake(&queue->queue);
    }
}

/* The library is about to handle a message. Returns what the library is to do with it. */
static enum rte_vhost_msg_result before_message(int vid, void *argument)
{
    enum rte_vhost_msg_result result = RTE_VHOST_MSG_RESULT_NOT_HANDLED;
    struct vhost_message *message = argument;
    struct vhost_port *port = port_of(vid);

    if (!port)
        return RTE_VHOST_MSG_RESULT_ERR;
    handling = port;
    switch (message->request) {
    case REQUEST_GET_FEATURES:
    case REQUEST_GET_PROTOCOL_FEATURES: break;
    case REQUEST_GET_QUEUE_NUM:
        /* The library would promise queues that this port does not have. */
        message->value = port->port.n_receive;
        message->size = sizeof message->value;
        result = RTE_VHOST_MSG_RESULT_REPLY;
        break;
    case REQUEST_RESET_OWNER:
        /* No longer used; "recommended that back-ends either ignore this message". */
        result = RTE_VHOST_MSG_RESULT_OK;
        break;
    case REQUEST_SET_VRING_NUM:
        /* The library would allocate memory for rings that this port does not have. */
        if ((uint32_t)message->value >= 2u * port->port.n_receive) {
            result = RTE_VHOST_MSG_RESULT_ERR;
            break;
        }
        pause_rings(port);
        break;
    default: pause_rings(port);
    }
    pthread_mutex_unlock(&port->lock);
    return result;
}

static enum rte_vhost_msg_result after_message(int vid, void *argument)
{
    const struct vhost_message *message = argument;
    struct vhost_port *port;

    if (message->request == REQUEST_GET_FEATURES || message->request == REQUEST_GET_PROTOCOL_FEATURES ||
        message->request == REQUEST_GET_QUEUE_NUM)
        return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
    port = port_of(vid);
    if (!port)
        return RTE_VHOST_MSG_RESULT_ERR;
    resume_rings(port);
    pthread_mutex_unlock(&port->lock);
    return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

static const struct rte_vhost_user_extern_ops message_ops = {
    .pre_msg_handle = before_message,
    .post_msg_handle = after_message,
};

static int new_connection(int vid)
{
    struct vhost_port *port = port_of(vid);
    int result = -1;

    if (!port)
        return -1;
    /* One guest a port: a second one knocking at a server's socket is turned away. */
    if (port->vid < 0 && !doorbell_peer_blocks(&port->guest) &&
        !rte_vhost_extern_callback_register(vid, &message_ops, NULL)) {
        port->vid = vid;
        port->n_connects++;
        result = 0;
    }
    pthread_mutex_unlock(&port->lock);
    return result;
}

static void destroy_connection(int vid)
{
    struct vhost_port *port = port_of(vid);

    if (!port)
        return;
    if (port->vid == vid) {
        pause_rings(port);
        port->vid = -1;
        port->running = false;
        port->port.n_send_active = 0;
        port->memory.n_regions = 0;
        memset(port->enabled, 0, sizeof port->enabled);
        port->refusal = vhost_guard_take_refusal();
        if (port->refusal[0])
            log_warning("port %s: the guest was cut off: %s", port->port.spec.name, port->refusal);
    }
    handling = NULL;
    pthread_mutex_unlock(&port->lock);
}

static int new_device(int vid)
{
    struct vhost_port *port = port_of(vid);

    if (!port)
        return -1;
    pause_rings(port);
    for (uint16_t i = 0; i < 2 * port->port.n_receive; i++) {
        _Atomic bool *ready;

        atomic_store(&ring_of(port, i, &ready)->fault, VRING_FAULT_NONE);
        port->logged_fault[i] = VRING_FAULT_NONE;
    }
    atomic_store(&port->memory_gone, false);
    port->refusal = "";
    port->running = true;
    resume_rings(port);
    log_info("port %s: the guest is connected, virtio features %#llx", port->port.spec.name,
             (unsigned long long)port->features);
    control_event(EVENT_PORT_UP, port->port.id, port->port.spec.name, "the guest is connected");
    pthread_mutex_unlock(&port->lock);
    return 0;
}

static void destroy_device(int vid)
{
    struct vhost_port *port = port_of(vid);

    if (!port)
        return;
    pause_rings(port);
    port->running = false;
    port->port.n_send_active = 0;
    log_info("port %s: the guest is gone or has reset its device", port->port.spec.name);
    control_event(EVENT_PORT_DOWN, port->port.id, port->port.spec.name,
                  "the guest is gone or has reset its device");
    pthread_mutex_unlock(&port->lock);
}

static int vring_state_changed(int vid, uint16_t index, int enable)
{
    struct vhost_port *port = port_of(vid);

    if (!port)
        return 0;
    if (index < 2 * port->port.n_receive) {
        pause_rings(port);
        port->enabled[index] = enable;
        resume_rings(port);
    }
    pthread_mutex_unlock(&port->lock);
    return 0;
}

static const struct rte_vhost_device_ops device_ops = {
    .new_device = new_device,
    .destroy_device = destroy_device,
    .vring_state_changed = vring_state_changed,
    .new_connection = new_connection,
    .destroy_connection = destroy_connection,
};

static struct port *vhost_create(const struct port_spec *spec, struct error *error)
{
    struct vhost_port *port, *other;

    if (!spec->path[0]) {
        error_set(error, EINVAL, "Port %s needs the path of its vhost-user socket.", spec->name);
        return NULL;
    }
    pthread_mutex_lock(&ports_lock);
    LIST_FOREACH(other, &vhost_ports, entry)
    if (!strcmp(other->port.spec.path, spec->path))
        break;
    pthread_mutex_unlock(&ports_lock);
    if (other) {
        error_set(error, EEXIST, "Port %s cannot use %s: port %s does.", spec->name, spec->path,
                  other->port.spec.name);
        return NULL;
    }
    port = rte_zmalloc("vhost_port", sizeof *port, 64);
    if (!port) {
        error_set(error, ENOMEM, "There is no memory for port %s.", spec->name);
        return NULL;
    }
    port->port.spec = *spec;
    port->port.ops = &vhost_port_ops;
    port->port.n_receive = port->port.n_send = spec->n_queues;
    port->port.offloads = PORT_OFFLOAD_BASE;
    port->port.frame_size_max = spec->mtu + PORT_FRAME_OVERHEAD;
    port->vid = -1;
    port->refusal = "";
    pthread_mutex_init(&port->lock, NULL);
    for (uint16_t i = 0; i < spec->n_queues; i++) {
        port->receive[i].queue.port = &port->port;
        port->receive[i].queue.index = i;
        port->send[i].queue.port = &port->port;
        port->receive[i].ring.peer = port->send[i].ring.peer = &port->guest;
        port->port.receive[i] = &port->receive[i].queue;
        port->port.send[i] = &port->send[i].queue;
        port->kick_fds[i] = -1;
    }
    return &port->port;
}

static int vhost_start(struct port *base, struct error *error)
{
    struct vhost_port *port = (struct vhost_port *)base;
    const struct port_spec *spec = &base->spec;
    int result = vhost_socket_prepare(spec, error);

    if (result)
        return result;
    pthread_mutex_lock(&ports_lock);
    LIST_INSERT_HEAD(&vhost_ports, port, entry);
    pthread_mutex_unlock(&ports_lock);
    port->registered = true;
    if (vhost_socket_open(spec, &device_ops))
        return error_set(error, EIO, "Port %s could not open the vhost-user socket %s; see the log for why.",
                         spec->name, spec->path);
    return 0;
}

static void vhost_stop(struct port *base)
{
    struct vhost_port *port = (struct vhost_port *)base;

    /* Closes the connection, which pauses the rings; no callback comes behind it. */
    if (port->registered)
        rte_vhost_driver_unregister(base->spec.path);
}

static void vhost_destroy(struct port *base)
{
    struct vhost_port *port = (struct vhost_port *)base;

    if (port->registered) {
        pthread_mutex_lock(&ports_lock);
        LIST_REMOVE(port, entry);
        pthread_mutex_unlock(&ports_lock);
    }
    pthread_mutex_destroy(&port->lock);
    rte_free(port);
}

/* The first fault among the port's rings. */
static enum vring_fault find_fault(struct vhost_port *port, uint16_t *index)
{
    for (*index = 0; *index < 2 * port->port.n_receive; (*index)++) {
        _Atomic bool *ready;
        enum vring_fault fault = atomic_load(&ring_of(port, *index, &ready)->fault);

        if (fault)
            return fault;
    }
    return VRING_FAULT_NONE;
}

static void vhost_get_status(const struct port *base, struct port_status *status)
{
    struct vhost_port *port = (struct vhost_port *)base;
    enum vring_fault fault;
    uint16_t index;

    pthread_mutex_lock(&port->lock);
    fault = find_fault(port, &index);
    for (uint16_t i = 0; i < base->n_receive; i++)
        status->n_queues +=
            atomic_load(&port->receive[i].queue.ready) || atomic_load(&port->send[i].queue.ready);
    status->features = port->running ? port->features : 0;
    status->n_connects = port->n_connects;
    /* A guest whose rings break the rules is stopped, even if another of its rings still works. */
    status->up = status->n_queues > 0 && !fault && !doorbell_peer_blocks(&port->guest);
    if (doorbell_peer_blocks(&port->guest))
        snprintf(status->reason, sizeof status->reason, "%s", closed_sentence);
    else if (atomic_load(&port->memory_gone))
        snprintf(status->reason, sizeof status->reason, "%s", vring_fault_sentence(VRING_FAULT_MEMORY_GONE));
    else if (fault)
        snprintf(status->reason, sizeof status->reason, "ring %u: %s", index, vring_fault_sentence(fault));
    else if (!status->up && port->refusal[0])
        snprintf(status->reason, sizeof status->reason, "the guest was cut off: %s", port->refusal);
    else if (!status->up)
        snprintf(status->reason, sizeof status->reason, "%s",
                 port->vid < 0   ? "no guest is connected"
                 : port->running ? "the guest has not enabled its rings"
                                 : "the guest has not set its device up");
    pthread_mutex_unlock(&port->lock);
}

/*
 * Closes the sockets of guests that made a call eventfd block, for good: they would do it again. As in
 * connect_clients(), the list is ours, and must not be locked.
 */
static void close_blocked(void)
{
    struct vhost_port *port;

    LIST_FOREACH(port, &vhost_ports, entry)
    {
        if (port->is_closed || !doorbell_peer_blocks(&port->guest))
            continue;
        port->is_closed = true;
        rte_vhost_driver_unregister(port->port.spec.path);
        log_warning("port %s: %s", port->port.spec.name, closed_sentence);
        control_event(EVENT_PORT_DOWN, port->port.id, port->port.spec.name, closed_sentence);
    }
}

/* Only the control thread, which we are, changes the list; the library's callbacks must be able to lock it meanwhile. */
static void connect_clients(void)
{
    struct vhost_port *port;

    LIST_FOREACH(port, &vhost_ports, entry)
    {
        bool is_connected;

        pthread_mutex_lock(&port->lock);
        is_connected = port->vid >= 0;
        pthread_mutex_unlock(&port->lock);
        if (port->port.spec.server || is_connected || port->is_closed)
            continue;
        rte_vhost_driver_unregister(port->port.spec.path);
        vhost_socket_open(&port->port.spec, &device_ops);
    }
}

void vhost_ports_check(void)
{
    struct vhost_port *port;

    close_blocked();
    connect_clients();
    pthread_mutex_lock(&ports_lock);
    LIST_FOREACH(port, &vhost_ports, entry)
    {
        for (uint16_t i = 0; i < 2 * port->port.n_receive; i++) {
            _Atomic bool *ready;
            enum vring_fault fault = atomic_load(&ring_of(port, i, &ready)->fault);

            if (fault && fault != port->logged_fault[i]) {
                log_warning("port %s: ring %u is stopped: %s", port->port.spec.name, i,
                            vring_fault_sentence(fault));
                control_event(EVENT_PORT_DOWN, port->port.id, port->port.spec.name,
                              vring_fault_sentence(fault));
            }
            port->logged_fault[i] = fault;
        }
    }
    pthread_mutex_unlock(&ports_lock);
}

bool vhost_port_memory_lost(struct port *base, const void *address)
{
    struct vhost_port *port = (struct vhost_port *)base;

    if (base->ops != &vhost_port_ops || (port != handling && !vhost_in_memory(&port->memory, address, 1, 1)))
        return false;
    atomic_store(&port->memory_gone, true);
    for (uint16_t i = 0; i < 2 * base->n_receive; i++) {
        _Atomic bool *ready;
        struct virtqueue *ring = ring_of(port, i, &ready);

        atomic_store(&ring->fault, VRING_FAULT_MEMORY_GONE);
        atomic_store(ready, false);
    }
    return true;
}

const struct port_ops vhost_port_ops = {
    .create = vhost_create,
    .start = vhost_start,
    .stop = vhost_stop,
    .destroy = vhost_destroy,
    .get_status = vhost_get_status,
};
