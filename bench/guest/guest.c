/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/guest/guest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void guest_config_default(struct guest_config *config, const char *path)
{
    *config = (struct guest_config){
        .server = true,
        .want_huge = true,
        .start = true,
        .n_regions = 1,
        .n_queue_pairs = 1,
        .features = GUEST_FEATURES_DEFAULT,
        .features_required = UINT64_C(1) << VIRTIO_F_VERSION_1,
        .protocol_features = GUEST_PROTOCOL_FEATURES_DEFAULT,
        .receive = {.size = 256, .pieces = 1, .buffer_size = 1518},
        .send = {.size = 256, .pieces = 1, .buffer_size = 1518},
    };
    snprintf(config->path, sizeof config->path, "%s", path);
}

static void close_queue_fds(struct guest *guest)
{
    for (unsigned i = 0; i < 2u * GUEST_QUEUE_PAIRS_MAX; i++) {
        struct virtqueue *queue = &guest->queues[i];

        if (queue->kick_fd >= 0)
            close(queue->kick_fd);
        if (queue->call_fd >= 0)
            close(queue->call_fd);
        queue->kick_fd = queue->call_fd = -1;
    }
}

int guest_create(struct guest *guest, const struct guest_config *config, struct error *error)
{
    size_t size;
    int code;

    if (!config->n_queue_pairs || config->n_queue_pairs > GUEST_QUEUE_PAIRS_MAX)
        return error_set(error, EINVAL, "a guest cannot have %u queue pairs: 1 to %d are possible",
                         config->n_queue_pairs, GUEST_QUEUE_PAIRS_MAX);
    memset(guest, 0, sizeof *guest);
    guest->config = *config;
    for (unsigned i = 0; i < 2u * GUEST_QUEUE_PAIRS_MAX; i++)
        guest->queues[i].kick_fd = guest->queues[i].call_fd = -1;
    /* An allocation does not cross regions, so each region may lose the largest one's size at its end. */
    size = config->n_queue_pairs *
           (virtqueue_memory_size(&config->receive) + virtqueue_memory_size(&config->send));
    if (config->n_regions > 1)
        size += config->n_regions *
                (virtqueue_memory_size(&config->receive) + virtqueue_memory_size(&config->send));
    code = guest_memory_create(&guest->memory, size, config->n_regions, config->want_huge, error);
    if (code)
        return code;
    code = frontend_open(&guest->frontend, config->path, config->server, error);
    if (code)
        guest_memory_destroy(&guest->memory);
    return code;
}

void guest_destroy(struct guest *guest)
{
    if (!guest->memory.base)
        return;
    frontend_close(&guest->frontend);
    close_queue_fds(guest);
    guest_memory_destroy(&guest->memory);
}

int guest_reset_queues(struct guest *guest, struct error *error)
{
    const struct guest_config *config = &guest->config;
    bool multiqueue = guest->frontend.features >> VIRTIO_NET_F_MQ & 1;
    uint16_t n_pairs = multiqueue ? config->n_queue_pairs : 1;

    if (n_pairs > guest->frontend.n_queue_pairs_max)
        n_pairs = guest->frontend.n_queue_pairs_max;
    guest->n_queue_pairs = n_pairs;
    guest->features = guest->frontend.features;
    guest->memory.allocated = 0;
    close_queue_fds(guest);
    for (unsigned i = 0; i < 2u * n_pairs; i++) {
        struct virtqueue *queue = &guest->queues[i];
        bool receives = i % 2 == 0;
        int code = virtqueue_init(queue, receives ? &config->receive : &config->send, guest->features,
                                  receives, &guest->memory, error);

        if (code)
            return code;
        queue->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        queue->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (queue->kick_fd < 0 || queue->call_fd < 0)
            return error_set(error, errno, "cannot create an event descriptor: %s", strerror(errno));
        if (receives)
            virtqueue_fill(queue);
    }
    guest->has_queues = true;
    return 0;
}

static int send_memory_table(struct guest *guest, struct error *error)
{
    struct vhost_user_memory table;
    int fds[VHOST_USER_REGIONS_MAX];

    guest_memory_table(&guest->memory, &table);
    for (unsigned i = 0; i < table.n_regions; i++)
        fds[i] = guest->memory.fd;
    return frontend_request(&guest->frontend, VHOST_USER_SET_MEM_TABLE, &table, sizeof table, fds,
                            table.n_regions, error);
}

