/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/guest/fake_backend.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/guest/fake_ring.h"
#include "bench/guest/vhost_user.h"

#define QUEUES_MAX 32
#define FRAME_MAX (128 * 1024)

/* What one connection has; lives in the thread. */
struct session {
    struct fake_backend *backend;
    uint64_t features;
    struct fake_memory memory;
    struct fake_ring rings[QUEUES_MAX];
    uint8_t frame[FRAME_MAX];
};

static void unmap_memory(struct fake_memory *memory)
{
    for (unsigned i = 0; i < memory->n_regions; i++)
        munmap(memory->regions[i].map, memory->regions[i].map_size);
    memory->n_regions = 0;
}

static bool map_memory(struct fake_memory *memory, struct vhost_user_memory table, const int fds[],
                       unsigned n_fds)
{
    unmap_memory(memory);
    if (table.n_regions > VHOST_USER_REGIONS_MAX || table.n_regions != n_fds)
        return false;
    for (unsigned i = 0; i < table.n_regions; i++) {
        const struct vhost_user_region *region = &table.regions[i];
        uint64_t map_size = region->mmap_offset + region->size;
        void *map = mmap(NULL, map_size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], 0);

        if (map == MAP_FAILED)
            return false;
        memory->regions[i].guest_address = region->guest_address;
        memory->regions[i].user_address = region->user_address;
        memory->regions[i].size = region->size;
        memory->regions[i].map = map;
        memory->regions[i].map_size = map_size;
        memory->regions[i].start = (uint8_t *)map + region->mmap_offset;
        memory->n_regions = i + 1;
    }
    return true;
}

static uint32_t gather(const struct fake_buffer *buffer, uint8_t *frame)
{
    uint32_t size = 0;

    for (unsigned i = 0; i < buffer->n_pieces && size + buffer->pieces[i].size <= FRAME_MAX; i++) {
        memcpy(frame + size, buffer->pieces[i].start, buffer->pieces[i].size);
        size += buffer->pieces[i].size;
    }
    return size;
}

/* Writes as much as fits from 'offset' on; returns how much that was. */
static uint32_t scatter(const struct fake_buffer *buffer, const uint8_t *frame, uint32_t size)
{
    uint32_t done = 0;

    for (unsigned i = 0; i < buffer->n_pieces && done < size; i++) {
        uint32_t part = buffer->pieces[i].size < size - done ? buffer->pieces[i].size : size - done;

        memcpy(buffer->pieces[i].start, frame + done, part);
        done += part;
    }
    return done;
}

/*
 * Gives a frame (with virtio-net header) to the receive ring, in as many buffers as it takes; false: no room.
 */
static bool deliver(struct session *session, struct fake_ring *ring, uint8_t *frame, uint32_t size)
{
    static __thread struct fake_buffer buffers[256];
    struct fake_ring before = *ring;
    uint32_t room = 0;
    uint16_t n = 0;

    while (room < size) {
        if (n == 256 || !fake_ring_pop(ring, &session->memory, &buffers[n])) {
            ring->next_available = before.next_available;
            ring->available_wrap = before.available_wrap;
            return false;
        }
        room += buffers[n++].size;
    }
    memcpy(frame + sizeof(struct virtio_net_hdr), &n, sizeof n); /* num_buffers */
    for (uint32_t i = 0, done = 0; i < n; i++) {
        uint32_t written = scatter(&buffers[i], frame + done, size - done);

        done += written;
        fake_ring_push(ring, buffers[i].id, written, 1, buffers[i].n_descriptors);
    }
    return true;
}

/* Sends back what the guest has sent by one queue pair. Returns whether that was anything. */
static bool loop_back(struct session *session, struct fake_ring *receive, struct fake_ring *send)
{
    bool batch = session->backend->config.used_in_batches && session->features >> VIRTIO_F_IN_ORDER & 1;
    struct fake_buffer buffer;
    uint16_t n = 0, n_descriptors = 0, last = 0;
    bool moved = false;
    uint16_t position = send->next_available, wrap = send->available_wrap;

    while (fake_ring_pop(send, &session->memory, &buffer)) {
        if (!deliver(session, receive, session->frame, gather(&buffer, session->frame))) {
            send->next_available = position; /* keep it until the guest posts more receive buffers */
            send->available_wrap = wrap;
            break;
        }
        moved = true;
        position = send->next_available;
        wrap = send->available_wrap;
        n++;
        n_descriptors += buffer.n_descriptors;
        last = buffer.id;
        if (!batch) {
            fake_ring_push(send, last, 0, 1, n_descriptors);
            n = n_descriptors = 0;
        }
    }
    if (n)
        fake_ring_push(send, last, 0, n, n_descriptors);
    return moved;
}

