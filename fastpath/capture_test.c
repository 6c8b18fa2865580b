/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/capture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fastpath/worker_internal.h"
#include "proto/packet_ring.h"

/* The port table and the workers that this test stands in for. */
_Atomic(struct port *) ports[PORTS_MAX];
static unsigned n_synchronized;

uint16_t workers_count(void)
{
    return 3;
}

void workers_synchronize(void)
{
    n_synchronized++;
}

#define PORT 7

static struct port port = {.id = PORT, .spec = {.name = "vm1"}};
static uint8_t bytes[9000];

static int set_up(void **state)
{
    struct worker *worker = calloc(1, sizeof *worker);

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 13 + (i >> 8));
    atomic_store(&ports[PORT], &port);
    worker->index = 1;
    *state = worker;
    return 0;
}

static int tear_down(void **state)
{
    capture_detach(&port);
    atomic_store(&ports[PORT], NULL);
    free(*state);
    return 0;
}

/* A packet of 9000 bytes in four pieces. */
static const struct packet_segment more[] = {{bytes + 1000, 3000}, {bytes + 4000, 5000}};
static struct packet whole = {.head = bytes,
                              .head_size = 128,
                              .tail = bytes + 128,
                              .tail_size = 872,
                              .more = more,
                              .n_more = 2,
                              .size = 9000,
                              .offload = {.flags = PACKET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16}};
static struct packet *const one_packet[] = {&whole};

/* A capture, and its client's end of the second ring, which is our worker's. */
struct client {
    struct capture_offer offer;
    struct packet_ring_memory memory;
    struct packet_ring_consumer consumer;
};

static void client_start(struct client *client, uint32_t snap_size)
{
    assert_int_equal(capture_start(PORT, snap_size, &client->offer, NULL), 0);
    assert_int_equal(packet_ring_map(&client->memory, client->offer.memory_fd, NULL), 0);
    assert_int_equal(packet_ring_consumer_attach(&client->consumer, &client->memory, 1, NULL), 0);
}

static void copies_up_to_the_snap_length(void **state)
{
    const uint32_t snap_sizes[] = {0, 1, 127, 128, 129, 1000, 1001, 4000, 8999, 9000, 9001, UINT32_MAX};

    for (unsigned i = 0; i < sizeof snap_sizes / sizeof snap_sizes[0]; i++) {
        uint32_t expected = snap_sizes[i] && snap_sizes[i] < 9000 ? snap_sizes[i] : 9000;
        struct packet_ring_frame frames[4];
        struct client client;

        client_start(&client, snap_sizes[i]);
        assert_int_equal(client.offer.n_rings, 3);
        capture_packets(*state, &port, one_packet, 1, CAPTURE_OUT);
        assert_int_equal(packet_ring_peek(&client.consumer, frames, 4), 1);
        assert_int_equal(frames[0].size, expected);
        assert_memory_equal(frames[0].data, bytes, expected);
        assert_int_equal(capture_packet_size(frames[0].mark), 9000);
        assert_int_equal(capture_direction_of(frames[0].mark), CAPTURE_OUT);
        assert_int_equal(frames[0].offload.csum_start, 34);
        assert_int_equal(frames[0].offload.csum_offset, 16);
        assert_true(frames[0].metadata > 1600000000ull * 1000000000);
        capture_stop(client.offer.handle);
        packet_ring_unmap(&client.memory);
    }
}

static void wakes_a_sleeping_client(void **state)
{
    struct packet_ring_frame frames[4];
    struct client client;
    uint64_t rung;

    client_start(&client, 64);
    capture_packets(*state, &port, one_packet, 1, CAPTURE_IN);
    assert_int_equal(read(client.offer.doorbell_fd, &rung, sizeof rung), -1);
    assert_int_equal(packet_ring_peek(&client.consumer, frames, 4), 1);
    packet_ring_release(&client.consumer);
    assert_true(packet_ring_may_sleep(&client.consumer));
    capture_packets(*state, &port, one_packet, 1, CAPTURE_IN);
    assert_int_equal(read(client.offer.doorbell_fd, &rung, sizeof rung), sizeof rung);
    packet_ring_unmap(&client.memory);
}

static void slow_client_loses_counted_records(void **state)
{
    struct packet_ring_frame frames[32];
    struct client client;
    uint32_t n_taken = 0;
    uint16_t n;

    client_start(&client, 0);
    for (unsigned i = 0; i < 1000; i++)
        capture_packets(*state, &port, one_packet, 1, CAPTURE_IN);
    while ((n = packet_ring_peek(&client.consumer, frames, 32)) > 0)
        n_taken += n;
    assert_int_not_equal(n_taken, 0);
    assert_int_equal(n_taken + packet_ring_n_dropped(&client.consumer), 1000);
    packet_ring_unmap(&client.memory);
}

static void one_capture_at_a_time(void **state)
{
    struct capture_offer offer, second;
    struct error error;

    assert_int_equal(capture_start(PORT, 64, &offer, &error), 0);
    assert_int_equal(capture_start(PORT, 64, &second, &error), EBUSY);
    assert_int_equal(capture_start(PORT + 1, 64, &second, &error), ENOENT);
    capture_stop(offer.handle + 1); /* not ours: nothing happens */
    assert_int_equal(capture_start(PORT, 64, &second, &error), EBUSY);
    n_synchronized = 0;
    capture_stop(offer.handle);
    assert_int_equal(n_synchronized, 1);
    assert_int_equal(capture_start(PORT, 64, &second, &error), 0);
    assert_int_not_equal(second.handle, offer.handle);
    capture_stop(offer.handle);
    assert_non_null(atomic_load(&port.capture));
}

static void ended_capture_takes_nothing(void **state)
{
    capture_packets(*state, &port, one_packet, 1, CAPTURE_IN);
    capture_detach(&port);
    capture_stop(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(copies_up_to_the_snap_length, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wakes_a_sleeping_client, set_up, tear_down),
        cmocka_unit_test_setup_teardown(slow_client_loses_counted_records, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_capture_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ended_capture_takes_nothing, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
