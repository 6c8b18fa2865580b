/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/packet_header.h"

#define EXTENSION_HOP_BY_HOP 0
#define EXTENSION_ROUTING 43
#define EXTENSION_FRAGMENT 44
#define EXTENSION_AUTHENTICATION 51
#define EXTENSION_DESTINATION 60

bool is_ipv6_extension(uint8_t protocol)
{
    return protocol == EXTENSION_HOP_BY_HOP || protocol == EXTENSION_ROUTING ||
           protocol == EXTENSION_FRAGMENT || protocol == EXTENSION_AUTHENTICATION ||
           protocol == EXTENSION_DESTINATION;
}

static struct transport transport_of_ipv4(const struct packet *packet)
{
    const uint8_t *ip = packet->head + packet->l3_offset;
    uint16_t fragment = load_be16(ip + 6);

    return (struct transport){
        .protocol = ip[9],
        .in_head = packet->l4_offset != 0,
        .fragment = (fragment & 0x3fff) != 0, /* more fragments, offset */
        .later = (fragment & 0x1fff) != 0,
    };
}

/* Follows the chain of RFC 8200, section 4, as far as it lies in the head. */
static struct transport transport_of_ipv6(const struct packet *packet)
{
    struct transport transport = {.protocol = packet->head[packet->l3_offset + 6]};
    unsigned offset = packet->l3_offset + IPV6_HEADER_SIZE;

    while (is_ipv6_extension(transport.protocol) && offset + 8 <= packet->head_size && !transport.later) {
        const uint8_t *extension = packet->head + offset;

        switch (transport.protocol) {
        case EXTENSION_FRAGMENT:
            transport.fragment = (load_be16(extension + 2) & 0xfff9) != 0; /* offset, more fragments */
            transport.later = (load_be16(extension + 2) & 0xfff8) != 0;
            offset += 8;
            break;
        case EXTENSION_AUTHENTICATION: offset += 8 + extension[1] * 4u; break;
        case EXTENSION_ROUTING:
            transport.routed |= extension[3] != 0; /* segments left */
            /* fall through */
        default: offset += 8 + extension[1] * 8u;
        }
        transport.protocol = extension[0];
    }
    transport.in_head = packet->l4_offset != 0 && offset == packet->l4_offset;
    return transport;
}

struct transport packet_transport(const struct packet *packet)
{
    switch (packet_ip_version(packet)) {
    case 4: return transport_of_ipv4(packet);
    case 6: return transport_of_ipv6(packet);
    default: return (struct transport){.protocol = PROTOCOL_UNKNOWN};
    }
}