static void serve_rings(struct session *session)
{
    for (unsigned i = 0; i + 1 < QUEUES_MAX; i += 2) {
        struct fake_ring *receive = &session->rings[i];
        struct fake_ring *send = &session->rings[i + 1];

        if (!receive->enabled || !send->enabled || !receive->used || !send->used || send->kick_fd < 0)
            continue;
        loop_back(session, receive, send);
        /* The event index names the next buffer, so it is behind as soon as one more is taken. */
        do {
            fake_ring_want_kick(receive);
            fake_ring_want_kick(send);
        } while (loop_back(session, receive, send));
    }
}

static void set_fd(int *place, int fd)
{
    if (*place >= 0)
        close(*place);
    *place = fd;
}

static void set_base(struct session *session, struct fake_ring *ring, uint32_t base)
{
    ring->is_packed = session->features >> VIRTIO_F_RING_PACKED & 1;
    ring->event_index = session->features >> VIRTIO_RING_F_EVENT_IDX & 1;
    if (ring->is_packed) {
        ring->next_available = base & 0x7fff;
        ring->available_wrap = base >> 15 & 1;
        ring->next_used = base >> 16 & 0x7fff;
        ring->used_wrap = base >> 31;
    } else {
        ring->next_available = ring->next_used = (uint16_t)base;
    }
}

static uint32_t get_base(const struct fake_ring *ring)
{
    if (!ring->is_packed)
        return ring->next_available;
    return ring->next_available | (uint32_t)ring->available_wrap << 15 | (uint32_t)ring->next_used << 16 |
           (uint32_t)ring->used_wrap << 31;
}

static void set_addresses(struct session *session, struct fake_ring *ring,
                          struct vhost_user_vring_address address)
{
    ring->descriptors = fake_memory_user(&session->memory, address.descriptor);
    ring->available = fake_memory_user(&session->memory, address.available);
    ring->used = fake_memory_user(&session->memory, address.used);
}

/* Does what a message says. Returns whether it has an answer, which is then in the message. */
static bool handle(struct session *session, struct vhost_user_message *message, const int fds[], unsigned n_fds)
{
    const struct fake_backend_config *config = &session->backend->config;
    struct fake_ring *ring = &session->rings[message->payload.state.index % QUEUES_MAX];
    int fd = n_fds ? fds[0] : -1;

    switch (message->request) {
    case VHOST_USER_GET_FEATURES:
        message->payload.u64 = config->features;
        message->size = sizeof(uint64_t);
        return true;
    case VHOST_USER_SET_FEATURES: session->features = message->payload.u64; break;
    case VHOST_USER_GET_PROTOCOL_FEATURES:
        message->payload.u64 = config->protocol_features;
        message->size = sizeof(uint64_t);
        return true;
    case VHOST_USER_GET_QUEUE_NUM:
        message->payload.u64 = config->n_queue_pairs;
        message->size = sizeof(uint64_t);
        return true;
    case VHOST_USER_SET_MEM_TABLE:
        if (!map_memory(&session->memory, message->payload.memory, fds, n_fds))
            message->payload.u64 = 1;
        else
            message->payload.u64 = 0;
        for (unsigned i = 0; i < n_fds; i++)
            close(fds[i]);
        return false;
    case VHOST_USER_SET_VRING_NUM: ring->size = (uint16_t)message->payload.state.num; break;
    case VHOST_USER_SET_VRING_ADDR: set_addresses(session, ring, message->payload.address); break;
    case VHOST_USER_SET_VRING_BASE: set_base(session, ring, message->payload.state.num); break;
    case VHOST_USER_GET_VRING_BASE:
        message->payload.state.num = get_base(ring);
        ring->used = NULL;
        return true;
    case VHOST_USER_SET_VRING_KICK:
        set_fd(&session->rings[message->payload.u64 % QUEUES_MAX].kick_fd, fd);
        break;
    case VHOST_USER_SET_VRING_CALL:
        set_fd(&session->rings[message->payload.u64 % QUEUES_MAX].call_fd, fd);
        break;
    case VHOST_USER_SET_VRING_ENABLE: ring->enabled = message->payload.state.num; break;
    default: break;
    }
    message->payload.u64 = 0;
    return false;
}

