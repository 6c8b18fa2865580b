/* SPDX-License-Identifier: Apache-2.0 */
/* Managed rules: sessions, counters, orphans, quotas. offload_policy_test.c has what decides which are offloaded. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "fastpath/control_fake.h"
#include "fastpath/control_internal.h"
#include "fastpath/offload_testbed.h"
#include "fastpath/port.h"

static int setup(void **state)
{
    bed_start();
    return 0;
}

static int teardown(void **state)
{
    bed_stop();
    return 0;
}

static uint64_t shared_packets(uint32_t slot)
{
    return atomic_load(&bed.counters.slots[slot].packets);
}

static void rules_are_added_and_removed(void **state)
{
    assert_int_equal(bed_add_numbered(1, 1), 0);
    assert_int_equal(bed_add_numbered(2, 1), 0); /* a duplicate is a rule of its own */
    bed_run(10);
    assert_true(bed_is_offloaded(1));
    assert_true(bed_is_offloaded(2));
    assert_int_equal(offloading.n_managed, 2);
    assert_int_equal(offloading.n_inside, 2);
    bed_remove(1);
    assert_null(bed_rule(1));
    bed_remove(1); /* harmless */
    assert_int_equal(offloading.n_managed, 1);
    assert_int_equal(offloading.n_inside, 1);
    bed_remove(2);
    assert_int_equal(offloading.n_managed, 0);
    assert_int_equal(offloading.n_inside, 0);
}

static void ids_belong_to_the_session(void **state)
{
    uint32_t slot = 5;

    assert_int_equal(bed_add_numbered(slot, 1), 0);
    assert_int_equal(bed_add_numbered(slot, 2), EEXIST);
    assert_int_equal(bed_add_numbered(BED_SLOTS, 2), EINVAL);
    bed.session.generation++;
    assert_int_equal(bed_add_numbered(6, 2), EINVAL);
    bed.session.generation--;
    /* One without actions: what would it do when it is offloaded? */
    assert_int_equal(
        offload_rule_add(&(struct wire_rule){.id = bed_id(6)}, &(struct rule_spec){.id = bed_id(6)}, NULL),
        EINVAL);
    assert_false(offload_owns(5));
    assert_true(offload_owns(bed_id(5)));
    assert_int_equal(offloading.n_managed, 1);
}

static void counters_begin_at_0_and_last_until_the_slot_is_used_again(void **state)
{
    bed_add_numbered(3, 1);
    bed_hit(3, 7); /* onload: the vSwitch counts these itself */
    bed_run(25);
    assert_int_equal(shared_packets(3), 0);
    bed_hit(3, 1000);
    bed_run(25);
    assert_int_equal(shared_packets(3), 1000);
    assert_int_equal(atomic_load(&bed.counters.slots[3].bytes), 100000);
    bed_hit(3, 11);
    bed_remove(3);
    assert_int_equal(shared_packets(3), 1011);
    bed_run(1000);
    assert_int_equal(shared_packets(3), 1011);
    bed_add_numbered(3, 2);
    assert_int_equal(shared_packets(3), 0);
}

/* A removed rule's last packets are counted by a worker that the removal waits for. */
static void counters_of_many_rules_are_written_in_turn(void **state)
{
    for (uint32_t slot = 0; slot < BED_SLOTS; slot++)
        assert_int_equal(bed_add_numbered(slot, slot), 0);
    bed_run(1000);
    for (uint32_t slot = 0; slot < BED_SLOTS; slot++)
        bed_hit(slot, slot + 1);
    bed_run(25);
    for (uint32_t slot = 0; slot < BED_SLOTS; slot++)
        assert_int_equal(shared_packets(slot), slot + 1);
}

