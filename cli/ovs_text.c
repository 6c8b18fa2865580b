/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ovs_text.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A member of a group such as ipv4(...): the field it comes from, the name that it has there. */
struct member {
    const char *field, *name;
};

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* "10.0.0.0/8" as "10.0.0.0/255.0.0.0"; other values as they are. */
static void print_value(const char *value, FILE *stream)
{
    const char *slash = strchr(value, '/');
    char *end = NULL;
    unsigned long bits = slash ? strtoul(slash + 1, &end, 10) : 0;

    if (slash && end > slash + 1 && !*end && strchr(value, '.') && bits <= 32) {
        struct in_addr mask = {.s_addr = htonl(bits ? UINT32_MAX << (32 - bits) : 0)};
        char text[INET_ADDRSTRLEN];

        fprintf(stream, "%.*s/%s", (int)(slash - value), value, inet_ntop(AF_INET, &mask, text, sizeof text));
    } else {
        fputs(value, stream);
    }
}

/* "ipv4(src=...,dst=...)" of the members that are matched on. Without any: nothing, unless 'always'. */
static void print_group(const json_t *match, const char *group, const struct member *members, bool always,
                        FILE *stream)
{
    bool any = false;

    for (; members->field; members++) {
        const char *value = text_of(match, members->field);

        if (!value)
            continue;
        if (any)
            fputc(',', stream);
        else
            fprintf(stream, ",%s(", group);
        fprintf(stream, "%s=", members->name);
        print_value(value, stream);
        any = true;
    }
    if (any)
        fputc(')', stream);
    else if (always)
        fprintf(stream, ",%s()", group);
}

static const char *transport(const json_t *match)
{
    const char *proto = text_of(match, "ip_proto");

    switch (proto ? atoi(proto) : 0) {
    case 1: return "icmp";
    case 6: return "tcp";
    case 17: return "udp";
    case 58: return "icmpv6";
    case 132: return "sctp";
    default: return NULL;
    }
}

/* EtherType and what is behind it. */
static void print_network(const json_t *match, FILE *stream)
{
    static const struct member ip_members[] = {{"ip_src", "src"}, {"ip_dst", "dst"}, {"ip_proto", "proto"},
                                               {"tos", "tos"},    {"ttl", "ttl"},    {"ip_frag", "frag"},
                                               {NULL, NULL}};
    static const struct member port_members[] = {{"l4_src", "src"}, {"l4_dst", "dst"}, {NULL, NULL}};
    static const struct member icmp_members[] = {{"icmp_type", "type"}, {"icmp_code", "code"}, {NULL, NULL}};
    const char *type = text_of(match, "eth_type"), *protocol = transport(match);

    if (type)
        fprintf(stream, ",eth_type(%s)", type);
    if (type && !strcmp(type, "0x0800"))
        print_group(match, "ipv4", ip_members, true, stream);
    if (type && !strcmp(type, "0x86dd"))
        print_group(match, "ipv6", ip_members, true, stream);
    if (protocol)
        print_group(match, protocol, strncmp(protocol, "icmp", 4) ? port_members : icmp_members, false, stream);
    if (text_of(match, "tcp_flags"))
        fprintf(stream, ",tcp_flags(%s)", text_of(match, "tcp_flags"));
}

