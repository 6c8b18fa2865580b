/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_VRING_TESTBED_H
#define FASTPATH_VRING_TESTBED_H

/*
 * A guest's memory and a virtqueue of each direction in plain heap memory, with all
 * that the ring code needs around it, and the driver's side of the rings: so that
 * tests can drive receive_ops and send_ops directly, without vhost-user. Every area
 * is an allocation of exactly its size, for the address sanitizer to watch.
 *
 *     bed = testbed_create(&testbed_default);
 *     address = testbed_allocate(bed, 12 + 60);
 *     testbed_post(&bed->from_guest, (struct testbed_piece[]){{address, 12 + 60, false}}, 1, TESTBED_CHAIN);
 *     n = testbed_receive(bed);
 *     ... bed->worker->burst ...
 *     testbed_release(bed);
 *     testbed_take_used(&bed->from_guest, &id, &size);
 *     testbed_destroy(bed);
 *
 * Functions abort when memory is short.
 */

#include "fastpath/vring.h"
#include "fastpath/worker_internal.h"

#define TESTBED_REGION_A 0x10000u      /* guest addresses; B follows A, but lies elsewhere here */
#define TESTBED_REGION_A_SIZE 0x80000u /* of testbed_default, and what follows from it */
#define TESTBED_REGION_B (TESTBED_REGION_A + TESTBED_REGION_A_SIZE)
#define TESTBED_REGION_B_SIZE 0x40000u
#define TESTBED_PIECES_MAX 300
#define TESTBED_MEMORY_END (TESTBED_REGION_B + TESTBED_REGION_B_SIZE)

struct testbed_config {
    bool is_packed;
    bool event_index;
    bool mergeable;
    uint8_t header_size; /* 10 or 12 */
    uint16_t size;       /* descriptors of each ring */
    uint16_t start;      /* index that both rings begin at; packed: below 'size' */
    uint32_t region_a_size, region_b_size;
};

/* 256 descriptors, split, header of 12 bytes, nothing negotiated beyond. */
extern const struct testbed_config testbed_default;

/* One descriptor. */
struct testbed_piece {
    uint64_t address;
    uint32_t size;
    bool device_writes;
};

enum testbed_layout {
    TESTBED_CHAIN,         /* a descriptor of the ring for each piece */
    TESTBED_INDIRECT,      /* one that points to a table */
    TESTBED_CHAIN_INDIRECT /* the first piece in the ring, the others in a table behind it */
};

/* The driver's side of one ring. */
struct testbed_driver {
    struct vring_testbed *bed;
    struct virtqueue *ring;
    uint16_t next_descriptor; /* split: the next free one; packed: where the next goes */
    bool wrap;
    uint16_t next_id; /* packed */
    uint16_t used;    /* where the next used entry will be */
    bool used_wrap;
    uint16_t *lengths; /* packed: slots of each buffer id, which are below the ring's size */
};

struct vring_testbed {
    struct testbed_config config;
    struct guest_memory memory;
    uint64_t allocated; /* guest address of the next allocation, in region A */
    struct port port;
    struct doorbell_peer peer; /* the guest */
    struct port_counters counters[WORKERS_MAX];
    struct worker *worker;
    struct vring_receive_queue receive;
    struct vring_send_queue send;
    const struct receive_ops *receive_ops;
    const struct send_ops *send_ops;
    struct testbed_driver from_guest, to_guest;
};

struct vring_testbed *testbed_create(const struct testbed_config *config);
void testbed_destroy(struct vring_testbed *bed);

/* The guest address of 'size' zeroed bytes of region A. */
uint64_t testbed_allocate(struct vring_testbed *bed, uint32_t size);

/* Where the guest address 'address' is here. */
uint8_t *testbed_at(struct vring_testbed *bed, uint64_t address);

/* Makes a buffer of 'n' pieces available. Returns its id: of the head descriptor, or the buffer id. */
uint16_t testbed_post(struct testbed_driver *driver, const struct testbed_piece pieces[], uint16_t n,
                      enum testbed_layout layout);

/* Makes a buffer of one piece available, to be read on a ring from the guest and written on one to it. */
uint16_t testbed_post_piece(struct testbed_driver *driver, uint64_t address, uint32_t size);

/* Takes the next used entry; false when there is none. Checks what the specification demands of a packed one. */
bool testbed_take_used(struct testbed_driver *driver, uint32_t *id, uint32_t *size);

/* Whether the device asks to be kicked when the driver makes the next buffer available: 2.7.7.1, 2.8.10. */
bool testbed_wants_kick(const struct testbed_driver *driver);

/* How many times the guest was called through 'driver''s queue since the last question. */
uint64_t testbed_calls(struct testbed_driver *driver);

/* Asks to be called after 'n' more used entries (packed: slots); needs the event index. */
void testbed_want_call_after(struct testbed_driver *driver, uint16_t n);

/* Asks for no calls, or for all; without the event index. */
void testbed_want_calls(struct testbed_driver *driver, bool want);

uint16_t testbed_receive(struct vring_testbed *bed);
void testbed_release(struct vring_testbed *bed);

/* Sends one packet to the guest, and calls it if it asked for that. Returns how many it took: 0 or 1. */
uint16_t testbed_send(struct vring_testbed *bed, struct packet *packet);

/*
 * For tests that run once on each format of ring: two rows of a cmocka table, which call test_NAME(), and
 * what testbed_default becomes there.
 */
#define TESTBED_BOTH(name)                                                     \
    {"split: " #name, test_##name, NULL, NULL, (void *)&testbed_formats[0]},   \
    {                                                                          \
        "packed: " #name, test_##name, NULL, NULL, (void *)&testbed_formats[1] \
    }
extern const bool testbed_formats[2]; /* whether it is packed */
struct testbed_config testbed_config_of(void **state);

#endif
