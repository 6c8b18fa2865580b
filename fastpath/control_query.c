/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "fastpath/control_internal.h"
#include "fastpath/port.h"

const char *query_argument(const struct message_query *query, const char *name, char *text, size_t room)
{
    for (unsigned i = 0; i < query->n_arguments; i++) {
        const struct message_argument *argument = &query->arguments[i];

        if (strcmp(argument->name, name))
            continue;
        if (argument->size >= room || memchr(argument->value, '\0', argument->size))
            return NULL;
        memcpy(text, argument->value, argument->size);
        text[argument->size] = '\0';
        return text;
    }
    return NULL;
}

bool query_has_argument(const struct message_query *query, const char *name)
{
    for (unsigned i = 0; i < query->n_arguments; i++)
        if (!strcmp(query->arguments[i].name, name))
            return true;
    return false;
}

int query_port(const struct message_query *query, const char *name, uint16_t *port, struct error *error)
{
    char text[PORT_NAME_SIZE];

    if (!query_argument(query, name, text, sizeof text))
        return error_set(error, EINVAL, "The question needs the argument '%s', a port's name.", name);
    return control_port(text, port, error);
}

/* Appends a rule on a line of its own, so that a reader can take the list apart line by line. */
static void append_rule(struct control_answer *answer, const struct rule *rule, bool first)
{
    struct rule_json json;

    rule_to_text(rule, &json);
    control_answer_append(answer, first ? "\n" : ",\n", first ? 1 : 2);
    control_answer_append(answer, json.text, json.size);
}

static bool refill_rules(struct control_answer *answer)
{
    while (answer->size < ANSWER_PIECE_SIZE && !answer->failed) {
        struct rule *rule = flow_tables_next(control_tables(), &answer->cursor);

        if (!rule) {
            control_answer_append(answer, "\n]\n", 3);
            return false;
        }
        if (answer->port == PORT_NONE || rule->in_port == answer->port)
            append_rule(answer, rule, !answer->n_items++);
    }
    return true;
}

static int list_rules(struct control_client *client, const struct message_header *header,
                      const struct message_query *query, struct error *error)
{
    uint16_t port = PORT_NONE;
    struct control_answer *answer;
    int result;

    if (query->n_arguments) {
        result = query_port(query, "port", &port, error);
        if (result)
            return result;
    }
    answer = control_answer_create(header->request);
    if (!answer)
        return error_set(error, ENOMEM, "No memory for the answer.");
    answer->port = port;
    answer->refill = refill_rules;
    control_answer_append(answer, "[", 1);
    control_answer(client, answer);
    return 0;
}

int control_query(struct control_client *client, const struct message_header *header,
                  struct wire_reader *body, struct error *error)
{
    struct control_answer *answer;
    struct message_query query;
    json_t *json;
    char *text;

    if (!message_get_query(body, &query))
        return error_set(error, EPROTO, "The QUERY message is malformed.");
    if (!strcmp(query.question, "rule/list"))
        return list_rules(client, header, &query, error);
    if (!strcmp(query.question, "flows/list"))
        return control_list_flows(client, header, &query, error);
    json = query_answer(&query, error);
    if (!json)
        return error->code ? error->code : error_set(error, ENOMEM, "No memory for the answer.");
    text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(json);
    answer = text ? control_answer_create(header->request) : NULL;
    if (!answer) {
        free(text);
        return error_set(error, ENOMEM, "No memory for the answer.");
    }
    answer->text = text;
    answer->size = answer->room = strlen(text);
    answer->finished = true;
    control_answer(client, answer);
    return 0;
}
