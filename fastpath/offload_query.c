/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>

#include "fastpath/control_internal.h"
#include "fastpath/move.h"
#include "fastpath/offload_internal.h"
#include "fastpath/offload_rule.h"
#include "fastpath/port.h"
#include "proto/value_text.h"

static const char *const mode_names[] = {
    [OFFLOAD_INHERIT] = "inherit", [OFFLOAD_OFF] = "off", [OFFLOAD_ON] = "on", [OFFLOAD_AUTO] = "auto"};

const char *offload_mode_name(enum offload_mode mode)
{
    return mode_names[mode];
}

static const char *state_name(const struct rule *rule)
{
    static const char *const names[] = {
        [RULE_OFFLOADED] = "offloaded", [RULE_ONLOAD] = "onload", [RULE_MOVING] = "moving"};

    return names[state_of(rule)];
}

static const struct slice *slice_of(uint16_t port)
{
    return &offloading.slices[offloading.ports[port].slice];
}

/* What a list of flows leaves out. */
enum { WANT_ALL, WANT_OFFLOADED, WANT_ONLOAD };

static bool is_wanted(const struct control_answer *answer, uint16_t port, bool offloaded)
{
    if (answer->state != WANT_ALL && (answer->state == WANT_OFFLOADED) != offloaded)
        return false;
    if (answer->slice && strcmp(answer->slice, slice_of(port)->name) != 0)
        return false;
    return answer->port == PORT_NONE || answer->port == port;
}

static void begin_line(struct control_answer *answer, struct rule_json *json, const struct wire_rule *wire,
                       const char *state, enum offload_reason reason)
{
    json->size = 0;
    rule_json_append(json, "%s{\"id\":\"0x%" PRIx64 "\",\"in\":\"%s\",\"slice\":\"%s\",\"priority\":%u,",
                     answer->n_items++ ? ",\n" : "\n", wire->id, control_port_name(wire->in_port),
                     slice_of(wire->in_port)->name, wire->priority);
    rule_json_append(json, "\"state\":\"%s\",\"reason\":\"%s\",", state,
                     reason ? offload_reason_code(reason) : "");
    rule_json_wire(json, wire);
}

static void append_flow(struct control_answer *answer, const struct rule *rule, const struct managed_rule *entry)
{
    static struct wire_rule wire;
    static struct rule_json json;

    rule_to_wire(rule, &wire);
    begin_line(answer, &json, &wire, state_name(rule), offload_reason_of(rule, entry));
    rule_json_append(&json,
                     ",\"rate\":%" PRIu32 ",\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64
                     ",\"onload_packets\":%" PRIu64 ",\"pinned\":%s,\"orphan\":%s,\"queued\":false}",
                     entry->rate,
                     atomic_load_explicit(&rule->n_packets, memory_order_relaxed) - entry->base_packets,
                     atomic_load_explicit(&rule->n_bytes, memory_order_relaxed) - entry->base_bytes,
                     atomic_load_explicit(&rule_offload(rule)->n_packets, memory_order_relaxed),
                     entry->pinned ? "true" : "false", is_orphan(entry) ? "true" : "false");
    control_answer_append(answer, json.text, json.size);
}

static void append_queued(struct control_answer *answer, const struct queued_rule *queued)
{
    struct wire_reader reader = wire_reader(queued->bytes, queued->size);
    static struct wire_rule wire;
    static struct rule_json json;

    if (wire_get_rule(&reader, &wire) || !is_wanted(answer, wire.in_port, false))
        return;
    begin_line(answer, &json, &wire, "onload", queued->reason);
    rule_json_append(&json,
                     ",\"rate\":0,\"packets\":0,\"bytes\":0,\"onload_packets\":0,\"pinned\":%s,"
                     "\"orphan\":false,\"queued\":true}",
                     queued->pinned ? "true" : "false");
    control_answer_append(answer, json.text, json.size);
}

static bool refill_queued(struct control_answer *answer)
{
    for (; answer->size < ANSWER_PIECE_SIZE && !answer->failed; answer->slot++) {
        if (!offloading.n_queued || answer->slot >= offloading.counters.n_slots) {
            control_answer_append(answer, "\n]\n", 3);
            return false;
        }
        if (offloading.slot_queued[answer->slot])
            append_queued(answer, offloading.slot_queued[answer->slot]);
    }
    return true;
}

