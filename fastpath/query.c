/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include <rte_cycles.h>

#include "fastpath/control_internal.h"
#include "fastpath/drop.h"
#include "fastpath/offload_rule.h"
#include "fastpath/port.h"
#include "fastpath/worker.h"
#include "proto/rule_text.h"
#include "proto/value_text.h"

const char *control_port_name(uint16_t port)
{
    static char text[16];

    if (port < PORTS_MAX && port_next(port) == port)
        return port_get_spec(port)->name;
    snprintf(text, sizeof text, "port-%u", port);
    return text;
}

static void put_integer(json_t *object, const char *name, uint64_t number)
{
    /* JSON's integers are signed in jansson; counters do not live to see the difference. */
    json_object_set_new(object, name, json_integer((json_int_t)number));
}

static void put_text(json_t *object, const char *name, const char *text)
{
    json_object_set_new(object, name, json_string(text));
}

static void put_bool(json_t *object, const char *name, bool truth)
{
    json_object_set_new(object, name, json_boolean(truth));
}

static json_t *port_to_json(uint16_t port)
{
    const struct port_spec *spec = port_get_spec(port);
    struct port_status status;
    struct port_rates rates;
    char features[24];
    json_t *object = json_object();

    port_get_status(port, &status);
    put_integer(object, "id", port);
    put_text(object, "name", spec->name);
    put_text(object, "kind", spec->kind == PORT_VHOST ? "vhost" : "ethdev");
    if (spec->kind == PORT_VHOST) {
        put_text(object, "path", spec->path);
        put_bool(object, "server", spec->server);
    } else {
        put_text(object, "devargs", spec->devargs);
    }
    put_text(object, "slice", spec->slice);
    put_integer(object, "mtu", spec->mtu ? spec->mtu : 9000);
    port_get_rates(port, &rates);
    put_integer(object, "rate", rates.in);
    put_integer(object, "burst", rates.burst_in);
    put_integer(object, "rate_out", rates.out);
    put_integer(object, "burst_out", rates.burst_out);
    put_integer(object, "queues_max", spec->n_queues);
    put_integer(object, "queues", status.n_queues);
    put_bool(object, "up", status.up);
    put_text(object, "reason", status.reason);
    if (spec->kind == PORT_VHOST) {
        snprintf(features, sizeof features, "0x%" PRIx64, status.features);
        put_text(object, "features", features);
        put_integer(object, "connects", status.n_connects);
    }
    return object;
}

static json_t *drops_to_json(const struct port_stats *stats)
{
    json_t *object = json_object();

    for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++)
        put_integer(object, drop_reason_name(reason), stats->drops[reason]);
    return object;
}

static json_t *stats_to_json(uint16_t port)
{
    struct port_stats stats;
    json_t *object = json_object();

    port_get_stats(port, &stats);
    put_integer(object, "id", port);
    put_text(object, "name", port_get_spec(port)->name);
    put_integer(object, "rx_packets", stats.rx_packets);
    put_integer(object, "rx_bytes", stats.rx_bytes);
    put_integer(object, "tx_packets", stats.tx_packets);
    put_integer(object, "tx_bytes", stats.tx_bytes);
    put_integer(object, "to_vswitch", stats.to_vswitch);
    put_integer(object, "from_vswitch", stats.from_vswitch);
    put_integer(object, "holds", stats.n_holds);
    put_integer(object, "held_ns", stats.held_ns);
    put_integer(object, "missed", port_get_missed(port));
    json_object_set_new(object, "drops", drops_to_json(&stats));
    return object;
}

/* 'to_json' of every port, or of the one that the argument "port" names. */
static json_t *each_port(const struct message_query *query, json_t *(*to_json)(uint16_t port),
                         struct error *error)
{
    json_t *array;
    uint16_t port;

    if (query->n_arguments && query_port(query, "port", &port, error))
        return NULL;
    array = json_array();
    if (query->n_arguments)
        json_array_append_new(array, to_json(port));
    else
        for (port = port_next(0); port != PORT_NONE; port = port_next(port + 1))
            json_array_append_new(array, to_json(port));
    return array;
}

static json_t *answer_port_list(const struct message_query *query, struct error *error)
{
    return each_port(query, port_to_json, error);
}

static json_t *answer_stats(const struct message_query *query, struct error *error)
{
    return each_port(query, stats_to_json, error);
}

static json_t *answer_port_show(const struct message_query *query, struct error *error)
{
    uint16_t port;
    json_t *object;

    if (query_port(query, "port", &port, error))
        return NULL;
    object = port_to_json(port);
    put_integer(object, "masks", flow_table_mask_count(flow_tables_get(control_tables(), port)));
    json_object_set_new(object, "stats", stats_to_json(port));
    return object;
}

