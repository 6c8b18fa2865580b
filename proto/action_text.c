/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "proto/rule_text.h"
#include "proto/value_text.h"

static int parse_output(const char *name, const struct rule_text_ports *ports, struct wire_action *action,
                        struct error *error)
{
    int port = ports->find(name, ports->argument);

    if (port < 0)
        return error_set(error, ENOENT,
                         "There is no port '%.64s' to output to; 'vnode port list' shows the ports.", name);
    wire_action_set_port(action, port);
    return 0;
}

/* 'word' is NAME, NAME:OPERAND or NAME(ARGUMENTS), with no white space around it. */
static int parse_action(char *word, const struct rule_text_ports *ports, struct wire_action *action,
                        struct error *error)
{
    static const char vxlan[] = "encap_vxlan(";
    size_t size = strlen(word), name_size = strcspn(word, ":");
    const char *operand = word[name_size] ? word + name_size + 1 : NULL;
    const struct wire_item *item;
    struct wire_value value;
    int result;

    if (!strncmp(word, vxlan, sizeof vxlan - 1) && word[size - 1] == ')') {
        word[size - 1] = '\0';
        return encap_vxlan_parse(word + sizeof vxlan - 1, action, error);
    }
    action->type = wire_action_find(word, name_size);
    action->size = 0;
    item = wire_action(action->type);
    if (!item)
        return error_set(error, EINVAL, "'%.60s' is no action; see 'vnode rule add --help'.", word);
    if (item->kind == VALUE_NONE) {
        if (operand)
            return error_set(error, EINVAL, "'%.60s': %s takes nothing behind it.", word, item->name);
        return 0;
    }
    if (!operand)
        return error_set(error, EINVAL, "'%.60s' needs an operand: write %s:VALUE.", word, item->name);
    if (item->kind == VALUE_PORT)
        return parse_output(operand, ports, action, error);
    result = value_parse(item, operand, false, &value, error);
    if (!result) {
        action->size = value.size;
        memcpy(action->operand, value.value, value.size);
    }
    return result;
}

/*
 * The next word of a list separated by commas (not those in parentheses), trimmed; advances '*list', NULL
 * at the end.
 */
static char *next_word(char **list)
{
    char *word = *list, *end;
    int depth = 0;

    while (isspace((unsigned char)*word))
        word++;
    for (end = word; *end && (depth > 0 || *end != ','); end++)
        depth += (*end == '(') - (*end == ')');
    *list = *end ? end + 1 : NULL;
    while (end > word && isspace((unsigned char)end[-1]))
        end--;
    *end = '\0';
    return word;
}

int rule_parse_actions(const char *text, const struct rule_text_ports *ports, struct wire_rule *rule,
                       struct error *error)
{
    char copy[RULE_TEXT_SIZE], *list = copy;

    if (strlen(text) >= sizeof copy)
        return error_set(error, EINVAL, "The list of actions is longer than %d bytes.", RULE_TEXT_SIZE - 1);
    strcpy(copy, text);
    rule->n_actions = 0;
    while (list) {
        char *word = next_word(&list);
        int result;

        if (!*word)
            return error_set(error, EINVAL, "An action is missing; to drop packets write actions=drop.");
        if (rule->n_actions == RULE_ACTIONS_MAX)
            return error_set(error, EINVAL, "The rule has more than %d actions.", RULE_ACTIONS_MAX);
        result = parse_action(word, ports, &rule->actions[rule->n_actions++], error);
        if (result)
            return result;
    }
    return 0;
}

/* What encap_vxlan(...) consists of. */
struct vxlan {
    struct wire_value eth_src, eth_dst, ip_src, ip_dst;
    struct wire_value vni, udp_src, udp_dst, ttl, tos;
};

static int parse_vxlan_word(struct vxlan *vxlan, const char *word, struct error *error)
{
    const struct {
        struct wire_item item;
        struct wire_value *value;
    } options[] = {
        {{"eth_src", VALUE_MAC, 6, 48, NULL}, &vxlan->eth_src},
        {{"eth_dst", VALUE_MAC, 6, 48, NULL}, &vxlan->eth_dst},
        {{"ip_src", VALUE_ADDRESS, 16, 128, NULL}, &vxlan->ip_src},
        {{"ip_dst", VALUE_ADDRESS, 16, 128, NULL}, &vxlan->ip_dst},
        {{"vni", VALUE_DECIMAL, 3, 24, NULL}, &vxlan->vni},
        {{"udp_src", VALUE_DECIMAL, 2, 16, NULL}, &vxlan->udp_src},
        {{"udp_dst", VALUE_DECIMAL, 2, 16, NULL}, &vxlan->udp_dst},
        {{"ttl", VALUE_DECIMAL, 1, 8, NULL}, &vxlan->ttl},
        {{"tos", VALUE_HEX, 1, 8, NULL}, &vxlan->tos},
    };
    size_t size = strcspn(word, "=");

    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (word[size] && strlen(options[i].item.name) == size && !strncmp(word, options[i].item.name, size))
            return value_parse(&options[i].item, word + size + 1, false, options[i].value, error);
    return error_set(
        error, EINVAL,
        "'%.60s' is nothing that encap_vxlan() knows; it takes eth_src, eth_dst, ip_src, ip_dst, vni, "
        "and udp_src, udp_dst, ttl, tos if need be.",
        word);
}

