/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change is one transaction, which also counts Open_vSwitch's next_cfg up: ovs-vswitchd writes the same number to cur_cfg
 * when it has done all of it. That is how ovs-vsctl(8) waits, too.
 */
#include "manager/bridge.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define POLL_MS 20
#define PEER_WAIT_MS 10000 /* for the two ends of a patch to find one another */

static json_t *where(const char *column, const char *value)
{
    return json_pack("[[s, s, s]]", column, "==", value);
}

static json_t *select_rows(const char *table, json_t *condition)
{
    return json_pack("{s:s, s:s, s:o}", "op", "select", "table", table, "where", condition);
}

static json_t *uuid_of(const json_t *row)
{
    return json_object_get(row, "_uuid");
}

/* The elements of a set column; of one element, OVSDB makes no set. New reference. */
static json_t *elements(const json_t *row, const char *column)
{
    json_t *value = json_object_get(row, column);
    const char *kind = json_string_value(json_array_get(value, 0));

    if (kind && !strcmp(kind, "set"))
        return json_incref(json_array_get(value, 1));
    return value ? json_pack("[O]", value) : json_array();
}

/* The row of 'rows' with this _uuid, or NULL. */
static const json_t *row_of(const json_t *rows, const json_t *uuid)
{
    const json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        if (json_equal(uuid_of(row), uuid))
            return row;
    }
    return NULL;
}

static const char *text(const json_t *row, const char *column)
{
    const char *value = json_string_value(ovsdb_column(row, column));

    return value ? value : "";
}

static bool has_number(const json_t *row, const char *column, unsigned number)
{
    return json_integer_value(ovsdb_column(row, column)) == (json_int_t)number;
}

/* What is there: results of one transaction, all rows of each table. */
struct present {
    json_t *results;
    const json_t *bridges, *ports, *interfaces, *controllers;
    const json_t *bridge; /* the one in question; NULL: there is none of its name */
};

static int look(struct ovsdb *db, struct present *present, struct error *error)
{
    json_t *operations =
        json_pack("[o, o, o, o]", select_rows("Bridge", json_array()), select_rows("Port", json_array()),
                  select_rows("Interface", json_array()), select_rows("Controller", json_array()));
    int code = ovsdb_transact(db, operations, &present->results, error);

    if (code)
        return code;
    present->bridges = ovsdb_rows(present->results, 0);
    present->ports = ovsdb_rows(present->results, 1);
    present->interfaces = ovsdb_rows(present->results, 2);
    present->controllers = ovsdb_rows(present->results, 3);
    return 0;
}

/* Turns to the bridge called 'name'. */
static void turn_to(struct present *present, const char *name)
{
    const json_t *row;
    size_t i;

    present->bridge = NULL;
    json_array_foreach(present->bridges, i, row)
    {
        if (!strcmp(text(row, "name"), name))
            present->bridge = row;
    }
}

static bool is_ours(const json_t *bridge)
{
    return ovsdb_map_get(bridge, "external_ids", "vnode-slice") != NULL;
}

/* A map column's value. */
static json_t *option_map(const struct bridge_port *port)
{
    json_t *pairs = json_array();

    for (unsigned i = 0; i < port->n_options; i++)
        json_array_append_new(pairs, json_pack("[s, s]", port->options[i].key, port->options[i].value));
    return json_pack("[s, o]", "map", pairs);
}

static json_t *interface_row(const struct bridge_port *port)
{
    json_t *row =
        json_pack("{s:s, s:s, s:o}", "name", port->name, "type", port->type, "options", option_map(port));

    if (port->number)
        json_object_set_new(row, "ofport_request", json_integer(port->number));
    if (port->mtu)
        json_object_set_new(row, "mtu_request", json_integer(port->mtu));
    return row;
}

/* Adds the rows of a port; returns the reference to it. Rows have names in this transaction, each another one. */
static json_t *insert_port(json_t *operations, const struct bridge_port *port)
{
    char interface[32], name[32];

    snprintf(interface, sizeof interface, "interface%zu", json_array_size(operations));
    snprintf(name, sizeof name, "port%zu", json_array_size(operations));
    json_array_append_new(operations, json_pack("{s:s, s:s, s:s, s:o}", "op", "insert", "table", "Interface",
                                                "uuid-name", interface, "row", interface_row(port)));
    json_array_append_new(operations, json_pack("{s:s, s:s, s:s, s:{s:s, s:[s, s]}}", "op", "insert", "table",
                                                "Port", "uuid-name", name, "row", "name", port->name,
                                                "interfaces", "named-uuid", interface));
    return json_pack("[s, s]", "named-uuid", name);
}

/* Whether an interface has these options, and no other. */
static bool has_options(const json_t *interface, const struct bridge_port *port)
{
    for (unsigned i = 0; i < port->n_options; i++) {
        const char *value = ovsdb_map_get(interface, "options", port->options[i].key);

        if (!value || strcmp(value, port->options[i].value) != 0)
            return false;
    }
    return json_array_size(json_array_get(json_object_get(interface, "options"), 1)) == port->n_options;
}

