/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/overview.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/difference.h"
#include "manager/plan.h"

static json_t *amounts_of(const uint64_t amounts[RESOURCES])
{
    json_t *json = json_object();

    for (enum resource resource = 0; resource < RESOURCES; resource++)
        json_object_set_new(json, resource_name(resource), json_integer((json_int_t)amounts[resource]));
    return json;
}

static json_t *summary_of(const struct store_row *row)
{
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:i}", "slice", row->name, "state", store_state_name(row->state),
                  "reason", row->reason, "created", (json_int_t)row->created, "expires",
                  (json_int_t)row->expires, "nodes", row->slice ? (int)row->slice->n_nodes : 0);

    if (row->slice) {
        struct admission_claim claim = admission_claim_of(row->slice);

        json_object_set_new(json, "promised", amounts_of(claim.amounts));
    }
    return json;
}

json_t *overview_list(struct store *store)
{
    json_t *list = json_array();

    store_lock(store);
    for (unsigned i = 0; i < store_count(store); i++)
        json_array_append_new(list, summary_of(store_row(store, i)));
    store_unlock(store);
    return list;
}

/* The other end of an interface's link: "sw:p1"; "" when it has none. */
static const char *peer_of(const struct slice *slice, unsigned node, unsigned interface,
                           char text[NODE_NAME_SIZE + INTERFACE_NAME_SIZE])
{
    int number = slice->nodes[node].interfaces[interface].link;

    text[0] = '\0';
    if (number >= 0) {
        const struct slice_endpoint *ends = slice->links[number].ends;
        const struct slice_endpoint *end =
            ends[0].node == node && ends[0].interface == interface ? &ends[1] : &ends[0];
        const struct slice_node *peer = &slice->nodes[end->node];

        snprintf(text, NODE_NAME_SIZE + INTERFACE_NAME_SIZE, "%s:%s", peer->name,
                 peer->interfaces[end->interface].name);
    }
    return text;
}

static json_t *interface_of(const struct slice *slice, unsigned node, unsigned i)
{
    const struct slice_interface *interface = &slice->nodes[node].interfaces[i];
    char peer[NODE_NAME_SIZE + INTERFACE_NAME_SIZE];
    json_t *addresses = json_array(), *json;

    for (unsigned j = 0; j < interface->n_addresses; j++)
        json_array_append_new(addresses, json_string(interface->addresses[j]));
    json = json_pack("{s:s, s:s, s:o}", "name", interface->name, "link", peer_of(slice, node, i, peer),
                     "addresses", addresses);
    if (slice->nodes[node].kind != NODE_SWITCH)
        json_object_set_new(json, "port",
                            json_sprintf("%s.%s.%s", slice->name, slice->nodes[node].name, interface->name));
    return json;
}

/* What it does: as it was seen last, else as it was written down. */
static void add_state(json_t *json, const struct store_row *row, const char *node)
{
    const json_t *live = json_object_get(row->live, node);
    const char *status = json_string_value(json_object_get(row->status, node));

    if (live)
        json_object_update(json, (json_t *)live);
    else
        json_object_set_new(json, "state", json_string(status ? status : "unknown"));
}

static json_t *node_of(const struct store_row *row, const struct reconcile_settings *settings, unsigned number)
{
    const struct slice_node *node = &row->slice->nodes[number];
    json_t *interfaces = json_array(), *json;

    for (unsigned i = 0; i < node->n_interfaces; i++)
        json_array_append_new(interfaces, interface_of(row->slice, number, i));
    json = json_pack("{s:s, s:s, s:b, s:o}", "name", node->name, "kind", slice_node_kind_name(node->kind),
                     "stop", store_is_stopped(row, node->name), "interfaces", interfaces);
    add_state(json, row, node->name);
    if (node->kind == NODE_NETNS)
        json_object_set_new(json, "namespace", json_sprintf("%s.%s", row->name, node->name));
    if (node->kind != NODE_VM)
        return json;
    json_object_set_new(json, "machine", json_sprintf("%s.%s", row->name, node->name));
    json_object_set_new(json, "cpu", json_integer(node->cpu));
    json_object_set_new(json, "memory", json_integer((json_int_t)node->memory));
    json_object_set_new(json, "agent",
                        json_sprintf("%s/" PLAN_FOLDER "/%s/%s.agent", settings->run_folder, row->name, node->name));
    json_object_set_new(json, "console",
                        json_sprintf("%s/" PLAN_FOLDER "/%s/%s.console", settings->state_folder, row->name, node->name));
    return json;
}