void rule_json_append(struct rule_json *json, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    json->size += vsnprintf(json->text + json->size, sizeof json->text - json->size, format, arguments);
    va_end(arguments);
    assert(json->size < sizeof json->text);
}

static const char *const state_names[] = {
    [RULE_OFFLOADED] = "offloaded", [RULE_ONLOAD] = "onload", [RULE_MOVING] = "moving"};

void rule_to_wire(const struct rule *rule, struct wire_rule *wire)
{
    struct flow_key key;

    rule_key(rule, &key);
    rule_key_to_wire(&key, rule_mask(rule), wire);
    wire->id = rule->id;
    wire->in_port = rule->in_port;
    wire->priority = rule->priority;
    wire->flags = 0;
    wire->n_actions = rule->n_actions;
    for (unsigned i = 0; i < rule->n_actions; i++)
        action_to_wire(&rule->actions[i], &wire->actions[i]);
}

void rule_json_wire(struct rule_json *json, const struct wire_rule *wire)
{
    char text[ACTION_TEXT_SIZE];

    rule_json_append(json, "\"match\":{");
    for (unsigned i = 0; i < wire->n_matches; i++) {
        const struct wire_match *match = &wire->matches[i];
        const struct wire_item *field = wire_field(match->field);

        value_format(field, match->value, match->mask, match->size, text, sizeof text);
        rule_json_append(json, "%s\"%s\":\"%s\"", i ? "," : "", field->name, text);
    }
    rule_json_append(json, "},\"actions\":[");
    for (unsigned i = 0; i < wire->n_actions; i++) {
        const struct wire_action *action = &wire->actions[i];
        bool output = action->type == WIRE_ACTION_OUTPUT;

        action_format(action, output ? control_port_name(wire_action_port(action)) : "", text, sizeof text);
        rule_json_append(json, "%s\"%s\"", i ? "," : "", text);
    }
    rule_json_append(json, "]");
}

/* Ids of a vSwitch's rules do not fit into what many readers of JSON, ours among them, take for an integer. */
static void append_id(struct rule_json *json, uint64_t id)
{
    if (id >> 63)
        rule_json_append(json, "\"id\":\"0x%" PRIx64 "\"", id);
    else
        rule_json_append(json, "\"id\":%" PRIu64, id);
}

/*
 * By hand, because a list may have a million of them. Nothing in it needs escapes: see the characters of
 * ports' names.
 */
void rule_to_text(const struct rule *rule, struct rule_json *json)
{
    static struct wire_rule wire;
    const struct offload_rule *offload = rule_offload(rule);
    uint8_t state = atomic_load_explicit(&rule->state, memory_order_relaxed);
    uint64_t n_onload = atomic_load_explicit(&offload->n_packets, memory_order_relaxed);

    rule_to_wire(rule, &wire);
    json->size = 0;
    rule_json_append(json, "{");
    append_id(json, rule->id);
    rule_json_append(json, ",\"in\":\"%s\",\"priority\":%u,\"onload\":%s,\"state\":\"%s\",",
                     control_port_name(rule->in_port), rule->priority,
                     state == RULE_OFFLOADED ? "false" : "true", state_names[state]);
    rule_json_wire(json, &wire);
    rule_json_append(json, ",\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"onload_packets\":%" PRIu64 "}",
                     atomic_load_explicit(&rule->n_packets, memory_order_relaxed) + n_onload,
                     atomic_load_explicit(&rule->n_bytes, memory_order_relaxed) +
                         atomic_load_explicit(&offload->n_bytes, memory_order_relaxed),
                     n_onload);
}

json_t *rule_to_json(const struct rule *rule)
{
    struct rule_json json;

    rule_to_text(rule, &json);
    return json_loadb(json.text, json.size, 0, NULL);
}

static json_t *answer_rule_show(const struct message_query *query, struct error *error)
{
    char text[24];
    struct rule *rule;
    uint64_t id;

    if (!query_argument(query, "id", text, sizeof text) || !number_parse(text, UINT64_MAX, &id)) {
        error_set(error, EINVAL, "The question needs the argument 'id', a rule's number.");
        return NULL;
    }
    rule = flow_tables_find(control_tables(), id);
    if (!rule) {
        error_set(error, ENOENT,
                  "There is no rule with the id %" PRIu64 "; 'vnode rule list' shows the rules.", id);
        return NULL;
    }
    return rule_to_json(rule);
}