static void print_match(const json_t *flow, FILE *stream)
{
    static const struct member eth_members[] = {{"eth_src", "src"}, {"eth_dst", "dst"}, {NULL, NULL}};
    static const struct member outer_members[] = {{"vlan_vid", "vid"}, {"vlan_pcp", "pcp"}, {NULL, NULL}};
    static const struct member inner_members[] = {{"inner_vid", "vid"}, {"inner_pcp", "pcp"}, {NULL, NULL}};
    const json_t *match = json_object_get(flow, "match");
    const char *tagged = text_of(match, "vlan"), *inner = text_of(match, "inner_vlan"),
               *ad = text_of(match, "vlan_ad"), *inner_ad = text_of(match, "inner_ad");
    unsigned n_tags = 0;

    fputs("recirc_id(0)", stream);
    if (text_of(match, "tunnel_id"))
        fprintf(stream, ",tunnel(tun_id=%s)", text_of(match, "tunnel_id"));
    fprintf(stream, ",in_port(%s)", text_of(flow, "in"));
    print_group(match, "eth", eth_members, false, stream);
    if (tagged && !strcmp(tagged, "1")) {
        fprintf(stream, ",eth_type(%s)", ad && !strcmp(ad, "1") ? "0x88a8" : "0x8100");
        print_group(match, "vlan", outer_members, true, stream);
        fputs(",encap(", stream);
        n_tags++;
    }
    if (inner && !strcmp(inner, "1")) {
        fprintf(stream, "eth_type(%s)", inner_ad && !strcmp(inner_ad, "1") ? "0x88a8" : "0x8100");
        print_group(match, "vlan", inner_members, true, stream);
        fputs(",encap(", stream);
        n_tags++;
    }
    if (n_tags) {
        /* Without the comma that separates it from what is outside. */
        char *text = NULL;
        size_t size;
        FILE *memory = open_memstream(&text, &size);

        if (memory) {
            print_network(match, memory);
            fclose(memory);
            fputs(*text == ',' ? text + 1 : text, stream);
            free(text);
        }
    } else {
        print_network(match, stream);
    }
    while (n_tags--)
        fputc(')', stream);
}

/* The group and member that set a field, by the name of our action. */
static const struct {
    const char *action, *group, *member;
} sets[] = {
    {"set_eth_src", "eth", "src"}, {"set_eth_dst", "eth", "dst"}, {"set_ip_src", "ip", "src"},
    {"set_ip_dst", "ip", "dst"},   {"set_ttl", "ip", "ttl"},      {"set_tos", "ip", "tos"},
    {"set_l4_src", "l4", "src"},   {"set_l4_dst", "l4", "dst"},
};

static const char *group_name(const json_t *match, const char *group)
{
    const char *type = text_of(match, "eth_type"), *protocol = transport(match);

    if (!strcmp(group, "ip"))
        return type && !strcmp(type, "0x86dd") ? "ipv6" : "ipv4";
    if (!strcmp(group, "l4"))
        return protocol ? protocol : "tcp";
    return group;
}

static void print_action(const json_t *match, const char *action, FILE *stream)
{
    size_t size = strcspn(action, ":");
    const char *operand = action[size] ? action + size + 1 : "";

    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (strlen(sets[i].action) == size && !strncmp(action, sets[i].action, size)) {
            fprintf(stream, "set(%s(%s=%s))", group_name(match, sets[i].group), sets[i].member, operand);
            return;
        }
    if (!strncmp(action, "output:", 7))
        fputs(operand, stream);
    else if (!strncmp(action, "push_vlan:", 10))
        fprintf(stream, "push_vlan(tpid=%s)", operand);
    else if (!strncmp(action, "set_vlan_", 9))
        fprintf(stream, "set(vlan(%.3s=%s))", action + 9, operand);
    else if (!strncmp(action, "encap_raw:", 10))
        fprintf(stream, "tnl_push(header(size=%zu,bytes=%s))", strlen(operand) / 2, operand);
    else if (!strcmp(action, "decap_vxlan"))
        fputs("tnl_pop", stream);
    else
        fputs(action, stream);
}

void ovs_text_print(const json_t *flow, FILE *stream)
{
    const json_t *match = json_object_get(flow, "match");
    const char *state = text_of(flow, "state");
    bool offloaded = state && !strcmp(state, "offloaded");
    json_t *action;
    size_t i;

    print_match(flow, stream);
    fprintf(stream, ", packets:%" JSON_INTEGER_FORMAT ", bytes:%" JSON_INTEGER_FORMAT ",%s dp:vnode, actions:",
            json_integer_value(json_object_get(flow, "packets")),
            json_integer_value(json_object_get(flow, "bytes")), offloaded ? " offloaded:yes," : "");
    json_array_foreach(json_object_get(flow, "actions"), i, action)
    {
        if (i)
            fputc(',', stream);
        print_action(match, json_string_value(action), stream);
    }
    fputc('\n', stream);
}
