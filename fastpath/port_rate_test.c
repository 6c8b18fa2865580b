/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Ports with limits, a worker that polls them, and time that only the tests move on. The test stands in for the port table
 * and for worker.c; guests are queues that always have packets, or as many as a test gives them.
 */
#include "fastpath/port_rate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "fastpath/deliver.h"
#include "fastpath/flow_table.h"
#include "fastpath/match_cache.h"
#include "fastpath/segment.h"

#define HZ 2000000000ull
#define US (HZ / 1000000)
#define QUEUES 3

_Atomic(struct port *) ports[PORTS_MAX];

static uint64_t ticks;
static unsigned n_synchronized, n_woken;

void workers_synchronize(void)
{
    n_synchronized++;
}

uint16_t workers_count(void)
{
    return 1;
}

void workers_add_queues(struct receive_queue *queues[], uint16_t n)
{
}

void workers_remove_queues(struct receive_queue *queues[], uint16_t n)
{
}

int worker_watch(const struct receive_queue *queue, int fd)
{
    return 0;
}

void worker_unwatch(const struct receive_queue *queue, int fd)
{
}

void worker_wake(const struct receive_queue *queue)
{
    n_woken++;
}

static uint64_t read_clock(void)
{
    return ticks;
}

/* A guest's queue. */
struct source {
    struct receive_queue queue;
    uint32_t frame_size;
    uint64_t n_waiting; /* packets */
    uint64_t n_taken, n_polls;
    uint16_t most; /* of the last poll */
    bool is_armed;
    struct packet_offload offload;
};

struct test_port {
    struct port port;
    struct port_counters counters[WORKERS_MAX];
    struct source sources[QUEUES];
    struct send_queue send;
    uint64_t n_sent, bytes_sent;
};

static struct test_port limited, other;
static struct flow_tables *tables;
static struct worker worker;
static struct poll_list list;

static uint16_t source_receive(struct receive_queue *queue, struct burst *burst, uint16_t most)
{
    struct source *source = (struct source *)queue;
    uint16_t n = source->n_waiting < most ? (uint16_t)source->n_waiting : most;

    source->n_polls++;
    source->most = most;
    for (uint16_t i = 0; i < n; i++) {
        struct packet *packet = &burst->packets[i];

        memset(burst->heads[i].bytes, 0, sizeof burst->heads[i].bytes);
        *packet = (struct packet){.head = burst->heads[i].bytes,
                                  .head_size = 14,
                                  .size = source->frame_size,
                                  .in_port = queue->port->id};
    }
    source->n_waiting -= n;
    source->n_taken += n;
    burst->n = n;
    return n;
}

static void source_release(struct receive_queue *queue, struct burst *burst)
{
}

static bool source_arm(struct receive_queue *queue)
{
    struct source *source = (struct source *)queue;

    source->is_armed = true;
    return source->n_waiting == 0;
}

static void source_disarm(struct receive_queue *queue)
{
    ((struct source *)queue)->is_armed = false;
}

static const struct receive_ops source_ops = {
    .receive = source_receive, .release = source_release, .arm = source_arm, .disarm = source_disarm};

static uint16_t count_sent(struct send_queue *queue, struct worker *by, struct packet *const packets[],
                           uint16_t n, bool shared)
{
    struct test_port *port = (struct test_port *)queue->port;

    port->n_sent += n;
    for (uint16_t i = 0; i < n; i++)
        port->bytes_sent += packets[i]->size;
    return n;
}

static const struct send_ops count_ops = {.send = count_sent};

static void set_up_port(struct test_port *port, uint16_t id)
{
    memset(port, 0, sizeof *port);
    port->port.id = id;
    port->port.n_receive = QUEUES;
    port->port.n_send = 1;
    port->port.table = flow_tables_get(tables, id);
    port->port.counters = port->counters;
    port->port.offloads = UINT32_MAX;
    port->port.frame_size_max = FRAME_SIZE_MAX;
    strcpy(port->port.spec.name, id ? "other" : "limited");
    atomic_store(&port->port.n_send_active, 1);
    for (uint16_t i = 0; i < QUEUES; i++) {
        struct source *source = &port->sources[i];

        *source = (struct source){.queue = {.port = &port->port, .ops = &source_ops, .index = i},
                                  .frame_size = 1000};
        atomic_store(&source->queue.ready, true);
        port->port.receive[i] = &source->queue;
        list.queues[list.n++] = &source->queue;
    }
    port->send = (struct send_queue){.port = &port->port, .ops = &count_ops};
    atomic_store(&port->send.ready, true);
    port->port.send[0] = &port->send;
    atomic_store(&ports[id], &port->port);
}