static double ratio(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

/* The share of each stage in the cycles that were sampled. */
static json_t *stages_to_json(const struct worker_stats *stats)
{
    json_t *object = json_object();
    uint64_t sampled = 0;

    for (unsigned stage = 0; stage < WORKER_STAGE_COUNT; stage++)
        sampled += stats->stage_cycles[stage];
    for (unsigned stage = 0; stage < WORKER_STAGE_COUNT; stage++)
        json_object_set_new(object, worker_stage_name(stage),
                            json_real(ratio(stats->stage_cycles[stage], sampled)));
    return object;
}

static json_t *worker_to_json(uint16_t index)
{
    struct worker_stats stats;
    json_t *object = json_object();
    uint64_t all_cycles;

    worker_get_stats(index, &stats);
    all_cycles = stats.busy_cycles + stats.idle_cycles + stats.sleep_cycles;
    put_integer(object, "worker", index);
    put_integer(object, "cpu", stats.cpu);
    put_integer(object, "queues", stats.n_queues);
    put_integer(object, "packets", stats.n_packets);
    put_integer(object, "bursts", stats.n_bursts);
    put_integer(object, "busy_cycles", stats.busy_cycles);
    put_integer(object, "idle_cycles", stats.idle_cycles);
    put_integer(object, "sleep_cycles", stats.sleep_cycles);
    put_integer(object, "sleeps", stats.n_sleeps);
    put_integer(object, "cache_hits", stats.cache_hits);
    put_integer(object, "cache_misses", stats.cache_misses);
    put_integer(object, "unmatched_packets", stats.n_lookups_missed);
    json_object_set_new(object, "cycles_per_packet", json_real(ratio(stats.busy_cycles, stats.n_packets)));
    json_object_set_new(object, "packets_per_burst", json_real(ratio(stats.n_packets, stats.n_bursts)));
    json_object_set_new(object, "busy_share", json_real(ratio(stats.busy_cycles, all_cycles)));
    json_object_set_new(object, "idle_share", json_real(ratio(stats.idle_cycles, all_cycles)));
    json_object_set_new(object, "sleep_share", json_real(ratio(stats.sleep_cycles, all_cycles)));
    json_object_set_new(object, "stages", stages_to_json(&stats));
    return object;
}

static json_t *answer_perf(const struct message_query *query, struct error *error)
{
    json_t *object = json_object(), *array = json_array();

    for (uint16_t index = 0; index < workers_count(); index++)
        json_array_append_new(array, worker_to_json(index));
    put_integer(object, "cycles_per_second", rte_get_tsc_hz());
    json_object_set_new(object, "workers", array);
    return object;
}

static json_t *answer_drops(const struct message_query *query, struct error *error)
{
    json_t *array = json_array(), *objects[DROP_REASON_COUNT], *by_port[DROP_REASON_COUNT];
    uint64_t totals[DROP_REASON_COUNT] = {0};
    struct port_stats stats;

    for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++) {
        objects[reason] = json_object();
        by_port[reason] = json_object();
        put_text(objects[reason], "reason", drop_reason_name(reason));
        put_text(objects[reason], "meaning", drop_reason_sentence(reason));
    }
    for (uint16_t port = port_next(0); port != PORT_NONE; port = port_next(port + 1)) {
        port_get_stats(port, &stats);
        for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++) {
            totals[reason] += stats.drops[reason];
            if (stats.drops[reason])
                put_integer(by_port[reason], port_get_spec(port)->name, stats.drops[reason]);
        }
    }
    for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++) {
        put_integer(objects[reason], "packets", totals[reason]);
        json_object_set_new(objects[reason], "ports", by_port[reason]);
        json_array_append_new(array, objects[reason]);
    }
    return array;
}

static json_t *answer_version(const struct message_query *query, struct error *error)
{
    json_t *object = json_object();

    put_text(object, "version", VNODE_VERSION);
    put_integer(object, "protocol", PROTOCOL_VERSION_MAX);
    put_integer(object, "rules", flow_tables_count(control_tables()));
    put_integer(object, "workers", workers_count());
    return object;
}

static const struct {
    const char *question;
    json_t *(*answer)(const struct message_query *query, struct error *error);
} questions[] = {
    {"port/list", answer_port_list},  {"port/show", answer_port_show}, {"rule/show", answer_rule_show},
    {"stats/show", answer_stats},     {"perf/show", answer_perf},      {"drops/show", answer_drops},
    {"version/show", answer_version}, {"packet/trace", trace_packet},  {"moves/show", query_moves},
    {"offload/show", query_offload},  {"offload/why", query_why},      {"slice/list", query_slices},
};

json_t *query_answer(const struct message_query *query, struct error *error)
{
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        if (!strcmp(query->question, questions[i].question))
            return questions[i].answer(query, error);
    error_set(error, EINVAL, "This fast path does not know the question '%s'.", query->question);
    return NULL;
}
