/* SPDX-License-Identifier: Apache-2.0 */

/*
 * vswitch_peer SOCKET MODE PORT...: plays the vSwitch for the named ports of a fast path.
 *
 *     hub        a frame of one port leaves by all the others
 *     echo       a frame leaves by the port that it came from
 *     scribble   writes rubbish over all rings, for ever
 *
 * Prints "ready" when it holds the rings. When its standard input ends, it prints what it did, as
 * JSON, and ends; when the fast path hangs up, it ends with status 3.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/vswitch_peer.h"

#define PORTS_OF_PEER_MAX 8
#define BATCH 32

static struct vswitch_peer peers[PORTS_OF_PEER_MAX];
static int n_peers;
static struct client *client;
static uint64_t n_received, n_sent, n_lost;

/* Moves one batch of each queue of 'from'. */
static bool forward(int from, bool hub)
{
    bool moved = false;

    for (uint32_t queue = 0; queue < peers[from].n_queues; queue++) {
        struct packet_ring_frame frames[BATCH];
        uint16_t n = vswitch_peer_receive(&peers[from], queue, frames, BATCH);

        for (uint16_t i = 0; i < n; i++)
            for (int to = 0; to < n_peers; to++)
                if ((to == from) != hub) {
                    if (vswitch_peer_send(&peers[to], queue % peers[to].n_queues, &frames[i]))
                        n_sent++;
                    else
                        n_lost++;
                }
        n_received += n;
        moved |= n > 0;
        /* Out before more is asked for, so that the fast path can tell that the batch is dealt with. */
        for (int to = 0; to < n_peers; to++)
            vswitch_peer_publish(&peers[to]);
        vswitch_peer_release(&peers[from], queue);
    }
    return moved;
}

/* Waits for a doorbell. Returns the status to end with, or -1. */
static int wait_for_frames(void)
{
    struct pollfd fds[PORTS_OF_PEER_MAX + 2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                                                {.fd = client_fd(client), .events = POLLIN}};
    char byte;

    for (int i = 0; i < n_peers; i++) {
        if (!vswitch_peer_may_sleep(&peers[i]))
            return -1;
        fds[2 + i] = (struct pollfd){.fd = peers[i].to_vswitch_fd, .events = POLLIN};
    }
    if (poll(fds, 2 + (nfds_t)n_peers, -1) < 0)
        return errno == EINTR ? -1 : 1;
    if (fds[0].revents && read(STDIN_FILENO, &byte, 1) <= 0)
        return 0;
    if (fds[1].revents)
        return 3;
    for (int i = 0; i < n_peers; i++)
        vswitch_peer_awake(&peers[i]);
    return -1;
}

static int run(bool hub)
{
    int status = -1;

    while (status < 0) {
        bool moved = false;

        for (int i = 0; i < n_peers; i++)
            moved |= forward(i, hub);
        for (int i = 0; i < n_peers; i++)
            for (uint32_t queue = 0; queue < peers[i].n_queues; queue++)
                if (peers[i].receive[queue].fault || peers[i].send[queue].fault)
                    return 4;
        if (!moved)
            status = wait_for_frames();
    }
    return status;
}

/* Anywhere in the rings, but more often where it hurts: in their headers and in the first records. */
static void scribble(void)
{
    uint64_t random = 88172645463325252ull;

    for (;;) {
        const struct packet_ring_memory *memory;
        uint64_t ring, place;

        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        memory = &peers[random % (unsigned)n_peers].memory;
        ring = (random >> 8) % memory->n_rings;
        place = (random >> 16) % (random & 1 ? 512 : random & 2 ? 8192 : memory->ring_size) / 8 * 8;
        memcpy(memory->base + ring * memory->ring_size + place, &random, sizeof random);
    }
}

int main(int argc, char **argv)
{
    struct error error;
    int status;

    if (argc < 4 || argc - 3 > PORTS_OF_PEER_MAX) {
        fprintf(stderr, "use: vswitch_peer SOCKET hub|echo|scribble PORT...\n");
        return 2;
    }
    client = client_connect(argv[1], "vswitch_peer", &error);
    for (n_peers = 0; client && n_peers < argc - 3; n_peers++)
        if (vswitch_peer_open(&peers[n_peers], client, argv[3 + n_peers], &error))
            break;
    if (n_peers < argc - 3) {
        fprintf(stderr, "vswitch_peer: %s\n", error.text);
        return 1;
    }
    printf("ready\n");
    fflush(stdout);
    if (strcmp(argv[2], "scribble") == 0)
        scribble();
    status = run(strcmp(argv[2], "hub") == 0);
    printf("{\"received\": %llu, \"sent\": %llu, \"lost\": %llu}\n", (unsigned long long)n_received,
           (unsigned long long)n_sent, (unsigned long long)n_lost);
    for (int i = 0; i < n_peers; i++)
        vswitch_peer_close(&peers[i]);
    client_close(client);
    return status;
}
