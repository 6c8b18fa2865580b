/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

/*
 * A guest with one virtio-net NIC, as a vhost-user back end sees it: the socket (frontend.h), its
 * memory (memory.h) and its virtqueues (virtqueue.h), put together.
 *
 *     struct guest_config config;
 *     struct guest guest;
 *     struct error error;
 *
 *     guest_config_default(&config, "/tmp/vm1.sock");
 *     if (guest_create(&guest, &config, &error) || guest_connect(&guest, 5000, &error))
 *         errx(1, "%s", error.text);
 *     n = virtqueue_take(guest_receive_queue(&guest, 0), buffers, 32);
 *     ...
 *     guest_destroy(&guest);
 *
 * When the back end dies, guest_is_connected() becomes false; guest_connect() then waits for its successor,
 * which goes on with the rings where the dead one left them, as with QEMU: the guest's driver does not
 * notice.
 *
 * To play a hostile guest, stop after guest_create() and guest_connect() with 'start' false, and use the
 * parts: frontend_send() for any message, guest.memory.base for the memory, guest.queues[i].split.descriptor
 * and so on for the rings, virtqueue_kick() to make the back end look.
 *
 * One thread uses a guest at a time. Errors: a positive errno value with a sentence.
 */

#include "bench/guest/frontend.h"
#include "bench/guest/memory.h"
#include "bench/guest/virtqueue.h"

#define GUEST_QUEUE_PAIRS_MAX 16

/* What a Linux guest negotiates at least; add to it, or take from it. */
#define GUEST_FEATURES_DEFAULT                                                   \
    (UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_NET_F_MRG_RXBUF | \
     UINT64_C(1) << VIRTIO_NET_F_MQ)

#define GUEST_PROTOCOL_FEATURES_DEFAULT \
    (UINT64_C(1) << VHOST_USER_PROTOCOL_F_MQ | UINT64_C(1) << VHOST_USER_PROTOCOL_F_REPLY_ACK)

struct guest_config {
    char path[108];             /* the socket */
    bool server;                /* we listen on it, the back end connects */
    bool want_huge;             /* memory of hugepages when there are any */
    bool start;                 /* guest_connect() starts the queues (default) */
    uint8_t n_regions;          /* regions of the memory table */
    uint16_t n_queue_pairs;     /* pairs wanted; guest.n_queue_pairs tells how many it became */
    uint64_t features;          /* virtio features wanted */
    uint64_t features_required; /* those that must be there */
    uint64_t protocol_features; /* vhost-user protocol features wanted; 0: do without them */
    struct virtqueue_config receive;
    struct virtqueue_config send;
};

struct guest {
    struct guest_config config;
    struct frontend frontend;
    struct guest_memory memory;
    uint16_t n_queue_pairs;
    bool has_queues; /* since the first guest_connect() */
    bool is_started;
    uint64_t features; /* of the queues: what was agreed on when they were made */
    struct virtqueue queues[2 * GUEST_QUEUE_PAIRS_MAX]; /* receive of pair i at 2i, send at 2i + 1 */
};

/*
 * Server on 'path', default features, one queue pair, 256 descriptors, buffers for 1,518-byte frames, one
 * piece, hugepages if there are any.
 */
void guest_config_default(struct guest_config *config, const char *path);

/* Makes memory and socket. Afterwards guest_destroy() must be called, on failure not. */
int guest_create(struct guest *guest, const struct guest_config *config, struct error *error);

/* Ends all; safe to call twice. */
void guest_destroy(struct guest *guest);

/*
 * Waits for the back end, agrees on features, sends the memory table, and with config.start starts the queues
 * (receive buffers posted). On a second connection the queues keep their contents when the same features were
 * agreed on; otherwise EPROTO: guest_reset_queues() first.
 */
int guest_connect(struct guest *guest, int timeout_ms, struct error *error);

bool guest_is_connected(struct guest *guest);

/* Drops the connection without a word, as a QEMU that was killed. */
void guest_disconnect(struct guest *guest);

/* Gives all rings to the back end and enables them. */
int guest_start(struct guest *guest, struct error *error);

/* Takes all rings back (GET_VRING_BASE); the back end touches no memory afterwards. guest_start() goes on. */
int guest_stop(struct guest *guest, struct error *error);

/* SET_VRING_ENABLE for one queue pair. */
int guest_enable_pair(struct guest *guest, uint16_t pair, bool enable, struct error *error);

/* Makes the queues anew, empty, as a rebooted guest does. Only while stopped or disconnected. */
int guest_reset_queues(struct guest *guest, struct error *error);

static inline struct virtqueue *guest_receive_queue(struct guest *guest, uint16_t pair)
{
    return &guest->queues[2 * pair];
}

static inline struct virtqueue *guest_send_queue(struct guest *guest, uint16_t pair)
{
    return &guest->queues[2 * pair + 1];
}

#endif