static void orphans_go_on_and_are_adopted(void **state)
{
    struct rule *rule;

    bed_add_numbered(1, 1);
    bed_add(0x02, "ip_dst=10.0.0.2 actions=set_ttl:3,set_ip_src:10.9.9.9,output:2");
    bed_run(25);
    bed_hit(1, 100);
    rule = bed_rule(1);
    bed_detach();
    bed_run(20000);
    assert_int_equal(offloading.n_current, 0);
    assert_int_equal(offloading.n_managed, 2);
    bed_attach();
    assert_int_equal(bed_add_numbered(9, 1), 0);
    assert_ptr_equal(bed_rule(9), rule);
    assert_true(bed_is_offloaded(9)); /* and was all the time */
    assert_int_equal(shared_packets(9), 0);
    bed_hit(9, 5);
    bed_add(8, "ip_dst=10.0.0.2 actions=set_ttl:3,set_ip_src:10.9.9.9,output:2");
    assert_true(bed_is_offloaded(8));
    bed_run(25);
    assert_int_equal(shared_packets(9), 5);
    assert_int_equal(offloading.n_managed, 2);
    assert_int_equal(offloading.n_current, 2);
    assert_int_equal(fake_moves.n_begun, 2);
    bed_run(60000);
    assert_int_equal(offloading.n_managed, 2);
}

static void an_orphan_with_other_actions_is_replaced(void **state)
{
    uint64_t old;

    bed_add(0x01, "ip_dst=10.0.0.1 actions=output:2");
    bed_run(25);
    old = bed_id(1);
    bed_detach();
    bed_attach();
    assert_int_equal(bed_add(1, "ip_dst=10.0.0.1 actions=output:0"), 0);
    assert_null(flow_tables_find(control_tables(), old));
    assert_int_equal(offloading.n_managed, 1);
    assert_false(bed_is_offloaded(1)); /* moves as any new rule */
    bed_run(5);
    assert_true(bed_is_offloaded(1));
}

static void orphans_that_nobody_claims_are_removed(void **state)
{
    for (uint32_t slot = 0; slot < 100; slot++)
        bed_add_numbered(slot, slot);
    bed_run(100);
    bed_detach();
    bed_run(29900);
    assert_int_equal(offloading.n_managed, 100);
    /* A new vSwitch has the whole time again. */
    bed_attach();
    for (uint32_t slot = 0; slot < 40; slot++)
        bed_add_numbered(slot, slot);
    bed_run(29900);
    assert_int_equal(offloading.n_managed, 100);
    bed_run(200);
    assert_int_equal(offloading.n_managed, 40);
    assert_int_equal(offloading.n_inside, 40);
    offload_set_hold(0);
    bed_detach();
    bed_run(25);
    assert_int_equal(offloading.n_managed, 0);
    assert_int_equal(offload_due_ns(), UINT64_MAX);
}

static void rules_that_were_onload_stay_so_without_their_vswitch(void **state)
{
    bed_add_numbered(1, 1);
    bed_run(25);
    bed_set("node", OFFLOAD_OFF);
    bed_add_numbered(2, 2);
    bed_detach();
    bed_set("node", OFFLOAD_ON);
    bed_run(2000);
    assert_string_equal(bed_reason(1), "no-vswitch");
    assert_string_equal(bed_reason(2), "no-vswitch");
    assert_int_equal(fake_moves.n_begun, 1);
    bed_attach();
    bed_add_numbered(1, 1);
    bed_run(25);
    assert_true(bed_is_offloaded(1));
}

static void a_move_under_way_ends_without_its_vswitch(void **state)
{
    fake_moves.held = true;
    bed_add_numbered(1, 1);
    bed_add_numbered(2, 2);
    bed_run(25);
    assert_string_equal(bed_reason(1), "moving");
    bed_detach();
    fake_moves.held = false;
    bed_run(25);
    assert_true(bed_is_offloaded(1));
    assert_int_equal(offloading.n_inside, 2);
}

