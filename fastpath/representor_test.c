/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/representor.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fastpath/worker_internal.h"
#include "proto/packet_ring.h"

#define PORT 3
#define N_QUEUES 4

/* The port table and the workers that this test stands in for: two, which share the queues evenly. */
_Atomic(struct port *) ports[PORTS_MAX];
static struct receive_queue *polled[QUEUES_MAX];
static unsigned n_polled, n_watched, n_woken, n_synchronized;
static bool no_more_watches;

void workers_synchronize(void)
{
    n_synchronized++;
}

void workers_add_queues(struct receive_queue *queues[], uint16_t n)
{
    for (uint16_t i = 0; i < n; i++) {
        queues[i]->worker = i % 2;
        polled[n_polled++] = queues[i];
    }
}

void workers_remove_queues(struct receive_queue *queues[], uint16_t n)
{
    for (uint16_t i = 0; i < n; i++) {
        assert_ptr_equal(polled[i], queues[i]);
        assert_false(atomic_load(&queues[i]->ready));
    }
    n_polled -= n;
}

int worker_watch(const struct receive_queue *queue, int fd)
{
    assert_true(fd >= 0);
    if (no_more_watches)
        return ENOSPC;
    if (n_watched & 1u << queue->worker)
        return EEXIST;
    n_watched |= 1u << queue->worker;
    return 0;
}

void worker_unwatch(const struct receive_queue *queue, int fd)
{
    n_watched &= ~(1u << queue->worker);
}

void worker_wake(const struct receive_queue *queue)
{
    n_woken++;
}

/* The port, a worker, and the peer's ends of the rings. */
struct fixture {
    struct port port;
    struct port_counters counters[WORKERS_MAX];
    struct worker worker;
    struct representor_offer offer;
    struct packet_ring_memory memory;
    struct packet_ring_consumer from_fastpath[N_QUEUES];
    struct packet_ring_producer to_fastpath[N_QUEUES];
};

static uint8_t bytes[FRAME_SIZE_MAX];

static struct representor *representor_of(struct fixture *fixture)
{
    return atomic_load(&fixture->port.representor);
}

static int set_up(void **state)
{
    struct fixture *fixture = aligned_alloc(64, (sizeof *fixture + 63) & ~63ul);

    memset(fixture, 0, sizeof *fixture);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 13 + (i >> 8));
    fixture->port.id = PORT;
    fixture->port.n_receive = N_QUEUES;
    fixture->port.counters = fixture->counters;
    strcpy(fixture->port.spec.name, "vm1");
    fixture->worker.burst.worker = &fixture->worker;
    atomic_store(&ports[PORT], &fixture->port);
    assert_int_equal(representor_open(PORT, &fixture->offer, NULL), 0);
    assert_int_equal(packet_ring_map(&fixture->memory, fixture->offer.memory_fd, NULL), 0);
    for (uint32_t i = 0; i < N_QUEUES; i++) {
        assert_int_equal(
            packet_ring_consumer_attach(&fixture->from_fastpath[i], &fixture->memory, 2 * i, NULL), 0);
        assert_int_equal(
            packet_ring_producer_attach(&fixture->to_fastpath[i], &fixture->memory, 2 * i + 1, NULL), 0);
    }
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    packet_ring_unmap(&fixture->memory);
    representor_detach(&fixture->port);
    assert_int_equal(n_polled, 0);
    assert_int_equal(n_watched, 0);
    atomic_store(&ports[PORT], NULL);
    free(fixture);
    return 0;
}

/* The peer returns 'size' bytes on 'queue'. */
static void peer_sends(struct fixture *fixture, uint16_t queue, uint32_t size,
                       struct packet_ring_offload offload)
{
    uint8_t *data = packet_ring_reserve(&fixture->to_fastpath[queue], size);

    assert_non_null(data);
    memcpy(data, bytes, size);
    packet_ring_commit(&fixture->to_fastpath[queue],
                       &(struct packet_ring_frame){.size = size, .offload = offload});
    packet_ring_publish(&fixture->to_fastpath[queue]);
}

static void open_and_close_keep_workers_apart(void **state)
{
    struct fixture *fixture = *state;
    struct representor_offer second;
    struct error error;

    assert_int_equal(fixture->offer.n_queues, N_QUEUES);
    assert_int_equal(fixture->memory.n_rings, 2 * N_QUEUES);
    assert_int_equal(n_polled, N_QUEUES);
    assert_int_equal(n_watched, 3);
    assert_int_equal(representor_open(PORT, &second, &error), EBUSY);
    assert_non_null(strstr(error.text, "vm1"));
    assert_int_equal(representor_open(PORT + 1, &second, &error), ENOENT);
    representor_close(fixture->offer.handle + 1); /* not open: nothing happens */
    assert_non_null(representor_of(fixture));
    n_synchronized = 0;
    representor_close(fixture->offer.handle);
    assert_null(representor_of(fixture));
    assert_true(n_synchronized > 0);
    assert_int_equal(n_polled, 0);
    assert_int_equal(representor_open(PORT, &second, &error), 0);
    assert_int_not_equal(second.handle, fixture->offer.handle);
    representor_close(fixture->offer.handle); /* the one that is gone, not the new one */
    assert_non_null(representor_of(fixture));
}

