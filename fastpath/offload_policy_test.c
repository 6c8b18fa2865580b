/* SPDX-License-Identifier: Apache-2.0 */
/* Which rules are offloaded: modes, rates, the table, moves per second, deadlines. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fastpath/control_fake.h"
#include "fastpath/offload_testbed.h"

static int setup(void **state)
{
    bed_start();
    srand(1);
    return 0;
}

static int teardown(void **state)
{
    bed_stop();
    return 0;
}

static unsigned n_offloaded(uint32_t from, uint32_t to)
{
    unsigned n = 0;

    for (uint32_t slot = from; slot < to; slot++)
        n += bed_is_offloaded(slot);
    return n;
}

static void the_smallest_scope_that_says_a_mode_counts(void **state)
{
    bed_add(1, "in=0 actions=output:2");
    bed_add(2, "in=2 actions=output:0");
    bed_run(25);
    assert_true(bed_is_offloaded(1));
    bed_set("node", OFFLOAD_OFF); /* in effect at once */
    assert_int_equal(n_offloaded(1, 3), 0);
    assert_string_equal(bed_reason(1), "mode-off");
    bed_set("slice:red", OFFLOAD_ON);
    bed_run(5);
    assert_true(bed_is_offloaded(1));
    assert_false(bed_is_offloaded(2));
    bed_set("port:a", OFFLOAD_OFF);
    assert_false(bed_is_offloaded(1));
    assert_int_equal(offload_pin(bed_id(1), true, NULL), 0);
    bed_run(5);
    assert_true(bed_is_offloaded(1));
    assert_int_equal(offload_pin(bed_id(1), false, NULL), 0);
    assert_false(bed_is_offloaded(1));
    bed_set("port:a", OFFLOAD_INHERIT);
    bed_run(5);
    assert_true(bed_is_offloaded(1));
    bed_set("slice:red", OFFLOAD_INHERIT);
    assert_false(bed_is_offloaded(1));
    bed_set("node", OFFLOAD_ON);
    bed_run(5);
    assert_int_equal(n_offloaded(1, 3), 2);
}

static void parameters_are_inherited_one_by_one(void **state)
{
    bed_set("node", OFFLOAD_AUTO);
    bed_set_rates("slice:red", 5000, OFFLOAD_KEEP, OFFLOAD_KEEP);
    bed_set_rates("port:a", OFFLOAD_KEEP, 2000, 1000);
    assert_int_equal(offloading.ports[0].effective.mode, OFFLOAD_AUTO);
    assert_int_equal(offloading.ports[0].effective.promote, 5000);
    assert_int_equal(offloading.ports[0].effective.demote, 2000);
    assert_int_equal(offloading.ports[0].effective.hold_ms, 1000);
    assert_int_equal(offloading.ports[1].effective.demote, OFFLOAD_DEMOTE_DEFAULT);
    assert_int_equal(offloading.ports[2].effective.promote, OFFLOAD_PROMOTE_DEFAULT);
    /* Put together, they have to make sense, too. */
    bed_set_rates("slice:red", UINT32_MAX, OFFLOAD_KEEP, OFFLOAD_KEEP);
    assert_int_equal(offloading.ports[0].effective.promote, 1000);
    assert_int_equal(offloading.ports[0].effective.demote, 500);
}

static void settings_that_make_no_sense_are_refused(void **state)
{
    struct offload_change change = {.promote = 100, .demote = 100, .hold_ms = OFFLOAD_KEEP};
    struct error error;

    assert_int_equal(offload_set(&change, &error), EINVAL);
    assert_non_null(strstr(error.text, "100"));
    change = (struct offload_change){
        .promote = OFFLOAD_KEEP, .demote = OFFLOAD_KEEP, .hold_ms = OFFLOAD_KEEP, .set_mode = true};
    assert_int_equal(offload_set(&change, &error), EINVAL); /* the node inherits from nobody */
    assert_int_equal(offloading.node.promote, OFFLOAD_PROMOTE_DEFAULT);
    assert_int_equal(offload_pin(bed_id(77), true, &error), ENOENT);
}

