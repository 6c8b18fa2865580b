/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notifications of virtqueues in both directions: a guest is called, and asks to be
 * kicked, exactly when virtio 1.2, 2.7.7 to 2.7.10 and 2.8.10 say so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fastpath/vring_testbed.h"

#define PIECE 100

/* Makes one buffer of 'n' pieces available. */
static void post_one(struct testbed_driver *driver, uint16_t n)
{
    struct testbed_piece pieces[4];

    for (uint16_t i = 0; i < n; i++)
        pieces[i] = (struct testbed_piece){testbed_allocate(driver->bed, PIECE), PIECE,
                                           driver == &driver->bed->to_guest};
    testbed_post(driver, pieces, n, TESTBED_CHAIN);
}

static void test_calls_by_flag(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    uint8_t frame[60] = {0};
    struct packet packet = {.head = frame, .head_size = sizeof frame, .size = sizeof frame};
    struct packet *packets[] = {&packet};
    struct vring_testbed *bed = testbed_create(&config);

    for (unsigned want = 0; want < 2; want++) {
        testbed_want_calls(&bed->from_guest, want);
        testbed_want_calls(&bed->to_guest, want);
        post_one(&bed->from_guest, 1);
        assert_int_equal(testbed_receive(bed), 1);
        assert_int_equal(testbed_calls(&bed->from_guest), 0);
        testbed_release(bed);
        assert_int_equal(testbed_calls(&bed->from_guest), want);
        post_one(&bed->to_guest, 1);
        post_one(&bed->to_guest, 1);
        bed->send_ops->send(&bed->send.queue, bed->worker, packets, 1, false);
        bed->send_ops->send(&bed->send.queue, bed->worker, packets, 1, false);
        assert_int_equal(testbed_calls(&bed->to_guest), 0);
        bed->send_ops->notify(&bed->send.queue);
        assert_int_equal(testbed_calls(&bed->to_guest), want);
        /* Nothing new: no call, whatever the guest wants. */
        bed->send_ops->notify(&bed->send.queue);
        testbed_send(bed, &packet);
        assert_int_equal(testbed_calls(&bed->to_guest), 0);
    }
    testbed_destroy(bed);
}

static void test_calls_by_event_index(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    uint8_t frame[60] = {0};
    struct packet packet = {.head = frame, .head_size = sizeof frame, .size = sizeof frame};
    struct vring_testbed *bed;

    config.event_index = true;
    config.size = 8;
    config.start = 5;
    bed = testbed_create(&config);
    for (unsigned round = 0; round < 50; round++) {
        uint16_t after = round % 5 + 1;
        uint32_t id, size;

        bed->allocated = TESTBED_REGION_A;
        testbed_want_call_after(&bed->from_guest, after);
        testbed_want_call_after(&bed->to_guest, after);
        for (uint16_t i = 1; i <= 6; i++) {
            post_one(&bed->from_guest, 1);
            assert_int_equal(testbed_receive(bed), 1);
            testbed_release(bed);
            assert_int_equal(testbed_calls(&bed->from_guest), i == after);
            post_one(&bed->to_guest, 1);
            assert_int_equal(testbed_send(bed, &packet), 1);
            assert_int_equal(testbed_calls(&bed->to_guest), i == after);
        }
        while (testbed_take_used(&bed->from_guest, &id, &size) && testbed_take_used(&bed->to_guest, &id, &size))
            ;
    }
    testbed_destroy(bed);
}

/* One burst uses a whole lap of the ring: a position alone would say that nothing was used. */
static void test_call_after_a_lap(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    struct vring_testbed *bed;

    config.event_index = true;
    config.size = 16;
    bed = testbed_create(&config);
    for (unsigned round = 0; round < 5; round++) {
        uint16_t per_buffer = config.is_packed ? 4 : 1;

        testbed_want_call_after(&bed->from_guest, 4 * per_buffer);
        for (uint16_t i = 0; i < 4; i++)
            post_one(&bed->from_guest, 4);
        assert_int_equal(testbed_receive(bed), 4);
        testbed_release(bed);
        assert_int_equal(testbed_calls(&bed->from_guest), 1);
        for (uint16_t i = 0; i < 4; i++) {
            uint32_t id, size;

            assert_true(testbed_take_used(&bed->from_guest, &id, &size));
        }
    }
    testbed_destroy(bed);
}

/* A ring that is taken over is called once: who had it before us may have died before the call. */
static void test_call_at_start(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    struct vring_testbed *bed;

    for (unsigned event_index = 0; event_index < 2; event_index++) {
        config.event_index = event_index;
        bed = testbed_create(&config);
        assert_int_equal(testbed_calls(&bed->to_guest), 0);
        (config.is_packed ? vring_packed_start : vring_split_start)(&bed->send.ring);
        assert_int_equal(testbed_calls(&bed->to_guest), 1);
        testbed_destroy(bed);
    }
}

static void test_arm(void **state)
{
    struct testbed_config config = testbed_config_of(state);

    for (unsigned event_index = 0; event_index < 2; event_index++) {
        struct vring_testbed *bed;
        struct receive_queue *queue;

        config.event_index = event_index;
        config.start = 3;
        bed = testbed_create(&config);
        queue = &bed->receive.queue;
        for (unsigned round = 0; round < 400; round++) {
            bed->allocated = TESTBED_REGION_A;
            if (!event_index)
                assert_false(testbed_wants_kick(&bed->from_guest));
            assert_true(bed->receive_ops->arm(queue));
            assert_true(testbed_wants_kick(&bed->from_guest));
            post_one(&bed->from_guest, 1);
            assert_false(bed->receive_ops->arm(queue));
            bed->receive_ops->disarm(queue);
            /* Until the index is passed again, none is wanted. */
            assert_false(testbed_wants_kick(&bed->from_guest));
            assert_int_equal(testbed_receive(bed), 1);
            testbed_release(bed);
        }
        testbed_destroy(bed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_BOTH(calls_by_flag),
        TESTBED_BOTH(calls_by_event_index),
        TESTBED_BOTH(call_after_a_lap),
        TESTBED_BOTH(call_at_start),
        TESTBED_BOTH(arm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
