/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/rate.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "lib/limits.h"

#define HZ 2300000000ull
#define SECOND (HZ * RATE_UNITS_PER_TICK)

static uint64_t clock_ticks;

static uint64_t read_clock(void)
{
    return clock_ticks;
}

static int setup(void **state)
{
    rate_start(HZ, read_clock);
    return 0;
}

/* Takes 'size' bytes again and again, as soon as it may, for 'duration' units from '*now' on; returns how many it got. */
static uint64_t take_greedily(struct rate_bucket *bucket, uint64_t size, uint64_t *now, uint64_t duration)
{
    uint64_t end = *now + duration, n = 0, due;

    while ((int64_t)(end - *now) > 0) {
        if (rate_is_empty(bucket, *now, &due)) {
            *now = rate_refilled(bucket, due) + 1;
            continue;
        }
        rate_take(bucket, size, *now);
        n += size;
    }
    return n;
}

/* Fails unless 'value' lies within 'part' in a million, and 'more', of 'expected'. */
static void expect_near(uint64_t value, uint64_t expected, uint64_t part, uint64_t more)
{
    uint64_t difference = value > expected ? value - expected : expected - value;

    if (difference > expected / 1000000 * part + expected % 1000000 * part / 1000000 + more)
        fail_msg("%llu is not %llu", (unsigned long long)value, (unsigned long long)expected);
}

static void the_rate_is_exact_over_long_times(void **state)
{
    static const struct {
        uint64_t rate, size, seconds, parts; /* a million of the rate that it may be wrong by */
    } cases[] = {
        {1000, 64, 1000000, 1},           {1000000, 1514, 10000, 1}, {500000000, 9014, 300, 1},
        {10000000000, 1514, 2, 10},       {10000000000, 64, 1, 300}, {100000000000, 65550, 10, 10},
        {PORT_RATE_MAX, 2097152, 20, 10}, {7777777, 333, 4000, 10},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t now = 12345, burst = 131072, n, seconds = cases[i].seconds,
                 expected = cases[i].rate / 8 * seconds;
        struct rate_bucket bucket;

        rate_bucket_init(&bucket, cases[i].rate, burst, now);
        n = take_greedily(&bucket, cases[i].size, &now, seconds * SECOND);
        expect_near(n, expected + burst, cases[i].parts, cases[i].size + cases[i].rate % 8 * seconds);
    }
}

static void what_is_not_used_is_lost_beyond_the_burst(void **state)
{
    uint64_t now = UINT64_MAX - SECOND, due;
    struct rate_bucket bucket;

    rate_bucket_init(&bucket, 8000000, 10000, now);
    for (unsigned i = 0; i < 3; i++) {
        /* Through the end of the counter; and 6 years idle. */
        now += i < 2 ? 10 * SECOND : 6 * 365 * 86400 * SECOND;
        for (unsigned j = 0; j < 10; j++) {
            assert_false(rate_is_empty(&bucket, now, &due));
            rate_take(&bucket, 1000, now);
        }
        assert_true(rate_is_empty(&bucket, now, &due));
        assert_false(rate_is_empty(&bucket, now + SECOND / 1000, &due));
    }
}

static void a_debt_is_paid_first(void **state)
{
    uint64_t now = 5 * SECOND, due;
    struct rate_bucket bucket;

    rate_bucket_init(&bucket, 8000000, 10000, now);
    rate_take(&bucket, 9999, now);
    assert_false(rate_is_empty(&bucket, now, &due));
    /* A million bytes a second: below zero by 1,999,999 bytes, and two seconds for them. */
    rate_take(&bucket, 2000000, now);
    assert_true(rate_is_empty(&bucket, now + 2 * SECOND - SECOND / 100000, &due));
    assert_false(rate_is_empty(&bucket, now + 2 * SECOND, &due));
    expect_near(rate_refilled(&bucket, due), now + 2 * SECOND, 0, SECOND / 500000);
}

static void the_deepest_debt_at_the_lowest_rate_is_not_forgotten(void **state)
{
    uint64_t now = 5 * SECOND, due;
    struct rate_bucket bucket;

    rate_bucket_init(&bucket, PORT_RATE_MIN, PORT_BURST_MAX, now);
    assert_false(rate_is_empty(&bucket, now, &due));
    rate_take(&bucket, PORT_BURST_MAX, now);
    for (unsigned i = 0; i < QUEUES_MAX; i++)
        rate_take(&bucket, (uint64_t)BURST_MAX * FRAME_SIZE_MAX * 2, now);
    /* 67,123,200 bytes at 125 a second: six days. */
    assert_true(rate_is_empty(&bucket, now + 536985 * SECOND, &due));
    assert_false(rate_is_empty(&bucket, now + 536987 * SECOND, &due));
}

static void a_burst_of_less_than_a_tick_is_still_a_bucket(void **state)
{
    const uint32_t sizes[] = {64};
    uint64_t now = SECOND, due;
    struct rate_bucket bucket;

    rate_bucket_init(&bucket, PORT_RATE_MAX, 1, now);
    assert_false(rate_is_empty(&bucket, now, &due));
    assert_int_equal(rate_admit(&bucket, sizes, 1, now), 1);
    assert_int_equal(rate_admit(&bucket, sizes, 1, now), 0);
}