/* All that comes in by a port leaves by the other one. */
static int setup(void **state)
{
    rate_start(HZ, read_clock);
    ticks = 1000;
    tables = flow_tables_create(16, NULL);
    memset(&worker, 0, sizeof worker);
    worker.alone = true;
    worker.burst.worker = &worker;
    worker.cache = match_cache_create();
    for (uint16_t i = 0; i < BURST_MAX; i++)
        worker.burst.all[i] = &worker.burst.packets[i];
    list.n = 0;
    n_synchronized = n_woken = 0;
    set_up_port(&limited, 0);
    set_up_port(&other, 1);
    for (uint16_t id = 0; id < 2; id++) {
        struct rule_spec spec = {
            .id = id + 1, .in_port = id, .n_actions = 1, .actions = {{.type = ACTION_OUTPUT, .port = !id}}};

        assert_int_equal(flow_tables_insert(tables, &spec, NULL), 0);
    }
    return 0;
}

static int teardown(void **state)
{
    port_free_rates(&limited.port);
    port_free_rates(&other.port);
    flow_tables_destroy(tables);
    match_cache_destroy(worker.cache);
    return 0;
}

static const struct port_rates keep = {PORT_RATE_KEEP, PORT_RATE_KEEP, PORT_RATE_KEEP, PORT_RATE_KEEP};

static void set_rate(uint64_t rate, uint64_t burst)
{
    struct port_rates change = keep;

    change.in = rate;
    change.burst_in = burst;
    assert_int_equal(port_set_rates(0, &change, NULL), 0);
}

/* Polls each microsecond for 'us' of them. */
static void poll_for(unsigned us)
{
    for (; us > 0; us--) {
        ticks += US;
        worker_poll(&worker, &list);
    }
}

static void expect_near(uint64_t value, uint64_t expected, uint64_t more)
{
    if (value + more < expected || value > expected + more)
        fail_msg("%llu is not %llu", (unsigned long long)value, (unsigned long long)expected);
}

static void a_guest_gets_its_rate_and_loses_nothing(void **state)
{
    struct source *source = &limited.sources[0];

    source->n_waiting = 1 << 20;
    set_rate(800000000, 200000);
    poll_for(1000000);
    /* 100 bytes each microsecond, the burst at the beginning, and what is taken at once at the end. */
    expect_near(source->n_taken * 1000, 100000000 + 200000, 20000);
    assert_int_equal(source->n_taken + source->n_waiting, 1 << 20);
    assert_int_equal(other.n_sent, source->n_taken);
    assert_true(limited.counters[0].n_holds > 1000);
    expect_near(limited.counters[0].held_units, HZ * RATE_UNITS_PER_TICK * QUEUES, HZ * RATE_UNITS_PER_TICK);
}

static void the_other_port_is_polled_as_ever(void **state)
{
    limited.sources[0].n_waiting = other.sources[1].n_waiting = 1 << 30;
    set_rate(8000000, 1000);
    poll_for(10000);
    assert_int_equal(other.sources[1].n_polls, 10000);
    assert_int_equal(other.sources[1].n_taken, 10000 * BURST_MAX);
    assert_true(limited.sources[0].n_polls < 50);
    expect_near(limited.sources[0].n_taken, 10, 3);
}

static void queues_share_the_rate_fairly(void **state)
{
    for (unsigned i = 0; i < QUEUES; i++)
        limited.sources[i].n_waiting = 1 << 30;
    set_rate(800000000, 0);
    poll_for(300000);
    for (unsigned i = 0; i < QUEUES; i++)
        expect_near(limited.sources[i].n_taken * 1000, 10000000, 1000000);
    expect_near((limited.sources[0].n_taken + limited.sources[1].n_taken + limited.sources[2].n_taken) * 1000,
                30000000 + 1000000, 60000);
}

