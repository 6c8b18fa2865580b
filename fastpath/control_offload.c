/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>

#include "fastpath/control.h"
#include "fastpath/control_internal.h"
#include "fastpath/offload.h"
#include "fastpath/port.h"
#include "proto/value_text.h"

#define MOVES_MAX_MAX 1000000
#define HOLD_MS_MAX (24 * 3600 * 1000)

/* Who is the vSwitch; NULL: nobody. */
static const struct control_client *attached;

bool control_is_attached(const struct control_client *client)
{
    return attached == client;
}

static void detach(uint32_t handle)
{
    attached = NULL;
    offload_detach();
    control_event(EVENT_DETACHED, PORT_NONE, "", "");
}

int control_attach(struct control_client *client, const struct message_header *header,
                   struct wire_reader *body, struct error *error)
{
    struct message_attach message;
    struct offload_session session;
    int result;

    if (!message_get_attach(body, &message))
        return error_set(error, EPROTO, "The ATTACH message is malformed.");
    if (attached)
        return error_set(error, EBUSY, "A vSwitch is attached already; the fast path serves one at a time.");
    result = offload_attach(message.n_slots, message.software, &session, error);
    if (!result)
        result = control_hold(client, 0, detach, error);
    if (result)
        return result;
    attached = client;
    control_event(EVENT_ATTACHED, PORT_NONE, "", message.software);
    message_put_attached(
        control_begin(client, MESSAGE_ATTACHED, 0, header->request),
        &(struct message_attached){
            .n_slots = session.n_slots, .generation = session.generation, .started = session.started});
    control_send(client, &session.counters_fd, 1);
    return 0;
}

/* The number that argument 'name' gives, if it is there; "inherit" is UINT32_MAX where 'inherits'. */
static int number_argument(const struct message_query *change, const char *name, uint32_t most, bool inherits,
                           uint32_t *number, struct error *error)
{
    uint64_t value = OFFLOAD_KEEP;
    char text[16];

    *number = OFFLOAD_KEEP;
    if (!query_has_argument(change, name))
        return 0;
    if (!query_argument(change, name, text, sizeof text))
        text[0] = '\0';
    if (inherits && !strcmp(text, "inherit"))
        value = UINT32_MAX;
    else if (!number_parse(text, most, &value))
        return error_set(error, EINVAL, "'%s' is a number from 0 to %" PRIu32 "%s.", name, most,
                         inherits ? ", or inherit" : "");
    *number = (uint32_t)value;
    return 0;
}

static int parse_mode(const char *text, enum offload_mode *mode, struct error *error)
{
    for (*mode = OFFLOAD_INHERIT; *mode <= OFFLOAD_AUTO; (*mode)++)
        if (!strcmp(text, offload_mode_name(*mode)))
            return 0;
    return error_set(error, EINVAL, "There is no mode '%s'; the modes are off, on, auto and inherit.", text);
}

static int set_rule(const char *id_text, const char *mode, struct error *error)
{
    bool pin = mode && !strcmp(mode, "pin");
    struct rule *rule;
    uint64_t id;

    if (!number_parse(id_text, UINT64_MAX, &id))
        return error_set(error, EINVAL, "'%s' is no rule's id.", id_text);
    rule = flow_tables_find(control_tables(), id);
    if (rule && !offload_is_managed(rule) && mode)
        return control_move_by_hand(rule, mode, error);
    if (!pin && (!mode || strcmp(mode, "unpin")))
        return rule || id >> 63
                   ? error_set(error, EINVAL, "Of a vSwitch's rule only 'pin' and 'unpin' can be set.")
                   : error_set(error, ENOENT,
                               "There is no rule %" PRIu64 "; 'vnode rule list' shows the rules.", id);
    return offload_pin(id, pin, error);
}

