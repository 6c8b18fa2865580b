/* SPDX-License-Identifier: Apache-2.0 */
/* What an attached vSwitch says over the control socket, on the fast path without packets. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <jansson.h>

#include "fastpath/control.h"
#include "fastpath/control_fake.h"
#include "fastpath/control_testbed.h"
#include "proto/client.h"
#include "proto/rule_text.h"
#include "proto/shared_counters.h"

static char directory[] = "/tmp/vnode-control-test-XXXXXX";
static char path[64];
static struct client *client;

static int setup(void **state)
{
    fake_start(path);
    client = testbed_connect(path);
    return 0;
}

static int teardown(void **state)
{
    testbed_stop(client);
    return 0;
}

/* Adds a port; 'ok' may be NULL. */
static int add_port(const struct message_port_add *port, struct message_ok *ok, struct error *error)
{
    struct message reply;
    struct message_ok unused;
    int code;

    message_put_port_add(client_begin(client, MESSAGE_PORT_ADD), port);
    code = client_call(client, &reply, error);
    if (!code)
        assert_true(message_get_ok(&reply.body, ok ? ok : &unused));
    return code;
}

static int attach(struct client *to, struct message_attached *attached, struct shared_counters *counters,
                  struct error *error)
{
    struct message reply;
    int code;

    message_put_attach(client_begin(to, MESSAGE_ATTACH), &(struct message_attach){1000, "test"});
    code = client_call(to, &reply, error);
    if (code)
        return code;
    assert_int_equal(reply.header.type, MESSAGE_ATTACHED);
    assert_int_equal(reply.n_fds, 1);
    assert_true(message_get_attached(&reply.body, attached));
    expect(shared_counters_map(counters, reply.fds[0], error), error);
    message_close_fds(&reply);
    return 0;
}

/* Counters are written by the fast path's clock: some tens of milliseconds. */
static void await(const _Atomic uint64_t *counter, uint64_t value)
{
    for (int i = 0; i < 10000 && atomic_load(counter) != value; i++)
        usleep(1000);
    assert_int_equal(atomic_load(counter), value);
}

static void one_vswitch_at_a_time_is_attached(void **state)
{
    struct client *other = testbed_connect(path);
    struct message_attached first, second, third;
    struct shared_counters counters;
    struct error error;

    expect(attach(client, &first, &counters, &error), &error);
    assert_int_equal(first.n_slots, 1000);
    assert_in_range(first.generation, 1, INT16_MAX);
    assert_true(first.started > 0);
    shared_counters_close(&counters);
    assert_int_equal(attach(other, &second, &counters, &error), EBUSY);
    assert_int_equal(attach(client, &second, &counters, &error), EBUSY);
    client_close(client);
    /* Its end is seen at some time. */
    client = testbed_connect(path);
    for (int i = 0; i < 10000 && attach(other, &second, &counters, &error) == EBUSY; i++)
        usleep(1000);
    assert_int_equal(second.started, first.started);
    assert_int_not_equal(second.generation, first.generation);
    shared_counters_close(&counters);
    client_close(other);
    for (int i = 0; i < 10000 && attach(client, &third, &counters, &error) == EBUSY; i++)
        usleep(1000);
    assert_int_not_equal(third.generation, second.generation);
    shared_counters_close(&counters);
}

static void ports_are_counted_in_shared_memory(void **state)
{
    struct message_port_add port = {.kind = MESSAGE_PORT_VHOST, .name = "vm1", .target = "/run/x", .mtu = 1500};
    struct shared_port_counters *shared;
    struct message_attached attached;
    struct shared_counters counters;
    struct error error;

    expect(attach(client, &attached, &counters, &error), &error);
    shared = &counters.ports[0];
    assert_int_equal(atomic_load(&shared->flags), 0);
    expect(add_port(&port, NULL, &error), &error);
    await(&shared->rx_packets, 1234567);
    await(&shared->tx_dropped, 42);
    for (int i = 0; i < 10000 && !atomic_load(&shared->flags); i++)
        usleep(1000);
    assert_int_equal(atomic_load(&shared->flags), SHARED_PORT_EXISTS | SHARED_PORT_UP);
    assert_int_equal(atomic_load(&shared->mtu), 1500);
    message_put_port_name(client_begin(client, MESSAGE_PORT_REMOVE), &(struct message_port_name){"vm1"});
    expect(client_call(client, NULL, &error), &error);
    await(&shared->rx_packets, 0);
    assert_int_equal(atomic_load(&shared->flags), 0);
    shared_counters_close(&counters);
}

static void ports_that_are_there_can_be_adopted(void **state)
{
    struct message_port_add port = {
        .kind = MESSAGE_PORT_VHOST, .name = "vm1", .target = "/run/x", .n_queues = 2};
    struct message_port_add name = {.kind = MESSAGE_PORT_EXISTING, .name = "vm1"};
    struct message_ok ok;
    struct error error;
    char *text;

    assert_int_equal(add_port(&name, NULL, &error), ENOENT);
    port.flags = MESSAGE_PORT_ADOPT;
    expect(add_port(&port, &ok, &error), &error);
    assert_int_equal(ok.count, 1);
    expect(add_port(&port, &ok, &error), &error);
    assert_int_equal(ok.count, 0);
    assert_int_equal(ok.value, 0);
    expect(add_port(&name, &ok, &error), &error);
    assert_int_equal(ok.count, 0);
    port.n_queues = 3;
    assert_int_equal(add_port(&port, NULL, &error), EEXIST);
    port.n_queues = 2;
    strcpy(port.target, "/run/y");
    assert_int_equal(add_port(&port, NULL, &error), EEXIST);
    port.flags = 0;
    strcpy(port.target, "/run/x");
    assert_int_equal(add_port(&port, NULL, &error), EEXIST);
    strcpy(name.slice, "red");
    expect(add_port(&name, NULL, &error), &error);
    strcpy(name.slice, "blue");
    assert_int_equal(add_port(&name, NULL, &error), EEXIST);
    assert_non_null(strstr(error.text, "'red'"));
    text = client_query(client, "port/list", NULL, 0, 0, &error);
    assert_non_null(strstr(text, "\"slice\":\"red\""));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_vswitch_at_a_time_is_attached, setup, teardown),
        cmocka_unit_test_setup_teardown(ports_are_counted_in_shared_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(ports_that_are_there_can_be_adopted, setup, teardown),
    };
    int failed;

    if (!mkdtemp(directory))
        return 1;
    snprintf(path, sizeof path, "%s/socket", directory);
    failed = cmocka_run_group_tests_name("control_offload", tests, NULL, NULL);
    rmdir(directory);
    return failed;
}
