/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Guests and their ports come and go in any order.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/integration/test_guest.h"

static void create(struct fast_path *fast_path, struct guest *guest, const char *name)
{
    struct guest_config config;

    test_guest_config(fast_path, name, &config);
    test_guest_create(guest, &config);
}

/* Sends a frame with 'content' from one guest to the other. */
static void exchange(struct guest *from, struct guest *to, uint8_t content)
{
    struct virtqueue *send = guest_send_queue(from, 0), *receive = guest_receive_queue(to, 0);
    struct virtqueue_buffer buffer;

    test_guest_take(send, &buffer);
    buffer.size = send->header_size + 100u;
    memset(buffer.start, 0, send->header_size);
    memset(buffer.start + send->header_size, content, 100);
    virtqueue_post(send, &buffer, 1);
    test_guest_take(receive, &buffer);
    assert_int_equal(buffer.size, receive->header_size + 100);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(buffer.start[receive->header_size + i], content);
    virtqueue_post(receive, &buffer, 1);
}

static void guests_may_come_late_and_come_back(void **state)
{
    struct fast_path *fast_path = &common_fast_path;
    struct guest first, second;

    fast_path_add_guest_port(fast_path, "first", 0); /* before there is a socket */
    create(fast_path, &second, "second");
    fast_path_add_guest_port(fast_path, "second", 0);
    fast_path_add_rule(fast_path, "in=first actions=output:second");
    fast_path_add_rule(fast_path, "in=second actions=output:first");
    create(fast_path, &first, "first");
    test_guest_connect(&first);
    test_guest_connect(&second);
    for (unsigned round = 0; round < 3; round++) {
        fast_path_await_up(fast_path, "first");
        fast_path_await_up(fast_path, "second");
        exchange(&first, &second, (uint8_t)(2 * round));
        exchange(&second, &first, (uint8_t)(2 * round + 1));
        guest_disconnect(round & 1 ? &first : &second);
        test_guest_connect(round & 1 ? &first : &second); /* the queues go on where they were */
    }
    fast_path_remove_port(fast_path, "first");
    fast_path_remove_port(fast_path, "second");
    guest_destroy(&first);
    guest_destroy(&second);
}

/* The library that serves the socket must not be caught between the two. */
static void guests_may_leave_while_their_port_goes(void **state)
{
    struct fast_path *fast_path = &common_fast_path;

    for (unsigned round = 0; round < 200; round++) {
        struct guest guest;

        create(fast_path, &guest, "guest");
        fast_path_add_guest_port(fast_path, "guest", 0);
        test_guest_connect(&guest);
        guest_disconnect(&guest);
        fast_path_remove_port(fast_path, "guest");
        guest_destroy(&guest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_path_starts),
        cmocka_unit_test(guests_may_come_late_and_come_back),
        cmocka_unit_test(guests_may_leave_while_their_port_goes),
        cmocka_unit_test(fast_path_ends_without_a_warning),
    };

    return cmocka_run_group_tests_name("connection", tests, NULL, NULL);
}