/*
 * Lengths and the IPv4 checksum are filled in for each packet (ACTION_ENCAP_RAW), the UDP checksum stays 0
 * (RFC 7348, 5).
 */
static void build_vxlan(const struct vxlan *vxlan, struct wire_action *action)
{
    bool ipv6 = vxlan->ip_src.size == 16;
    uint8_t tos = vxlan->tos.size ? vxlan->tos.value[0] : 0;
    uint8_t ttl = vxlan->ttl.size ? vxlan->ttl.value[0] : 64;
    struct wire_writer writer = wire_writer(action->operand, sizeof action->operand);

    wire_put_bytes(&writer, vxlan->eth_dst.value, 6);
    wire_put_bytes(&writer, vxlan->eth_src.value, 6);
    if (ipv6) {
        wire_put_bytes(&writer, (const uint8_t[]){0x86, 0xdd, 0x60 | tos >> 4, tos << 4, 0, 0, 0, 0, 17, ttl},
                       10);
    } else {
        wire_put_bytes(&writer, (const uint8_t[]){0x08, 0x00, 0x45, tos, 0, 0, 0, 0, 0x40, 0, ttl, 17, 0, 0},
                       14);
    }
    wire_put_bytes(&writer, vxlan->ip_src.value, vxlan->ip_src.size);
    wire_put_bytes(&writer, vxlan->ip_dst.value, vxlan->ip_dst.size);
    wire_put_bytes(&writer, vxlan->udp_src.size ? vxlan->udp_src.value : (const uint8_t[]){0, 0}, 2);
    wire_put_bytes(&writer,
                   vxlan->udp_dst.size ? vxlan->udp_dst.value : (const uint8_t[]){4789 >> 8, 4789 & 255}, 2);
    wire_put_bytes(&writer, (const uint8_t[]){0, 0, 0, 0, 0x08, 0, 0, 0}, 8);
    wire_put_bytes(&writer, vxlan->vni.value, 3);
    wire_put_u8(&writer, 0);
    action->type = WIRE_ACTION_ENCAP_RAW;
    action->size = wire_size(&writer);
}

int encap_vxlan_parse(const char *text, struct wire_action *action, struct error *error)
{
    struct vxlan vxlan = {0};
    char copy[RULE_TEXT_SIZE], *list = copy;

    if (strlen(text) >= sizeof copy)
        return error_set(error, EINVAL, "encap_vxlan() is longer than %d bytes.", RULE_TEXT_SIZE - 1);
    strcpy(copy, text);
    while (list) {
        int result = parse_vxlan_word(&vxlan, next_word(&list), error);

        if (result)
            return result;
    }
    if (!vxlan.eth_src.size || !vxlan.eth_dst.size || !vxlan.ip_src.size || !vxlan.ip_dst.size ||
        !vxlan.vni.size)
        return error_set(error, EINVAL, "encap_vxlan() needs eth_src, eth_dst, ip_src, ip_dst and vni.");
    if (vxlan.ip_src.size != vxlan.ip_dst.size)
        return error_set(error, EINVAL, "encap_vxlan() needs ip_src and ip_dst of one kind, IPv4 or IPv6.");
    build_vxlan(&vxlan, action);
    return 0;
}

void action_format(const struct wire_action *action, const char *port_name, char *text, size_t room)
{
    const struct wire_item *item = wire_action(action->type);
    int used = snprintf(text, room, "%s%s", item->name, item->kind == VALUE_NONE ? "" : ":");

    if (used < 0 || (size_t)used >= room || item->kind == VALUE_NONE)
        return;
    if (item->kind == VALUE_PORT)
        snprintf(text + used, room - used, "%s", port_name);
    else
        value_format(item, action->operand, NULL, action->size, text + used, room - used);
}
