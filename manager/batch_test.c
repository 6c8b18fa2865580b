/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "manager/batch.h"

#define CALLS 20
#define MAX 4

/* What calls do: they come together until 'MAX' are there, so nothing is left to chance. */
struct meeting {
    pthread_barrier_t barrier;
    _Atomic unsigned n, n_most, n_calls;
};

static int meet(void *argument)
{
    struct meeting *meeting = argument;
    unsigned n = ++meeting->n, most = meeting->n_most;

    while (n > most && !atomic_compare_exchange_weak(&meeting->n_most, &most, n))
        ;
    pthread_barrier_wait(&meeting->barrier);
    meeting->n--;
    meeting->n_calls++;
    return 0;
}

static void calls_are_made_at_the_same_time(void **state)
{
    struct meeting meeting = {.n = 0};
    struct batch batch;

    pthread_barrier_init(&meeting.barrier, NULL, MAX);
    batch_begin(&batch, MAX);
    for (unsigned i = 0; i < CALLS; i++)
        batch_run(&batch, meet, &meeting);
    batch_end(&batch);
    pthread_barrier_destroy(&meeting.barrier);
    assert_int_equal(meeting.n_calls, CALLS);
    assert_int_equal(meeting.n_most, MAX);
}

static int fail_if_odd(void *argument)
{
    return *(int *)argument % 2;
}

/* One at a time: each has ended before the next. */
static void failures_are_counted(void **state)
{
    int numbers[] = {0, 1, 2, 3};
    struct batch batch;

    batch_begin(&batch, 1);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(batch_await_room(&batch), i / 2);
        batch_run(&batch, fail_if_odd, &numbers[i]);
    }
    assert_int_equal(batch_await_room(&batch), 2);
    batch_end(&batch);
}

static void a_batch_may_be_empty(void **state)
{
    struct batch batch;

    batch_begin(&batch, MAX);
    assert_int_equal(batch_await_room(&batch), 0);
    batch_end(&batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_made_at_the_same_time),
        cmocka_unit_test(failures_are_counted),
        cmocka_unit_test(a_batch_may_be_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
