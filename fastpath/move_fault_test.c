/* SPDX-License-Identifier: Apache-2.0 */

/* Moves that are cancelled, or whose vSwitch hangs, lies or goes. */

#include "fastpath/move_test_steps.h"

static void vswitch_that_hangs_stops_nobody(void **state)
{
    struct bed *bed = *state;
    struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);
    uint64_t end;

    bed_forward(bed, 0, 0, FLOW, 1);
    move_begin(rule);
    look(bed, 1);
    for (end = now + 20 * MS; now <= end; now += MS) {
        assert_false(look(bed, 0));
        assert_true(pending(bed, 0));
        bed_forward(bed, 0, 0, FLOW, 1);
    }
    assert_false(look(bed, 0));
    assert_reaped(MOVE_DEADLINE);
    pass(bed, 0, BED_OUT, 1);
    bed_poll_ring(bed, 0, BED_OUT, 1);
    assert_order(bed);
    assert_int_equal(bed->ports[BED_OUT].n_delivered, bed->next[FLOW]);
}

static void vswitch_that_stops_is_waited_for_a_while(void **state)
{
    struct bed *bed = *state;
    struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);
    uint64_t paused_at;

    bed_forward(bed, 0, 0, FLOW, 1);
    move_begin(rule);
    look(bed, 1);
    assert_true(run_flow(bed));
    paused_at = now;
    now += 2 * MS;
    assert_true(look(bed, 0));
    now += MS;
    assert_false(look(bed, 0));
    assert_reaped(MOVE_DEADLINE);
    assert_false(look(bed, 0));
    /* For three times as long the queue is not paused again, though there is reason to. */
    move_begin(rule);
    look(bed, 1);
    pass(bed, 0, BED_OUT, 0);
    bed_poll_ring(bed, 1, BED_OUT, 0);
    bed_forward(bed, 0, 0, FLOW, 1);
    look(bed, 0);
    assert_false(run_flow(bed));
    now = paused_at + 8 * MS;
    assert_false(run_flow(bed));
    now = paused_at + 10 * MS;
    assert_true(run_flow(bed));
    pass(bed, 0, BED_OUT, 0);
    bed_poll_ring(bed, 1, BED_OUT, 0);
    look(bed, 0);
    assert_reaped(MOVE_DONE);
    assert_order(bed);
}

static void finish_by_hand(struct bed *bed, unsigned steps)
{
    if (steps <= 1)
        pass(bed, 0, BED_OUT, 1);
    if (steps <= 3)
        bed_poll_ring(bed, 1, BED_OUT, 1);
}

static void moves_can_be_cancelled_at_any_step(void **state)
{
    struct bed *bed = *state;
    struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);
    uint64_t n_cancelled = moves_totals()->n_ended[MOVE_CANCELLED];

    for (unsigned steps = 0; steps < 7; steps++) {
        advance(bed, rule, steps);
        bed_n_synchronized = 0;
        if (steps % 2)
            move_cancel(rule);
        else
            move_back(rule);
        assert_int_equal(bed_n_synchronized, 1);
        assert_int_equal(atomic_load(&rule->state), RULE_ONLOAD);
        assert_int_equal(moves_under_way(), 0);
        finish_by_hand(bed, steps);
        bed_forward(bed, 0, 0, FLOW, 1);
        pass(bed, 0, BED_OUT, 1);
        bed_poll_ring(bed, 1, BED_OUT, 1);
        assert_order(bed);
        assert_int_equal(bed->ports[BED_OUT].n_delivered, bed->next[FLOW]);
    }
    assert_int_equal(moves_totals()->n_ended[MOVE_CANCELLED], n_cancelled + 7);
    move_cancel(rule);
    move_back(rule);
    assert_int_equal(moves_totals()->n_ended[MOVE_CANCELLED], n_cancelled + 7);
}

