/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/rule.h"

#include <assert.h>

static const struct wire_item fields[FIELD_END] = {
#define X(id, number, name, kind, size, bits, description) [number] = {name, kind, size, bits, description},
    WIRE_FIELDS(X)
#undef X
};

static const struct wire_item actions[WIRE_ACTION_END] = {
#define X(id, number, name, kind, size, bits, description) [number] = {name, kind, size, bits, description},
    WIRE_ACTIONS(X)
#undef X
};

/* So that a set of fields fits a word. */
static_assert(FIELD_END <= 64, "fields fit a bit set");

const struct wire_item *wire_field(unsigned field)
{
    return field < FIELD_END && fields[field].name ? &fields[field] : NULL;
}

const struct wire_item *wire_action(unsigned type)
{
    return type < WIRE_ACTION_END && actions[type].name ? &actions[type] : NULL;
}

static unsigned find(const struct wire_item *items, unsigned n, const char *name, size_t size)
{
    for (unsigned i = 0; i < n; i++)
        if (items[i].name && strlen(items[i].name) == size && !memcmp(items[i].name, name, size))
            return i;
    return 0;
}

unsigned wire_field_find(const char *name, size_t size)
{
    return find(fields, FIELD_END, name, size);
}

unsigned wire_action_find(const char *name, size_t size)
{
    return find(actions, WIRE_ACTION_END, name, size);
}

uint16_t wire_action_port(const struct wire_action *action)
{
    return action->operand[0] | action->operand[1] << 8;
}

void wire_action_set_port(struct wire_action *action, uint16_t port)
{
    action->type = WIRE_ACTION_OUTPUT;
    action->size = 2;
    action->operand[0] = port;
    action->operand[1] = port >> 8;
}

bool wire_put_rule(struct wire_writer *writer, const struct wire_rule *rule)
{
    struct wire_writer before = *writer;

    wire_put_u64(writer, rule->id);
    wire_put_u16(writer, rule->in_port);
    wire_put_u16(writer, rule->priority);
    wire_put_u8(writer, rule->flags);
    wire_put_u8(writer, rule->n_matches);
    wire_put_u8(writer, rule->n_actions);
    wire_put_u8(writer, 0);
    for (unsigned i = 0; i < rule->n_matches; i++) {
        const struct wire_match *match = &rule->matches[i];

        wire_put_u8(writer, match->field);
        wire_put_u8(writer, match->size);
        wire_put_bytes(writer, match->value, match->size);
        wire_put_bytes(writer, match->mask, match->size);
    }
    for (unsigned i = 0; i < rule->n_actions; i++) {
        wire_put_u8(writer, rule->actions[i].type);
        wire_put_u8(writer, rule->actions[i].size);
        wire_put_bytes(writer, rule->actions[i].operand, rule->actions[i].size);
    }
    if (writer->bad) {
        *writer = before;
        return false;
    }
    return true;
}

static bool size_fits(const struct wire_item *item, size_t size)
{
    switch (item->kind) {
    case VALUE_ADDRESS: return size == 4 || size == 16;
    case VALUE_BYTES: return size >= 1 && size <= item->size;
    default: return size == item->size;
    }
}

/* Whether the number in 'bytes' uses the item's bits only. Addresses and byte strings have no spare bits. */
static bool bits_fit(const struct wire_item *item, const uint8_t *bytes, size_t size)
{
    unsigned spare = size * 8 - item->bits;

    if (item->kind == VALUE_ADDRESS || item->kind == VALUE_BYTES || item->kind == VALUE_NONE)
        return true;
    for (size_t i = 0; i < size && spare; i++) {
        unsigned here = spare < 8 ? spare : 8;

        if (bytes[i] >> (8 - here))
            return false;
        spare -= here;
    }
    return true;
}

static const char *get_match(struct wire_reader *reader, struct wire_match *match, uint64_t *seen)
{
    const struct wire_item *item;
    const uint8_t *value, *mask;

    match->field = wire_get_u8(reader);
    match->size = wire_get_u8(reader);
    value = wire_get_bytes(reader, match->size);
    mask = wire_get_bytes(reader, match->size);
    if (!value || !mask)
        return "it ends inside a match";
    item = wire_field(match->field);
    if (!item)
        return "it matches a field that this version does not know";
    if (!size_fits(item, match->size))
        return "a value has not its field's size";
    if (*seen & 1ull << match->field)
        return "it matches a field twice";
    *seen |= 1ull << match->field;
    if (!bits_fit(item, mask, match->size))
        return "a mask is wider than its field";
    for (unsigned i = 0; i < match->size; i++)
        if (value[i] & ~mask[i])
            return "a value has bits outside its mask";
    memcpy(match->value, value, match->size);
    memcpy(match->mask, mask, match->size);
    return NULL;
}

static const char *get_action(struct wire_reader *reader, struct wire_action *action)
{
    const struct wire_item *item;
    const uint8_t *operand;

    action->type = wire_get_u8(reader);
    action->size = wire_get_u8(reader);
    operand = wire_get_bytes(reader, action->size);
    if (!operand)
        return "it ends inside an action";
    item = wire_action(action->type);
    if (!item)
        return "it has an action that this version does not know";
    if (!size_fits(item, action->size))
        return "an operand has not its action's size";
    if (item->kind != VALUE_PORT && !bits_fit(item, operand, action->size))
        return "an operand is too large for its action";
    memcpy(action->operand, operand, action->size);
    return NULL;
}

static const char *get_rule(struct wire_reader *reader, struct wire_rule *rule)
{
    const char *problem = NULL;
    uint64_t seen = 0;

    rule->id = wire_get_u64(reader);
    rule->in_port = wire_get_u16(reader);
    rule->priority = wire_get_u16(reader);
    rule->flags = wire_get_u8(reader);
    rule->n_matches = wire_get_u8(reader);
    rule->n_actions = wire_get_u8(reader);
    if (wire_get_u8(reader))
        return "its reserved byte is not 0";
    if (reader->bad)
        return "it is cut short";
    if (rule->flags & ~(WIRE_RULE_ONLOAD | WIRE_RULE_MANAGED))
        return "it has a flag that this version does not know";
    if (rule->n_matches > WIRE_MATCHES_MAX)
        return "it has more matches than there are fields";
    if (rule->n_actions > RULE_ACTIONS_MAX)
        return "it has too many actions";
    for (unsigned i = 0; i < rule->n_matches && !problem; i++)
        problem = get_match(reader, &rule->matches[i], &seen);
    for (unsigned i = 0; i < rule->n_actions && !problem; i++)
        problem = get_action(reader, &rule->actions[i]);
    return problem;
}

const char *wire_get_rule(struct wire_reader *reader, struct wire_rule *rule)
{
    const char *problem = get_rule(reader, rule);

    if (problem) {
        rule->n_matches = 0;
        rule->n_actions = 0;
        reader->bad = true;
    }
    return problem;
}
