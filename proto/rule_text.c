/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/rule_text.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/value_text.h"

#define ETH_TYPE_IPV4 0x0800
#define ETH_TYPE_IPV6 0x86dd

/* Words that stand for fields. 0: leaves the field alone. */
static const struct {
    const char *word;
    uint16_t eth_type;
    uint8_t ip_proto;
} shorthands[] = {
    {"ip", ETH_TYPE_IPV4, 0},
    {"ipv4", ETH_TYPE_IPV4, 0},
    {"ipv6", ETH_TYPE_IPV6, 0},
    {"arp", 0x0806, 0},
    {"tcp", 0, IPPROTO_TCP},
    {"udp", 0, IPPROTO_UDP},
    {"sctp", 0, IPPROTO_SCTP},
    {"icmp", ETH_TYPE_IPV4, IPPROTO_ICMP},
    {"icmp6", ETH_TYPE_IPV6, IPPROTO_ICMPV6},
    {"tcp6", ETH_TYPE_IPV6, IPPROTO_TCP},
    {"udp6", ETH_TYPE_IPV6, IPPROTO_UDP},
    {"sctp6", ETH_TYPE_IPV6, IPPROTO_SCTP},
};

/* Other spellings of fields. */
static const struct {
    const char *word;
    uint8_t field;
} synonyms[] = {
    {"src_port", FIELD_L4_SRC},
    {"dst_port", FIELD_L4_DST},
};

struct parser {
    const struct rule_text_ports *ports;
    struct wire_rule *rule;
    struct error *error;
    enum rule_text_part part;
    uint64_t seen; /* bit set of fields */
    bool has_in_port;
};

static struct wire_match *find_match(struct wire_rule *rule, unsigned field)
{
    for (unsigned i = 0; i < rule->n_matches; i++)
        if (rule->matches[i].field == field)
            return &rule->matches[i];
    return NULL;
}

static void add_match(struct parser *parser, unsigned field, const struct wire_value *value)
{
    struct wire_match *match = &parser->rule->matches[parser->rule->n_matches++];

    match->field = field;
    match->size = value->size;
    memcpy(match->value, value->value, value->size);
    memcpy(match->mask, value->mask, value->size);
    parser->seen |= 1ull << field;
}

static bool has(const struct parser *parser, unsigned field)
{
    return parser->seen & 1ull << field;
}

/*
 * Adds an exact match on a number, unless the field is there. Returns whether it agrees with what is there.
 */
static bool imply(struct parser *parser, unsigned field, uint16_t number)
{
    const struct wire_item *item = wire_field(field);
    struct wire_value value = {.size = item->size};
    struct wire_match *match;
    char text[8];

    snprintf(text, sizeof text, "%u", number);
    if (value_parse(item, text, false, &value, NULL))
        return false;
    match = has(parser, field) ? find_match(parser->rule, field) : NULL;
    if (match)
        return !memcmp(match->value, value.value, value.size) && !memcmp(match->mask, value.mask, value.size);
    add_match(parser, field, &value);
    return true;
}

static int parse_field(struct parser *parser, unsigned field, const char *word, const char *text)
{
    struct wire_value value;
    int result;

    if (has(parser, field))
        return error_set(parser->error, EINVAL, "'%.60s' is there twice; give each field once.", word);
    result = value_parse(wire_field(field), text, true, &value, parser->error);
    if (!result)
        add_match(parser, field, &value);
    return result;
}

static int parse_shorthand(struct parser *parser, const char *word)
{
    for (size_t i = 0; i < sizeof shorthands / sizeof *shorthands; i++) {
        if (strcmp(word, shorthands[i].word))
            continue;
        if ((shorthands[i].eth_type && !imply(parser, FIELD_ETH_TYPE, shorthands[i].eth_type)) ||
            (shorthands[i].ip_proto && !imply(parser, FIELD_IP_PROTO, shorthands[i].ip_proto)))
            return error_set(parser->error, EINVAL, "'%s' contradicts another field of the rule.", word);
        return 0;
    }
    return error_set(parser->error, EINVAL, "'%.60s' is no field of a rule; see 'vnode rule add --help'.",
                     word);
}

