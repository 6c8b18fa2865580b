/* SPDX-License-Identifier: Apache-2.0 */

/* Moves that come to a good end. */

#include <errno.h>

#include "fastpath/move_test_steps.h"

static void quiet_flow_moves_step_by_step(void **state)
{
    struct bed *bed = *state;
    struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);
    uint64_t n_pauses = moves_totals()->n_pauses;

    bed_forward(bed, 0, 0, FLOW, 3);
    assert_int_equal(move_begin(rule), 0);
    assert_int_equal(atomic_load(&rule->state), RULE_MOVING);
    assert_int_equal(bed_n_woken, BED_QUEUES);
    assert_true(pending(bed, 0));
    assert_false(look(bed, 0));
    now += 10 * US;
    take(bed, 0);
    output(bed, BED_OUT, 0, 1);
    assert_false(look(bed, 0));
    give_back(bed, 0); /* released, but the vSwitch might still be busy with them */
    assert_false(look(bed, 0));
    assert_true(pending(bed, 0));
    come_back(bed, 0);
    assert_false(look(bed, 0)); /* out of the vSwitch, but not delivered */
    assert_true(pending(bed, 0));
    assert_int_equal(bed_poll_ring(bed, 1, BED_OUT, 1), 3);
    now += 10 * US;
    assert_false(look(bed, 0));
    assert_false(pending(bed, 0));
    assert_int_equal(moves_reap(tell), 0); /* queue 1 has not been looked at */
    assert_false(look(bed, 1));
    assert_reaped(MOVE_DONE);
    assert_ptr_equal(told.rule, rule);
    assert_int_equal(told.duration_ns, 20 * US);
    bed_forward(bed, 0, 0, FLOW, 2);
    assert_int_equal(bed->ports[BED_OUT].n_delivered, 5);
    assert_int_equal(bed->ports[BED_OUT].n_offloaded, 2);
    assert_int_equal(rule->n_packets, 2);
    assert_int_equal(rule->n_bytes, 2 * BED_FRAME_SIZE);
    assert_int_equal(n_onload(rule), 3);
    assert_int_equal(rule_offload(rule)->n_bytes, 3 * BED_FRAME_SIZE);
    assert_int_equal(moves_totals()->n_pauses, n_pauses);
    assert_order(bed);
}

static void packets_in_between_begin_anew(void **state)
{
    struct bed *bed = *state;
    struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);

    bed_forward(bed, 0, 0, FLOW, 1);
    move_begin(rule);
    look(bed, 1);
    look(bed, 0);
    bed_forward(bed, 0, 0, FLOW, 1); /* before the vSwitch has come back */
    take(bed, 0);
    n_held[0] = 1;
    output(bed, BED_OUT, 0, 0);
    look(bed, 0);
    assert_true(pending(bed, 0));
    take(bed, 0);
    give_back(bed, 0); /* it drops the second, which is its right */
    come_back(bed, 0);
    look(bed, 0);
    assert_true(pending(bed, 0));
    bed_forward(bed, 0, 0, FLOW, 1); /* when all is out of the vSwitch, and not delivered */
    bed_poll_ring(bed, 0, BED_OUT, 0);
    bed->ports[BED_OUT].next[FLOW] = 2;
    look(bed, 0);
    assert_true(pending(bed, 0));
    pass(bed, 0, BED_OUT, 0);
    bed_poll_ring(bed, 0, BED_OUT, 0);
    look(bed, 0);
    assert_false(pending(bed, 0));
    assert_int_equal(n_onload(rule), 3);
    bed_forward(bed, 0, 0, FLOW, 1); /* offloaded before control knows */
    assert_int_equal(n_onload(rule), 3);
    assert_reaped(MOVE_DONE);
    assert_order(bed);
}

static void flow_without_gaps_is_paused(void **state)
{
    struct bed *bed = *state;
    struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);
    struct move_totals before = *moves_totals();
    uint64_t begun = now;

    bed_forward(bed, 0, 0, FLOW, 1);
    move_begin(rule);
    look(bed, 1);
    assert_true(run_flow(bed));
    assert_true(now - begun >= 50 * US && now - begun <= 60 * US);
    assert_false(look(bed, 1)); /* the other queue goes on */
    now += 7 * US;
    assert_true(look(bed, 0));
    pass(bed, 0, BED_OUT, 0);
    assert_true(look(bed, 0));
    bed_poll_ring(bed, 1, BED_OUT, 0);
    assert_false(look(bed, 0));
    assert_reaped(MOVE_DONE);
    bed_forward(bed, 0, 0, FLOW, 1);
    assert_order(bed);
    assert_int_equal(moves_totals()->n_pauses, before.n_pauses + 1);
    assert_int_equal(moves_totals()->paused_ns, before.paused_ns + 7 * US);
}