static void a_rate_is_changed_while_packets_flow(void **state)
{
    struct source *source = &limited.sources[0];
    uint64_t before;

    source->n_waiting = 1 << 30;
    set_rate(1000, 1);
    poll_for(100);
    before = source->n_taken;
    assert_int_equal(before, 1);
    /* It would be held for eight seconds more. */
    set_rate(800000000, 1000);
    assert_int_equal(n_woken, 2 * QUEUES);
    assert_int_equal(n_synchronized, 2);
    poll_for(10000);
    expect_near((source->n_taken - before) * 1000, 1000000, 20000);
    set_rate(0, PORT_RATE_KEEP);
    before = source->n_taken;
    poll_for(10);
    assert_int_equal(source->n_taken - before, 10 * BURST_MAX);
}

static void large_packets_are_taken_one_by_one(void **state)
{
    struct source *source = &limited.sources[0];
    uint64_t before;

    source->n_waiting = 1 << 30;
    source->frame_size = 60;
    set_rate(1000000000, 0);
    poll_for(100000);
    assert_int_equal(source->most, BURST_MAX);
    source->frame_size = 65000;
    poll_for(1000000);
    assert_int_equal(source->most, 1);
    before = source->n_taken;
    poll_for(1000000);
    expect_near((source->n_taken - before) * 65000, 125000000, 2 * 65000);
    /* An acknowledgement between them is no reason to take many. */
    source->n_waiting = 0;
    poll_for(10000);
    source->frame_size = 60;
    source->n_waiting = 1;
    poll_for(10);
    source->frame_size = 65000;
    source->n_waiting = 10;
    before = source->n_polls;
    do
        poll_for(1);
    while (source->n_waiting == 10);
    assert_true(source->most <= 2);
}

/* Polls until nothing comes any more. */
static void poll_until_idle(void)
{
    while (worker_poll(&worker, &list) > 0) {
    }
}

static void a_worker_sleeps_while_a_port_is_held(void **state)
{
    struct source *source = &limited.sources[0];
    struct worker_rest rest;
    uint64_t now;

    source->n_waiting = 1000;
    source->frame_size = 1010;
    set_rate(8000000, 5000);
    ticks += US;
    assert_int_equal(worker_poll(&worker, &list), 1);
    assert_int_equal(worker.n_held, 0);
    poll_until_idle();
    now = rate_now();
    assert_true(worker_arm(&list, &rest));
    /* A million bytes a second: a millisecond until a packet's worth has come in. */
    assert_true(rest.held);
    assert_false(rest.nap);
    expect_near(rest.until - now, rate_units(1000000), rate_units(2000000));
    /* It must not be woken by the guest until then. */
    assert_false(source->is_armed);
    /* The port's other queues have nothing, so that they need no look when the time has come. */
    assert_true(limited.sources[1].is_armed);
    worker_disarm(&list);
    ticks = rest.until / RATE_UNITS_PER_TICK - 1;
    assert_int_equal(worker_poll(&worker, &list), 0);
    ticks += 2;
    assert_int_equal(worker_poll(&worker, &list), source->most);
    assert_int_equal(worker.n_held, source->most);
}

static void a_worker_sleeps_for_good_when_nothing_waits(void **state)
{
    struct source *source = &limited.sources[0];
    struct worker_rest rest;

    source->n_waiting = 5;
    set_rate(8000000, 4500);
    poll_until_idle();
    assert_int_equal(source->n_waiting, 0);
    assert_true(worker_arm(&list, &rest));
    assert_false(rest.held);
    assert_true(source->is_armed);
    worker_disarm(&list);
    source->n_waiting = 1;
    assert_true(worker_arm(&list, &rest));
    assert_true(rest.held);
    other.sources[0].n_waiting = 1;
    assert_false(worker_arm(&list, &rest));
}