static int parse_in_port(struct parser *parser, const char *name)
{
    int port = parser->ports->find(name, parser->ports->argument);

    if (parser->has_in_port)
        return error_set(parser->error, EINVAL, "'in=' is there twice; a rule has one input port.");
    if (port < 0)
        return error_set(parser->error, ENOENT,
                         "There is no port '%.64s'; 'vnode port list' shows the ports.", name);
    parser->rule->in_port = port;
    parser->has_in_port = true;
    return 0;
}

/* One of the words that only a whole rule has. Returns -1 when 'word' is none of them. */
static int parse_rule_word(struct parser *parser, const char *word)
{
    uint64_t number;

    if (!strncmp(word, "id=", 3)) {
        if (!number_parse(word + 3, UINT64_MAX, &number) || !number)
            return error_set(parser->error, EINVAL, "'%.60s': the id is a number from 1 on.", word);
        parser->rule->id = number;
        return 0;
    }
    if (!strncmp(word, "priority=", 9)) {
        if (!number_parse(word + 9, UINT16_MAX, &number))
            return error_set(parser->error, EINVAL, "'%.60s': the priority is a number from 0 to 65535.", word);
        parser->rule->priority = number;
        return 0;
    }
    if (!strcmp(word, "onload")) {
        parser->rule->flags |= WIRE_RULE_ONLOAD;
        return 0;
    }
    return -1;
}

static int parse_word(struct parser *parser, char *word)
{
    char *equals = strchr(word, '=');
    unsigned field;
    int result;

    if (!strncmp(word, "in=", 3))
        return parse_in_port(parser, word + 3);
    if (parser->part == RULE_TEXT_WHOLE) {
        result = parse_rule_word(parser, word);
        if (result >= 0)
            return result;
    }
    if (!equals)
        return parse_shorthand(parser, word);
    field = wire_field_find(word, equals - word);
    for (size_t i = 0; i < sizeof synonyms / sizeof *synonyms && !field; i++)
        if (strlen(synonyms[i].word) == (size_t)(equals - word) &&
            !strncmp(word, synonyms[i].word, equals - word))
            field = synonyms[i].field;
    if (!field)
        return error_set(parser->error, EINVAL, "'%.*s' is no field of a rule; see 'vnode rule add --help'.",
                         (int)(equals - word) < 60 ? (int)(equals - word) : 60, word);
    return parse_field(parser, field, word, equals + 1);
}

static bool has_any_of(const struct parser *parser, uint64_t fields)
{
    return parser->seen & fields;
}

#define BIT(field) (1ull << (field))
#define PORT_FIELDS (BIT(FIELD_L4_SRC) | BIT(FIELD_L4_DST))
#define ICMP_FIELDS (BIT(FIELD_ICMP_TYPE) | BIT(FIELD_ICMP_CODE))
#define ADDRESS_FIELDS (BIT(FIELD_IP_SRC) | BIT(FIELD_IP_DST))
#define IP_FIELDS \
    (ADDRESS_FIELDS | BIT(FIELD_IP_PROTO) | BIT(FIELD_TOS) | BIT(FIELD_TTL) | BIT(FIELD_IP_FRAG))
#define INNER_FIELDS (BIT(FIELD_INNER_VID) | BIT(FIELD_INNER_PCP) | BIT(FIELD_INNER_AD))
#define OUTER_FIELDS \
    (BIT(FIELD_VLAN_VID) | BIT(FIELD_VLAN_PCP) | BIT(FIELD_VLAN_AD) | BIT(FIELD_INNER_TAGGED))

/* The EtherType that the rule's other fields ask for: IPv6 where one says so, else IPv4. */
static uint16_t implied_eth_type(struct parser *parser)
{
    struct wire_match *proto = find_match(parser->rule, FIELD_IP_PROTO);

    for (unsigned i = 0; i < parser->rule->n_matches; i++)
        if (BIT(parser->rule->matches[i].field) & ADDRESS_FIELDS)
            return parser->rule->matches[i].size == 16 ? ETH_TYPE_IPV6 : ETH_TYPE_IPV4;
    return proto && proto->value[0] == IPPROTO_ICMPV6 ? ETH_TYPE_IPV6 : ETH_TYPE_IPV4;
}