static bool is_as_wanted(const struct present *present, const json_t *port_row, const struct bridge_port *port)
{
    const json_t *interface = row_of(present->interfaces, json_object_get(port_row, "interfaces"));

    return interface && !strcmp(text(interface, "type"), port->type) &&
           has_number(interface, "ofport_request", port->number) &&
           (!port->mtu || has_number(interface, "mtu_request", port->mtu)) && has_options(interface, port);
}

/* The bridge's row of a port of that name, or NULL. */
static const json_t *find_port(const struct present *present, const char *name)
{
    json_t *uuids = elements(present->bridge, "ports"), *uuid;
    const json_t *found = NULL;
    size_t i;

    json_array_foreach(uuids, i, uuid)
    {
        const json_t *row = row_of(present->ports, uuid);

        if (!strcmp(text(row, "name"), name))
            found = row;
    }
    json_decref(uuids);
    return found;
}

/* The bridge's ports: those that are right stay, the others are made; and its own, which Open vSwitch wants. */
static json_t *port_set(json_t *operations, const struct present *present, const struct bridge *bridge)
{
    struct bridge_port own = {.type = "internal"};
    json_t *set = json_array();
    const json_t *row;

    strcpy(own.name, bridge->name);
    row = find_port(present, bridge->name);
    json_array_append_new(set, row ? json_incref(uuid_of(row)) : insert_port(operations, &own));
    for (unsigned i = 0; i < bridge->n_ports; i++) {
        row = find_port(present, bridge->ports[i].name);
        if (row && is_as_wanted(present, row, &bridge->ports[i]))
            json_array_append(set, uuid_of(row));
        else
            json_array_append_new(set, insert_port(operations, &bridge->ports[i]));
    }
    return json_pack("[s, o]", "set", set);
}

static json_t *controller_set(json_t *operations, const struct present *present, const struct bridge *bridge)
{
    json_t *old = elements(present->bridge, "controller"), *set = json_array(), *uuid;
    size_t number;

    for (unsigned i = 0; i < bridge->n_controllers; i++) {
        bool found = false;
        char name[32];

        json_array_foreach(old, number, uuid)
        {
            if (!found && !strcmp(text(row_of(present->controllers, uuid), "target"), bridge->controllers[i])) {
                json_array_append(set, uuid);
                found = true;
            }
        }
        if (found)
            continue;
        snprintf(name, sizeof name, "controller%zu", json_array_size(operations));
        json_array_append_new(operations,
                              json_pack("{s:s, s:s, s:s, s:{s:s}}", "op", "insert", "table", "Controller",
                                        "uuid-name", name, "row", "target", bridge->controllers[i]));
        json_array_append_new(set, json_pack("[s, s]", "named-uuid", name));
    }
    json_decref(old);
    return json_pack("[s, o]", "set", set);
}

static json_t *bridge_row(json_t *operations, const struct present *present, const struct bridge *bridge)
{
    json_t *row = json_pack("{s:s, s:s, s:[s, [[s, s], [s, s]]]}", "name", bridge->name, "datapath_type",
                            bridge->datapath_type, "external_ids", "map", "vnode-slice", bridge->slice,
                            "vnode-node", bridge->node);

    json_object_set_new(row, "ports", port_set(operations, present, bridge));
    json_object_set_new(row, "controller", controller_set(operations, present, bridge));
    json_object_set_new(row, "fail_mode", json_string(bridge->fail_secure ? "secure" : "standalone"));
    return row;
}

/* Commits and waits until ovs-vswitchd has done it. */
static int commit(struct ovsdb *db, json_t *operations, struct error *error)
{
    json_t *results;
    json_int_t wanted = 0, reached = -1;
    int code;

    json_array_append_new(operations, json_pack("{s:s, s:s, s:[], s:[[s, s, i]]}", "op", "mutate", "table",
                                                "Open_vSwitch", "where", "mutations", "next_cfg", "+=", 1));
    json_array_append_new(operations, select_rows("Open_vSwitch", json_array()));
    code = ovsdb_transact(db, operations, &results, error);
    if (code)
        return code;
    wanted = json_integer_value(
        ovsdb_column(json_array_get(ovsdb_rows(results, json_array_size(results) - 1), 0), "next_cfg"));
    json_decref(results);
    for (unsigned waited = 0; reached < wanted && waited < BRIDGE_WAIT_MS; waited += POLL_MS) {
        if (reached >= 0)
            poll(NULL, 0, POLL_MS);
        code = ovsdb_transact(db, json_pack("[o]", select_rows("Open_vSwitch", json_array())), &results, error);
        if (code)
            return code;
        reached = json_integer_value(ovsdb_column(json_array_get(ovsdb_rows(results, 0), 0), "cur_cfg"));
        json_decref(results);
    }
    return reached >= wanted
               ? 0
               : error_set(
                     error, ETIMEDOUT,
                     "Open vSwitch has not taken its new configuration within %d s; is ovs-vswitchd running?",
                     BRIDGE_WAIT_MS / 1000);
}