static void packets_are_admitted_in_order_until_nothing_is_left(void **state)
{
    const uint32_t sizes[] = {400, 400, 400, 400, 1};
    uint64_t now = SECOND;
    struct rate_bucket bucket;

    rate_bucket_init(&bucket, 8000000, 1000, now);
    /* 200 bytes were left for the third, which makes them a debt of 200. */
    assert_int_equal(rate_admit(&bucket, sizes, 5, now), 3);
    assert_int_equal(rate_admit(&bucket, sizes + 4, 1, now), 0);
    assert_int_equal(rate_admit(&bucket, sizes + 4, 1, now + SECOND / 1000000 * 199), 0);
    assert_int_equal(rate_admit(&bucket, sizes + 4, 1, now + SECOND / 1000000 * 201), 1);
    assert_int_equal(rate_admit(&bucket, sizes, 0, now + SECOND), 0);
}

static void another_rate_begins_with_what_there_is(void **state)
{
    struct rate_bucket slow, fast, shallow;
    uint64_t now = 7 * SECOND, due;

    rate_bucket_init(&slow, 8000, 100000, now);
    rate_take(&slow, 60000, now);
    /* A second later 1,000 bytes have been filled in: 59,000 lack. */
    now += SECOND;
    rate_bucket_init(&fast, 8000000000, 100000, now);
    rate_bucket_inherit(&fast, &slow, now);
    rate_take(&fast, 40900, now);
    assert_false(rate_is_empty(&fast, now, &due));
    rate_take(&fast, 200, now);
    assert_true(rate_is_empty(&fast, now, &due));
    /* No debt is handed down: empty is the least. */
    rate_bucket_init(&shallow, 8000000, 500, now);
    rate_bucket_inherit(&shallow, &slow, now);
    assert_false(rate_is_empty(&shallow, now + SECOND / 1000000, &due));
    assert_true(rate_is_empty(&shallow, now - SECOND / 1000000, &due));
    /* Nor is idle time. */
    rate_bucket_init(&shallow, 8000000, 500, now);
    rate_bucket_inherit(&shallow, &slow, now + 1000 * SECOND);
    rate_take(&shallow, 499, now + 1000 * SECOND);
    assert_false(rate_is_empty(&shallow, now + 1000 * SECOND, &due));
    rate_take(&shallow, 2, now + 1000 * SECOND);
    assert_true(rate_is_empty(&shallow, now + 1000 * SECOND, &due));
}

static void nanoseconds_and_units_convert_to_each_other(void **state)
{
    assert_int_equal(rate_units(1000000000), SECOND);
    assert_int_equal(rate_ns(3 * SECOND), 3000000000);
    assert_int_equal(rate_ns(rate_units(86400 * UINT64_C(1000000000))), 86400 * UINT64_C(1000000000));
    clock_ticks = 10;
    assert_int_equal(rate_now(), 10 * RATE_UNITS_PER_TICK);
}

#define THREADS 4
#define TAKEN_EACH 200000

static struct rate_bucket shared;

/* Takes as much as it may, at one moment. */
static void *admit_all(void *argument)
{
    uint64_t *n = argument;
    const uint32_t size = 100;

    while (rate_admit(&shared, &size, 1, SECOND))
        ++*n;
    return NULL;
}

static void *take_many(void *argument)
{
    for (unsigned i = 0; i < TAKEN_EACH; i++)
        rate_take(&shared, 100, SECOND);
    return NULL;
}

static void run(void *(*run_one)(void *), uint64_t n[THREADS])
{
    pthread_t threads[THREADS];

    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_one, &n[i]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void threads_share_a_bucket_without_loss(void **state)
{
    uint64_t n[THREADS] = {0};

    rate_bucket_init(&shared, 800000, 100 * TAKEN_EACH, SECOND);
    run(admit_all, n);
    assert_int_equal(n[0] + n[1] + n[2] + n[3], TAKEN_EACH);
    rate_bucket_init(&shared, 800000, 100 * TAKEN_EACH, SECOND);
    run(take_many, n);
    assert_int_equal(atomic_load(&shared.due) - SECOND, THREADS * TAKEN_EACH * rate_cost(&shared, 100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rate_is_exact_over_long_times),
        cmocka_unit_test(what_is_not_used_is_lost_beyond_the_burst),
        cmocka_unit_test(a_debt_is_paid_first),
        cmocka_unit_test(the_deepest_debt_at_the_lowest_rate_is_not_forgotten),
        cmocka_unit_test(a_burst_of_less_than_a_tick_is_still_a_bucket),
        cmocka_unit_test(packets_are_admitted_in_order_until_nothing_is_left),
        cmocka_unit_test(another_rate_begins_with_what_there_is),
        cmocka_unit_test(nanoseconds_and_units_convert_to_each_other),
        cmocka_unit_test(threads_share_a_bucket_without_loss),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