/* Adds the fields that others take for granted; the fast path insists on them. */
static int add_implied(struct parser *parser)
{
    struct wire_match *type;

    if (has_any_of(parser, PORT_FIELDS) && !has(parser, FIELD_IP_PROTO) && !has(parser, FIELD_TCP_FLAGS) &&
        !has(parser, FIELD_TUNNEL_ID))
        return error_set(parser->error, EINVAL, "A match on ports needs one of the words tcp, udp and sctp.");
    if (has(parser, FIELD_TCP_FLAGS) && !imply(parser, FIELD_IP_PROTO, IPPROTO_TCP))
        return error_set(parser->error, EINVAL, "A match on tcp_flags needs ip_proto=6, the word tcp.");
    if (has(parser, FIELD_TUNNEL_ID) && !imply(parser, FIELD_IP_PROTO, IPPROTO_UDP))
        return error_set(parser->error, EINVAL, "A match on tunnel_id needs ip_proto=17, the word udp.");
    type = find_match(parser->rule, FIELD_ETH_TYPE);
    if (has_any_of(parser, ICMP_FIELDS) && !has(parser, FIELD_IP_PROTO)) {
        bool ipv6 = type ? type->value[0] == 0x86 : implied_eth_type(parser) == ETH_TYPE_IPV6;

        imply(parser, FIELD_IP_PROTO, ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
    }
    if (has_any_of(parser, IP_FIELDS) && !type)
        imply(parser, FIELD_ETH_TYPE, implied_eth_type(parser));
    if (has_any_of(parser, INNER_FIELDS) && !imply(parser, FIELD_INNER_TAGGED, 1))
        return error_set(parser->error, EINVAL, "A match on the second VLAN tag contradicts inner_vlan=0.");
    /* Only a frame with a tag has the fields of a tag; inner_vlan=0 alone says nothing of the outer one. */
    if (has_any_of(parser, OUTER_FIELDS & ~BIT(FIELD_INNER_TAGGED)) && !imply(parser, FIELD_VLAN_TAGGED, 1))
        return error_set(parser->error, EINVAL, "A match on the VLAN tag contradicts vlan=0.");
    return 0;
}

static int parse_words(struct parser *parser, char *text)
{
    char *position = NULL;

    for (char *word = strtok_r(text, " \t\r\n,", &position); word;
         word = strtok_r(NULL, " \t\r\n,", &position)) {
        int result = parse_word(parser, word);

        if (result)
            return result;
    }
    if (!parser->has_in_port)
        return error_set(parser->error, EINVAL, "'in=PORT' is missing: the port that the packets come in by.");
    return add_implied(parser);
}

/* Cuts "actions=..." off 'text' and returns what stands behind it, or NULL. */
static char *cut_actions(char *text)
{
    for (char *found = text; (found = strstr(found, "actions=")); found++)
        if (found == text || strchr(" \t\r\n,", found[-1])) {
            *found = '\0';
            return found + strlen("actions=");
        }
    return NULL;
}

int rule_parse(const char *text, enum rule_text_part part, const struct rule_text_ports *ports,
               struct wire_rule *rule, struct error *error)
{
    struct parser parser = {.ports = ports, .rule = rule, .error = error, .part = part};
    char copy[RULE_TEXT_SIZE], *actions = NULL;
    int result;

    if (strlen(text) >= sizeof copy)
        return error_set(error, EINVAL, "The rule is longer than %d bytes.", RULE_TEXT_SIZE - 1);
    strcpy(copy, text);
    rule->id = 0;
    rule->in_port = 0;
    rule->priority = RULE_PRIORITY_DEFAULT;
    rule->flags = 0;
    rule->n_matches = 0;
    rule->n_actions = 0;
    if (part == RULE_TEXT_WHOLE) {
        actions = cut_actions(copy);
        if (!actions)
            return error_set(error, EINVAL,
                             "'actions=' is missing: say what to do, for example actions=output:vm2.");
    }
    result = parse_words(&parser, copy);
    return result || !actions ? result : rule_parse_actions(actions, ports, rule, error);
}