/* Reads and answers one message; false at the end of the connection. */
static bool serve_message(struct session *session)
{
    static __thread struct vhost_user_message message;
    union {
        char bytes[CMSG_SPACE(VHOST_USER_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec piece = {.iov_base = &message, .iov_len = VHOST_USER_HEADER_SIZE};
    struct msghdr header = {.msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    int socket = session->backend->fd;
    int fds[VHOST_USER_FDS_MAX];
    unsigned n_fds = 0;
    struct cmsghdr *rights;
    bool answer;

    if (recvmsg(socket, &header, MSG_WAITALL | MSG_CMSG_CLOEXEC) != VHOST_USER_HEADER_SIZE)
        return false;
    rights = CMSG_FIRSTHDR(&header);
    if (rights) {
        n_fds = (unsigned)((rights->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(rights), n_fds * sizeof(int));
    }
    if (message.size > sizeof message.payload ||
        (message.size && recv(socket, &message.payload, message.size, MSG_WAITALL) != (ssize_t)message.size))
        return false;
    answer = handle(session, &message, fds, n_fds);
    if (!answer && message.flags & VHOST_USER_NEED_REPLY) {
        message.size = sizeof(uint64_t);
        answer = true;
    }
    message.flags = VHOST_USER_VERSION | VHOST_USER_REPLY;
    return !answer || send(socket, &message, VHOST_USER_HEADER_SIZE + message.size, MSG_NOSIGNAL) >= 0;
}

/* Waits for a message, a kick or the order to stop; false when it is over. */
static bool serve_once(struct session *session)
{
    struct pollfd events[2 + QUEUES_MAX] = {
        {.fd = session->backend->stop_fd, .events = POLLIN},
        {.fd = session->backend->fd, .events = POLLIN},
    };

    for (unsigned i = 0; i < QUEUES_MAX; i++)
        events[2 + i] = (struct pollfd){.fd = session->rings[i].kick_fd, .events = POLLIN};
    if (poll(events, 2 + QUEUES_MAX, -1) < 0)
        return errno == EINTR;
    if (events[0].revents)
        return false;
    for (unsigned i = 0; i < QUEUES_MAX; i++) {
        uint64_t n_kicks;

        if (events[2 + i].revents && read(session->rings[i].kick_fd, &n_kicks, sizeof n_kicks) < 0)
            return false;
    }
    if (events[1].revents && !serve_message(session))
        return false;
    serve_rings(session);
    return true;
}

static void *serve(void *argument)
{
    struct session *session = calloc(1, sizeof *session);

    if (!session)
        return NULL;
    session->backend = argument;
    for (unsigned i = 0; i < QUEUES_MAX; i++)
        session->rings[i].kick_fd = session->rings[i].call_fd = -1;
    while (serve_once(session))
        ;
    for (unsigned i = 0; i < QUEUES_MAX; i++) {
        set_fd(&session->rings[i].kick_fd, -1);
        set_fd(&session->rings[i].call_fd, -1);
    }
    unmap_memory(&session->memory);
    shutdown(session->backend->fd, SHUT_RDWR);
    free(session);
    return NULL;
}

int fake_backend_start(struct fake_backend *backend, const struct fake_backend_config *config)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int code;

    backend->config = *config;
    strcpy(address.sun_path, config->path);
    backend->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    backend->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (backend->fd < 0 || backend->stop_fd < 0 ||
        connect(backend->fd, (struct sockaddr *)&address, sizeof address))
        code = errno;
    else
        code = pthread_create(&backend->thread, NULL, serve, backend);
    if (code) {
        close(backend->fd);
        close(backend->stop_fd);
    }
    return code;
}

void fake_backend_stop(struct fake_backend *backend)
{
    uint64_t one = 1;

    if (write(backend->stop_fd, &one, sizeof one) == sizeof one)
        pthread_join(backend->thread, NULL);
    close(backend->fd);
    close(backend->stop_fd);
}
