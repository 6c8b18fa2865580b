/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Rules move to and fro as fast as they can under full load: two workers, two vSwitch threads, several outputs. Every
 * frame arrives at every output of its rule, once and in its flow's order. Also to be run with -Db_sanitize=thread.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "fastpath/move.h"
#include "fastpath/move_testbed.h"

#define MOVES 100000 /* both ways together */
#define WINDOW 200   /* frames of a flow under way at most, so that no ring overflows */
#define DROPPED 7    /* the flow that its rule drops */
#define REMOVED 11   /* the flow whose rule comes and goes */

static struct bed *bed;
static struct rule *rules[BED_FLOWS];
static _Atomic bool quiet, stop; /* no more frames; no more work */
static _Atomic uint64_t n_quiescent[2];
static _Atomic uint64_t n_dropped_by_vswitch;
static pthread_mutex_t output_locks[BED_PORTS];
static uint64_t n_done, n_failed;

static uint64_t clock_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static bool outputs_to(unsigned flow, enum bed_port_id port)
{
    if (flow == DROPPED)
        return false;
    return port == BED_OUT ? flow % 4 != 3 : flow % 4 >= 2;
}

static struct rule *add_rule(unsigned flow)
{
    struct action actions[3];
    uint16_t n = 0;

    if (outputs_to(flow, BED_OUT))
        actions[n++] = (struct action){.type = ACTION_OUTPUT, .port = BED_OUT};
    if (flow % 3 == 0)
        actions[n++] = (struct action){.type = ACTION_SET_ETH_DST, .eth = {2, 0, 0, 0, 9, 9}};
    if (outputs_to(flow, BED_OTHER))
        actions[n++] = (struct action){.type = ACTION_OUTPUT, .port = BED_OTHER};
    if (flow == DROPPED)
        actions[n++] = (struct action){.type = ACTION_DROP};
    return bed_add_rule(bed, flow + 1, flow, actions, n);
}

/* Frames of 'flow' that are under way. Only the worker that sends them asks. */
static uint64_t n_under_way(unsigned flow)
{
    uint64_t n_arrived = bed->next[flow];

    if (flow == DROPPED)
        return n_arrived - atomic_load(&n_dropped_by_vswitch) - atomic_load(&rules[DROPPED]->n_packets);
    for (enum bed_port_id port = BED_OUT; port < BED_PORTS; port++)
        if (outputs_to(flow, port) && atomic_load(&bed->ports[port].next[flow]) < n_arrived)
            n_arrived = atomic_load(&bed->ports[port].next[flow]);
    return bed->next[flow] - n_arrived;
}

static void send_frames(unsigned worker, unsigned *seed)
{
    unsigned flows[BURST_MAX], sent[BED_FLOWS] = {0};
    uint16_t n = 0;

    for (unsigned i = 0; i < BURST_MAX; i++) {
        unsigned flow = ((unsigned)rand_r(seed) % (BED_FLOWS / 2)) * 2 + worker;

        if (n_under_way(flow) + sent[flow]++ < WINDOW)
            flows[n++] = flow;
    }
    if (n)
        bed_forward_mixed(bed, worker, worker, flows, n);
}

static void *work(void *argument)
{
    unsigned worker = (unsigned)(uintptr_t)argument, seed = worker + 1;
    struct receive_queue *queue = &bed->ports[BED_IN].receive[worker];

    while (!atomic_load(&stop)) {
        bool paused = atomic_load_explicit(&queue->moves, memory_order_relaxed) && move_look(queue, clock_ns());

        if (!paused && !atomic_load(&quiet))
            send_frames(worker, &seed);
        for (enum bed_port_id port = BED_OUT; port < BED_PORTS; port++)
            bed_poll_ring(bed, worker, port, port == BED_OUT ? worker : 1 - worker);
        atomic_fetch_add(&n_quiescent[worker], 1);
        sched_yield();
    }
    return NULL;
}

static void wait_for_workers(void)
{
    for (unsigned i = 0; i < 2; i++)
        for (uint64_t then = atomic_load(&n_quiescent[i]); atomic_load(&n_quiescent[i]) == then;)
            sched_yield();
}

/* A flow keeps to one ring, as it does in Open vSwitch; each ring is used by both threads. */
static void output(const struct packet_ring_frame *frame)
{
    unsigned flow = bed_flow(frame->data), ring = flow >> 1 & 1;

    if (flow == DROPPED)
        atomic_fetch_add(&n_dropped_by_vswitch, 1);
    for (enum bed_port_id port = BED_OUT; port < BED_PORTS; port++) {
        if (!outputs_to(flow, port))
            continue;
        pthread_mutex_lock(&output_locks[port]);
        if (!bed_output(bed, port, ring, frame))
            abort();
        packet_ring_publish(&bed->ports[port].to_fastpath[ring]);
        pthread_mutex_unlock(&output_locks[port]);
    }
}