static json_t *links_of(const struct slice *slice)
{
    json_t *links = json_array();

    for (unsigned i = 0; i < slice->n_links; i++) {
        char name[LINK_NAME_SIZE];

        link_name(slice, &slice->links[i], name);
        json_array_append_new(
            links, json_pack("{s:s, s:I, s:I}", "link", name, "rate", (json_int_t)slice->links[i].rate, "min",
                             (json_int_t)slice->links[i].min));
    }
    return links;
}

json_t *overview_inspect(struct store *store, const struct reconcile_settings *settings, const char *slice,
                         struct error *error)
{
    const struct store_row *row;
    json_t *json = NULL;

    store_lock(store);
    row = store_find(store, slice);
    if (row) {
        json_t *nodes = json_array();

        json = summary_of(row);
        for (unsigned i = 0; row->slice && i < row->slice->n_nodes; i++)
            json_array_append_new(nodes, node_of(row, settings, i));
        json_object_set_new(json, "nodes", nodes);
        json_object_set_new(json, "links", row->slice ? links_of(row->slice) : json_array());
        json_object_set_new(json, "spec", json_string(row->spec));
    } else {
        error_set(error, ENOENT, "There is no slice %s.", slice);
    }
    store_unlock(store);
    return json;
}

static json_t *use_of(const struct store_row *row)
{
    json_t *json = summary_of(row), *state;
    json_int_t cpu_time_ns = 0;
    const char *node;

    json_object_foreach(row->live, node, state)
    {
        cpu_time_ns += json_integer_value(json_object_get(state, "cpu_time_ns"));
    }
    json_object_set_new(json, "cpu_time_ns", json_integer(cpu_time_ns));
    return json;
}

json_t *overview_usage(struct store *store, const struct admission_capacity *capacity, json_t *daemons)
{
    struct admission_claim claims[SLICES_MAX];
    uint64_t sums[RESOURCES];
    json_t *slices = json_array();
    unsigned n;

    store_lock(store);
    n = store_claims(store, claims);
    for (unsigned i = 0; i < store_count(store); i++)
        json_array_append_new(slices, use_of(store_row(store, i)));
    store_unlock(store);
    for (enum resource resource = 0; resource < RESOURCES; resource++)
        sums[resource] = admission_sum(claims, n, resource);
    return json_pack("{s:o, s:o, s:o, s:o}", "capacity", amounts_of(capacity->amounts), "promised",
                     amounts_of(sums), "slices", slices, "daemons", daemons);
}

json_t *overview_plan(struct store *store, const struct admission_capacity *capacity, const char *spec,
                      struct error *error)
{
    struct slice_errors *errors = calloc(1, sizeof *errors);
    struct slice *slice = errors ? slice_parse(spec, strlen(spec), errors) : NULL;
    struct admission_claim claims[SLICES_MAX], claim;
    json_t *changes = NULL;

    if (!slice) {
        error_set(error, EINVAL, "The slice file has a mistake in line %u: %.200s",
                  errors ? errors->list[0].at.line : 0, errors ? errors->list[0].text : "there is no memory.");
        free(errors);
        return NULL;
    }
    claim = admission_claim_of(slice);
    store_lock(store);
    if (!admission_check(capacity, claims, store_claims(store, claims), &claim, error)) {
        const struct store_row *row = store_find(store, slice->name);

        changes = slice_difference(row ? row->slice : NULL, slice);
    }
    store_unlock(store);
    if (changes)
        changes = json_pack("{s:s, s:o, s:o}", "slice", slice->name, "promised", amounts_of(claim.amounts),
                            "changes", changes);
    slice_free(slice);
    free(errors);
    return changes;
}
