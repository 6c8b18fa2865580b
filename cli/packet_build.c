/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/packet_build.h"

#include <errno.h>
#include <netinet/in.h>

#define FRAME_SIZE_MIN 60
#define VXLAN_PORT 4789

struct builder {
    const struct wire_rule *fields;
    size_t size; /* of the whole frame */
    uint8_t *frame;
    size_t used;
};

static const struct wire_match *find(const struct builder *builder, unsigned field)
{
    for (unsigned i = 0; i < builder->fields->n_matches; i++)
        if (builder->fields->matches[i].field == field)
            return &builder->fields->matches[i];
    return NULL;
}

static uint32_t number(const struct builder *builder, unsigned field, uint32_t otherwise)
{
    const struct wire_match *match = find(builder, field);
    uint32_t value = 0;

    if (!match)
        return otherwise;
    for (unsigned i = 0; i < match->size; i++)
        value = value << 8 | match->value[i];
    return value;
}

static void put(struct builder *builder, const void *bytes, size_t size)
{
    memcpy(builder->frame + builder->used, bytes, size);
    builder->used += size;
}

/* Big endian. */
static void put_number(struct builder *builder, uint32_t value, unsigned size)
{
    for (unsigned i = size; i-- > 0;)
        builder->frame[builder->used++] = (uint64_t)value >> (8 * i);
}

static void put_field(struct builder *builder, unsigned field, const void *otherwise, size_t size)
{
    const struct wire_match *match = find(builder, field);

    put(builder, match ? match->value : otherwise, size);
}

/* The Internet checksum (RFC 1071) of 'size' bytes, added to the sum so far. */
static uint32_t sum(const uint8_t *bytes, size_t size, uint32_t so_far)
{
    for (size_t i = 0; i < size; i++)
        so_far += i % 2 ? bytes[i] : bytes[i] << 8;
    return so_far;
}

static void set_checksum(struct builder *builder, size_t place, uint32_t total)
{
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    builder->frame[place] = ~total >> 8;
    builder->frame[place + 1] = ~total;
}

static void put_tag(struct builder *builder, uint16_t type, uint32_t vid, uint32_t pcp)
{
    put_number(builder, type, 2);
    put_number(builder, pcp << 13 | vid, 2);
}

static void put_ethernet(struct builder *builder, uint16_t type)
{
    put_field(builder, FIELD_ETH_DST, (const uint8_t[]){2, 0, 0, 0, 0, 2}, 6);
    put_field(builder, FIELD_ETH_SRC, (const uint8_t[]){2, 0, 0, 0, 0, 1}, 6);
    if (number(builder, FIELD_VLAN_TAGGED, 0))
        put_tag(builder, number(builder, FIELD_VLAN_AD, 0) ? 0x88a8 : 0x8100,
                number(builder, FIELD_VLAN_VID, 0), number(builder, FIELD_VLAN_PCP, 0));
    if (number(builder, FIELD_INNER_TAGGED, 0))
        put_tag(builder, number(builder, FIELD_INNER_AD, 0) ? 0x88a8 : 0x8100,
                number(builder, FIELD_INNER_VID, 0), number(builder, FIELD_INNER_PCP, 0));
    put_number(builder, type, 2);
}

static void put_ipv4(struct builder *builder, uint8_t protocol)
{
    size_t start = builder->used;
    uint32_t fragment = number(builder, FIELD_IP_FRAG, 0);

    put_number(builder, 0x45, 1);
    put_number(builder, number(builder, FIELD_TOS, 0), 1);
    put_number(builder, builder->size - start, 2);
    put_number(builder, 1, 2);
    /* A first fragment says that more follow, a later one where it belongs. */
    put_number(builder, fragment & 2 ? 185 : fragment & 1 ? 0x2000 : 0x4000, 2);
    put_number(builder, number(builder, FIELD_TTL, 64), 1);
    put_number(builder, protocol, 1);
    put_number(builder, 0, 2);
    put_field(builder, FIELD_IP_SRC, (const uint8_t[]){10, 0, 0, 1}, 4);
    put_field(builder, FIELD_IP_DST, (const uint8_t[]){10, 0, 0, 2}, 4);
    set_checksum(builder, start + 10, sum(builder->frame + start, 20, 0));
}

static void put_ipv6(struct builder *builder, uint8_t protocol)
{
    uint32_t fragment = number(builder, FIELD_IP_FRAG, 0);

    put_number(builder, 6u << 28 | number(builder, FIELD_TOS, 0) << 20, 4);
    put_number(builder, builder->size - builder->used - 36, 2);
    put_number(builder, fragment ? IPPROTO_FRAGMENT : protocol, 1);
    put_number(builder, number(builder, FIELD_TTL, 64), 1);
    put_field(builder, FIELD_IP_SRC, (const uint8_t[16]){0xfd, [15] = 1}, 16);
    put_field(builder, FIELD_IP_DST, (const uint8_t[16]){0xfd, [15] = 2}, 16);
    if (fragment) {
        put_number(builder, protocol << 8, 2);
        put_number(builder, fragment & 2 ? 185 << 3 : 1, 2);
        put_number(builder, 1, 4);
    }
}