/* Rules of the table first, those over quota behind them. */
static bool refill_flows(struct control_answer *answer)
{
    while (answer->size < ANSWER_PIECE_SIZE && !answer->failed) {
        const struct rule *rule = flow_tables_next(offloading.tables, &answer->cursor);
        const struct managed_rule *entry;

        if (!rule)
            return refill_queued(answer);
        entry = managed(number_of(rule));
        if (entry->generation && is_wanted(answer, rule->in_port, state_of(rule) == RULE_OFFLOADED))
            append_flow(answer, rule, entry);
    }
    return true;
}

int control_list_flows(struct control_client *client, const struct message_header *header,
                       const struct message_query *query, struct error *error)
{
    char state[16] = "", name[SLICE_NAME_SIZE];
    struct control_answer *answer;
    uint16_t port = PORT_NONE;
    int result = 0;

    for (unsigned i = 0; i < query->n_arguments && !result; i++)
        if (!strcmp(query->arguments[i].name, "port"))
            result = query_port(query, "port", &port, error);
    if (result)
        return result;
    query_argument(query, "state", state, sizeof state);
    if (state[0] && strcmp(state, "offloaded") != 0 && strcmp(state, "onload") != 0)
        return error_set(error, EINVAL, "A state is offloaded or onload, not '%s'.", state);
    answer = control_answer_create(header->request);
    if (!answer)
        return error_set(error, ENOMEM, "No memory for the answer.");
    answer->port = port;
    answer->state = !state[0] ? WANT_ALL : !strcmp(state, "offloaded") ? WANT_OFFLOADED : WANT_ONLOAD;
    if (query_argument(query, "slice", name, sizeof name))
        answer->slice = strdup(name);
    answer->refill = refill_flows;
    control_answer_append(answer, "[", 1);
    control_answer(client, answer);
    return 0;
}

static void put_integer(json_t *object, const char *name, uint64_t number)
{
    json_object_set_new(object, name, json_integer((json_int_t)number));
}

static void put_text(json_t *object, const char *name, const char *text)
{
    json_object_set_new(object, name, json_string(text));
}

static void put_setting(json_t *object, const char *name, uint32_t number)
{
    json_object_set_new(object, name,
                        number == SETTING_INHERIT ? json_null() : json_integer((json_int_t)number));
}

/* What is inherited, is null. */
static void put_settings(json_t *object, const struct offload_settings *settings)
{
    put_text(object, "mode", offload_mode_name(settings->mode));
    put_setting(object, "promote", settings->promote);
    put_setting(object, "demote", settings->demote);
    put_setting(object, "hold_ms", settings->hold_ms);
}

static json_t *settings_to_json(const struct offload_settings *settings)
{
    json_t *object = json_object();

    put_settings(object, settings);
    return object;
}

static json_t *ports_to_json(void)
{
    json_t *array = json_array();

    for (uint16_t port = port_next(0); port != PORT_NONE; port = port_next(port + 1)) {
        json_t *object = json_object();

        put_text(object, "port", control_port_name(port));
        put_text(object, "slice", slice_of(port)->name);
        put_settings(object, &offloading.ports[port].settings);
        json_object_set_new(object, "effective", settings_to_json(&offloading.ports[port].effective));
        json_array_append_new(array, object);
    }
    return array;
}

static json_t *slice_to_json(const struct slice *slice)
{
    json_t *object = json_object();
    uint32_t n_masks = 0;

    for (uint16_t port = port_next(0); port != PORT_NONE; port = port_next(port + 1))
        if (slice_of(port) == slice)
            n_masks += flow_table_mask_count(flow_tables_get(offloading.tables, port));
    put_text(object, "slice", slice->name);
    put_settings(object, &slice->settings);
    put_integer(object, "ports", slice->n_ports);
    put_integer(object, "rules", slice->n_rules);
    put_integer(object, "masks", n_masks);
    put_integer(object, "queued", slice->n_queued);
    put_integer(object, "rules_max", slice->rules_max);
    put_integer(object, "masks_max", slice->masks_max);
    put_integer(object, "operations_max", slice->operations_max);
    return object;
}

