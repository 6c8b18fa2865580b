/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_REPRESENTOR_H
#define FASTPATH_REPRESENTOR_H

/*
 * The vSwitch's view of a port: packets of the port that no rule handles go to the
 * vSwitch, and what it returns leaves by the port. For each receive queue of the
 * port there is a pair of packet rings (proto/packet_ring.h), one to the vSwitch and
 * one from it; all of them lie in one memfd, and each direction has one doorbell.
 *
 *     ring 2 * queue       fast path -> vSwitch
 *     ring 2 * queue + 1   vSwitch -> fast path
 *
 * Only the offload fields of a record are used, so far: mark and metadata are 0.
 *
 * One peer at a time holds a representor. Without one, representor_send() is not
 * called (port->representor is NULL) and misses are dropped. The rings from the vSwitch are
 * receive queues of their own, polled by the workers like those of the port.
 */

#include <stdint.h>

#include "fastpath/packet.h"
#include "lib/error.h"

struct port;
struct representor;

/* What a peer gets. The file descriptors stay the representor's: duplicate them, they are closed with it. */
struct representor_offer {
    int memory_fd;
    int to_vswitch_fd;   /* eventfd that wakes the peer */
    int from_vswitch_fd; /* eventfd by which the peer wakes the fast path */
    uint32_t n_queues;
    uint32_t handle; /* names this peer's hold, for representor_close(); never 0, never used again */
};

/*
 * Makes the rings of port 'port_id' and puts them to use. Control thread. ENOENT: no such
 * port; EBUSY: another peer has its representor; ENOMEM and the like.
 */
int representor_open(uint16_t port_id, struct representor_offer *offer, struct error *error);

/*
 * The peer has gone: takes the rings out of use and frees them. Returns when no
 * worker touches them. Harmless when 'handle' is closed already. Control thread.
 */
void representor_close(uint32_t handle);

/* Closes the representor of 'port', if it has one, because the port is about to be freed. Control thread. */
void representor_detach(struct port *port);

/*
 * Copies 'n' packets into the ring to the vSwitch of receive queue 'queue', which the calling worker
 * polls. Returns how many fit, the first ones; the others are the caller's to count as dropped.
 */
uint16_t representor_send(struct representor *representor, uint16_t queue, struct packet *const packets[],
                          uint16_t n);

/* The same in steps: puts one packet in (false: it does not fit, and the peer sees it counted), and shows the peer all that was put. */
bool representor_put(struct representor *representor, uint16_t queue, const struct packet *packet);
void representor_publish(struct representor *representor, uint16_t queue);

/*
 * For moves (move.h), which have to know when packets have been through the vSwitch. The first two are for the worker that
 * polls receive queue 'queue', the others for any worker. As with all that a worker does with a representor, it has
 * to be the port's since the worker's latest quiescent state.
 */

/* The position in the ring to the vSwitch behind all that was published. */
uint64_t representor_tail(const struct representor *representor, uint16_t queue);

/* Whether the vSwitch has taken all before 'tail', and then come back for more: it has output them. */
bool representor_came_back(struct representor *representor, uint16_t queue, uint64_t tail);

/* What changes when representor_came_back() may have. Only to be compared. */
uint64_t representor_progress(const struct representor *representor, uint16_t queue);

/* Whether the peer broke the ring to the vSwitch: it never comes back then. */
bool representor_is_broken(const struct representor *representor, uint16_t queue);

/* '*position' becomes that behind all that the vSwitch has put into its ring. False: the ring is broken, or the position cannot be. */
bool representor_returned(const struct representor *representor, uint16_t queue, uint64_t *position);

/* The position behind all that came out of that ring and is in the receivers' queues, or was dropped. */
uint64_t representor_delivered(const struct representor *representor, uint16_t queue);

/*
 * Bytes of records that senders may still put into the ring to the vSwitch of 'queue'; looks anew when that is less than 'enough'. There is
 * more room than that in the ring: for those who do not wait. Worker of that queue.
 */
uint64_t representor_room(struct representor *representor, uint16_t queue, uint64_t enough);

/* What struct representor_offer has. */
uint32_t representor_handle(const struct representor *representor);

/*
 * A sentence when the peer broke one of the rings of port 'port_id' (which is then not
 * used until the peer reconnects), else NULL. Any thread.
 */
const char *representor_fault(uint16_t port_id);

#endif