static void auto_offloads_what_is_busy(void **state)
{
    bed_set("node", OFFLOAD_AUTO);
    for (uint32_t slot = 1; slot <= 20; slot++) {
        bed_add_numbered(slot, slot);
        bed.rates[slot] = 100 * slot;
    }
    assert_string_equal(bed_reason(1), "below-promote");
    bed_run(3000);
    assert_int_equal(n_offloaded(1, 10), 0);
    assert_int_equal(n_offloaded(10, 21), 11);
    /* Between the thresholds nothing moves; below the lower one, only after 'hold'. */
    for (uint32_t slot = 1; slot <= 20; slot++)
        bed.rates[slot] = 150;
    bed_run(60000);
    assert_int_equal(n_offloaded(1, 21), 11);
    bed.rates[20] = 50;
    bed_run(9000);
    assert_true(bed_is_offloaded(20));
    bed_run(4000);
    assert_false(bed_is_offloaded(20));
    assert_string_equal(bed_reason(20), "below-promote");
    assert_int_equal(bed_moves(), 12);
}

/* A second at a time above 'promote', and at random lengths below 'demote': whatever happens, 'hold' bounds it. */
static void rates_around_the_thresholds_do_not_oscillate(void **state)
{
    bed_set("node", OFFLOAD_AUTO);
    bed.noise = 20;
    bed_add_numbered(1, 1);
    bed_add_numbered(2, 2);
    bed_add_numbered(3, 3);
    bed.rates[1] = 1000; /* 800 to 1,200: promoted once */
    bed.rates[2] = 100;  /* 80 to 120: never */
    for (unsigned second = 0; second < 200; second++) {
        bed.rates[3] = second % 8 ? 0 : 5000; /* never quiet for 10 s */
        bed_run(1000);
    }
    assert_int_equal(bed_moves(), 2);
    assert_true(bed_is_offloaded(1));
    assert_false(bed_is_offloaded(2));
    assert_true(bed_is_offloaded(3));
    bed.rates[1] = 100; /* offloaded, and now around the lower one: goes at most once */
    bed_run(100000);
    assert_in_range(bed_moves(), 2, 4);
}

static void the_worst_input_moves_twice_in_hold(void **state)
{
    bed_set("node", OFFLOAD_AUTO);
    bed_add_numbered(1, 1);
    for (unsigned i = 0; i < 20; i++) {
        bed.rates[1] = 5000;
        while (!bed_is_offloaded(1))
            bed_run(20);
        bed.rates[1] = 0;
        while (bed_is_offloaded(1))
            bed_run(20);
    }
    assert_int_equal(bed_moves(), 40);
    assert_true(bed.now_ns >= 20 * 10000000000ull);
}

static void a_full_table_of_equals_stays_as_it_is(void **state)
{
    bed.noise = 30;
    offload_set_table(50, OFFLOAD_KEEP);
    for (uint32_t slot = 0; slot < 500; slot++) {
        bed_add_numbered(slot, slot);
        bed.rates[slot] = 300;
    }
    bed_run(300000);
    assert_int_equal(n_offloaded(0, 500), 50);
    assert_int_equal(bed_moves(), 50);
    assert_string_equal(bed_reason(400), "table-full");
    /* Low rates are noisy without help. */
    for (uint32_t slot = 0; slot < 500; slot++)
        bed.rates[slot] = 3 + slot % 2;
    bed_run(100000);
    assert_int_equal(bed_moves(), 50);
}

static void the_clearly_busier_comes_in_for_the_least_busy(void **state)
{
    offload_set_table(10, OFFLOAD_KEEP);
    for (uint32_t slot = 0; slot < 30; slot++) {
        bed_add_numbered(slot, slot);
        bed.rates[slot] = 200 + slot;
    }
    bed_run(20000);
    assert_int_equal(bed_moves(), 10);
    bed.rates[29] = 320; /* a bit more than 3/2 of 209, but the average lags behind */
    bed.rates[28] = 1000;
    bed_run(30000);
    assert_true(bed_is_offloaded(28));
    assert_true(bed_is_offloaded(29));
    assert_int_equal(n_offloaded(0, 30), 10);
    assert_int_equal(bed_moves(), 14);
    bed_run(100000);
    assert_int_equal(bed_moves(), 14);
}

