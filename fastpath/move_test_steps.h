/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_MOVE_TEST_STEPS_H
#define FASTPATH_MOVE_TEST_STEPS_H

/*
 * Moves taken step by step, by hand, with a clock of the test's own: what move_test.c and move_fault_test.c share. Each
 * test file has these to itself.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fastpath/move.h"
#include "fastpath/move_testbed.h"
#include "fastpath/offload_rule.h"

#define FLOW 5
#define US 1000ull
#define MS 1000000ull

static const struct action to_out[] = {{.type = ACTION_OUTPUT, .port = BED_OUT}};

static uint64_t now; /* nanoseconds, as the moves see them */

static inline uint64_t fake_clock(void)
{
    return now;
}

/* What moves_reap() told last. */
static struct {
    unsigned n;
    struct rule *rule;
    enum move_result result;
    uint64_t duration_ns;
} told;

static inline void tell(struct rule *rule, enum move_result result, uint64_t duration_ns)
{
    told.n++;
    told.rule = rule;
    told.result = result;
    told.duration_ns = duration_ns;
}

/* What the vSwitch has taken from its rings and not released. */
static struct packet_ring_frame held[BED_QUEUES][64];
static uint16_t n_held[BED_QUEUES];

static inline void take(struct bed *bed, unsigned queue)
{
    n_held[queue] = packet_ring_peek(&bed->ports[BED_IN].from_fastpath[queue], held[queue], 64);
}

static inline void output(struct bed *bed, enum bed_port_id port, unsigned from, unsigned to)
{
    for (unsigned i = 0; i < n_held[from]; i++)
        assert_true(bed_output(bed, port, to, &held[from][i]));
    packet_ring_publish(&bed->ports[port].to_fastpath[to]);
}

static inline void give_back(struct bed *bed, unsigned queue)
{
    packet_ring_release(&bed->ports[BED_IN].from_fastpath[queue]);
    n_held[queue] = 0;
}

/* The vSwitch asks for more, and takes nothing. */
static inline void come_back(struct bed *bed, unsigned queue)
{
    struct packet_ring_frame none;

    packet_ring_peek(&bed->ports[BED_IN].from_fastpath[queue], &none, 0);
}

/* All of that: what lies in the ring of 'queue' goes to 'port', by its ring 'to', and the vSwitch comes back. */
static inline void pass(struct bed *bed, unsigned queue, enum bed_port_id port, unsigned to)
{
    take(bed, queue);
    output(bed, port, queue, to);
    give_back(bed, queue);
    come_back(bed, queue);
}

static inline bool look(struct bed *bed, unsigned queue)
{
    struct receive_queue *receive = &bed->ports[BED_IN].receive[queue];

    return atomic_load(&receive->moves) && move_look(receive, now);
}

static inline bool pending(struct bed *bed, unsigned queue)
{
    return move_pending(&bed->ports[BED_IN].receive[queue]);
}

static inline void assert_order(struct bed *bed)
{
    for (unsigned i = 0; i < BED_PORTS; i++) {
        assert_int_equal(bed->ports[i].n_lost, 0);
        assert_int_equal(bed->ports[i].n_reordered, 0);
    }
}

static inline void assert_reaped(enum move_result result)
{
    told.n = 0;
    assert_int_equal(moves_reap(tell), 1);
    assert_int_equal(told.n, 1);
    assert_int_equal(told.result, result);
    assert_int_equal(atomic_load(&told.rule->state), result == MOVE_DONE ? RULE_OFFLOADED : RULE_ONLOAD);
}

static inline uint64_t n_onload(const struct rule *rule)
{
    return rule_offload(rule)->n_packets;
}

static inline int set_up(void **state)
{
    struct bed *bed = bed_create();

    now = 1000 * MS;
    moves_start(1000000000, fake_clock);
    flow_tables_on_remove(bed->tables, move_cancel);
    bed_n_synchronized = bed_n_woken = 0;
    memset(n_held, 0, sizeof n_held);
    *state = bed;
    return 0;
}

static inline int tear_down(void **state)
{
    struct bed *bed = *state;

    assert_int_equal(moves_under_way(), 0);
    for (unsigned i = 0; i < BED_QUEUES; i++) {
        assert_null(atomic_load(&bed->ports[BED_IN].receive[i].moves));
        assert_false(pending(bed, i));
    }
    moves_forget_port(&bed->ports[BED_IN].port);
    bed_destroy(bed);
    return 0;
}

/* The flow sends at each step, the vSwitch keeps up, a round trip behind: only a pause makes an end. True: it has begun. */
static inline bool run_flow(struct bed *bed)
{
    for (unsigned i = 0; i < 100; i++) {
        now += 5 * US;
        if (look(bed, 0))
            return true;
        bed_forward(bed, 0, 0, FLOW, 1);
        take(bed, 0);
        output(bed, BED_OUT, 0, 0);
        bed_poll_ring(bed, 1, BED_OUT, 0);
        bed_forward(bed, 0, 0, FLOW, 1);
        give_back(bed, 0);
        come_back(bed, 0);
    }
    return false;
}

/* Takes a move to one of its steps. */
static inline void advance(struct bed *bed, struct rule *rule, unsigned steps)
{
    bed_forward(bed, 0, 0, FLOW, 2);
    assert_int_equal(move_begin(rule), 0);
    if (steps > 0)
        look(bed, 0);
    if (steps > 1)
        pass(bed, 0, BED_OUT, 1);
    if (steps > 2)
        look(bed, 0);
    if (steps > 3)
        bed_poll_ring(bed, 1, BED_OUT, 1);
    if (steps > 4)
        look(bed, 0);
    if (steps > 5)
        look(bed, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