static void what_goes_out_is_dropped_beyond_its_rate(void **state)
{
    struct port_rates change = keep;
    uint64_t sent;

    change.out = 800000000;
    change.burst_out = 50000;
    assert_int_equal(port_set_rates(0, &change, NULL), 0);
    other.sources[0].n_waiting = other.sources[1].n_waiting = 1 << 30;
    poll_for(100000);
    sent = other.sources[0].n_taken + other.sources[1].n_taken;
    assert_int_equal(sent, 200000 * BURST_MAX);
    expect_near(limited.bytes_sent, 10000000 + 50000, 2000);
    assert_int_equal(limited.n_sent + limited.counters[0].drops[DROP_TX_RATE], sent);
    /* Others are not concerned. */
    limited.sources[0].n_waiting = 100;
    poll_for(100);
    assert_int_equal(other.n_sent, 100);
    assert_int_equal(other.counters[0].drops[DROP_TX_RATE], 0);
}

static void segments_count_with_headers_of_their_own(void **state)
{
    struct packet packet = {.size = 54 + 14480,
                            .l4_offset = 34,
                            .offload = {.gso_type = PACKET_GSO_TCPV4, .gso_size = 1448, .hdr_len = 54}};

    assert_int_equal(packet_size_added(&packet), 9 * 54);
    packet.size++;
    assert_int_equal(packet_size_added(&packet), 10 * 54);
    packet.size = 54 + 1448;
    assert_int_equal(packet_size_added(&packet), 0);
    packet.size = 54;
    assert_int_equal(packet_size_added(&packet), 0);
    packet = (struct packet){.size = 34 + 8 + 2952,
                             .l4_offset = 34,
                             .offload = {.gso_type = PACKET_GSO_UDP, .gso_size = 1480, .hdr_len = 42}};
    /* Fragments repeat the IP header only: 2,960 bytes behind it make two of them. */
    assert_int_equal(packet_size_added(&packet), 34);
    packet.offload.gso_type = 0;
    assert_int_equal(packet_size_added(&packet), 0);
}

static void settings_are_checked_and_kept(void **state)
{
    struct port_rates change = keep, rates;
    struct error error;

    change.in = 1000000000;
    change.out = 100000000;
    assert_int_equal(port_set_rates(0, &change, &error), 0);
    port_get_rates(0, &rates);
    assert_int_equal(rates.in, 1000000000);
    assert_int_equal(rates.burst_in, 1250000);
    assert_int_equal(rates.out, 100000000);
    assert_int_equal(rates.burst_out, 2500000);
    change = keep;
    change.in = 1000000;
    change.out = PORT_RATE_MAX;
    assert_int_equal(port_set_rates(0, &change, &error), 0);
    port_get_rates(0, &rates);
    assert_int_equal(rates.burst_in, 131072);
    assert_int_equal(rates.burst_out, PORT_BURST_MAX);
    change = keep;
    change.burst_in = 20000;
    assert_int_equal(port_set_rates(0, &change, &error), 0);
    change = keep;
    change.in = 2000000000;
    change.out = 0;
    assert_int_equal(port_set_rates(0, &change, &error), 0);
    port_get_rates(0, &rates);
    assert_int_equal(rates.in, 2000000000);
    assert_int_equal(rates.burst_in, 20000);
    assert_int_equal(rates.out | rates.burst_out, 0);
    assert_null(atomic_load(&limited.port.rate_out));
    /* What is not changed goes on as it is. */
    n_woken = 0;
    assert_int_equal(port_set_rates(0, &keep, &error), 0);
    assert_int_equal(n_woken, 0);
    change = keep;
    change.in = 999;
    assert_int_equal(port_set_rates(0, &change, &error), EINVAL);
    assert_non_null(strstr(error.text, "limited"));
    change.in = PORT_RATE_MAX + 1;
    assert_int_equal(port_set_rates(0, &change, &error), EINVAL);
    change = keep;
    change.burst_out = PORT_BURST_MAX + 1;
    assert_int_equal(port_set_rates(0, &change, &error), EINVAL);
    port_get_rates(0, &rates);
    assert_int_equal(rates.in, 2000000000);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_guest_gets_its_rate_and_loses_nothing),
        test(the_other_port_is_polled_as_ever),
        test(queues_share_the_rate_fairly),
        test(a_rate_is_changed_while_packets_flow),
        test(large_packets_are_taken_one_by_one),
        test(a_worker_sleeps_while_a_port_is_held),
        test(a_worker_sleeps_for_good_when_nothing_waits),
        test(what_goes_out_is_dropped_beyond_its_rate),
        test(segments_count_with_headers_of_their_own),
        test(settings_are_checked_and_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
