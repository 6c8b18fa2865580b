/* SPDX-License-Identifier: Apache-2.0 */
/* Captures and representors: one client at a time holds one, and gives it back, or goes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "fastpath/control_fake.h"
#include "fastpath/control_testbed.h"
#include "proto/client.h"

static char directory[] = "/tmp/vnode-control-test-XXXXXX";
static char path[64];
static struct client *client, *other;

/* What can be held: how it is taken and given back, and how many file descriptors come with it. */
static const struct kind {
    enum message_type take, give_back;
    unsigned n_fds;
} kinds[] = {{MESSAGE_CAPTURE_START, MESSAGE_CAPTURE_STOP, 2}, {MESSAGE_RING_OPEN, MESSAGE_RING_CLOSE, 3}};

static int setup(void **state)
{
    struct message_port_add port = {.kind = MESSAGE_PORT_VHOST, .name = "vm1", .target = "/run/x.sock"};
    struct error error;

    fake_start(path);
    client = testbed_connect(path);
    other = testbed_connect(path);
    message_put_port_add(client_begin(client, MESSAGE_PORT_ADD), &port);
    expect(client_call(client, NULL, &error), &error);
    return 0;
}

static int teardown(void **state)
{
    client_close(other);
    testbed_stop(client);
    return 0;
}

/* Takes hold of vm1's; checks what comes with the reply. */
static int take(struct client *by, const struct kind *kind, uint32_t *handle)
{
    struct message_rings rings;
    struct message reply;
    struct error error;
    int result;

    if (kind->take == MESSAGE_CAPTURE_START)
        message_put_capture(client_begin(by, kind->take), &(struct message_capture){0, "vm1"});
    else
        message_put_port_name(client_begin(by, kind->take), &(struct message_port_name){"vm1"});
    result = client_call(by, &reply, &error);
    if (result)
        return result;
    assert_true(message_get_rings(&reply.body, &rings));
    assert_int_equal(rings.n_queues, 1);
    assert_int_equal(reply.n_fds, kind->n_fds);
    message_close_fds(&reply);
    *handle = rings.handle;
    return 0;
}

static int give_back(struct client *by, enum message_type type, uint32_t handle)
{
    struct error error;

    wire_put_u32(client_begin(by, type), handle);
    return client_call(by, NULL, &error);
}

static void one_client_at_a_time_holds_something(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct kind *kind = &kinds[i];
        uint32_t handle;

        assert_int_equal(take(other, kind, &handle), 0);
        assert_int_equal(take(client, kind, &handle), EBUSY);
        assert_int_equal(take(other, kind, &handle), EBUSY);
        assert_int_equal(give_back(other, kind->give_back, handle), 0);
        assert_int_equal(take(client, kind, &handle), 0);
        assert_int_equal(take(other, kind, &handle), EBUSY);
    }
}

static void only_its_holder_gives_something_back(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct kind *kind = &kinds[i];
        uint32_t handle, unused;

        assert_int_equal(take(other, kind, &handle), 0);
        assert_int_equal(give_back(client, kind->give_back, handle), ENOENT);
        assert_int_equal(give_back(other, kinds[!i].give_back, handle), ENOENT);
        assert_int_equal(take(client, kind, &unused), EBUSY);
        assert_int_equal(give_back(other, kind->give_back, handle), 0);
        assert_int_equal(give_back(other, kind->give_back, handle), ENOENT);
    }
}

static void a_client_that_goes_gives_back_what_it_holds(void **state)
{
    uint32_t handle;

    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(take(other, &kinds[i], &handle), 0);
        assert_int_equal(take(client, &kinds[i], &handle), EBUSY);
    }
    client_close(other);
    /* The server sees the end of that connection before, or together with, this new one's HELLO. */
    other = testbed_connect(path);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(take(client, &kinds[i], &handle), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_client_at_a_time_holds_something, setup, teardown),
        cmocka_unit_test_setup_teardown(only_its_holder_gives_something_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_goes_gives_back_what_it_holds, setup, teardown),
    };
    int n_failed;

    if (!mkdtemp(directory))
        return 1;
    snprintf(path, sizeof path, "%s/socket", directory);
    n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(directory);
    return n_failed;
}