static void a_slice_has_so_many_rules_at_most(void **state)
{
    offload_set_slice("red", 3, OFFLOAD_KEEP, OFFLOAD_KEEP, NULL);
    for (uint32_t slot = 0; slot < 5; slot++)
        assert_int_equal(bed_add_numbered(slot, slot), 0);
    bed_add(0x0a, "in=2 actions=output:0"); /* another slice */
    bed_run(100);
    assert_true(bed_is_offloaded(2));
    assert_true(bed_is_offloaded(10));
    assert_string_equal(bed_reason(3), "quota-rules");
    assert_string_equal(bed_reason(4), "quota-rules");
    bed_remove(3);
    bed_remove(0);
    bed_run(25);
    assert_true(bed_is_offloaded(4));
    offload_set_slice("red", 0, OFFLOAD_KEEP, OFFLOAD_KEEP, NULL);
    assert_int_equal(bed_add_numbered(5, 5), 0);
    assert_int_equal(offloading.n_queued, 0);
}

/* A slot is 0 from the reply on, though the rule is in no table. */
static void over_quota_the_slot_is_reset(void **state)
{
    bed_add_numbered(1, 1);
    bed_run(100);
    bed_hit(1, 10);
    bed_remove(1);
    assert_int_equal(shared_packets(1), 10);
    offload_set_slice("red", 1, OFFLOAD_KEEP, OFFLOAD_KEEP, NULL);
    bed_add_numbered(2, 2);
    bed_add_numbered(1, 1);
    assert_string_equal(bed_reason(1), "quota-rules");
    assert_int_equal(shared_packets(1), 0);
}

static void a_slice_has_so_many_masks_at_most(void **state)
{
    offload_set_slice("red", OFFLOAD_KEEP, 2, OFFLOAD_KEEP, NULL);
    bed_add(0x01, "ip_dst=10.0.0.1 actions=output:2");
    bed_add(0x02, "ip_src=10.0.0.1 actions=output:2");
    bed_add(0x03, "eth_src=02:00:00:00:00:01 actions=output:2");
    bed_add(0x04, "in=1 ip_dst=10.0.0.1 actions=output:2"); /* another port of the same slice */
    bed_add(0x05, "ip_dst=10.0.0.5 actions=output:2");      /* no mask more */
    bed_run(25);
    assert_string_equal(bed_reason(3), "quota-masks");
    assert_string_equal(bed_reason(4), "quota-masks");
    assert_true(bed_is_offloaded(5));
    bed_remove(2);
    bed_run(25);
    assert_true(bed_is_offloaded(3));
    assert_string_equal(bed_reason(4), "quota-masks");
}

static void a_slice_changes_so_many_rules_a_second_at_most(void **state)
{
    offload_set_slice("red", OFFLOAD_KEEP, OFFLOAD_KEEP, 100, NULL);
    for (uint32_t slot = 0; slot < 300; slot++)
        assert_int_equal(bed_add_numbered(slot, slot), 0);
    assert_int_equal(offloading.n_managed, 100);
    assert_string_equal(bed_reason(100), "quota-operations");
    for (uint32_t slot = 300; slot < 310; slot++) {
        char text[64];

        snprintf(text, sizeof text, "in=2 ip_dst=10.0.0.%u actions=output:0", slot - 300);
        bed_add(slot, text);
        assert_non_null(bed_rule(slot)); /* the other slice does not notice */
    }
    bed_run(1010);
    assert_in_range(offloading.n_managed, 208, 212);
    bed_run(1100);
    assert_int_equal(offloading.n_managed, 310);
    assert_int_equal(offloading.n_queued, 0);
}

static void the_queue_of_those_over_quota_is_bounded(void **state)
{
    uint32_t n_kept = 0, slot;
    int code = 0;

    bed_stop();
    bed_start();
    offload_set_slice("red", 1, OFFLOAD_KEEP, OFFLOAD_KEEP, NULL);
    bed_add_numbered(0, 0);
    /* Slots are what this bed has few of. */
    for (slot = 1; slot < BED_SLOTS && !code; slot++, n_kept++)
        code = bed_add_numbered(slot, slot);
    assert_int_equal(code, 0);
    offloading.slices[offloading.ports[0].slice].n_queued = QUEUED_OF_SLICE_MAX;
    bed_remove(1);
    offloading.slices[offloading.ports[0].slice].n_queued++;
    assert_int_equal(bed_add_numbered(1, 1), EDQUOT);
    bed_add(0x01, "in=2 actions=output:0");
    assert_non_null(bed_rule(1));
    offloading.slices[offloading.ports[0].slice].n_queued = offloading.n_queued;
    bed_detach();
    assert_int_equal(offloading.n_queued, 0);
    bed_attach();
}

