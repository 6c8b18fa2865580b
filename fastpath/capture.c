/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/capture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "fastpath/packet_copy.h"
#include "fastpath/worker_internal.h"

#define RING_DATA_SIZE \
    (4u << 20) /* bytes for each worker: 60 of the largest packets, 32,000 of the smallest */

struct capture {
    /* set once */
    uint32_t snap_size;
    uint32_t handle;
    uint32_t n_rings;
    int memory_fd;
    int doorbell_fd;
    struct doorbell_peer *peer;
    struct packet_ring_memory memory;

    /* one worker each */
    struct {
        struct packet_ring_producer ring;
    } __attribute__((aligned(128))) workers[WORKERS_MAX];
};

/* Frees what capture_create() made, or as much of it as there is. */
static void capture_destroy(struct capture *capture)
{
    packet_ring_unmap(&capture->memory);
    if (capture->memory_fd >= 0)
        close(capture->memory_fd);
    if (capture->doorbell_fd >= 0)
        close(capture->doorbell_fd);
    free(capture);
}

static int capture_create(struct port *port, uint32_t snap_size, struct capture **created, struct error *error)
{
    static uint32_t last_handle;
    struct capture *capture = aligned_alloc(128, sizeof *capture);
    int code;

    if (!capture)
        return error_set(error, ENOMEM, "Port %s cannot be captured: there is no memory.", port->spec.name);
    *capture =
        (struct capture){.snap_size = snap_size && snap_size < FRAME_SIZE_MAX ? snap_size : FRAME_SIZE_MAX,
                         .handle = ++last_handle,
                         .n_rings = workers_count(),
                         .peer = &port->watcher,
                         .memory_fd = -1};
    capture->doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (capture->doorbell_fd < 0)
        code = error_set(error, errno, "Port %s cannot be captured: no eventfd can be made: %s.",
                         port->spec.name, strerror(errno));
    else
        code =
            packet_ring_create("vnode-capture", capture->n_rings, RING_DATA_SIZE, &capture->memory_fd, error);
    if (code == 0)
        code = packet_ring_map(&capture->memory, capture->memory_fd, error);
    for (uint32_t i = 0; code == 0 && i < capture->n_rings; i++)
        code = packet_ring_producer_attach(&capture->workers[i].ring, &capture->memory, i, error);
    if (code) {
        capture_destroy(capture);
        return code;
    }
    *created = capture;
    return 0;
}

int capture_start(uint16_t port_id, uint32_t snap_size, struct capture_offer *offer, struct error *error)
{
    struct port *port = port_by_id(port_id);
    struct capture *capture = NULL;
    int code;

    if (!port)
        return error_set(error, ENOENT, "There is no port with id %u to capture.", port_id);
    if (atomic_load(&port->capture))
        return error_set(error, EBUSY, "Port %s is being captured already; end the other capture first.",
                         port->spec.name);
    if (doorbell_peer_blocks(&port->watcher))
        return error_set(error, EPERM,
                         "A capture's client made the doorbell of port %s block, which holds other ports up; to "
                         "capture the port again, remove it and add it again.",
                         port->spec.name);
    code = capture_create(port, snap_size, &capture, error);
    if (code)
        return code;
    *offer = (struct capture_offer){.memory_fd = capture->memory_fd,
                                    .doorbell_fd = capture->doorbell_fd,
                                    .n_rings = capture->n_rings,
                                    .handle = capture->handle};
    /* Release: a worker that sees the capture sees its rings. */
    atomic_store_explicit(&port->capture, capture, memory_order_release);
    return 0;
}

void capture_detach(struct port *port)
{
    struct capture *capture = atomic_exchange(&port->capture, NULL);

    if (!capture)
        return;
    workers_synchronize();
    capture_destroy(capture);
}

void capture_stop(uint32_t handle)
{
    for (uint16_t id = 0; id < PORTS_MAX; id++) {
        struct port *port = port_by_id(id);
        const struct capture *capture = port ? atomic_load(&port->capture) : NULL;

        if (capture && capture->handle == handle) {
            capture_detach(port);
            return;
        }
    }
}

void capture_packets(struct worker *worker, struct port *port, struct packet *const packets[], uint16_t n,
                     enum capture_direction direction)
{
    struct capture *capture = atomic_load_explicit(&port->capture, memory_order_acquire);
    struct packet_ring_producer *ring;
    struct timespec now;
    uint64_t time_ns, n_dropped = 0;

    if (!capture)
        return;
    ring = &capture->workers[worker->index].ring;
    /* Without a system call on every clock source that a server is run with. */
    clock_gettime(CLOCK_REALTIME, &now);
    time_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    for (uint16_t i = 0; i < n; i++) {
        const struct packet *packet = packets[i];
        uint32_t size = packet->size < capture->snap_size ? packet->size : capture->snap_size;

        n_dropped += !packet_to_ring(ring, packet, size, capture_mark(packet->size, direction), time_ns, NULL);
    }
    if (n_dropped)
        packet_ring_count_dropped(ring, n_dropped);
    if (packet_ring_publish(ring))
        doorbell_ring(capture->peer, capture->doorbell_fd);
}
