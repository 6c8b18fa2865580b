/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_SHARED_COUNTERS_H
#define PROTO_SHARED_COUNTERS_H

/*
 * Counters of ports and rules in shared memory: the fast path writes them, the vSwitch that is
 * attached to it (message ATTACH) reads them whenever it likes, without a message.
 *
 *     fast path                                      vSwitch
 *     shared_counters_create(&counters, n, &error)   shared_counters_map(&counters, fd, &error)
 *     atomic_store(&counters.slots[7].packets, ...)  atomic_load(&counters.slots[7].packets)
 *     shared_counters_close(&counters)               shared_counters_close(&counters)
 *
 * The memory is a memfd, sealed against shrinking, growing and new writable mappings, so
 * that a reader can neither change it nor make an access fail. Each value is written and read by itself: packets and
 * bytes of one moment may differ by what was counted in between.
 */

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"
#include "lib/limits.h"

#define SHARED_COUNTERS_MAGIC 0x7372746e756f6376ull
#define SHARED_COUNTERS_VERSION 1

#define SHARED_PORT_EXISTS 1 /* values of 'flags' */
#define SHARED_PORT_UP 2     /* guests: the guest's driver is ready; uplinks: the link is up */

/* What came in by a port and left by it, and what of that was dropped. */
struct shared_port_counters {
    _Atomic uint64_t rx_packets, rx_bytes, rx_dropped;
    _Atomic uint64_t tx_packets, tx_bytes, tx_dropped;
    _Atomic uint32_t flags, mtu;
    uint64_t unused;
};

/* Packets that a rule of the vSwitch forwarded in the fast path, since the rule was added under its present id. */
struct shared_rule_counters {
    _Atomic uint64_t packets, bytes;
};

/* The beginning of the memory; the ports follow, by id, then the rules' slots. */
struct shared_counters_header {
    uint64_t magic;
    uint32_t version;
    uint32_t n_ports;
    uint32_t n_slots;
    uint32_t unused[11];
};

static_assert(sizeof(struct shared_counters_header) == 64, "layout version 1");
static_assert(sizeof(struct shared_port_counters) == 64, "layout version 1");
static_assert(sizeof(struct shared_rule_counters) == 16, "layout version 1");

struct shared_counters {
    void *memory; /* NULL: not there */
    size_t size;
    uint32_t n_slots;
    int fd;                             /* the creator's; -1 for a reader */
    struct shared_port_counters *ports; /* PORTS_MAX of them */
    struct shared_rule_counters *slots; /* 'n_slots' of them */
};

/* Makes counters, all 0, with 'n_slots' (at most RULES_MAX) for rules. ENOMEM, EMFILE, ENOSPC. */
int shared_counters_create(struct shared_counters *counters, uint32_t n_slots, struct error *error);

/*
 * Maps the counters in 'fd', which may be closed afterwards, for reading. EINVAL: these are no counters of this
 * version, or not sealed; the sentence says which.
 */
int shared_counters_map(struct shared_counters *counters, int fd, struct error *error);

/* Unmaps, and closes the creator's descriptor. Harmless on what is closed, or all zeros with fd -1. */
void shared_counters_close(struct shared_counters *counters);

#endif