/* Copies, gives the room back at once, and takes its time with the copies, as a DPDK driver and Open vSwitch do. */
static void *switch_frames(void *argument)
{
    unsigned index = (unsigned)(uintptr_t)argument, seed = index + 7;
    struct packet_ring_consumer *ring = &bed->ports[BED_IN].from_fastpath[index];

    while (!atomic_load(&stop)) {
        static _Thread_local uint8_t copies[32][BED_FRAME_SIZE];
        struct packet_ring_frame frames[32];
        uint16_t n = packet_ring_peek(ring, frames, 32);

        for (uint16_t i = 0; i < n; i++) {
            memcpy(copies[i], frames[i].data, BED_FRAME_SIZE);
            frames[i].data = copies[i];
        }
        packet_ring_release(ring);
        for (uint16_t i = 0; i < n; i++) {
            if (rand_r(&seed) % 64 == 0)
                sched_yield();
            output(&frames[i]);
        }
        if (!n)
            sched_yield();
    }
    return NULL;
}

static void ended(struct rule *rule, enum move_result result, uint64_t duration_ns)
{
    if (result == MOVE_DONE)
        n_done++;
    else
        n_failed++;
}

/* Does something to the rule of 'flow'; returns 1 if that was a move to the vSwitch. */
static unsigned move_rule(unsigned flow, unsigned *seed)
{
    struct rule *rule = rules[flow];
    unsigned dice = (unsigned)rand_r(seed) % 100;

    switch (atomic_load(&rule->state)) {
    case RULE_ONLOAD: assert_int_equal(move_begin(rule), 0); return 0;
    case RULE_OFFLOADED:
        if (dice < 50)
            return 0;
        move_back(rule);
        return 1;
    default:
        if (dice >= 2)
            return 0;
        if (flow != REMOVED) {
            move_cancel(rule);
            return 0;
        }
    }
    flow_tables_remove(bed->tables, flow + 1, NULL);
    workers_synchronize();
    flow_tables_reclaim(bed->tables);
    rules[flow] = add_rule(flow);
    return 0;
}

/* That shows while it runs: then nothing has to be waited for. */
static bool went_wrong(void)
{
    uint64_t n = 0;

    for (enum bed_port_id port = BED_OUT; port < BED_PORTS; port++)
        n += atomic_load(&bed->ports[port].n_lost) + atomic_load(&bed->ports[port].n_reordered);
    return n > 0;
}

static void move_rules(void)
{
    uint64_t n_back = 0;
    unsigned seed = 3;

    while (n_done + n_back < MOVES && !went_wrong()) {
        for (unsigned flow = 0; flow < BED_FLOWS; flow++)
            n_back += move_rule(flow, &seed);
        sched_yield();
        moves_reap(ended);
    }
    while (moves_under_way()) {
        moves_reap(ended);
        sched_yield();
    }
}

static void nothing_is_lost_or_reordered(void **state)
{
    pthread_t threads[4];
    const struct move_totals *totals;

    for (uintptr_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i < 2 ? work : switch_frames, (void *)(i % 2)), 0);
    move_rules();
    atomic_store(&quiet, true);
    wait_for_workers();
    for (unsigned flow = 0; flow < BED_FLOWS; flow++)
        while (n_under_way(flow) && !went_wrong())
            sched_yield();
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    totals = moves_totals();
    print_message("%llu frames; %llu moves, %llu back, %llu missed the deadline, %llu cancelled; "
                  "p50 %llu us, p99 %llu us, %llu pauses, the longest %llu us\n",
                  (unsigned long long)bed->ports[BED_OUT].n_delivered + bed->ports[BED_OTHER].n_delivered,
                  (unsigned long long)totals->n_ended[MOVE_DONE], (unsigned long long)totals->n_back,
                  (unsigned long long)totals->n_ended[MOVE_DEADLINE],
                  (unsigned long long)totals->n_ended[MOVE_CANCELLED],
                  (unsigned long long)move_duration_quantile(totals, 0.5) / 1000,
                  (unsigned long long)move_duration_quantile(totals, 0.99) / 1000,
                  (unsigned long long)totals->n_pauses, (unsigned long long)totals->paused_max_ns / 1000);
    for (enum bed_port_id port = BED_OUT; port < BED_PORTS; port++) {
        assert_int_equal(bed->ports[port].n_lost, 0);
        assert_int_equal(bed->ports[port].n_reordered, 0);
        assert_true(bed->ports[port].n_offloaded > 0);
        assert_true(bed->ports[port].n_offloaded < bed->ports[port].n_delivered);
    }
    assert_int_equal(totals->n_ended[MOVE_DONE], n_done);
    assert_int_equal(totals->n_ended[MOVE_DEADLINE], n_failed);
    assert_int_equal(totals->n_begun, n_done + n_failed + totals->n_ended[MOVE_CANCELLED]);
}

static int set_up(void **state)
{
    for (unsigned i = 0; i < BED_PORTS; i++)
        pthread_mutex_init(&output_locks[i], NULL);
    bed = bed_create();
    bed_synchronize = wait_for_workers;
    moves_start(1000000000, clock_ns);
    flow_tables_on_remove(bed->tables, move_cancel);
    for (unsigned flow = 0; flow < BED_FLOWS; flow++)
        rules[flow] = add_rule(flow);
    return 0;
}

static int tear_down(void **state)
{
    bed_synchronize = NULL;
    moves_forget_port(&bed->ports[BED_IN].port);
    bed_destroy(bed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_lost_or_reordered, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