static void cancelling_ends_a_pause(void **state)
{
    struct bed *bed = *state;
    struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);
    uint64_t paused_ns = moves_totals()->paused_ns;

    bed_forward(bed, 0, 0, FLOW, 1);
    move_begin(rule);
    assert_true(run_flow(bed));
    move_cancel(rule);
    now += 500 * MS;
    assert_false(look(bed, 0));
    pass(bed, 0, BED_OUT, 0);
    bed_poll_ring(bed, 1, BED_OUT, 0);
    advance(bed, rule, 6);
    assert_reaped(MOVE_DONE);
    assert_true(moves_totals()->paused_ns - paused_ns < 10 * MS);
    assert_order(bed);
}

static void removed_rules_do_not_move(void **state)
{
    struct bed *bed = *state;

    for (unsigned steps = 0; steps < 7; steps++) {
        struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);

        assert_int_equal(n_onload(rule), 0);
        advance(bed, rule, steps);
        assert_int_equal(flow_tables_remove(bed->tables, 1, NULL), 0);
        assert_int_equal(moves_under_way(), 0);
        flow_tables_reclaim(bed->tables);
        look(bed, 0);
        look(bed, 1);
        finish_by_hand(bed, steps);
        assert_order(bed);
    }
}

static void moves_of_one_queue_come_and_go(void **state)
{
    struct bed *bed = *state;
    struct rule *rules[3];

    for (unsigned i = 0; i < 3; i++) {
        rules[i] = bed_add_rule(bed, i + 1, FLOW + i, to_out, 1);
        bed_forward(bed, 0, 0, FLOW + i, 1);
    }
    for (unsigned gone = 0; gone < 3; gone++) {
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(move_begin(rules[i]), 0);
        look(bed, 0);
        move_cancel(rules[gone]);
        assert_int_equal(moves_under_way(), 2);
        pass(bed, 0, BED_OUT, 0);
        bed_poll_ring(bed, 1, BED_OUT, 0);
        look(bed, 0);
        look(bed, 1);
        assert_int_equal(moves_reap(tell), 2);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(atomic_load(&rules[i]->state), i == gone ? RULE_ONLOAD : RULE_OFFLOADED);
            bed_forward(bed, 0, 0, FLOW + i, 1);
            move_back(rules[i]);
        }
        pass(bed, 0, BED_OUT, 0);
        bed_poll_ring(bed, 1, BED_OUT, 0);
    }
    assert_order(bed);
}

static void without_vswitch_there_is_nothing_to_wait_for(void **state)
{
    struct bed *bed = *state;
    struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);

    for (enum bed_port_id id = 0; id < BED_PORTS; id++)
        bed_detach(bed, id);
    bed_forward(bed, 0, 0, FLOW, 1);
    bed->ports[BED_OUT].next[FLOW] = 1;
    move_begin(rule);
    look(bed, 0);
    look(bed, 1);
    assert_reaped(MOVE_DONE);
    bed_forward(bed, 0, 0, FLOW, 1);
    assert_order(bed);
    for (enum bed_port_id id = 0; id < BED_PORTS; id++)
        bed_attach(bed, id);
}

static void vswitch_is_replaced_under_way(void **state)
{
    struct bed *bed = *state;
    struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);

    for (unsigned steps = 1; steps < 5; steps++)
        for (enum bed_port_id id = BED_IN; id <= BED_OUT; id++) {
            advance(bed, rule, steps);
            bed_detach(bed, id);
            if (steps % 2)
                look(bed, 0);
            bed_attach(bed, id);
            look(bed, 0);
            look(bed, 1);
            if (id == BED_OUT)
                pass(bed, 0, BED_OUT, 1); /* lost or not: it came back */
            bed_poll_ring(bed, 1, BED_OUT, 1);
            look(bed, 0);
            look(bed, 1); /* it had to wait for the same */
            assert_reaped(MOVE_DONE);
            bed_forward(bed, 0, 0, FLOW, 1);
            assert_int_equal(bed->ports[BED_OUT].n_reordered, 0);
            move_back(rule);
        }
}