static void rings_take_what_a_vswitch_sends_at_once(void **state)
{
    struct fixture *fixture = *state;
    unsigned n = 0;

    for (; packet_ring_reserve(&fixture->to_fastpath[0], 1518); n++)
        packet_ring_commit(&fixture->to_fastpath[0], &(struct packet_ring_frame){.size = 1518});
    assert_in_range(n, 1024, 2048); /* the usual queues of NICs */
}

/* Half of the room is not for who can wait. */
static void senders_wait_before_the_ring_is_full(void **state)
{
    struct fixture *fixture = *state;
    struct packet packet = {
        .head = bytes, .head_size = 128, .tail = bytes + 128, .tail_size = 8890, .size = 9018};
    unsigned n = 0, n_more = 0;

    while (representor_room(representor_of(fixture), 0, packet.size) >= PACKET_RING_RECORD_SIZE(packet.size)) {
        assert_true(representor_put(representor_of(fixture), 0, &packet));
        n++;
    }
    while (representor_put(representor_of(fixture), 0, &packet))
        n_more++;
    assert_in_range(n, 110, 116);
    assert_in_range(n_more, 110, 116);
    assert_int_equal(representor_room(representor_of(fixture), 0, 1), 0);
}

static void failure_to_open_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct representor_offer offer;
    struct error error;

    representor_detach(&fixture->port);
    no_more_watches = true;
    assert_int_equal(representor_open(PORT, &offer, &error), ENOSPC);
    no_more_watches = false;
    assert_null(representor_of(fixture));
    assert_int_equal(n_polled, 0);
}

static void sends_packets_in_pieces_with_their_offloads(void **state)
{
    struct fixture *fixture = *state;
    const struct packet_segment more[] = {{bytes + 1000, 3000}, {bytes + 4000, 61550}};
    struct packet packets[] = {
        {.head = bytes, .head_size = 60, .size = 60},
        {.head = bytes, .head_size = 128, .tail = bytes + 128, .tail_size = 1390, .size = 1518},
        {.head = bytes,
         .head_size = 128,
         .tail = bytes + 128,
         .tail_size = 872,
         .more = more,
         .n_more = 2,
         .size = 65550,
         .offload = {PACKET_NEEDS_CSUM, PACKET_GSO_TCPV4, 54, 1448, 34, 16}},
    };
    struct packet *const list[] = {&packets[0], &packets[1], &packets[2]};
    struct packet_ring_frame frames[4];

    assert_int_equal(representor_send(representor_of(fixture), 2, list, 3), 3);
    assert_int_equal(packet_ring_peek(&fixture->from_fastpath[0], frames, 4), 0);
    assert_int_equal(packet_ring_peek(&fixture->from_fastpath[2], frames, 4), 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(frames[i].size, packets[i].size);
        assert_memory_equal(frames[i].data, bytes, frames[i].size);
        assert_memory_equal(&frames[i].offload, &packets[i].offload, sizeof frames[i].offload);
    }
    assert_int_equal(frames[2].offload.gso_size, 1448);
}

static void tells_how_many_fit(void **state)
{
    struct fixture *fixture = *state;
    struct packet packet = {
        .head = bytes, .head_size = 128, .tail = bytes + 128, .tail_size = 65422, .size = 65550};
    struct packet *list[40];
    struct packet_ring_frame frames[40];
    unsigned n_fit = (2u << 20) / PACKET_RING_RECORD_SIZE(packet.size);

    for (unsigned i = 0; i < 40; i++)
        list[i] = &packet;
    assert_in_range(n_fit, 30, 39);
    assert_int_equal(representor_send(representor_of(fixture), 0, list, 40), n_fit);
    assert_int_equal(packet_ring_peek(&fixture->from_fastpath[0], frames, 40), n_fit);
    assert_int_equal(packet_ring_n_dropped(&fixture->from_fastpath[0]), 40 - n_fit);
    packet_ring_release(&fixture->from_fastpath[0]);
    assert_int_equal(representor_send(representor_of(fixture), 0, list, 1), 1);
}

static void rings_a_sleeping_peer_once(void **state)
{
    struct fixture *fixture = *state;
    struct packet packet = {.head = bytes, .head_size = 60, .size = 60};
    struct packet *const list[] = {&packet};
    uint64_t rung;

    representor_send(representor_of(fixture), 1, list, 1);
    assert_int_equal(read(fixture->offer.to_vswitch_fd, &rung, sizeof rung), -1);
    assert_true(packet_ring_may_sleep(&fixture->from_fastpath[3]));
    representor_send(representor_of(fixture), 3, list, 1);
    representor_send(representor_of(fixture), 3, list, 1);
    assert_int_equal(read(fixture->offer.to_vswitch_fd, &rung, sizeof rung), sizeof rung);
    assert_int_equal(rung, 1);
}