static void those_over_quota_go_with_their_port(void **state)
{
    offload_set_slice("red", 1, OFFLOAD_KEEP, OFFLOAD_KEEP, NULL);
    bed_add_numbered(0, 0);
    bed_add(0x01, "in=1 actions=output:0");
    bed_add(0x02, "in=0 actions=output:3");
    bed_add(0x03, "in=0 eth_type=0x0806 actions=output:2");
    assert_int_equal(offloading.n_queued, 3);
    port_remove(3, NULL);
    offload_rules_removed();
    offload_port_removed(3);
    assert_int_equal(offloading.n_queued, 2);
    port_remove(1, NULL);
    offload_rules_removed();
    offload_port_removed(1);
    assert_int_equal(offloading.n_queued, 1);
    port_remove(0, NULL);
    offload_rules_removed();
    offload_port_removed(0);
    assert_int_equal(offloading.n_queued, 0);
    assert_int_equal(offloading.n_managed, 0);
    assert_int_equal(offload_slice("red", true)->n_rules, 0);
}

static void more_masks_than_possible_wait_for_room(void **state)
{
    char text[128];

    for (uint32_t i = 0; i < MASKS_MAX + 2; i++) {
        snprintf(text, sizeof text, "l4_src=0/0x%x tcp actions=output:2", i + 1);
        assert_int_equal(bed_add(i, text), 0);
    }
    bed_run(25);
    assert_string_equal(bed_reason(MASKS_MAX), "masks-full");
    bed_remove(0);
    bed_run(25);
    assert_true(bed_is_offloaded(MASKS_MAX) != bed_is_offloaded(MASKS_MAX + 1));
}

static void a_full_table_of_rules_takes_the_rest_later(void **state)
{
    const struct rule_spec by_hand = {
        .id = 1, .in_port = 2, .n_actions = 1, .actions = {{.type = ACTION_DROP}}};

    bed_stop();
    fake_rules_max = 10;
    bed_start();
    /* The session's slots are as many as the table has rules. */
    for (uint32_t slot = 0; slot < 9; slot++)
        assert_int_equal(bed_add_numbered(slot, slot), 0);
    assert_int_equal(flow_tables_insert(control_tables(), &by_hand, NULL), 0);
    assert_int_equal(bed_add_numbered(9, 9), 0);
    assert_string_equal(bed_reason(9), "rules-full");
    bed_remove(3);
    bed_run(25);
    assert_true(bed_is_offloaded(9));
    fake_rules_max = 200000;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(rules_are_added_and_removed),
        T(ids_belong_to_the_session),
        T(counters_begin_at_0_and_last_until_the_slot_is_used_again),
        T(counters_of_many_rules_are_written_in_turn),
        T(orphans_go_on_and_are_adopted),
        T(an_orphan_with_other_actions_is_replaced),
        T(orphans_that_nobody_claims_are_removed),
        T(rules_that_were_onload_stay_so_without_their_vswitch),
        T(a_move_under_way_ends_without_its_vswitch),
        T(a_slice_has_so_many_rules_at_most),
        T(a_slice_has_so_many_masks_at_most),
        T(a_slice_changes_so_many_rules_a_second_at_most),
        T(over_quota_the_slot_is_reset),
        T(the_queue_of_those_over_quota_is_bounded),
        T(those_over_quota_go_with_their_port),
        T(more_masks_than_possible_wait_for_room),
        T(a_full_table_of_rules_takes_the_rest_later),
    };

    return cmocka_run_group_tests_name("offload_rules", tests, NULL, NULL);
}