static void lying_vswitch_fails_moves_at_once(void **state)
{
    struct bed *bed = *state;
    struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);

    bed_forward(bed, 0, 0, FLOW, 1);
    move_begin(rule);
    look(bed, 0);
    look(bed, 1);
    pass(bed, 0, BED_OUT, 0);
    atomic_store(&bed->ports[BED_OUT].to_fastpath[1].shared->produced, 1ull << 40);
    look(bed, 0);
    assert_reaped(MOVE_DEADLINE);
    bed_forward(bed, 0, 0, FLOW, 1);
    bed_detach(bed, BED_OUT);
    bed_attach(bed, BED_OUT);
    move_begin(rule);
    look(bed, 0);
    look(bed, 1);
    atomic_store(&bed->ports[BED_IN].from_fastpath[0].shared->came_back, 1ull << 40);
    look(bed, 0);
    assert_reaped(MOVE_DEADLINE);
    assert_int_equal(bed->ports[BED_OUT].n_reordered, 0);
}

/* A position that could be, but is never reached, in a ring whose packets nobody waits for but this. */
static void promise_that_is_not_kept_ends(void **state)
{
    struct bed *bed = *state;
    struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);

    bed_forward(bed, 0, 0, FLOW, 1);
    move_begin(rule);
    look(bed, 0);
    look(bed, 1);
    pass(bed, 0, BED_OUT, 0);
    atomic_store(&bed->ports[BED_OUT].to_fastpath[1].shared->produced, 4096);
    look(bed, 0);
    bed_poll_ring(bed, 0, BED_OUT, 1);
    now += 19 * MS;
    look(bed, 0);
    assert_int_equal(moves_reap(tell), 0);
    now += 2 * MS;
    look(bed, 0);
    assert_reaped(MOVE_DEADLINE);
}

static void failure_on_one_queue_ends_all(void **state)
{
    struct bed *bed = *state;
    struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);

    bed_forward(bed, 0, 0, FLOW, 1);
    bed_forward(bed, 1, 1, 9, 1);
    move_begin(rule);
    look(bed, 0);
    look(bed, 1);
    atomic_store(&bed->ports[BED_IN].from_fastpath[0].shared->came_back, 1ull << 40);
    look(bed, 0);
    assert_true(pending(bed, 1));
    look(bed, 1);
    assert_reaped(MOVE_DEADLINE);
}

static bool is_crowded;

static bool crowded(struct receive_queue *queue)
{
    return is_crowded;
}

/* A NIC's ring does not wait: a pause ends when it is about to run over. */
static void pause_ends_before_packets_are_lost(void **state)
{
    static const struct receive_ops ops = {.crowded = crowded};
    struct bed *bed = *state;
    struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);

    bed->ports[BED_IN].receive[0].ops = &ops;
    atomic_store(&bed->ports[BED_IN].receive[0].ready, true);
    bed_forward(bed, 0, 0, FLOW, 1);
    move_begin(rule);
    look(bed, 1);
    assert_true(run_flow(bed));
    now += 100 * US;
    assert_true(look(bed, 0));
    is_crowded = true;
    assert_false(look(bed, 0));
    assert_reaped(MOVE_DEADLINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(vswitch_that_hangs_stops_nobody),
        TEST(vswitch_that_stops_is_waited_for_a_while),
        TEST(moves_can_be_cancelled_at_any_step),
        TEST(cancelling_ends_a_pause),
        TEST(removed_rules_do_not_move),
        TEST(moves_of_one_queue_come_and_go),
        TEST(without_vswitch_there_is_nothing_to_wait_for),
        TEST(vswitch_is_replaced_under_way),
        TEST(lying_vswitch_fails_moves_at_once),
        TEST(promise_that_is_not_kept_ends),
        TEST(failure_on_one_queue_ends_all),
        TEST(pause_ends_before_packets_are_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