/* Returns where the transport checksum stands, or 0. */
static size_t put_transport(struct builder *builder, uint8_t protocol)
{
    size_t start = builder->used;
    bool tunnel = find(builder, FIELD_TUNNEL_ID);

    switch (protocol) {
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
        put_number(builder, number(builder, FIELD_ICMP_TYPE, protocol == IPPROTO_ICMP ? 8 : 128), 1);
        put_number(builder, number(builder, FIELD_ICMP_CODE, 0), 1);
        put_number(builder, 0, 6);
        return start + 2;
    case IPPROTO_TCP:
        put_number(builder, number(builder, FIELD_L4_SRC, 49152), 2);
        put_number(builder, number(builder, FIELD_L4_DST, 80), 2);
        put_number(builder, 1, 4);
        put_number(builder, 1, 4);
        put_number(builder, 5 << 12 | number(builder, FIELD_TCP_FLAGS, 0x10), 2);
        put_number(builder, 65535, 2);
        put_number(builder, 0, 4);
        return start + 16;
    case IPPROTO_UDP:
        put_number(builder, number(builder, FIELD_L4_SRC, 49152), 2);
        put_number(builder, number(builder, FIELD_L4_DST, tunnel ? VXLAN_PORT : 53), 2);
        put_number(builder, builder->size - start, 2);
        put_number(builder, 0, 2);
        if (!tunnel)
            return start + 6;
        put_number(builder, 0x08000000, 4);
        put_number(builder, number(builder, FIELD_TUNNEL_ID, 0) << 8, 4);
        put(builder, (const uint8_t[14]){2, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 3, 0x88, 0xb5}, 14);
        return 0; /* RFC 7348, 5: the outer UDP checksum is 0 */
    case IPPROTO_SCTP:
        put_number(builder, number(builder, FIELD_L4_SRC, 49152), 2);
        put_number(builder, number(builder, FIELD_L4_DST, 80), 2);
        put_number(builder, 0, 8);
        return 0;
    default: return 0;
    }
}

static void put_ip(struct builder *builder, bool ipv6)
{
    uint8_t protocol = number(builder, FIELD_IP_PROTO, IPPROTO_UDP);
    size_t address_size = ipv6 ? 16 : 4, ip = builder->used, transport, checksum = 0;
    uint32_t total;

    if (ipv6)
        put_ipv6(builder, protocol);
    else
        put_ipv4(builder, protocol);
    transport = builder->used;
    if (!(number(builder, FIELD_IP_FRAG, 0) & 2))
        checksum = put_transport(builder, protocol);
    if (!checksum)
        return;
    total = sum(builder->frame + transport, builder->size - transport, 0);
    /* The pseudo-header (RFC 768, RFC 8200 8.1), which ICMP for IPv4 does without. */
    if (protocol != IPPROTO_ICMP)
        total = sum(builder->frame + ip + (ipv6 ? 8 : 12), 2 * address_size, total) + protocol +
                (uint32_t)(builder->size - transport);
    set_checksum(builder, checksum, total);
}

/* The bytes of all headers that will be put. */
static size_t headers_size(const struct builder *builder, uint16_t type)
{
    bool ipv6 = type == 0x86dd, ip = ipv6 || type == 0x0800;
    size_t size = 14 + 4 * (number(builder, FIELD_VLAN_TAGGED, 0) + number(builder, FIELD_INNER_TAGGED, 0));

    if (!ip)
        return size;
    size += ipv6 ? 40 + (number(builder, FIELD_IP_FRAG, 0) ? 8 : 0) : 20;
    if (number(builder, FIELD_IP_FRAG, 0) & 2)
        return size;
    switch (number(builder, FIELD_IP_PROTO, IPPROTO_UDP)) {
    case IPPROTO_TCP: return size + 20;
    case IPPROTO_SCTP: return size + 12;
    case IPPROTO_UDP: return size + 8 + (find(builder, FIELD_TUNNEL_ID) ? 22 : 0);
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6: return size + 8;
    default: return size;
    }
}

size_t packet_build(const struct wire_rule *fields, size_t size, uint8_t *frame, size_t room,
                    struct error *error)
{
    struct builder builder = {.fields = fields, .frame = frame};
    uint16_t type = number(&builder, FIELD_ETH_TYPE, 0x0800);
    size_t least = headers_size(&builder, type);

    if (size < FRAME_SIZE_MIN)
        size = FRAME_SIZE_MIN;
    if (size < least)
        size = least;
    if (size > room) {
        error_set(error, EINVAL, "A frame for this question has at most %zu bytes.", room);
        return 0;
    }
    builder.size = size;
    memset(frame, 0, size);
    put_ethernet(&builder, type);
    if (type == 0x0800 || type == 0x86dd)
        put_ip(&builder, type == 0x86dd);
    return size;
}