static void returned_packets_have_private_heads(void **state)
{
    struct fixture *fixture = *state;
    struct receive_queue *queue = polled[1];
    struct burst *burst = &fixture->worker.burst;
    const struct {
        uint32_t size;
        struct packet_ring_offload offload;
        uint16_t head_size;
    } cases[] = {
        {14, {0}, 14},
        {60, {0}, 60},
        {1518, {0}, SNAPSHOT_SIZE},
        {65550, {1, PACKET_GSO_TCPV4, 54, 1448, 34, 16}, SNAPSHOT_SIZE},
        {9000, {1, PACKET_GSO_TCPV6, 174, 1448, 154, 16}, 154 + 60},
        {9000, {1, 0, 0, 0, 180, 16}, 240},
        {9000, {1, 0, 0, 0, 65535, 65535}, SNAPSHOT_SIZE_MAX},
    };

    assert_true(atomic_load(&queue->ready));
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct packet *packet = &burst->packets[0];

        peer_sends(fixture, 1, cases[i].size, cases[i].offload);
        assert_int_equal(queue->ops->receive(queue, burst, BURST_MAX), 1);
        assert_int_equal(burst->n, 1);
        assert_ptr_equal(packet->head, burst->heads[0].bytes);
        assert_int_equal(packet->head_size, cases[i].head_size);
        assert_int_equal(packet->size, cases[i].size);
        assert_int_equal(packet->head_size + packet->tail_size, cases[i].size);
        assert_int_equal(packet->in_port, PORT);
        assert_int_equal(packet->headroom, PACKET_HEADROOM);
        assert_int_equal(packet->offload.csum_start, cases[i].offload.csum_start);
        assert_memory_equal(packet->head, bytes, packet->head_size);
        assert_memory_equal(packet->tail, bytes + packet->head_size, packet->tail_size);
        queue->ops->release(queue, burst);
    }
    assert_int_equal(queue->ops->receive(queue, burst, BURST_MAX), 0);
}

static void runts_are_counted(void **state)
{
    struct fixture *fixture = *state;
    struct receive_queue *queue = polled[0];

    peer_sends(fixture, 0, 13, (struct packet_ring_offload){0});
    peer_sends(fixture, 0, 60, (struct packet_ring_offload){0});
    assert_int_equal(queue->ops->receive(queue, &fixture->worker.burst, BURST_MAX), 2);
    assert_int_equal(fixture->worker.burst.n, 1);
    assert_int_equal(fixture->worker.burst.packets[0].size, 60);
    assert_int_equal(fixture->counters[0].drops[DROP_RING_BAD], 1);
    queue->ops->release(queue, &fixture->worker.burst);
}

static void worker_sleeps_until_the_peer_rings(void **state)
{
    struct fixture *fixture = *state;
    struct receive_queue *queue = polled[2];

    assert_true(queue->ops->arm(queue));
    memcpy(packet_ring_reserve(&fixture->to_fastpath[2], 60), bytes, 60);
    packet_ring_commit(&fixture->to_fastpath[2], &(struct packet_ring_frame){.size = 60});
    assert_true(packet_ring_publish(&fixture->to_fastpath[2])); /* that is, the peer has to ring */
    assert_false(queue->ops->arm(queue));
    queue->ops->disarm(queue);
    peer_sends(fixture, 2, 60, (struct packet_ring_offload){0});
    assert_int_equal(queue->ops->receive(queue, &fixture->worker.burst, BURST_MAX), 2);
    queue->ops->release(queue, &fixture->worker.burst);
}

static void rubbish_breaks_the_ring_and_nothing_else(void **state)
{
    struct fixture *fixture = *state;
    struct receive_queue *queue = polled[0];

    assert_null(representor_fault(PORT));
    atomic_store(&fixture->to_fastpath[0].shared->produced, 1ull << 40);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(queue->ops->receive(queue, &fixture->worker.burst, BURST_MAX), 0);
    assert_int_equal(fixture->counters[0].drops[DROP_RING_BAD], 1);
    assert_non_null(representor_fault(PORT));
    assert_true(queue->ops->arm(queue)); /* the worker does not spin on it */
    peer_sends(fixture, 1, 60, (struct packet_ring_offload){0});
    assert_int_equal(polled[1]->ops->receive(polled[1], &fixture->worker.burst, BURST_MAX), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(open_and_close_keep_workers_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rings_take_what_a_vswitch_sends_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(senders_wait_before_the_ring_is_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failure_to_open_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sends_packets_in_pieces_with_their_offloads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tells_how_many_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rings_a_sleeping_peer_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(returned_packets_have_private_heads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(runts_are_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(worker_sleeps_until_the_peer_rings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rubbish_breaks_the_ring_and_nothing_else, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
