/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_DRIVER_TESTBED_H
#define PMD_DRIVER_TESTBED_H

/*
 * What tests of the driver share: DPDK in this process, without hugepages and privileges, devices used as
 * DPDK's user uses them, and a fake fast path with real packet rings. Failures are cmocka's.
 */

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include <rte_mbuf.h>

#include "pmd/fake_fast_path.h"

#define TESTBED_POOL_SIZE 1023
#define TESTBED_SLOW_MS 1000 /* more than any call may take, on a busy machine */

extern char testbed_socket[64];
extern struct rte_mempool *testbed_pool; /* all of it is free when no device is plugged in */
extern struct fake_fast_path *fake;      /* of the present test; NULL: none */

int start_eal(void **state);
int stop_eal(void **state);
int before_each(void **state);
int after_each(void **state);

/* What the driver says, and links, are waited for; 10 s at most. */
const char *logged(void);
void await_log(const char *words);
bool link_is_up(uint16_t ethdev_id);
void await_link(uint16_t ethdev_id, bool up);

void start_fake(uint64_t started);

/* A new device; start_device() makes it run. */
uint16_t plug_with(const char *name, const char *arguments);
void start_device(uint16_t ethdev_id, uint16_t n_receive, uint16_t n_send);

/* A running device for the guest port "vm1", with one receive and two send queues. */
uint16_t plug(void);

/* Takes it away, and checks that it kept no mbuf. */
void unplug(uint16_t ethdev_id);

/* The device's port in the fake, with a link on both sides. */
struct fake_port *port_with_link(uint16_t ethdev_id, const char *name);

uint64_t extended_counter(uint16_t ethdev_id, const char *name);
unsigned elapsed_ms(const struct timespec *since);

/* Frames whose bytes tell their place and the frame's number. False: the ring is full. */
bool offer_frame(struct packet_ring_producer *ring, unsigned number, uint32_t size, uint8_t offload_flags);
void check_packet(const struct rte_mbuf *packet, unsigned number, uint32_t size);
void check_frame(const struct packet_ring_frame *frame, unsigned number, uint32_t size);

/* A packet in pieces of up to 'piece' bytes. */
struct rte_mbuf *make_packet(unsigned number, uint32_t size, uint32_t piece);

#endif
