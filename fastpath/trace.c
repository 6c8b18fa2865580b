/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What would happen to a packet, and why: the packet that a question gives goes
 * through the functions that a worker calls (packet_parse, flow_table_lookup,
 * action_apply), on private memory, and each step is written down. No counter
 * changes and nothing is sent.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include "fastpath/control_internal.h"
#include "fastpath/port_internal.h"
#include "proto/rule_text.h"
#include "proto/value_text.h"

#define TRACE_FRAME_MAX 9216 /* bytes of a frame that a question may give */

struct trace {
    struct packet packet;
    struct wire_rule fields; /* what the packet's fields are now, as matches */
    json_t *steps, *outputs;
    unsigned n_outputs;
    enum drop_reason drop_reason;
    bool dropped;
    uint8_t frame[PACKET_HEADROOM + TRACE_FRAME_MAX];
};

static bool is_ip(const struct flow_key *key)
{
    return key->eth_type == htons(0x0800) || key->eth_type == htons(0x86dd);
}

/* A mask of the fields that a packet with this key has. */
static void present_fields(const struct packet *packet, const struct flow_key *key, struct flow_key *mask)
{
    memset(mask, 0, sizeof *mask);
    memset(mask->eth_src, 0xff, 6);
    memset(mask->eth_dst, 0xff, 6);
    mask->eth_type = 0xffff;
    mask->vlan_tci = key->vlan_tci ? 0xffff : 0;
    mask->vlan_ad = key->vlan_ad;
    mask->inner_tci = key->inner_tci ? 0xffff : 0;
    if (!packet->l3_offset || !is_ip(key))
        return;
    memset(mask->ip_src, 0xff, 16);
    memset(mask->ip_dst, 0xff, 16);
    mask->ip_proto = mask->ip_tos = mask->ip_ttl = 0xff;
    mask->ip_frag = 3;
    if (!packet->l4_offset)
        return;
    mask->l4_src = mask->l4_dst = 0xffff;
    mask->tcp_flags = key->ip_proto == IPPROTO_TCP ? 0xff : 0;
    mask->tunnel_id = key->tunnel_id ? UINT32_MAX : 0;
}

static void read_fields(struct trace *trace, struct flow_key *key)
{
    struct flow_key mask;

    packet_parse(&trace->packet, key);
    present_fields(&trace->packet, key, &mask);
    rule_key_to_wire(key, &mask, &trace->fields);
}

static const struct wire_match *find_field(const struct wire_rule *fields, unsigned field)
{
    for (unsigned i = 0; i < fields->n_matches; i++)
        if (fields->matches[i].field == field)
            return &fields->matches[i];
    return NULL;
}

static void format_field(const struct wire_match *match, char *text, size_t room)
{
    if (match)
        value_format(wire_field(match->field), match->value, NULL, match->size, text, room);
    else
        snprintf(text, room, "none");
}

static json_t *fields_to_json(const struct wire_rule *fields)
{
    json_t *object = json_object();
    char text[VALUE_TEXT_SIZE];

    for (unsigned i = 0; i < fields->n_matches; i++) {
        format_field(&fields->matches[i], text, sizeof text);
        json_object_set_new(object, wire_field(fields->matches[i].field)->name, json_string(text));
    }
    return object;
}

/* "ttl: 64 -> 63, ...": what differs from 'before'. */
static void describe_change(const struct trace *trace, const struct wire_rule *before, uint32_t size_before,
                            char *text, size_t room)
{
    char old[VALUE_TEXT_SIZE], new[VALUE_TEXT_SIZE];
    size_t used = 0;

    text[0] = '\0';
    for (unsigned field = 1; field < FIELD_END && used < room; field++) {
        format_field(find_field(before, field), old, sizeof old);
        format_field(find_field(&trace->fields, field), new, sizeof new);
        if (strcmp(old, new))
            used += snprintf(text + used, room - used, "%s%s: %s -> %s", used ? ", " : "",
                             wire_field(field)->name, old, new);
    }
    if (size_before != trace->packet.size && used < room)
        used += snprintf(text + used, room - used, "%ssize: %u -> %u bytes", used ? ", " : "", size_before,
                         trace->packet.size);
    if (!used)
        snprintf(text, room, "changes nothing");
}

