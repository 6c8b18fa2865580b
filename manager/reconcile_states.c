/* SPDX-License-Identifier: Apache-2.0 */
/* What there is, told to whoever asks. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/console_log.h"
#include "manager/reconcile_internal.h"

/* Names of slices, each once. */
struct names {
    json_t *set;
};

static void add(struct names *names, const char *name, size_t size)
{
    char slice[SLICE_NAME_SIZE];

    if (size && size < sizeof slice) {
        snprintf(slice, sizeof slice, "%.*s", (int)size, name);
        json_object_set_new(names->set, slice, json_true());
    }
}

static void found_folder(const char *name, void *names)
{
    add(names, name, strlen(name));
}

static void found_machine(const char *name, void *names)
{
    add(names, name, strcspn(name, "."));
}

static void found_bridge(const char *name, const char *slice, const char *node, void *names)
{
    add(names, slice, strlen(slice));
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* The fast path's ports; NULL with an error, or without when it is not there. */
static json_t *ask_for_ports(const struct reconciler *reconciler, struct error *error)
{
    struct client *client =
        client_connect(reconciler->settings->fastpath_socket, "vnode-manager " VNODE_VERSION, error);
    char *answer = client ? client_query(client, "port/list", NULL, 0, 0, error) : NULL;
    json_t *ports = answer ? json_loads(answer, 0, NULL) : NULL;

    if (answer && !ports)
        error_set(error, EPROTO, "The fast path's list of ports cannot be read.");
    free(answer);
    client_close(client);
    return ports;
}

static int list_ports(struct reconciler *reconciler, struct names *names, struct error *error)
{
    json_t *ports = ask_for_ports(reconciler, error), *port;
    size_t i;

    if (!ports)
        return error->code == ECONNREFUSED || error->code == ENOENT ? 0 : error->code;
    json_array_foreach(ports, i, port)
    {
        const char *slice = text_of(port, "slice"), *name = text_of(port, "name");

        if (slice[0] && !strncmp(name, slice, strlen(slice)) && name[strlen(slice)] == '.')
            add(names, slice, strlen(slice));
    }
    json_decref(ports);
    return 0;
}

static int list_bridges(const struct reconciler *reconciler, struct names *names, struct error *error)
{
    struct ovsdb *db;
    int code = ovsdb_open(&db, reconciler->settings->vswitch_db, "Open_vSwitch", error);

    if (!code) {
        code = bridges_list(db, found_bridge, names, error);
        ovsdb_close(db);
    }
    return code;
}

int reconcile_list(struct reconciler *reconciler, void (*found)(const char *slice, void *argument),
                   void *argument, struct error *error)
{
    const struct reconcile_settings *settings = reconciler->settings;
    struct names names = {.set = json_object()};
    char folder[SLICE_FOLDER_SIZE];
    struct error failure;
    const char *name;
    json_t *value;
    int code;

    snprintf(folder, sizeof folder, "%.200s/" PLAN_FOLDER, settings->run_folder);
    marks_each(folder, found_folder, &names);
    snprintf(folder, sizeof folder, "%.200s/" PLAN_SOCKETS, settings->run_folder);
    marks_each(folder, found_folder, &names);
    snprintf(folder, sizeof folder, "%.200s/" PLAN_FOLDER, settings->state_folder);
    marks_each(folder, found_folder, &names);
    code = settings->vm_driver->list(reconciler->vms, found_machine, &names, &failure);
    if (!code)
        code = list_ports(reconciler, &names, &failure);
    if (!code)
        code = list_bridges(reconciler, &names, &failure);
    json_object_foreach(names.set, name, value) found(name, argument);
    json_decref(names.set);
    return code ? error_set(error, code, "%s", failure.text) : 0;
}

/* What is needed to tell the state of each node. */
struct view {
    const struct reconciler *reconciler;
    const struct slice *slice;
    const struct plan *plan;
    json_t *ports;   /* of the fast path, by name; NULL: it is not there */
    json_t *bridges; /* nodes that are switches and there; NULL: Open vSwitch is not there */
    struct error no_ports, no_bridges; /* why */
};

static void note_bridge(const char *name, const char *slice, const char *node, void *argument)
{
    struct view *view = argument;

    if (!strcmp(slice, view->slice->name))
        json_object_set_new(view->bridges, node, json_true());
}

static void look_around(struct view *view)
{
    json_t *list = ask_for_ports(view->reconciler, &view->no_ports), *port;
    struct ovsdb *db;
    size_t i;

    view->ports = list ? json_object() : NULL;
    json_array_foreach(list, i, port)
    {
        json_object_set(view->ports, text_of(port, "name"), port);
    }
    json_decref(list);
    if (ovsdb_open(&db, view->reconciler->settings->vswitch_db, "Open_vSwitch", &view->no_bridges))
        return;
    view->bridges = json_object();
    if (bridges_list(db, note_bridge, view, &view->no_bridges)) {
        json_decref(view->bridges);
        view->bridges = NULL;
    }
    ovsdb_close(db);
}

static void fail(struct node_state *state, const char *why)
{
    state->state = "failed";
    snprintf(state->why, sizeof state->why, "%s", why);
}

/* A node's ports: all there, and up? Those that are not are waited for. */
static void judge_ports(const struct view *view, struct node_state *state)
{
    for (unsigned i = 0; i < view->plan->n_ports; i++) {
        const struct plan_port *port = &view->plan->ports[i];
        const json_t *present = json_object_get(view->ports, port->name);
        char why[sizeof state->why];

        if (strcmp(port->node, state->node) != 0)
            continue;
        snprintf(why, sizeof why, "The fast path has no port %s yet.", port->name);
        if (!view->ports)
            fail(state, view->no_ports.text);
        else if (!present)
            fail(state, why);
        else if (!json_is_true(json_object_get(present, "up")))
            state->state = "starting";
        if (state->why[0])
            return;
    }
}

static void judge_machine(const struct view *view, const struct slice_node *node, struct node_state *state)
{
    const struct vm_driver *driver = view->reconciler->settings->vm_driver;
    char name[VM_NAME_SIZE];

    snprintf(name, sizeof name, "%s.%s", view->slice->name, node->name);
    switch (driver->state(view->reconciler->vms, name)) {
    case VM_RUNNING:
        state->cpu_time_ns = driver->cpu_time(view->reconciler->vms, name);
        judge_ports(view, state);
        break;
    case VM_STOPPED: fail(state, "The machine has ended by itself."); break;
    case VM_ABSENT: fail(state, "The machine does not run."); break;
    }
}

static void judge(const struct view *view, const struct slice_node *node, struct node_state *state)
{
    char name[NETNS_NAME_SIZE];

    snprintf(name, sizeof name, "%s.%s", view->slice->name, node->name);
    if (node->kind == NODE_VM)
        judge_machine(view, node, state);
    else if (node->kind == NODE_SWITCH && !view->bridges)
        fail(state, view->no_bridges.text);
    else if (node->kind == NODE_SWITCH && !json_object_get(view->bridges, node->name))
        fail(state, "Open vSwitch does not have its bridge.");
    else if (node->kind == NODE_NETNS && !netns_exists(name))
        fail(state, "There is no such network namespace.");
    else if (node->kind != NODE_SWITCH)
        judge_ports(view, state);
}

static bool is_stopped(const struct slice_wish *wish, const char *node)
{
    for (unsigned i = 0; i < wish->n_stopped; i++)
        if (!strcmp(wish->stopped[i], node))
            return true;
    return false;
}

int reconcile_states(struct reconciler *reconciler, const struct slice_wish *wish,
                     void (*found)(const struct node_state *state, void *argument), void *argument,
                     struct error *error)
{
    struct error failure = {0};
    struct plan *plan = plan_make(wish, reconciler->settings, &failure);
    struct view view = {.reconciler = reconciler, .slice = wish->slice, .plan = plan};

    if (!plan)
        return error_set(error, failure.code, "%s", failure.text);
    look_around(&view);
    /* Whoever watches over machines comes by here often enough to watch over their logs, too. */
    for (unsigned i = 0; i < plan->n_machines; i++)
        console_log_bound(plan->machines[i].spec.console, CONSOLE_LOG_SIZE_MAX, NULL);
    for (unsigned i = 0; i < wish->slice->n_nodes; i++) {
        const struct slice_node *node = &wish->slice->nodes[i];
        struct node_state state = {.node = node->name, .state = "running"};

        if (is_stopped(wish, node->name))
            state.state = "stopped";
        else
            judge(&view, node, &state);
        found(&state, argument);
    }
    json_decref(view.ports);
    json_decref(view.bridges);
    plan_free(plan);
    return 0;
}
