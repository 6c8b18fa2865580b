/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>

#include "fastpath/control_internal.h"
#include "fastpath/offload.h"
#include "fastpath/port.h"
#include "fastpath/worker.h"

/* Where the next identifier is looked for that the fast path chooses. */
static uint64_t next_id = 1;

/* The result so far of a request with many items. */
struct items {
    uint32_t done;
    uint32_t first_index;
    struct error first;
};

static void item_failed(struct items *items, uint32_t index, const struct error *error)
{
    if (!items->first.code) {
        items->first_index = index;
        items->first = *error;
    }
}

/* The first of 'n' successive identifiers that no rule has. */
static uint64_t free_ids(uint32_t n)
{
    uint64_t start = next_id;

    for (uint64_t id = start; id - start < n; id++)
        if (flow_tables_find(control_tables(), id))
            start = id + 1;
    return start;
}

static bool port_exists(uint16_t port)
{
    return port < PORTS_MAX && port_next(port) == port;
}

static int check_ports(const struct rule_spec *spec, struct error *error)
{
    if (!port_exists(spec->in_port))
        return error_set(error, ENOENT, "There is no port with the id %u to be the rule's input.",
                         spec->in_port);
    for (unsigned i = 0; i < spec->n_actions; i++)
        if (spec->actions[i].type == ACTION_OUTPUT && !port_exists(spec->actions[i].port))
            return error_set(error, ENOENT, "There is no port with the id %u to output to.",
                             spec->actions[i].port);
    return 0;
}

/* The fast path decides about a rule of the vSwitch whether it is offloaded. */
static int add_managed(const struct control_client *client, const struct wire_rule *wire,
                       struct rule_spec *spec, struct error *error)
{
    if (!control_is_attached(client))
        return error_set(error, EPERM, "Only an attached vSwitch can add managed rules.");
    return offload_rule_add(wire, spec, error);
}

static int add_rule(const struct control_client *client, const struct wire_rule *wire, struct error *error)
{
    struct rule_spec spec;
    int result = rule_from_wire(wire, &spec, error);

    if (!result)
        result = check_ports(&spec, error);
    if (result)
        return result;
    if (wire->flags & WIRE_RULE_MANAGED)
        return add_managed(client, wire, &spec, error);
    if (wire->id >> 63)
        return error_set(error, EINVAL, "Ids from %" PRIu64 " on are those of a vSwitch's rules.",
                         (uint64_t)1 << 63);
    return flow_tables_insert(control_tables(), &spec, error);
}

/* Rules without an id get successive ones; the reply's value is the first of them. */
int control_rule_add(struct control_client *client, const struct message_header *header,
                     struct wire_reader *body, struct error *error)
{
    static struct wire_rule wire;
    struct items items = {0};
    uint32_t n = wire_get_u32(body), n_chosen = 0;
    uint16_t port = MESSAGE_ALL_PORTS;
    uint64_t first_id = 0;

    if (n > body->left / WIRE_RULE_SIZE_MIN)
        return error_set(error, EPROTO, "The RULE_ADD message is shorter than its rules.");
    for (uint32_t i = 0; i < n; i++) {
        const char *problem = wire_get_rule(body, &wire);
        struct error failure;

        if (problem) {
            error_set(&failure, EPROTO, "Rule %u of the message is malformed: %s.", i, problem);
            item_failed(&items, i, &failure);
            break;
        }
        if (!wire.id) {
            first_id = n_chosen ? first_id : free_ids(n - i);
            wire.id = first_id + n_chosen++;
        }
        if (add_rule(client, &wire, &failure)) {
            item_failed(&items, i, &failure);
            continue;
        }
        port = !items.done || port == wire.in_port ? wire.in_port : MESSAGE_ALL_PORTS;
        items.done++;
    }
    if (!body->bad && body->left && !items.first.code)
        error_set(&items.first, EPROTO, "The RULE_ADD message is longer than its rules.");
    next_id = n_chosen ? first_id + n_chosen : next_id;
    if (offload_rules_added())
        control_finish_removal();
    control_rule_event(EVENT_RULES_ADDED, port, items.done);
    control_reply_items(client, header->request, items.done, items.first_index, &items.first,
                        n_chosen ? first_id : 0);
    return 0;
}

void control_finish_removal(void)
{
    workers_synchronize();
    offload_rules_removed();
    flow_tables_reclaim(control_tables());
}

/* Rules of an attached vSwitch are its own; those that one has left behind are everybody's. */
static int remove_rule(const struct control_client *client, uint64_t id, struct error *error)
{
    if (!offload_owns(id))
        return flow_tables_remove(control_tables(), id, error);
    if (!control_is_attached(client))
        return error_set(error, EPERM, "Rule %" PRIu64 " is the attached vSwitch's; remove it there.", id);
    offload_rule_remove(id);
    return 0;
}

int control_rule_remove(struct control_client *client, const struct message_header *header,
                        struct wire_reader *body, struct error *error)
{
    struct items items = {0};
    uint32_t n = wire_get_u32(body);

    if (body->left != (uint64_t)n * 8)
        return error_set(error, EPROTO, "The RULE_REMOVE message has not the size that its count says.");
    for (uint32_t i = 0; i < n; i++) {
        struct error failure;

        if (remove_rule(client, wire_get_u64(body), &failure))
            item_failed(&items, i, &failure);
        else
            items.done++;
    }
    if (items.done)
        control_finish_removal();
    control_rule_event(EVENT_RULES_REMOVED, MESSAGE_ALL_PORTS, items.done);
    control_reply_items(client, header->request, items.done, items.first_index, &items.first, 0);
    return 0;
}

/* A vSwitch's rules stay. */
int control_rule_flush(struct control_client *client, const struct message_header *header,
                       struct wire_reader *body, struct error *error)
{
    uint16_t port = wire_get_u16(body);
    uint32_t n = 0, cursor = 0;
    struct rule *rule;

    if (port != MESSAGE_ALL_PORTS && !port_exists(port))
        return error_set(error, ENOENT, "There is no port with the id %u whose rules could be removed.", port);
    while ((rule = flow_tables_next(control_tables(), &cursor)))
        if ((port == MESSAGE_ALL_PORTS || rule->in_port == port) && !offload_is_managed(rule)) {
            flow_tables_remove(control_tables(), rule->id, NULL);
            n++;
        }
    if (n)
        control_finish_removal();
    control_rule_event(EVENT_RULES_REMOVED, port, n);
    control_reply_ok(client, header->request, n, 0);
    return 0;
}
