/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_PORT_H
#define FASTPATH_PORT_H

/*
 * The ports of the fast path: guests (vhost-user) and uplinks (any DPDK ethdev).
 * Everything here is for the control thread, unless it says otherwise. Ports
 * come and go while traffic flows: adding publishes a finished port to the
 * workers, removing waits until no worker can touch it any more.
 */

#include <stdbool.h>
#include <stdint.h>

#include "fastpath/drop.h"
#include "lib/error.h"
#include "lib/limits.h"

#define PORT_NONE UINT16_MAX

enum port_kind { PORT_VHOST, PORT_ETHDEV };

struct port_spec {
    char name[PORT_NAME_SIZE]; /* letters, digits and "._:-"; unique */
    enum port_kind kind;
    bool server;                 /* vhost: we listen on 'path'; else we connect to it, again and again */
    char path[108];              /* vhost: the socket */
    char devargs[256];           /* ethdev: PCI address or "net_tap0,iface=tap0" and the like */
    uint16_t n_queues;           /* receive and send queues at most, 1 to QUEUES_MAX */
    uint16_t mtu;                /* bytes behind the Ethernet and VLAN headers; 0: 9000 */
    char slice[SLICE_NAME_SIZE]; /* whose port it is; "": nobody's in particular */
};

/* Creates the port and starts it. EEXIST: the name is taken; ENOSPC: PORTS_MAX reached. */
int port_add(const struct port_spec *spec, uint16_t *id, struct error *error);

/* Removes the port and the rules that name it as input or output; returns when nothing of it is in use. ENOENT. */
int port_remove(uint16_t id, struct error *error);

/* The id of the port called 'name', or PORT_NONE. */
uint16_t port_find(const char *name);

/* The id of the first port whose id is >= 'id', or PORT_NONE: for (id = port_next(0); id != PORT_NONE; id = port_next(id + 1)). */
uint16_t port_next(uint16_t id);

const struct port_spec *port_get_spec(uint16_t id);

/* Gives port 'id', which is there, to 'slice'. */
void port_set_slice(uint16_t id, const char *slice);

/*
 * Limits of a port's rate, see port_rate.h: in, from its guest or uplink to the fast path, and out. Rates are in bit/s, 0: no limit.
 * Bursts are in bytes, 0: what the rate gives in 10 ms (out: 200 ms), and at least 128 KiB.
 */
struct port_rates {
    uint64_t in, burst_in;
    uint64_t out, burst_out;
};

#define PORT_RATE_KEEP UINT64_MAX

/*
 * Sets the limits of port 'id', which is there; what is PORT_RATE_KEEP stays as it is. Workers take it into account with their
 * next bursts. EINVAL: outside of the bounds in lib/limits.h; ENOMEM.
 */
int port_set_rates(uint16_t id, const struct port_rates *change, struct error *error);

/* The limits in force, with the bursts that were chosen for 0. Bursts without a rate are 0. */
void port_get_rates(uint16_t id, struct port_rates *rates);

struct port_status {
    bool up;             /* the guest has set its rings up, or the link is up */
    char reason[128];    /* why it is not up; "" when it is */
    uint16_t n_queues;   /* queues in use now */
    uint64_t features;   /* vhost: negotiated virtio feature bits */
    uint64_t n_connects; /* vhost: connections accepted or made since the port was added */
};

void port_get_status(uint16_t id, struct port_status *status);

struct port_stats {
    uint64_t rx_packets, rx_bytes; /* taken from the guest or NIC */
    uint64_t tx_packets, tx_bytes; /* given to the guest or NIC */
    uint64_t to_vswitch, from_vswitch;
    uint64_t n_holds, held_ns; /* how often, and for how long in all, a queue was held (port_rate.h) */
    uint64_t drops[DROP_REASON_COUNT]; /* of packets that came in by this port; the tx-* ones: that were to leave by it */
};

/* Sums of all workers; each field on its own is exact, together they are not one instant. */
void port_get_stats(uint16_t id, struct port_stats *stats);

/* Packets that an uplink's device dropped since nobody took them in time, as far as it tells; 0 for guests. */
uint64_t port_get_missed(uint16_t id);

#endif
