/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_VSWITCH_PEER_H
#define TESTS_VSWITCH_PEER_H

/*
 * The vSwitch's end of a port's representor, for tests: what a driver in a real
 * vSwitch does, without one.
 *
 *     client = client_connect(socket_path, "test", &error);
 *     vswitch_peer_open(&peer, client, "vm1", &error);
 *     n = vswitch_peer_receive(&peer, queue, frames, 32);
 *     vswitch_peer_send(&peer, queue, &frames[i]);
 *     vswitch_peer_release(&peer, queue);
 *     vswitch_peer_publish(&peer);
 *
 * One thread uses a peer. Its representor is held until the client's connection is closed.
 */

#include "proto/client.h"
#include "proto/packet_ring.h"

struct vswitch_peer {
    struct packet_ring_memory memory;
    uint32_t n_queues;
    int to_vswitch_fd;   /* eventfd, rung for us */
    int from_vswitch_fd; /* eventfd that we ring */
    struct packet_ring_consumer receive[QUEUES_MAX];
    struct packet_ring_producer send[QUEUES_MAX];
};

/* Asks the fast path for the rings of port 'port'. The errors are those of client_call() and packet_ring_map(). */
int vswitch_peer_open(struct vswitch_peer *peer, struct client *client, const char *port, struct error *error);

/* The same with file descriptors that came otherwise; on success the eventfds belong to the peer. 'memory_fd' may be closed. */
int vswitch_peer_attach(struct vswitch_peer *peer, int memory_fd, int to_vswitch_fd, int from_vswitch_fd,
                        struct error *error);

/* Lets go of the rings. Harmless on a peer that is all zero. */
void vswitch_peer_close(struct vswitch_peer *peer);

/* Up to 'n' frames that the port sent on 'queue'; they stay in place until released. */
uint16_t vswitch_peer_receive(struct vswitch_peer *peer, uint32_t queue, struct packet_ring_frame frames[],
                              uint16_t n);
void vswitch_peer_release(struct vswitch_peer *peer, uint32_t queue);

/* Copies 'frame', with its offload fields, into the ring that leaves by the port. False: it is full. */
bool vswitch_peer_send(struct vswitch_peer *peer, uint32_t queue, const struct packet_ring_frame *frame);

/* Shows the fast path what was sent, and wakes it if it sleeps. */
void vswitch_peer_publish(struct vswitch_peer *peer);

/* Whether all queues are empty, so that the caller may wait for to_vswitch_fd to become readable. */
bool vswitch_peer_may_sleep(struct vswitch_peer *peer);

/* After that wait: takes the ring of the doorbell away. */
void vswitch_peer_awake(struct vswitch_peer *peer);

#endif