static void add_step(struct trace *trace, const char *action, const char *effect)
{
    json_array_append_new(trace->steps, json_pack("{s:s, s:s}", "action", action, "effect", effect));
}

static char *frame_to_hex(const struct packet *packet, char *text)
{
    for (uint32_t i = 0; i < packet->size; i++)
        sprintf(text + 2 * i, "%02x",
                i < packet->head_size ? packet->head[i] : packet->tail[i - packet->head_size]);
    return text;
}

static void trace_output(struct trace *trace, uint16_t port, const char *action)
{
    static char frame[2 * (PACKET_HEADROOM + TRACE_FRAME_MAX) + 1];
    struct port_status status = {.reason = "it does not exist any more"};
    bool exists = port_next(port) == port;
    uint32_t mtu = exists && port_get_spec(port)->mtu ? port_get_spec(port)->mtu : 9000;
    char effect[320];

    if (exists)
        port_get_status(port, &status);
    if (!status.up) {
        snprintf(effect, sizeof effect, "dropped (%s): port %s is down, %s", drop_reason_name(DROP_TX_DOWN),
                 control_port_name(port), status.reason);
        trace->dropped = true;
        trace->drop_reason = DROP_TX_DOWN;
    } else {
        snprintf(effect, sizeof effect, "leaves by port %s with %u bytes%s", control_port_name(port),
                 trace->packet.size,
                 trace->packet.size > mtu + 22
                     ? "; larger than the port's MTU: cut into IPv4 fragments, or dropped"
                     : "");
        trace->n_outputs++;
    }
    add_step(trace, action, effect);
    json_array_append_new(trace->outputs, json_pack("{s:s, s:b, s:i, s:s}", "port", control_port_name(port),
                                                    "up", status.up, "size", (int)trace->packet.size, "frame",
                                                    frame_to_hex(&trace->packet, frame)));
}

static void trace_change(struct trace *trace, const struct action *action, const char *text)
{
    struct wire_rule before = trace->fields;
    uint32_t size = trace->packet.size;
    int result = action_apply(action, &trace->packet);
    struct flow_key key;
    char effect[400];

    if (result) {
        trace->dropped = true;
        trace->drop_reason = result - 1;
        snprintf(effect, sizeof effect, "dropped (%s): %s", drop_reason_name(trace->drop_reason),
                 drop_reason_sentence(trace->drop_reason));
    } else {
        read_fields(trace, &key);
        describe_change(trace, &before, size, effect, sizeof effect);
    }
    add_step(trace, text, effect);
}

/* As run_actions() in forward.c does it, for a packet that leaves nothing to its receiver. */
static void trace_actions(struct trace *trace, const struct rule *rule)
{
    for (unsigned i = 0; i < rule->n_actions && !(trace->dropped && trace->drop_reason != DROP_TX_DOWN); i++) {
        const struct action *action = &rule->actions[i];
        struct wire_action wire;
        char text[ACTION_TEXT_SIZE];

        action_to_wire(action, &wire);
        action_format(&wire, control_port_name(action->port), text, sizeof text);
        if (action->type == ACTION_OUTPUT) {
            trace_output(trace, action->port, text);
        } else if (action->type == ACTION_DROP) {
            trace->dropped = true;
            trace->drop_reason = DROP_RULE;
            add_step(trace, text, "dropped (rule)");
        } else {
            trace_change(trace, action, text);
        }
    }
    if (!trace->dropped && !trace->n_outputs) {
        trace->dropped = true;
        trace->drop_reason = DROP_RULE;
    }
}

