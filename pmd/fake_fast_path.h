/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_FAKE_FAST_PATH_H
#define PMD_FAKE_FAST_PATH_H

/*
 * A fast path for tests of the driver: it answers on a control socket, has ports with real packet rings and
 * shared counters, and forwards nothing. A thread serves the socket; the test is the fast path's worker and plays
 * with the rings. What the test waits for it is told: no polling.
 *
 *     fake = fake_start(path, &(struct fake_options){.queues = 1});
 *     port = fake_await_port(fake, "vm1");             the driver has opened its rings
 *     packet_ring_reserve(&port->to_vswitch[0], ...);
 *     fake_stop(fake);                                 like a crash: sockets close, nothing is said
 */

#include <stdbool.h>
#include <stdint.h>

#include "lib/limits.h"
#include "proto/message.h"
#include "proto/packet_ring.h"
#include "proto/shared_counters.h"

#define FAKE_PORTS_MAX 16

struct fake_options {
    uint16_t version;      /* of the protocol; 0: PROTOCOL_VERSION_MAX */
    uint32_t attach_error; /* errno value that ATTACH is answered with; 0: it succeeds */
    uint64_t started;      /* in ATTACHED */
    uint16_t hang_at;      /* it hangs when the first message of this type comes; 0: never */
};

struct fake_port {
    bool exists, open;
    struct message_port_add spec;
    struct packet_ring_memory memory;
    int doorbells[2];
    uint32_t handle; /* in RINGS */
    uint16_t n_rings;
    struct packet_ring_producer to_vswitch[QUEUES_MAX];
    struct packet_ring_consumer from_vswitch[QUEUES_MAX];
};

struct fake_fast_path;

struct fake_fast_path *fake_start(const char *path, const struct fake_options *options);
void fake_stop(struct fake_fast_path *fake);

/* Reads no message any more, or goes on, as a process does that is stopped and continued. */
void fake_hang(struct fake_fast_path *fake, bool hang);

/* Waits until it hangs by 'hang_at': the message is read when it goes on. */
void fake_await_hang(struct fake_fast_path *fake);

/* A port that is there from the start, without the driver. */
void fake_add_port(struct fake_fast_path *fake, const char *name, uint16_t queues);

/* Waits until the driver has opened the port's rings; waits until the port is gone. Fails the test after 10 s. */
struct fake_port *fake_await_port(struct fake_fast_path *fake, const char *name);
void fake_await_no_port(struct fake_fast_path *fake, const char *name);

/* Whether the driver holds the port's rings. */
bool fake_is_open(struct fake_fast_path *fake, const char *name);

/* Waits for the n-th connection since the start. */
void fake_await_connections(struct fake_fast_path *fake, unsigned n);

/* Removes the port as 'vnode port remove' would, with an event. */
void fake_remove_port(struct fake_fast_path *fake, const char *name);

/* Whether a port of that name is there. */
bool fake_has_port(struct fake_fast_path *fake, const char *name);

/* Sets the port's link in the shared counters, and sends the event. */
void fake_set_link(struct fake_fast_path *fake, const char *name, bool up);

/* The same without an event: that came earlier. */
void fake_set_link_late(struct fake_fast_path *fake, const char *name, bool up);

/* The counters of a port. Valid while attached. */
struct shared_port_counters *fake_counters(struct fake_fast_path *fake, const char *name);

#endif