int guest_connect(struct guest *guest, int timeout_ms, struct error *error)
{
    const struct guest_config *config = &guest->config;
    int code;

    guest->is_started = false;
    code = frontend_connect(&guest->frontend, timeout_ms, error);
    if (!code)
        code = frontend_negotiate(&guest->frontend, config->features, config->features_required,
                                  config->protocol_features, error);
    if (!code && guest->has_queues && guest->features != guest->frontend.features)
        code = error_set(
            error, EPROTO, "the new back end at %s agrees to other features, 0x%llx instead of 0x%llx",
            config->path, (unsigned long long)guest->frontend.features, (unsigned long long)guest->features);
    if (!code && !guest->has_queues)
        code = guest_reset_queues(guest, error);
    if (!code)
        code = send_memory_table(guest, error);
    if (!code && config->start)
        code = guest_start(guest, error);
    if (code)
        guest_disconnect(guest);
    return code;
}

bool guest_is_connected(struct guest *guest)
{
    return frontend_is_connected(&guest->frontend);
}

void guest_disconnect(struct guest *guest)
{
    guest->is_started = false;
    frontend_disconnect(&guest->frontend);
}

static int start_queue(struct guest *guest, uint8_t index, struct error *error)
{
    struct frontend *frontend = &guest->frontend;
    struct virtqueue *queue = &guest->queues[index];
    struct vhost_user_vring_address address = {.index = index};
    int code;

    if (queue->is_packed) {
        address.descriptor = (uintptr_t)queue->packed.descriptor;
        address.available = (uintptr_t)queue->packed.driver_event;
        address.used = (uintptr_t)queue->packed.device_event;
    } else {
        address.descriptor = (uintptr_t)queue->split.descriptor;
        address.available = (uintptr_t)queue->split.available;
        address.used = (uintptr_t)queue->split.used;
    }
    code = frontend_set_vring(frontend, VHOST_USER_SET_VRING_NUM, index, queue->size, error);
    if (!code)
        code = frontend_set_vring(frontend, VHOST_USER_SET_VRING_BASE, index, virtqueue_base(queue), error);
    if (!code)
        code = frontend_request(frontend, VHOST_USER_SET_VRING_ADDR, &address, sizeof address, NULL, 0, error);
    if (!code)
        code = frontend_set_vring_fd(frontend, VHOST_USER_SET_VRING_CALL, index, queue->call_fd, error);
    if (!code)
        code = frontend_set_vring_fd(frontend, VHOST_USER_SET_VRING_KICK, index, queue->kick_fd, error);
    return code;
}

int guest_enable_pair(struct guest *guest, uint16_t pair, bool enable, struct error *error)
{
    int code;

    /* Without protocol features a ring is enabled from its start on. */
    if (!(guest->frontend.features >> VHOST_USER_F_PROTOCOL_FEATURES & 1))
        return 0;
    code = frontend_set_vring(&guest->frontend, VHOST_USER_SET_VRING_ENABLE, 2u * pair, enable, error);
    if (!code)
        code = frontend_set_vring(&guest->frontend, VHOST_USER_SET_VRING_ENABLE, 2u * pair + 1, enable, error);
    return code;
}

int guest_start(struct guest *guest, struct error *error)
{
    for (unsigned i = 0; i < 2u * guest->n_queue_pairs; i++) {
        int code = start_queue(guest, (uint8_t)i, error);

        if (code)
            return code;
    }
    for (uint16_t pair = 0; pair < guest->n_queue_pairs; pair++) {
        int code = guest_enable_pair(guest, pair, true, error);

        if (code)
            return code;
    }
    guest->is_started = true;
    /* What was posted before the back end knew the kick descriptor would otherwise wait for the next kick. */
    for (unsigned i = 0; i < 2u * guest->n_queue_pairs; i++)
        virtqueue_kick(&guest->queues[i]);
    return 0;
}

int guest_stop(struct guest *guest, struct error *error)
{
    for (uint16_t pair = 0; pair < guest->n_queue_pairs; pair++) {
        int code = guest_enable_pair(guest, pair, false, error);

        if (code)
            return code;
    }
    for (uint32_t i = 0; i < 2u * guest->n_queue_pairs; i++) {
        struct vhost_user_vring_state state = {.index = i};
        struct vhost_user_message reply;
        int code = frontend_ask(&guest->frontend, VHOST_USER_GET_VRING_BASE, &state, sizeof state, &reply,
                                NULL, error);

        if (code)
            return code;
    }
    guest->is_started = false;
    return 0;
}