/* Whether a bridge's interfaces could be opened. EAGAIN: a patch port does not know yet that its peer is there. */
static int check_interfaces(const struct present *present, const struct bridge *bridge, struct error *error)
{
    int code = 0;

    for (unsigned i = 0; i < bridge->n_ports && code != EIO; i++) {
        const json_t *port = find_port(present, bridge->ports[i].name);
        const json_t *interface = row_of(present->interfaces, json_object_get(port, "interfaces"));
        const char *why = text(interface, "error");

        if (why[0])
            code = error_set(error, strcmp(bridge->ports[i].type, "patch") != 0 ? EIO : EAGAIN,
                             "Open vSwitch cannot open interface %s of node %s: %.150s.",
                             bridge->ports[i].name, bridge->node, why);
    }
    return code;
}

static int check_once(struct ovsdb *db, const struct bridge bridges[], unsigned n, struct error *error)
{
    struct present present;
    int code = look(db, &present, error);

    if (code)
        return code;
    for (unsigned i = 0; i < n && !code; i++) {
        turn_to(&present, bridges[i].name);
        code = check_interfaces(&present, &bridges[i], error);
    }
    json_decref(present.results);
    return code;
}

/* Open vSwitch tells what it thinks of interfaces a little later than that it is done. */
static int check(struct ovsdb *db, const struct bridge bridges[], unsigned n, struct error *error)
{
    int code = check_once(db, bridges, n, error);

    for (unsigned waited = 0; code == EAGAIN && waited < PEER_WAIT_MS; waited += POLL_MS) {
        poll(NULL, 0, POLL_MS);
        code = check_once(db, bridges, n, error);
    }
    return code == EAGAIN ? EIO : code;
}

/* Adds what makes the bridge in question as it is described. */
static void add_bridge(json_t *operations, const struct present *present, const struct bridge *bridge)
{
    json_t *row = bridge_row(operations, present, bridge);
    char name[32];

    if (present->bridge) {
        json_object_del(row, "name"); /* it cannot be changed */
        json_array_append_new(operations, json_pack("{s:s, s:s, s:o, s:o}", "op", "update", "table", "Bridge",
                                                    "where", where("name", bridge->name), "row", row));
        return;
    }
    snprintf(name, sizeof name, "bridge%zu", json_array_size(operations));
    json_array_append_new(operations, json_pack("{s:s, s:s, s:s, s:o}", "op", "insert", "table", "Bridge",
                                                "uuid-name", name, "row", row));
    json_array_append_new(
        operations, json_pack("{s:s, s:s, s:[], s:[[s, s, [s, s]]]}", "op", "mutate", "table", "Open_vSwitch",
                              "where", "mutations", "bridges", "insert", "named-uuid", name));
}

int bridges_apply(struct ovsdb *db, const struct bridge bridges[], unsigned n, struct error *error)
{
    json_t *operations = json_array();
    struct present present;
    int code = look(db, &present, error);

    if (code) {
        json_decref(operations);
        return code;
    }
    for (unsigned i = 0; i < n && !code; i++) {
        turn_to(&present, bridges[i].name);
        if (present.bridge && !is_ours(present.bridge))
            code = error_set(error, EEXIST, "Bridge %s is there already and is not ours; rename it.",
                             bridges[i].name);
        else
            add_bridge(operations, &present, &bridges[i]);
    }
    json_decref(present.results);
    if (code) {
        json_decref(operations);
        return code;
    }
    code = commit(db, operations, error);
    return code ? code : check(db, bridges, n, error);
}

int bridge_remove(struct ovsdb *db, const char *name, struct error *error)
{
    struct present present;
    int code = look(db, &present, error);
    json_t *operations;

    if (code)
        return code;
    turn_to(&present, name);
    if (!present.bridge || !is_ours(present.bridge)) {
        json_decref(present.results);
        return 0;
    }
    operations = json_pack("[{s:s, s:s, s:[], s:[[s, s, O]]}]", "op", "mutate", "table", "Open_vSwitch",
                           "where", "mutations", "bridges", "delete", uuid_of(present.bridge));
    json_decref(present.results);
    return commit(db, operations, error);
}

int bridges_list(struct ovsdb *db,
                 void (*found)(const char *name, const char *slice, const char *node, void *argument),
                 void *argument, struct error *error)
{
    const json_t *row;
    json_t *results;
    size_t i;
    int code = ovsdb_transact(db, json_pack("[o]", select_rows("Bridge", json_array())), &results, error);

    if (code)
        return code;
    json_array_foreach(ovsdb_rows(results, 0), i, row)
    {
        const char *slice = ovsdb_map_get(row, "external_ids", "vnode-slice");
        const char *node = ovsdb_map_get(row, "external_ids", "vnode-node");

        if (slice)
            found(text(row, "name"), slice, node ? node : "", argument);
    }
    json_decref(results);
    return 0;
}
