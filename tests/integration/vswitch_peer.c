/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/vswitch_peer.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int vswitch_peer_attach(struct vswitch_peer *peer, int memory_fd, int to_vswitch_fd, int from_vswitch_fd,
                        struct error *error)
{
    int code;

    memset(peer, 0, sizeof *peer);
    code = packet_ring_map(&peer->memory, memory_fd, error);
    if (code)
        return code;
    peer->n_queues = peer->memory.n_rings / 2;
    if (peer->n_queues == 0 || peer->n_queues > QUEUES_MAX)
        code = error_set(error, EINVAL, "A representor cannot have %u rings.", peer->memory.n_rings);
    for (uint32_t i = 0; code == 0 && i < peer->n_queues; i++) {
        code = packet_ring_consumer_attach(&peer->receive[i], &peer->memory, 2 * i, error);
        if (code == 0)
            code = packet_ring_producer_attach(&peer->send[i], &peer->memory, 2 * i + 1, error);
    }
    if (code) {
        packet_ring_unmap(&peer->memory);
        return code;
    }
    peer->to_vswitch_fd = to_vswitch_fd;
    peer->from_vswitch_fd = from_vswitch_fd;
    return 0;
}

int vswitch_peer_open(struct vswitch_peer *peer, struct client *client, const char *port, struct error *error)
{
    struct message_port_name name = {.name = ""};
    struct message reply;
    int code;

    strncpy(name.name, port, sizeof name.name - 1);
    message_put_port_name(client_begin(client, MESSAGE_RING_OPEN), &name);
    code = client_call(client, &reply, error);
    if (code)
        return code;
    if (reply.header.type != MESSAGE_RINGS || reply.n_fds != 3)
        code = error_set(error, EPROTO, "The reply to RING_OPEN holds no rings.");
    else
        code = vswitch_peer_attach(peer, reply.fds[0], reply.fds[1], reply.fds[2], error);
    if (code) {
        message_close_fds(&reply);
        return code;
    }
    close(reply.fds[0]);
    return 0;
}

void vswitch_peer_close(struct vswitch_peer *peer)
{
    if (!peer->memory.base)
        return;
    packet_ring_unmap(&peer->memory);
    close(peer->to_vswitch_fd);
    close(peer->from_vswitch_fd);
    memset(peer, 0, sizeof *peer);
}

uint16_t vswitch_peer_receive(struct vswitch_peer *peer, uint32_t queue, struct packet_ring_frame frames[],
                              uint16_t n)
{
    return packet_ring_peek(&peer->receive[queue], frames, n);
}

void vswitch_peer_release(struct vswitch_peer *peer, uint32_t queue)
{
    packet_ring_release(&peer->receive[queue]);
}

bool vswitch_peer_send(struct vswitch_peer *peer, uint32_t queue, const struct packet_ring_frame *frame)
{
    uint8_t *data = packet_ring_reserve(&peer->send[queue], frame->size);

    if (!data)
        return false;
    memcpy(data, frame->data, frame->size);
    packet_ring_commit(&peer->send[queue], frame);
    return true;
}

void vswitch_peer_publish(struct vswitch_peer *peer)
{
    bool wanted = false;

    for (uint32_t i = 0; i < peer->n_queues; i++)
        wanted |= packet_ring_publish(&peer->send[i]);
    if (wanted)
        packet_ring_ring_doorbell(peer->from_vswitch_fd);
}

bool vswitch_peer_may_sleep(struct vswitch_peer *peer)
{
    for (uint32_t i = 0; i < peer->n_queues; i++)
        if (!packet_ring_may_sleep(&peer->receive[i]))
            return false;
    return true;
}

void vswitch_peer_awake(struct vswitch_peer *peer)
{
    uint64_t rung;

    /* Non-blocking: what woke us may have been something else. */
    if (read(peer->to_vswitch_fd, &rung, sizeof rung) < 0)
        return;
}