static int parse_scope(const char *text, struct offload_change *change, struct error *error)
{
    if (!strcmp(text, "node")) {
        change->scope = SCOPE_NODE;
    } else if (!strncmp(text, "slice:", 6) && text[6] && strlen(text + 6) < sizeof change->slice) {
        change->scope = SCOPE_SLICE;
        strcpy(change->slice, text + 6);
        return control_check_name("Slice", change->slice, error);
    } else if (!strncmp(text, "port:", 5)) {
        change->scope = SCOPE_PORT;
        return control_port(text + 5, &change->port, error);
    } else {
        return error_set(error, EINVAL, "A scope is node, slice:NAME, port:NAME or rule:ID, not '%s'.", text);
    }
    return 0;
}

static int set_offload(const struct message_query *query, struct error *error)
{
    struct offload_change change = {.set_mode = false};
    char scope[80], mode_text[16];
    const char *mode = query_argument(query, "mode", mode_text, sizeof mode_text);
    int result;

    if (!query_argument(query, "scope", scope, sizeof scope))
        return error_set(error, EINVAL, "offload/set needs the argument 'scope'.");
    if (!strncmp(scope, "rule:", 5))
        return set_rule(scope + 5, mode, error);
    result = parse_scope(scope, &change, error);
    change.set_mode = mode != NULL;
    if (!result && mode)
        result = parse_mode(mode, &change.mode, error);
    if (!result)
        result = number_argument(query, "promote", INT32_MAX, true, &change.promote, error);
    if (!result)
        result = number_argument(query, "demote", INT32_MAX, true, &change.demote, error);
    if (!result)
        result = number_argument(query, "hold", HOLD_MS_MAX, true, &change.hold_ms, error);
    return result ? result : offload_set(&change, error);
}

static int set_table(const struct message_query *query, struct error *error)
{
    uint32_t size, moves;
    int result = number_argument(query, "size", RULES_MAX, false, &size, error);

    if (!result)
        result = number_argument(query, "moves", MOVES_MAX_MAX, false, &moves, error);
    if (!result && !moves)
        result =
            error_set(error, EINVAL, "At least one move a second has to be possible; mode off stops them.");
    if (!result)
        offload_set_table(size, moves);
    return result;
}

static int set_hold(const struct message_query *query, struct error *error)
{
    uint32_t seconds;
    int result = number_argument(query, "seconds", OFFLOAD_ORPHANS_HOLD_MAX_S, false, &seconds, error);

    if (!result && seconds != OFFLOAD_KEEP)
        offload_set_hold(seconds);
    return result;
}

static int set_slice(const struct message_query *query, struct error *error)
{
    uint32_t rules, masks, operations;
    char name[SLICE_NAME_SIZE];
    int result;

    if (!query_argument(query, "slice", name, sizeof name) || !name[0])
        return error_set(error, EINVAL, "slice/set needs the argument 'slice', a name of 1 to %d bytes.",
                         SLICE_NAME_SIZE - 1);
    result = control_check_name("Slice", name, error);
    if (!result)
        result = number_argument(query, "rules", RULES_MAX, false, &rules, error);
    if (!result)
        result = number_argument(query, "masks", PORTS_MAX * MASKS_MAX, false, &masks, error);
    if (!result)
        result = number_argument(query, "operations", INT32_MAX, false, &operations, error);
    return result ? result : offload_set_slice(name, rules, masks, operations, error);
}

int control_change(struct control_client *client, const struct message_header *header,
                   struct wire_reader *body, struct error *error)
{
    static const struct {
        const char *what;
        int (*set)(const struct message_query *query, struct error *error);
    } changes[] = {{"offload/set", set_offload},
                   {"offload/table", set_table},
                   {"offload/hold", set_hold},
                   {"slice/set", set_slice},
                   {"port/set", control_set_port}};
    struct message_query query;

    if (!message_get_query(body, &query))
        return error_set(error, EPROTO, "The CHANGE message is malformed.");
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        if (!strcmp(query.question, changes[i].what)) {
            int result = changes[i].set(&query, error);

            if (!result)
                control_reply_ok(client, header->request, 1, 0);
            return result;
        }
    return error_set(error, EINVAL, "Nothing is called '%s' that could be changed.", query.question);
}