/* The end of the packet: "verdict" for programs, "explanation" for people. */
static void conclude(const struct trace *trace, json_t *answer, uint16_t port, const struct rule *rule)
{
    const struct port *in = port_by_id(port);
    bool attached = in && atomic_load(&in->representor);
    uint8_t state = rule ? atomic_load_explicit(&rule->state, memory_order_relaxed) : RULE_ONLOAD;
    bool onload = state != RULE_OFFLOADED;
    const char *why = !rule                  ? "no rule of the input port matches"
                      : state == RULE_MOVING ? "the rule is on its way into the fast path"
                                             : "the rule is onload";
    char explanation[320];

    if (onload && attached) {
        json_object_set_new(answer, "verdict", json_string("vswitch"));
        snprintf(explanation, sizeof explanation, "The packet goes to the vSwitch: %s.", why);
    } else if (onload) {
        json_object_set_new(answer, "verdict", json_string("dropped"));
        json_object_set_new(answer, "reason", json_string(drop_reason_name(DROP_NO_RULE)));
        snprintf(explanation, sizeof explanation, "The packet is dropped: %s, and no vSwitch is attached.",
                 why);
    } else if (trace->n_outputs) {
        json_object_set_new(answer, "verdict", json_string("forwarded"));
        snprintf(explanation, sizeof explanation, "The packet leaves by %u port%s.", trace->n_outputs,
                 trace->n_outputs == 1 ? "" : "s");
    } else {
        json_object_set_new(answer, "verdict", json_string("dropped"));
        json_object_set_new(answer, "reason", json_string(drop_reason_name(trace->drop_reason)));
        snprintf(explanation, sizeof explanation, "The packet is dropped: %s.",
                 drop_reason_sentence(trace->drop_reason));
    }
    json_object_set_new(answer, "explanation", json_string(explanation));
}

/* Sets the packet up as it would come from a guest: the head a snapshot, the rest behind it. */
static int read_frame(struct trace *trace, const struct message_query *query, struct error *error)
{
    static char text[2 * TRACE_FRAME_MAX + 2];
    uint8_t *head = trace->frame + PACKET_HEADROOM;
    size_t size;

    if (!query_argument(query, "frame", text, sizeof text))
        return error_set(error, EINVAL,
                         "The question needs the argument 'frame': hexadecimal digits, at most %d.",
                         2 * TRACE_FRAME_MAX);
    size = hex_parse(text, head, TRACE_FRAME_MAX);
    if (size < 14)
        return error_set(error, EINVAL, "The frame has to be 14 to %d bytes, each two hexadecimal digits.",
                         TRACE_FRAME_MAX);
    trace->packet.head = head;
    trace->packet.head_size = size < SNAPSHOT_SIZE ? size : SNAPSHOT_SIZE;
    trace->packet.size = size;
    trace->packet.tail = head + trace->packet.head_size;
    trace->packet.tail_size = size - trace->packet.head_size;
    trace->packet.headroom = PACKET_HEADROOM;
    return 0;
}

json_t *trace_packet(const struct message_query *query, struct error *error)
{
    static struct trace trace;
    struct flow_table *table;
    struct rule *rule;
    struct flow_key key;
    json_t *answer;
    uint16_t port;

    memset(&trace, 0, sizeof trace);
    if (query_port(query, "in", &port, error) || read_frame(&trace, query, error))
        return NULL;
    trace.packet.in_port = port;
    trace.steps = json_array();
    trace.outputs = json_array();
    read_fields(&trace, &key);
    answer = json_pack("{s:s, s:i, s:o}", "in", control_port_name(port), "size", (int)trace.packet.size,
                       "fields", fields_to_json(&trace.fields));
    table = flow_tables_get(control_tables(), port);
    flow_table_lookup(table, &key, 1, &rule);
    json_object_set_new(answer, "masks", json_integer(flow_table_mask_count(table)));
    json_object_set_new(answer, "rule", rule ? rule_to_json(rule) : json_null());
    if (rule && atomic_load_explicit(&rule->state, memory_order_relaxed) == RULE_OFFLOADED)
        trace_actions(&trace, rule);
    json_object_set_new(answer, "steps", trace.steps);
    json_object_set_new(answer, "outputs", trace.outputs);
    conclude(&trace, answer, port, rule);
    return answer;
}
