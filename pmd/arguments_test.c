/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/arguments.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct arguments arguments;
static struct error error;

static int parse(const char *device_name, const char *text)
{
    return arguments_parse(&arguments, device_name, text, &error);
}

static void guest_port_has_all_settings(void **state)
{
    assert_int_equal(parse("net_vnode_vm1", "fastpath=/run/a.sock,vhost=/run/vm1.sock,server=1,queues=4,mtu=1500,"
                                            "slice=blue"),
                     0);
    assert_string_equal(arguments.socket, "/run/a.sock");
    assert_int_equal(arguments.port.kind, MESSAGE_PORT_VHOST);
    assert_int_equal(arguments.port.flags, MESSAGE_PORT_SERVER | MESSAGE_PORT_ADOPT);
    assert_string_equal(arguments.port.name, "vm1");
    assert_string_equal(arguments.port.target, "/run/vm1.sock");
    assert_string_equal(arguments.port.slice, "blue");
    assert_int_equal(arguments.port.n_queues, 4);
    assert_int_equal(arguments.port.mtu, 1500);
}

static void what_is_left_out_has_defaults(void **state)
{
    assert_int_equal(parse("net_vnode_a-b", "vhost=/x"), 0);
    assert_string_equal(arguments.socket, DEFAULT_SOCKET_PATH);
    assert_int_equal(arguments.port.flags, MESSAGE_PORT_ADOPT);
    assert_int_equal(arguments.port.n_queues, 0);
    assert_int_equal(arguments.port.mtu, 0);
    assert_string_equal(arguments.port.slice, "");
}

static void brackets_keep_commas_together(void **state)
{
    assert_int_equal(parse("net_vnode_up", "uplink=[net_tap0,iface=x],queues=2"), 0);
    assert_int_equal(arguments.port.kind, MESSAGE_PORT_ETHDEV);
    assert_string_equal(arguments.port.target, "net_tap0,iface=x");
    assert_int_equal(arguments.port.n_queues, 2);
    assert_int_equal(parse("net_vnode_up", "uplink=0000:01:00.0"), 0);
    assert_string_equal(arguments.port.target, "0000:01:00.0");
    assert_int_equal(parse("net_vnode_up", "uplink=[0000:01:00.0,representor=[0-3]]"), 0);
    assert_string_equal(arguments.port.target, "0000:01:00.0,representor=[0-3]");
    assert_int_equal(parse("net_vnode_up", "uplink=[net_tap0,iface=x"), 0); /* as far as it goes */
}

static void existing_port_is_named_by_its_argument(void **state)
{
    assert_int_equal(parse("net_vnode_whatever", "port=vm7"), 0);
    assert_int_equal(arguments.port.kind, MESSAGE_PORT_EXISTING);
    assert_string_equal(arguments.port.name, "vm7");
    assert_int_equal(arguments.port.flags, 0);
}

static void mistakes_have_sentences(void **state)
{
    static const char *const wrong[] = {
        "",
        "queues=1",
        "vhost",
        "vhost=",
        "vhost=/a,uplink=b",
        "vhost=/a,vhost=/b",
        "port=a,server=1",
        "uplink=a,server=1",
        "vhost=/a,server=2",
        "vhost=/a,queues=0",
        "vhost=/a,queues=17",
        "vhost=/a,queues=1x",
        "vhost=/a,mtu=67",
        "vhost=/a,mtu=9001",
        "vhost=/a,slice=12345678901234567890123456789012",
        "vhost=/a,colour=red",
    };

    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (parse("net_vnode_vm1", wrong[i]) != EINVAL)
            fail_msg("accepted: %s", wrong[i]);
        assert_non_null(strstr(error.text, "net_vnode_vm1: "));
        assert_int_equal(error.text[strlen(error.text) - 1], '.');
    }
    assert_int_equal(parse("net_vnode", "vhost=/a"), EINVAL);
    assert_int_equal(parse("net_vnode_", "vhost=/a"), EINVAL);
}

static void long_values_are_refused(void **state)
{
    char text[1024] = "vhost=/";

    memset(text + 7, 'x', sizeof text - 8);
    assert_int_equal(parse("net_vnode_vm1", text), EINVAL);
    text[6 + 255] = '\0';
    assert_int_equal(parse("net_vnode_vm1", text), 0);
    assert_int_equal(strlen(arguments.port.target), 255);
    text[6 + 255] = 'x';
    text[6 + 256] = '\0';
    assert_int_equal(parse("net_vnode_vm1", text), EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guest_port_has_all_settings),
        cmocka_unit_test(what_is_left_out_has_defaults),
        cmocka_unit_test(brackets_keep_commas_together),
        cmocka_unit_test(existing_port_is_named_by_its_argument),
        cmocka_unit_test(mistakes_have_sentences),
        cmocka_unit_test(long_values_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
