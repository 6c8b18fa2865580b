/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_CAPTURE_H
#define FASTPATH_CAPTURE_H

/*
 * Copies of a port's packets for a client that watches (`vnode capture`). While a
 * capture is on, each worker copies the first bytes of every packet that enters or
 * leaves the port into a packet ring of its own (proto/capture.h says what a
 * record means). A slow client loses records, which are counted; the port is not
 * slowed. Workers see a capture by one pointer, looked at once per burst.
 */

#include <stdint.h>

#include "fastpath/packet.h"
#include "lib/error.h"
#include "proto/capture.h"

struct port;
struct worker;

/* What a client gets. The file descriptors stay the capture's: duplicate them, they are closed with it. */
struct capture_offer {
    int memory_fd;   /* 'n_rings' packet rings: packet_ring_map() */
    int doorbell_fd; /* eventfd, rung when a ring got frames and its consumer wanted to know */
    uint32_t n_rings;
    uint32_t handle; /* names this capture, for capture_stop(); never 0, never used again */
};

/*
 * Starts a capture on port 'port_id' that keeps up to 'snap_size' bytes of each packet (0:
 * all). Control thread. ENOENT: no such port; EBUSY: it is being captured already.
 */
int capture_start(uint16_t port_id, uint32_t snap_size, struct capture_offer *offer, struct error *error);

/* Ends the capture 'handle', returning when no worker writes to it. Harmless when it is gone. Control thread. */
void capture_stop(uint32_t handle);

/* Ends whatever capture is on 'port', which is about to be freed. Control thread. */
void capture_detach(struct port *port);

/* Copies 'n' packets that enter or leave 'port' into the capture, if there still is one. Workers. */
void capture_packets(struct worker *worker, struct port *port, struct packet *const packets[], uint16_t n,
                     enum capture_direction direction);

#endif
