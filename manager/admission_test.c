/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/admission.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static const struct admission_capacity capacity = {
    .amounts = {
        [RESOURCE_CPU] = 16, [RESOURCE_MEMORY] = 1024 * MIB, [RESOURCE_RATE] = 1000000000, [RESOURCE_RULES] = 100, [RESOURCE_PORTS] = 8}};

static struct admission_claim claim_of(const char *text)
{
    static struct slice_errors errors;
    struct slice *slice = slice_parse(text, strlen(text), &errors);
    struct admission_claim claim;

    if (!slice)
        fail_msg("%s", errors.list[0].text);
    claim = admission_claim_of(slice);
    slice_free(slice);
    return claim;
}

static void claims_are_budgets_or_needs(void **state)
{
    struct admission_claim claim = claim_of(
        "name: x\nnodes: {a: {kind: vm, cpu: 2, memory: 64MiB}, b: {kind: netns}, sw: {kind: switch}}\n"
        "links: [{endpoints: [a, sw], min: 100Mbit}, [b, sw]]\n");

    assert_string_equal(claim.slice, "x");
    assert_int_equal(claim.amounts[RESOURCE_CPU], 2);
    assert_int_equal(claim.amounts[RESOURCE_MEMORY], 64 * MIB);
    assert_int_equal(claim.amounts[RESOURCE_RATE], 100000000);
    assert_int_equal(claim.amounts[RESOURCE_RULES], 0);
    assert_int_equal(claim.amounts[RESOURCE_PORTS], 2);
    claim = claim_of(
        "name: x\nbudget: {cpu: 4, memory: 1GiB, rate: 2Gbit, rules: 7}\nnodes: {a: {kind: vm, cpu: 2}}\n");
    assert_int_equal(claim.amounts[RESOURCE_CPU], 4);
    assert_int_equal(claim.amounts[RESOURCE_MEMORY], 1024 * MIB);
    assert_int_equal(claim.amounts[RESOURCE_RATE], 2000000000);
    assert_int_equal(claim.amounts[RESOURCE_RULES], 7);
}

static void refuse(const struct admission_claim claims[], unsigned n, const struct admission_claim *wanted,
                   const char *sentence)
{
    struct error error = {0};

    assert_int_equal(admission_check(&capacity, claims, n, wanted, &error), ENOSPC);
    assert_string_equal(error.text, sentence);
}

static void what_is_short_is_told(void **state)
{
    struct admission_claim claims[] = {
        {"red",
         {[RESOURCE_CPU] = 10, [RESOURCE_MEMORY] = 512 * MIB, [RESOURCE_RATE] = 400000000, [RESOURCE_PORTS] = 7}},
        {"blue", {[RESOURCE_CPU] = 2, [RESOURCE_MEMORY] = 512 * MIB, [RESOURCE_RATE] = 500000000}},
        {"green", {[RESOURCE_CPU] = 2, [RESOURCE_RULES] = 60}},
        {"grey", {[RESOURCE_CPU] = 1}},
    };
    struct admission_claim wanted = {"x", {[RESOURCE_CPU] = 1}};
    struct error error;

    assert_int_equal(admission_check(&capacity, claims, 4, &wanted, &error), 0);
    wanted.amounts[RESOURCE_CPU] = 3;
    refuse(claims, 4, &wanted,
           "Slice x needs 3 CPUs, 2 more than there is left: of 16, red has 10, blue 2, green 2.");
    wanted = (struct admission_claim){"x", {[RESOURCE_MEMORY] = 1}};
    refuse(
        claims, 4, &wanted,
        "Slice x needs 0 MiB of memory, 1 MiB more than there is left: of 1024 MiB, red has 512 MiB, blue 512 MiB.");
    wanted = (struct admission_claim){"x", {[RESOURCE_RATE] = 200000000}};
    refuse(claims, 4, &wanted,
           "Slice x needs 200 Mbit/s guaranteed, 100 Mbit/s more than there is left: of 1000 Mbit/s, blue has 500 "
           "Mbit/s, red 400 Mbit/s.");
    wanted = (struct admission_claim){"x", {[RESOURCE_RULES] = 41}};
    refuse(claims, 4, &wanted, "Slice x needs 41 rules, 1 more than there is left: of 100, green has 60.");
    wanted = (struct admission_claim){"x", {[RESOURCE_PORTS] = 2}};
    refuse(claims, 4, &wanted,
           "Slice x needs 2 ports of the fast path, 1 more than there is left: of 8, red has 7.");
    refuse(NULL, 0, &(struct admission_claim){"x", {[RESOURCE_CPU] = 17}},
           "Slice x needs 17 CPUs, 1 more than there is left: of 16, no other slice has any.");
}

/* A slice that is changed gives back what it has. */
static void own_claims_do_not_count(void **state)
{
    struct admission_claim claims[] = {{"red", {[RESOURCE_CPU] = 10}}, {"blue", {[RESOURCE_CPU] = 6}}};
    struct error error;

    assert_int_equal(
        admission_check(&capacity, claims, 2, &(struct admission_claim){"red", {[RESOURCE_CPU] = 9}}, &error),
        0);
    refuse(claims, 2, &(struct admission_claim){"red", {[RESOURCE_CPU] = 11}},
           "Slice red needs 11 CPUs, 1 more than there is left: of 16, blue has 6.");
}

/* Claims of nobody's admitting, out of the database, may be anything. */
static void sums_do_not_overflow(void **state)
{
    struct admission_claim claims[] = {{"a", {[RESOURCE_MEMORY] = UINT64_MAX}},
                                       {"b", {[RESOURCE_MEMORY] = 2 * MIB}}};
    struct error error;

    assert_int_equal(
        admission_check(&capacity, claims, 2, &(struct admission_claim){"x", {[RESOURCE_MEMORY] = 1}}, &error),
        ENOSPC);
    assert_true(admission_sum(claims, 2, RESOURCE_MEMORY) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_are_budgets_or_needs),
        cmocka_unit_test(what_is_short_is_told),
        cmocka_unit_test(own_claims_do_not_count),
        cmocka_unit_test(sums_do_not_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
