/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_FRONTEND_H
#define GUEST_FRONTEND_H

/*
 * The front end of vhost-user: the side that QEMU plays. One socket, one
 * connection at a time, requests answered one by one.
 *
 * frontend_request() and frontend_ask() are the protocol used properly.
 * frontend_send() and frontend_receive() are the bare wire: they send any bytes with any
 * descriptors, for tests of what a back end does with them.
 *
 * One thread uses a front end at a time. Every wait ends after 'timeout_ms'.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/guest/vhost_user.h"
#include "lib/error.h"

#define FRONTEND_TIMEOUT_MS 5000

struct frontend {
    char path[108];
    bool server;    /* we listen and the back end connects; else the other way round */
    int listen_fd;  /* -1 when not a server */
    int fd;         /* the connection, or -1 */
    int timeout_ms; /* of each answer; FRONTEND_TIMEOUT_MS after frontend_open() */

    /* what was agreed on, by frontend_negotiate() */
    uint64_t features_offered;
    uint64_t features; /* virtio features and VHOST_USER_F_PROTOCOL_FEATURES */
    uint64_t protocol_features;
    uint16_t n_queue_pairs_max; /* of the back end; 1 without multiqueue */
};

/* Prepares a front end, and listens on 'path' when 'server'. An old socket file there is removed. */
int frontend_open(struct frontend *frontend, const char *path, bool server, struct error *error);

/* Closes all, and removes the socket file of a server. */
void frontend_close(struct frontend *frontend);

/*
 * Waits until the back end is connected: accepts it, or tries to connect again and again. 'timeout_ms' 0
 * tries once. ETIMEDOUT when it is not there by then.
 */
int frontend_connect(struct frontend *frontend, int timeout_ms, struct error *error);

/* Drops the connection at once; the back end sees its end of file. */
void frontend_disconnect(struct frontend *frontend);

/* Whether the connection still stands (looks for its end without reading what may be there). */
bool frontend_is_connected(struct frontend *frontend);

/*
 * The opening of every session: SET_OWNER, features and protocol features (each: what both sides want),
 * number of queues. 'features' are virtio bits; EPROTO when the back end lacks one of 'required'.
 */
int frontend_negotiate(struct frontend *frontend, uint64_t features, uint64_t required,
                       uint64_t protocol_features, struct error *error);

/*
 * Sends one request with its descriptors (they stay open here). When REPLY_ACK was agreed on it asks for the
 * acknowledgement and waits for it: EPROTO when the back end says that it failed.
 */
int frontend_request(struct frontend *frontend, uint32_t request, const void *payload, uint32_t size,
                     const int fds[], unsigned n_fds, struct error *error);

/*
 * Sends a request that has an answer, and waits for that. A descriptor in the answer goes to '*fd' (-1: none)
 * when 'fd' is not NULL.
 */
int frontend_ask(struct frontend *frontend, uint32_t request, const void *payload, uint32_t size,
                 struct vhost_user_message *reply, int *fd, struct error *error);

/* Requests with a payload of one number, or of a queue and a number. */
int frontend_set_u64(struct frontend *frontend, uint32_t request, uint64_t value, struct error *error);
int frontend_set_vring(struct frontend *frontend, uint32_t request, uint32_t index, uint32_t num,
                       struct error *error);

/* SET_VRING_KICK, _CALL or _ERR for queue 'index'; 'fd' -1 sends VHOST_USER_NO_FD. */
int frontend_set_vring_fd(struct frontend *frontend, uint32_t request, uint8_t index, int fd,
                          struct error *error);

/*
 * Sends 'size' bytes as they are, with 'n_fds' <= 64 descriptors. EPIPE: the back end has closed the
 * connection.
 */
int frontend_send(struct frontend *frontend, const void *bytes, size_t size, const int fds[], unsigned n_fds,
                  struct error *error);

/*
 * Reads one message, whatever it is. 'fds' takes up to VHOST_USER_FDS_MAX descriptors, '*n_fds' says how
 * many; with 'fds' NULL they are closed. ETIMEDOUT; ECONNRESET when the back end closed the connection;
 * EPROTO when the message has more payload than struct vhost_user_message takes.
 */
int frontend_receive(struct frontend *frontend, struct vhost_user_message *message, int fds[],
                     unsigned *n_fds, struct error *error);

#endif
