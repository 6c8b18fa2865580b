/* SPDX-License-Identifier: Apache-2.0 */
/* Bridges in a real Open vSwitch: ovsdb-server and ovs-vswitchd, whose interfaces are dummies. */
#include "manager/bridge.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "manager/ovsdb_fixture.h"

#define SCHEMA "/usr/share/openvswitch/vswitch.ovsschema"

static struct ovsdb_fixture fixture;
static struct ovsdb *db;

static void must(int code, const struct error *error)
{
    if (code)
        fail_msg("%s", error->text);
}

static struct bridge_port port(const char *name, uint16_t number)
{
    struct bridge_port port = {.type = "dummy", .number = number};

    snprintf(port.name, sizeof port.name, "%s", name);
    return port;
}

static struct bridge bridge(const struct bridge_port ports[], unsigned n)
{
    return (struct bridge){
        .name = "vn1", .datapath_type = "dummy", .slice = "demo", .node = "sw", .n_ports = n, .ports = ports};
}

/* The OpenFlow port number of an interface; -1: there is none of that name. */
static int number_of(const char *name)
{
    struct error error;
    json_t *results;
    const json_t *row;
    int number = -1;

    must(ovsdb_transact(db,
                        json_pack("[{s:s, s:s, s:[[s, s, s]]}]", "op", "select", "table", "Interface",
                                  "where", "name", "==", name),
                        &results, &error),
         &error);
    row = json_array_get(ovsdb_rows(results, 0), 0);
    if (row)
        number = (int)json_integer_value(ovsdb_column(row, "ofport"));
    json_decref(results);
    return number;
}

static unsigned n_rows(const char *table)
{
    struct error error;
    json_t *results;
    unsigned n;

    must(ovsdb_transact(db, json_pack("[{s:s, s:s, s:[]}]", "op", "select", "table", table, "where"),
                        &results, &error),
         &error);
    n = (unsigned)json_array_size(ovsdb_rows(results, 0));
    json_decref(results);
    return n;
}

static void bridges_come_change_and_go(void **state)
{
    struct bridge_port ports[3] = {port("a", 1), port("b", 2), port("c", 3)};
    struct bridge wanted = bridge(ports, 2);
    struct error error = {0};

    must(bridges_apply(db, &wanted, 1, &error), &error);
    assert_int_equal(number_of("a"), 1);
    assert_int_equal(number_of("b"), 2);
    assert_int_equal(number_of("vn1"), 65534);
    must(bridges_apply(db, &wanted, 1, &error), &error);
    assert_int_equal(n_rows("Port"), 3);

    wanted.n_ports = 3;
    wanted.n_controllers = 2;
    wanted.controllers[0] = "tcp:127.0.0.1:1";
    wanted.controllers[1] = "tcp:127.0.0.1:2";
    wanted.fail_secure = true;
    must(bridges_apply(db, &wanted, 1, &error), &error);
    assert_int_equal(number_of("c"), 3);
    assert_int_equal(n_rows("Controller"), 2);

    ports[1].number = 7; /* a port that is changed, one that goes, a controller that stays */
    wanted.n_ports = 2;
    wanted.n_controllers = 1;
    must(bridges_apply(db, &wanted, 1, &error), &error);
    assert_int_equal(number_of("b"), 7);
    assert_int_equal(number_of("c"), -1);
    assert_int_equal(n_rows("Controller"), 1);

    must(bridge_remove(db, "vn1", &error), &error);
    must(bridge_remove(db, "vn1", &error), &error);
    for (const char *const *table = (const char *const[]){"Bridge", "Port", "Interface", "Controller", NULL};
         *table; table++)
        assert_int_equal(n_rows(*table), 0);
}

static void found(const char *name, const char *slice, const char *node, void *argument)
{
    assert_string_equal(name, "vn1");
    assert_string_equal(slice, "demo");
    assert_string_equal(node, "sw");
    ++*(unsigned *)argument;
}

static void bridges_of_others_are_left_alone(void **state)
{
    struct bridge wanted = bridge(NULL, 0);
    struct error error = {0};
    unsigned n = 0;

    must(ovsdb_transact(db,
                        json_pack("[{s:s, s:s, s:s, s:{s:s, s:s}}, {s:s, s:s, s:[], s:[[s, s, [s, s]]]}]",
                                  "op", "insert", "table", "Bridge", "uuid-name", "b", "row", "name", "vn2",
                                  "datapath_type", "dummy", "op", "mutate", "table", "Open_vSwitch", "where",
                                  "mutations", "bridges", "insert", "named-uuid", "b"),
                        NULL, &error),
         &error);
    must(bridges_apply(db, &wanted, 1, &error), &error);
    must(bridges_list(db, found, &n, &error), &error);
    assert_int_equal(n, 1);
    must(bridge_remove(db, "vn2", &error), &error);
    assert_int_equal(n_rows("Bridge"), 2);
    strcpy(wanted.name, "vn2");
    assert_int_equal(bridges_apply(db, &wanted, 1, &error), EEXIST);
    assert_string_equal(error.text, "Bridge vn2 is there already and is not ours; rename it.");
    must(bridge_remove(db, "vn1", &error), &error);
}

static void interfaces_that_fail_are_told(void **state)
{
    struct bridge_port ports[1] = {port("x", 1)};
    struct bridge wanted = bridge(ports, 1);
    struct error error = {0};

    strcpy(ports[0].type, "nonsense");
    assert_int_equal(bridges_apply(db, &wanted, 1, &error), EIO);
    assert_non_null(strstr(error.text, "Open vSwitch cannot open interface x of node sw"));
    must(bridge_remove(db, "vn1", &error), &error);
}

static int start(void **state)
{
    struct error error;

    return ovsdb_fixture_start(&fixture, SCHEMA, "Open_vSwitch") && ovsdb_fixture_start_vswitchd(&fixture) &&
                   !ovsdb_open(&db, fixture.remote, "Open_vSwitch", &error)
               ? 0
               : -1;
}

static int stop(void **state)
{
    ovsdb_close(db);
    return ovsdb_fixture_stop(&fixture) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bridges_come_change_and_go),
        cmocka_unit_test(bridges_of_others_are_left_alone),
        cmocka_unit_test(interfaces_that_fail_are_told),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