static void one_pause_serves_all(void **state)
{
    struct bed *bed = *state;
    struct rule *rules[8];
    uint64_t n_pauses = moves_totals()->n_pauses;

    for (unsigned i = 0; i < 8; i++)
        rules[i] = bed_add_rule(bed, i + 1, FLOW + i, to_out, 1);
    bed_forward(bed, 0, 0, FLOW, 1);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(move_begin(rules[i]), 0);
    look(bed, 1);
    for (unsigned i = 0; i < 20; i++) {
        bool paused = look(bed, 0);

        for (unsigned j = 0; j < 8 && !paused; j++)
            bed_forward(bed, 0, 0, FLOW + j, 2);
        bed_poll_ring(bed, 1, BED_OUT, 0);
        pass(bed, 0, BED_OUT, 0);
        now += 20 * US;
    }
    assert_int_equal(moves_reap(tell), 8);
    assert_int_equal(moves_totals()->n_pauses, n_pauses + 1);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(atomic_load(&rules[i]->state), RULE_OFFLOADED);
    bed_poll_ring(bed, 1, BED_OUT, 0);
    assert_order(bed);
}

static void begin_many(struct bed *bed, struct rule *rules[], unsigned n, uint64_t first_id)
{
    bed_forward(bed, 0, 0, FLOW, 1);
    for (unsigned i = 0; i < n; i++) {
        rules[i] = bed_add_rule(bed, first_id + i, FLOW + i, to_out, 1);
        assert_int_equal(move_begin(rules[i]), 0);
    }
    look(bed, 1);
    look(bed, 0);
    assert_true(pending(bed, 0));
}

static void end_many(struct rule *rules[], unsigned n)
{
    assert_int_equal(moves_reap(tell), n);
    for (unsigned i = 0; i < n; i++)
        move_back(rules[i]);
}

/* Each look at all of a flood's moves would cost more than a burst. */
static void many_moves_are_looked_at_when_something_happens(void **state)
{
    struct bed *bed = *state;
    struct rule *rules[8];

    /* That the vSwitch is gone before it has come back once changes nothing by itself; it is seen in time. */
    begin_many(bed, rules, 8, 1);
    look(bed, 0);
    bed_detach(bed, BED_IN);
    look(bed, 0);
    assert_true(pending(bed, 0));
    now += 8 * US;
    look(bed, 0);
    assert_false(pending(bed, 0));
    look(bed, 1);
    end_many(rules, 8);
    bed_attach(bed, BED_IN);
    bed->ports[BED_OUT].next[FLOW] = 1; /* the first was lost with it */

    /* What happens takes them further at once. */
    begin_many(bed, rules, 8, 9);
    pass(bed, 0, BED_OUT, 0);
    look(bed, 0);
    bed_poll_ring(bed, 1, BED_OUT, 0);
    look(bed, 0);
    assert_false(pending(bed, 0));
    end_many(rules, 8);

    /* A new one is seen at once. */
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(move_begin(rules[i]), 0);
    look(bed, 1);
    look(bed, 0);
    assert_false(pending(bed, 0));
    end_many(rules, 8);
    assert_order(bed);
}

static void queues_move_each_for_itself(void **state)
{
    struct bed *bed = *state;
    struct rule *rule;
    const struct action actions[] = {{.type = ACTION_DROP}};

    /* One rule for all. What it does does not matter, only who does it. */
    rule = bed_add_rule(bed, 1, FLOW, actions, 1);
    bed_forward(bed, 0, 0, FLOW, 1);
    bed_forward(bed, 1, 1, FLOW, 1);
    move_begin(rule);
    look(bed, 0);
    look(bed, 1);
    take(bed, 0);
    give_back(bed, 0);
    come_back(bed, 0);
    look(bed, 0);
    look(bed, 1);
    assert_false(pending(bed, 0));
    assert_true(pending(bed, 1));
    bed_forward(bed, 0, 0, FLOW, 1);
    bed_forward(bed, 1, 1, FLOW, 1);
    assert_int_equal(rule->n_packets, 1);
    assert_int_equal(n_onload(rule), 3);
    assert_int_equal(bed->ports[BED_IN].counters[0].drops[DROP_RULE], 1);
    look(bed, 1);
    take(bed, 1);
    assert_int_equal(n_held[1], 2);
    give_back(bed, 1);
    come_back(bed, 1);
    look(bed, 1);
    assert_reaped(MOVE_DONE);
}

static void all_outputs_are_waited_for(void **state)
{
    struct bed *bed = *state;
    const struct action actions[] = {{.type = ACTION_OUTPUT, .port = BED_OUT},
                                     {.type = ACTION_SET_ETH_DST, .eth = {2, 0, 0, 0, 9, 9}},
                                     {.type = ACTION_OUTPUT, .port = BED_OTHER},
                                     {.type = ACTION_OUTPUT, .port = BED_OUT + 400}};
    struct rule *rule = bed_add_rule(bed, 1, FLOW, actions, 4);

    bed_forward(bed, 0, 0, FLOW, 2);
    move_begin(rule);
    look(bed, 1);
    look(bed, 0);
    take(bed, 0);
    output(bed, BED_OUT, 0, 0);
    output(bed, BED_OTHER, 0, 1);
    give_back(bed, 0);
    come_back(bed, 0);
    look(bed, 0);
    bed_poll_ring(bed, 0, BED_OTHER, 1);
    look(bed, 0);
    assert_true(pending(bed, 0));
    bed_poll_ring(bed, 1, BED_OUT, 0);
    look(bed, 0);
    assert_reaped(MOVE_DONE);
    bed_forward(bed, 0, 0, FLOW, 2);
    assert_int_equal(bed->ports[BED_OUT].n_delivered, 4);
    assert_int_equal(bed->ports[BED_OTHER].n_delivered, 4);
    assert_order(bed);
}