static void the_busiest_end_up_inside(void **state)
{
    offload_set_table(20, OFFLOAD_KEEP);
    for (uint32_t slot = 0; slot < 200; slot++) {
        bed_add_numbered(slot, slot);
        bed.rates[slot] = (slot * 7919 % 200 + 1) * (slot % 10 == 3 ? 1000 : 10);
    }
    bed_run(120000);
    assert_int_equal(offloading.n_inside, 20);
    for (uint32_t slot = 3; slot < 200; slot += 10)
        if (bed.rates[slot] > 4000)
            assert_true(bed_is_offloaded(slot));
    /* A smaller table keeps the busiest of them. */
    offload_set_table(5, OFFLOAD_KEEP);
    assert_int_equal(offloading.n_inside, 5);
}

/* Two that exchange their rates all the time: each stays for 'hold' at least. */
static void alternating_rates_swap_at_most_once_in_hold(void **state)
{
    offload_set_table(1, OFFLOAD_KEEP);
    bed_add_numbered(1, 1);
    bed_add_numbered(2, 2);
    for (unsigned second = 0; second < 300; second += 2) {
        bed.rates[1 + second / 2 % 2] = 10000;
        bed.rates[2 - second / 2 % 2] = 10;
        bed_run(2000);
    }
    assert_in_range(bed_moves(), 1, 2 * 30 + 1);
}

static void pinned_rules_come_first_and_stay(void **state)
{
    offload_set_table(2, OFFLOAD_KEEP);
    for (uint32_t slot = 0; slot < 4; slot++) {
        bed_add_numbered(slot, slot);
        bed.rates[slot] = 1000;
    }
    bed_run(2000);
    assert_int_equal(n_offloaded(0, 2), 2);
    assert_int_equal(offload_pin(bed_id(3), true, NULL), 0);
    bed_run(25);
    assert_true(bed_is_offloaded(3));
    assert_int_equal(offloading.n_inside, 2);
    bed.rates[3] = 0;
    bed.rates[2] = 100000;
    bed_run(60000);
    assert_true(bed_is_offloaded(3));
    assert_true(bed_is_offloaded(2));
}

static void many_rules_move_in_portions(void **state)
{
    offload_set_table(0, 1000000);
    fake_moves.held = true;
    for (uint32_t slot = 1; slot <= 1000; slot++)
        bed_add_numbered(slot, slot);
    bed_run(5);
    assert_int_equal(fake_moves.n_begun, 64);
    fake_moves.held = false;
    bed_run(20);
    assert_int_equal(n_offloaded(1, 1001), 1000);
    /* With so many that portions of that size would take long, they are larger: a sixteenth of those that wait. */
    fake_moves.held = true;
    for (uint32_t slot = 1001; slot <= 1000 + 160 * 16; slot++)
        bed_add_numbered(slot, slot);
    bed_run(1);
    assert_in_range(fake_moves.n_begun, 1000 + 140, 1000 + 160);
}

static void so_many_moves_a_second_begin_at_most(void **state)
{
    offload_set_table(0, 100);
    for (uint32_t slot = 0; slot < 1000; slot++)
        bed_add_numbered(slot, slot);
    bed_run(1000);
    assert_in_range(fake_moves.n_begun, 100, 111);
    assert_string_equal(bed_reason(900), "moves-limited");
    bed_run(1000);
    assert_in_range(fake_moves.n_begun, 200, 211);
    offload_set_table(0, 1000000);
    bed_run(100);
    assert_int_equal(n_offloaded(0, 1000), 1000);
    /* What a person orders is not bounded. */
    offload_set_table(0, 1);
    bed_set("node", OFFLOAD_OFF);
    assert_int_equal(n_offloaded(0, 1000), 0);
}