json_t *query_slices(const struct message_query *query, struct error *error)
{
    json_t *array = json_array();

    for (unsigned i = 1; i < SLICES_MAX; i++)
        if (offloading.slices[i].name[0])
            json_array_append_new(array, slice_to_json(&offloading.slices[i]));
    return array;
}

json_t *query_offload(const struct message_query *query, struct error *error)
{
    json_t *answer = json_object();
    bool attached = offloading.attached;

    json_object_set_new(answer, "attached", json_boolean(attached));
    put_text(answer, "vswitch", attached ? offloading.software : "");
    put_integer(answer, "generation", offloading.generation);
    json_object_set_new(answer, "node", settings_to_json(&offloading.node));
    put_integer(answer, "table_size", offloading.table_size);
    put_integer(answer, "moves_max", offloading.moves_max);
    put_integer(answer, "orphans_hold_s", offloading.orphans_hold_ms / 1000);
    put_integer(answer, "rules", offloading.n_managed + offloading.n_queued);
    put_integer(answer, "inside", offloading.n_inside);
    put_integer(answer, "moving", moves_under_way());
    put_integer(answer, "waiting", offloading.n_waiting);
    put_integer(answer, "delayed", offloading.n_delayed);
    put_integer(answer, "queued", offloading.n_queued);
    put_integer(answer, "orphans", offloading.n_managed - offloading.n_current);
    put_integer(answer, "swapped", offloading.n_swapped);
    put_integer(answer, "demoted", offloading.n_demoted);
    json_object_set_new(answer, "slices", query_slices(query, error));
    json_object_set_new(answer, "ports", ports_to_json());
    return answer;
}

/* The smallest unit that says what the mode of rules of 'port' is. */
static const char *mode_source(uint16_t port)
{
    if (offloading.ports[port].settings.mode != OFFLOAD_INHERIT)
        return "port";
    return slice_of(port)->settings.mode != OFFLOAD_INHERIT ? "slice" : "node";
}

static json_t *why_to_json(uint64_t id, uint16_t port, const char *state, bool pinned,
                           enum offload_reason reason)
{
    const struct offload_settings *effective = &offloading.ports[port].effective;
    json_t *answer = json_object();
    char text[24];

    snprintf(text, sizeof text, "0x%" PRIx64, id);
    put_text(answer, "id", text);
    put_text(answer, "in", control_port_name(port));
    put_text(answer, "slice", slice_of(port)->name);
    put_text(answer, "state", state);
    put_text(answer, "reason", reason ? offload_reason_code(reason) : "");
    put_text(answer, "explanation", offload_reason_sentence(reason));
    put_text(answer, "mode", pinned ? "pin" : offload_mode_name(effective->mode));
    put_text(answer, "mode_of", pinned ? "rule" : mode_source(port));
    put_integer(answer, "promote", effective->promote);
    put_integer(answer, "demote", effective->demote);
    put_integer(answer, "hold_ms", effective->hold_ms);
    return answer;
}

json_t *query_why(const struct message_query *query, struct error *error)
{
    const struct queued_rule *queued = NULL;
    const struct rule *rule;
    json_t *answer;
    char text[24];
    uint64_t id;

    if (!query_argument(query, "id", text, sizeof text) || !number_parse(text, UINT64_MAX, &id)) {
        error_set(error, EINVAL, "The question needs the argument 'id', a rule's number.");
        return NULL;
    }
    rule = flow_tables_find(offloading.tables, id);
    if (rule && offload_is_managed(rule)) {
        const struct managed_rule *entry = managed(number_of(rule));

        answer =
            why_to_json(id, rule->in_port, state_name(rule), entry->pinned, offload_reason_of(rule, entry));
        put_integer(answer, "rate", entry->rate);
        return answer;
    }
    if (offload_owns(id))
        queued = offloading.slot_queued[message_managed_slot(id)];
    if (!queued || queued->id != id) {
        error_set(error, ENOENT,
                  "The vSwitch has no rule with the id %" PRIu64 "; 'vnode flows' shows its rules.", id);
        return NULL;
    }
    answer = why_to_json(id, offload_queued_port(queued), "onload", queued->pinned, queued->reason);
    put_integer(answer, "rate", 0);
    return answer;
}