static void other_traffic_of_the_outputs_is_not(void **state)
{
    struct bed *bed = *state;
    struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);

    bed_add_rule(bed, 2, 9, to_out, 1);
    bed_forward(bed, 0, 0, FLOW, 1);
    move_begin(rule);
    look(bed, 1);
    look(bed, 0);
    pass(bed, 0, BED_OUT, 0);
    look(bed, 0);
    /* What the vSwitch returns from now on does not matter. */
    bed_forward(bed, 1, 1, 9, 5);
    pass(bed, 1, BED_OUT, 1);
    bed_poll_ring(bed, 1, BED_OUT, 0);
    look(bed, 0);
    assert_reaped(MOVE_DONE);
    bed_poll_ring(bed, 1, BED_OUT, 1);
    assert_order(bed);
}

static void limits_and_errors(void **state)
{
    static struct rule *rules[MOVES_MAX + 1];
    struct bed *bed = *state;

    for (unsigned i = 0; i <= MOVES_MAX; i++)
        rules[i] = bed_add_rule(bed, i + 1, i, to_out, 1);
    for (unsigned i = 0; i < MOVES_MAX; i++)
        assert_int_equal(move_begin(rules[i]), 0);
    assert_int_equal(move_begin(rules[MOVES_MAX]), EBUSY);
    assert_int_equal(atomic_load(&rules[MOVES_MAX]->state), RULE_ONLOAD);
    move_cancel(rules[2]);
    atomic_store(&ports[BED_IN], NULL);
    assert_int_equal(move_begin(rules[MOVES_MAX]), ENOENT);
    atomic_store(&ports[BED_IN], &bed->ports[BED_IN].port);
    assert_int_equal(move_begin(rules[MOVES_MAX]), 0);
    for (unsigned i = 0; i <= MOVES_MAX; i++)
        move_cancel(rules[i]);
}

static void durations_have_quantiles(void **state)
{
    static struct move_totals totals;

    assert_int_equal(move_duration_quantile(&totals, 0.5), 0);
    for (unsigned i = 0; i < 100; i++) {
        struct bed *bed = *state;
        struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);

        move_begin(rule);
        now += (i < 98 ? 100 : 3000) * US;
        look(bed, 0);
        look(bed, 1);
        assert_reaped(MOVE_DONE);
        assert_int_equal(told.duration_ns, (i < 98 ? 100 : 3000) * US);
        flow_tables_remove(bed->tables, 1, NULL);
        flow_tables_reclaim(bed->tables);
    }
    for (unsigned i = 0; i < MOVE_DURATION_CLASSES; i++)
        totals.n_durations[i] = moves_totals()->n_durations[i];
    totals.duration_max_ns = moves_totals()->duration_max_ns;
    totals.n_ended[MOVE_DONE] = moves_totals()->n_ended[MOVE_DONE];
    assert_true(move_duration_quantile(&totals, 0.5) >= 100 * US);
    assert_true(move_duration_quantile(&totals, 0.5) <= 113 * US);
    assert_int_equal(move_duration_quantile(&totals, 1), totals.duration_max_ns);
}

static void rules_of_a_packet_by_packet_burst_are_counted_right(void **state)
{
    struct bed *bed = *state;
    struct rule *rule = bed_add_rule(bed, 1, FLOW, to_out, 1);

    advance(bed, rule, 6);
    assert_reaped(MOVE_DONE);
    for (unsigned i = 0; i < 4; i++)
        bed_forward(bed, 0, i % 2, FLOW, 32);
    assert_int_equal(rule->n_packets, 128);
    move_back(rule);
    assert_int_equal(moves_totals()->n_back > 0, true);
    bed_forward(bed, 0, 0, FLOW, 1);
    assert_int_equal(rule->n_packets, 128);
    assert_int_equal(n_onload(rule), 3);
    pass(bed, 0, BED_OUT, 0);
    bed_poll_ring(bed, 1, BED_OUT, 0);
    assert_order(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(quiet_flow_moves_step_by_step),
        TEST(packets_in_between_begin_anew),
        TEST(flow_without_gaps_is_paused),
        TEST(one_pause_serves_all),
        TEST(many_moves_are_looked_at_when_something_happens),
        TEST(queues_move_each_for_itself),
        TEST(all_outputs_are_waited_for),
        TEST(other_traffic_of_the_outputs_is_not),
        TEST(limits_and_errors),
        TEST(durations_have_quantiles),
        TEST(rules_of_a_packet_by_packet_burst_are_counted_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