static void a_missed_deadline_is_followed_by_longer_and_longer_pauses(void **state)
{
    fake_moves.result = MOVE_DEADLINE;
    bed_add_numbered(1, 1);
    bed_run(5);
    assert_string_equal(bed_reason(1), "move-deadline");
    assert_int_equal(offloading.n_inside, 0);
    bed_run(5000); /* 10, 20, ..., 2560 */
    assert_in_range(fake_moves.n_begun, 8, 10);
    bed_run(60000);
    assert_in_range(fake_moves.n_begun, 12, 17);
    fake_moves.result = MOVE_DONE;
    bed_run(11000);
    assert_true(bed_is_offloaded(1));
    assert_int_equal(managed(number_of(bed_rule(1)))->n_failures, 0);
}

static void moves_that_cannot_begin_are_tried_again(void **state)
{
    fake_moves.begin_code = EBUSY;
    bed_add_numbered(1, 1);
    bed_run(25);
    assert_string_equal(bed_reason(1), "moves-limited");
    assert_int_equal(offloading.n_inside, 0);
    fake_moves.begin_code = 0;
    bed_run(5);
    assert_true(bed_is_offloaded(1));
}

static void a_move_is_cancelled_by_mode_and_removal(void **state)
{
    fake_moves.held = true;
    bed_add_numbered(1, 1);
    bed_add_numbered(2, 2);
    assert_string_equal(bed_reason(1), "moving");
    bed_set("node", OFFLOAD_OFF);
    assert_string_equal(bed_reason(1), "mode-off");
    assert_int_equal(fake_moves.n_cancelled, 2);
    assert_int_equal(offloading.n_inside, 0);
    bed_set("node", OFFLOAD_ON);
    assert_int_equal(offloading.n_inside, 2);
    bed_remove(1);
    assert_int_equal(fake_moves.n_cancelled, 3);
    assert_int_equal(offloading.n_inside, 1);
    fake_moves.held = false;
    bed_run(25);
    assert_true(bed_is_offloaded(2));
}

static void rules_to_a_port_without_link_wait_for_it(void **state)
{
    bed_add(1, "ip_dst=10.0.0.1 actions=output:1");
    bed_add(2, "ip_dst=10.0.0.2 actions=set_ttl:1,output:2,output:3");
    bed_run(2000);
    assert_string_equal(bed_reason(1), "receiver-down");
    assert_string_equal(bed_reason(2), "receiver-down");
    fake_up[1] = true;
    bed_run(130);
    assert_true(bed_is_offloaded(1));
    assert_string_equal(bed_reason(2), "receiver-down");
    fake_up[1] = false;
    bed_run(2000);
    assert_true(bed_is_offloaded(1)); /* stays: the vSwitch could not deliver either */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_smallest_scope_that_says_a_mode_counts),
        T(parameters_are_inherited_one_by_one),
        T(settings_that_make_no_sense_are_refused),
        T(auto_offloads_what_is_busy),
        T(rates_around_the_thresholds_do_not_oscillate),
        T(the_worst_input_moves_twice_in_hold),
        T(a_full_table_of_equals_stays_as_it_is),
        T(the_clearly_busier_comes_in_for_the_least_busy),
        T(the_busiest_end_up_inside),
        T(alternating_rates_swap_at_most_once_in_hold),
        T(pinned_rules_come_first_and_stay),
        T(many_rules_move_in_portions),
        T(so_many_moves_a_second_begin_at_most),
        T(a_missed_deadline_is_followed_by_longer_and_longer_pauses),
        T(moves_that_cannot_begin_are_tried_again),
        T(a_move_is_cancelled_by_mode_and_removal),
        T(rules_to_a_port_without_link_wait_for_it),
    };

    return cmocka_run_group_tests_name("offload_policy", tests, NULL, NULL);
}
