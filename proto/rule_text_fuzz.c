/* SPDX-License-Identifier: Apache-2.0 */
/* Any text is parsed as a rule; what is accepted can be written as text that parses to the same rule. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/rule_text.h"
#include "proto/value_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int find_port(const char *name, void *argument)
{
    return name[0] == 'p' && name[1] && !name[2] ? name[1] : -1;
}

static void write_rule(const struct wire_rule *rule, char *text, size_t room)
{
    char piece[ACTION_TEXT_SIZE], port[3] = "p?";
    size_t used = snprintf(text, room, "in=p%c priority=%u%s", rule->in_port, rule->priority,
                           rule->flags & WIRE_RULE_ONLOAD ? " onload" : "");

    for (unsigned i = 0; i < rule->n_matches && used < room; i++) {
        const struct wire_match *match = &rule->matches[i];
        const struct wire_item *field = wire_field(match->field);

        value_format(field, match->value, match->mask, match->size, piece, sizeof piece);
        used += snprintf(text + used, room - used, " %s=%s", field->name, piece);
    }
    if (used < room)
        used += snprintf(text + used, room - used, " actions=");
    for (unsigned i = 0; i < rule->n_actions && used < room; i++) {
        port[1] = wire_action_port(&rule->actions[i]);
        action_format(&rule->actions[i], port, piece, sizeof piece);
        used += snprintf(text + used, room - used, "%s%s", i ? "," : "", piece);
    }
    if (used >= room)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct rule_text_ports ports = {find_port, NULL};
    static uint8_t one[RULE_TEXT_SIZE], other[RULE_TEXT_SIZE];
    struct wire_writer writer_one = wire_writer(one, sizeof one),
                       writer_other = wire_writer(other, sizeof other);
    static struct wire_rule rule;
    char text[RULE_TEXT_SIZE], copy[RULE_TEXT_SIZE + 100];
    struct wire_reader reader;
    struct error error;

    if (size >= sizeof copy)
        return 0;
    memcpy(copy, data, size);
    copy[size] = '\0';
    if (rule_parse(copy, RULE_TEXT_WHOLE, &ports, &rule, &error))
        return 0;
    rule.id = 0;
    if (!wire_put_rule(&writer_one, &rule))
        abort();
    write_rule(&rule, text, sizeof text);
    if (rule_parse(text, RULE_TEXT_WHOLE, &ports, &rule, &error))
        abort();
    if (!wire_put_rule(&writer_other, &rule) || wire_size(&writer_one) != wire_size(&writer_other) ||
        memcmp(one, other, wire_size(&writer_one)))
        abort();
    reader = wire_reader(one, wire_size(&writer_one));
    if (wire_get_rule(&reader, &rule) || reader.left)
        abort();
    return 0;
}
