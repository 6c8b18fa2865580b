/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/test_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

void test_guest_config(const struct fast_path *fast_path, const char *name, struct guest_config *config)
{
    char path[108];

    fast_path_socket(fast_path, name, path);
    guest_config_default(config, path);
    config->want_huge = false;
}

void test_guest_create(struct guest *guest, const struct guest_config *config)
{
    struct error error = {0};

    if (guest_create(guest, config, &error))
        fail_msg("%s", error.text);
    guest->frontend.timeout_ms = TEST_GUEST_WAIT_MS;
}

void test_guest_connect(struct guest *guest)
{
    struct error error = {0};

    if (guest_connect(guest, TEST_GUEST_WAIT_MS, &error))
        fail_msg("%s", error.text);
}

void test_guest_take(struct virtqueue *queue, struct virtqueue_buffer *buffer)
{
    while (!virtqueue_take(queue, buffer, 1))
        assert_true(virtqueue_wait(queue, TEST_GUEST_WAIT_MS));
}
