/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/test_frame.h"

#include <stdlib.h>
#include <string.h>

struct location {
    unsigned l3, l4; /* 0: none */
    unsigned end;    /* of the IP packet */
    unsigned version;
    uint8_t protocol;
    bool later;                 /* a later fragment */
    const uint8_t *destination; /* as in the pseudo header */
};

static unsigned get16(const uint8_t *from)
{
    return (unsigned)from[0] << 8 | from[1];
}

static void put16(uint8_t *to, unsigned value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static bool is_transport(uint8_t protocol)
{
    return protocol == 1 || protocol == 6 || protocol == 17 || protocol == 58 || protocol == 132;
}

static void locate_ipv6_transport(const uint8_t *frame, struct location *at)
{
    unsigned offset = at->l3 + 40;

    at->protocol = frame[at->l3 + 6];
    at->destination = frame + at->l3 + 24;
    while (!is_transport(at->protocol) && offset + 8 <= at->end) {
        const uint8_t *header = frame + offset;
        unsigned size = 8 + header[1] * 8u;

        if (at->protocol == 43) {
            at->destination = header + 8;
        } else if (at->protocol == 44) {
            at->later = get16(header + 2) >> 3;
            size = 8;
        } else if (at->protocol != 0 && at->protocol != 60) {
            return;
        }
        at->protocol = header[0];
        offset += size;
        if (at->later)
            return;
    }
    at->l4 = offset;
}

static struct location locate(const uint8_t *frame, size_t size)
{
    struct location at = {.end = (unsigned)size};
    unsigned offset = 12;

    while (get16(frame + offset) == 0x8100 || get16(frame + offset) == 0x88a8)
        offset += 4;
    if (get16(frame + offset) == 0x0800) {
        at.version = 4;
        at.l3 = offset + 2;
        at.end = at.l3 + get16(frame + at.l3 + 2);
        at.protocol = frame[at.l3 + 9];
        at.later = get16(frame + at.l3 + 6) & 0x1fff;
        at.destination = frame + at.l3 + 16;
        if (!at.later && is_transport(at.protocol))
            at.l4 = at.l3 + (frame[at.l3] & 15) * 4u;
    } else if (get16(frame + offset) == 0x86dd) {
        at.version = 6;
        at.l3 = offset + 2;
        at.end = at.l3 + 40 + get16(frame + at.l3 + 4);
        locate_ipv6_transport(frame, &at);
    }
    return at;
}

unsigned frame_l3_offset(const uint8_t *frame, size_t size)
{
    return locate(frame, size).l3;
}

unsigned frame_l4_offset(const uint8_t *frame, size_t size)
{
    return locate(frame, size).l4;
}

static uint64_t add_words(uint64_t sum, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        sum += i & 1 ? data[i] : (uint64_t)data[i] << 8;
    return sum;
}

static unsigned fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (unsigned)sum;
}

unsigned frame_sum(const uint8_t *data, size_t size)
{
    return fold(add_words(0, data, size));
}

static uint64_t pseudo_sum(const uint8_t *frame, const struct location *at)
{
    unsigned address_size = at->version == 4 ? 4 : 16;
    uint64_t sum = at->protocol + (at->end - at->l4);

    sum = add_words(sum, frame + at->l3 + (at->version == 4 ? 12 : 8), address_size);
    return add_words(sum, at->destination, address_size);
}

uint32_t frame_crc32c(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

/* Offset of the 16-bit checksum in the transport header; 0: none. */
static unsigned checksum_place(uint8_t protocol)
{
    return protocol == 6 ? 16 : protocol == 17 ? 6 : protocol == 1 || protocol == 58 ? 2 : 0;
}

static uint64_t transport_sum(const uint8_t *frame, const struct location *at)
{
    uint64_t sum = at->protocol == 1 ? 0 : pseudo_sum(frame, at);

    return add_words(sum, frame + at->l4, at->end - at->l4);
}

static uint32_t sctp_crc(const uint8_t *frame, const struct location *at)
{
    static __thread uint8_t copy[TEST_FRAME_SIZE_MAX];
    size_t size = at->end - at->l4;

    memcpy(copy, frame + at->l4, size);
    memset(copy + 8, 0, 4);
    return frame_crc32c(copy, size);
}

static bool is_vxlan(const uint8_t *frame, const struct location *at)
{
    return at->l4 && at->protocol == 17 && get16(frame + at->l4 + 2) == 4789 && at->end >= at->l4 + 16 + 14;
}

void frame_fix_checksums(uint8_t *frame, size_t size)
{
    struct location at = locate(frame, size);
    uint8_t *l4 = frame + at.l4;
    unsigned place = checksum_place(at.protocol), checksum;

    if (is_vxlan(frame, &at))
        frame_fix_checksums(l4 + 16, at.end - at.l4 - 16);
    if (at.version == 4) {
        put16(frame + at.l3 + 10, 0);
        put16(frame + at.l3 + 10, frame_sum(frame + at.l3, (frame[at.l3] & 15) * 4u) ^ 0xffff);
    }
    if (!at.l4)
        return;
    if (at.protocol == 132) {
        uint32_t crc = sctp_crc(frame, &at);

        memcpy(l4 + 8, &crc, 4);
    } else if (at.protocol != 17 || get16(l4 + 6)) {
        put16(l4 + place, 0);
        checksum = fold(transport_sum(frame, &at)) ^ 0xffff;
        put16(l4 + place, checksum || at.protocol != 17 ? checksum : 0xffff);
    }
}

const char *frame_check(const uint8_t *frame, size_t size)
{
    struct location at = locate(frame, size);
    const uint8_t *l4 = frame + at.l4;
    uint32_t crc;

    if (!at.l3)
        return NULL;
    if (at.end > size)
        return "IP length";
    if (at.version == 4 && frame_sum(frame + at.l3, (frame[at.l3] & 15) * 4u) != 0xffff)
        return "IPv4 header checksum";
    if (!at.l4)
        return NULL;
    if (at.protocol == 132) {
        memcpy(&crc, l4 + 8, 4);
        return crc == sctp_crc(frame, &at) ? NULL : "SCTP CRC";
    }
    if (at.protocol == 17 && get16(l4 + 4) != at.end - at.l4)
        return "UDP length";
    if ((at.protocol != 17 || get16(l4 + 6)) && fold(transport_sum(frame, &at)) != 0xffff)
        return "transport checksum";
    return is_vxlan(frame, &at) ? frame_check(l4 + 16, at.end - at.l4 - 16) : NULL;
}

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void fill_random(uint32_t *state, uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(next_random(state) >> 11);
}

static unsigned transport_header_size(const struct frame_spec *spec)
{
    switch (spec->protocol) {
    case 6: return 20 + spec->tcp_options_size;
    case 132: return 12;
    default: return 8;
    }
}

/* Appends an IPv6 extension header of 'size' bytes, whose kind '*next' names from now on. */
static uint8_t *add_extension(uint8_t *at, uint8_t **next, uint8_t kind, unsigned size)
{
    **next = kind;
    *next = at;
    memset(at, 0, size);
    at[1] = (uint8_t)(size / 8 - 1);
    return at + size;
}

static uint8_t *build_ip(const struct frame_spec *spec, uint32_t *random, uint8_t *at, size_t transport_size)
{
    uint8_t *ip = at, *next;

    if (spec->version == 4) {
        unsigned header_size = 20 + spec->options_size;

        fill_random(random, ip, 20);
        memset(ip + 20, 1, spec->options_size);
        ip[0] = (uint8_t)(0x40 | header_size / 4);
        put16(ip + 2, header_size + (unsigned)transport_size);
        put16(ip + 6, spec->fragment);
        ip[9] = spec->protocol;
        return ip + header_size;
    }
    fill_random(random, ip, 40);
    ip[0] = (uint8_t)(0x60 | (ip[0] & 15));
    at = ip + 40;
    next = ip + 6;
    if (spec->options_size) {
        at = add_extension(at, &next, 0, spec->options_size);
        at[2 - (int)spec->options_size] = 1; /* PadN */
        at[3 - (int)spec->options_size] = (uint8_t)(spec->options_size - 4);
    }
    if (spec->routed) {
        at = add_extension(at, &next, 43, 24);
        at[2 - 24] = 2; /* RFC 6275's type: one address */
        at[3 - 24] = 1;
        fill_random(random, at - 16, 16);
    }
    if (spec->fragment) {
        at = add_extension(at, &next, 44, 8);
        put16(at - 6, spec->fragment);
    }
    *next = spec->protocol;
    put16(ip + 4, (unsigned)(at - ip - 40) + (unsigned)transport_size);
    return at;
}

size_t frame_build(const struct frame_spec *spec, uint8_t *frame)
{
    uint32_t random = spec->seed * 2654435761u | 1;
    unsigned header_size = transport_header_size(spec);
    uint8_t *at = frame + 12, *l4;
    struct location place;
    size_t size;

    fill_random(&random, frame, 12);
    for (unsigned i = 0; i < spec->n_vlans; i++, at += 4) {
        put16(at, 0x8100);
        put16(at + 2, next_random(&random));
    }
    put16(at, spec->version == 4 ? 0x0800 : spec->version == 6 ? 0x86dd : 0x88b5);
    at += 2;
    if (spec->version != 4 && spec->version != 6) {
        fill_random(&random, at, spec->payload);
        return (size_t)(at - frame) + spec->payload;
    }
    l4 = build_ip(spec, &random, at, header_size + spec->payload);
    fill_random(&random, l4, header_size + spec->payload);
    size = (size_t)(l4 - frame) + header_size + spec->payload;
    if (spec->protocol == 6) {
        l4[12] = (uint8_t)(header_size / 4 << 4);
    } else if (spec->protocol == 17) {
        put16(l4 + 2, get16(l4 + 2) & 0x7fff);
        put16(l4 + 4, header_size + (unsigned)spec->payload);
        put16(l4 + 6, spec->no_udp_checksum ? 0 : 1);
    }
    frame_fix_checksums(frame, size);
    place = locate(frame, size);
    if (spec->partial_checksum && place.l4)
        put16(l4 + checksum_place(spec->protocol), fold(pseudo_sum(frame, &place)));
    return size;
}

struct frame_spec frame_spec_random(unsigned seed, size_t payload_max)
{
    static const uint8_t protocols[] = {6, 6, 17, 17, 1, 132, 47};
    uint32_t random = seed * 40503u + 2654435769u;
    struct frame_spec spec = {.seed = seed};

    for (unsigned i = 0; i < 8; i++)
        next_random(&random);
    spec.n_vlans = next_random(&random) % 4 ? 0 : next_random(&random) % 3;
    spec.version = (unsigned[]){4, 4, 6, 6, 0}[next_random(&random) % 5];
    spec.protocol = protocols[next_random(&random) % sizeof protocols];
    if (spec.protocol == 1 && spec.version == 6)
        spec.protocol = 58;
    spec.payload = next_random(&random) % payload_max;
    if (next_random(&random) % 4 == 0)
        spec.options_size = spec.version == 4 ? next_random(&random) % 11 * 4 : next_random(&random) % 3 * 8;
    spec.routed = spec.version == 6 && next_random(&random) % 8 == 0;
    if (next_random(&random) % 8 == 0)
        spec.fragment = spec.version == 4 ? (uint16_t)(next_random(&random) & 0x3fff)
                                          : (uint16_t)(next_random(&random) & 0xfff9);
    spec.tcp_options_size = next_random(&random) % 3 ? 0 : next_random(&random) % 11 * 4;
    spec.no_udp_checksum = next_random(&random) % 4 == 0;
    spec.partial_checksum = !spec.fragment && (spec.protocol == 6 || spec.protocol == 17) && spec.version &&
                            next_random(&random) % 3 == 0;
    return spec;
}

void test_packet_make(struct test_packet *test, const uint8_t *frame, size_t size, size_t head_size,
                      unsigned n_pieces)
{
    struct packet *packet = &test->packet;
    struct flow_key key;
    size_t rest;

    memset(test, 0, sizeof *test);
    if (head_size > size)
        head_size = size;
    if (head_size > sizeof test->head)
        abort();
    memcpy(test->head, frame, head_size);
    packet->head = test->head;
    packet->head_size = (uint16_t)head_size;
    packet->headroom = PACKET_HEADROOM;
    packet->size = (uint32_t)size;
    packet->more = test->more;
    rest = size - head_size;
    frame += head_size;
    packet->tail = frame;
    packet->tail_size = (uint32_t)(rest / n_pieces + (n_pieces == 1 ? 0 : rest % 7));
    if (packet->tail_size > rest)
        packet->tail_size = (uint32_t)rest;
    rest -= packet->tail_size;
    frame += packet->tail_size;
    while (rest) {
        size_t piece = rest / (n_pieces - packet->n_more > 1 ? n_pieces - packet->n_more - 1 : 1) | 1;

        if (piece > rest || packet->n_more + 2u >= n_pieces)
            piece = rest;
        test->more[packet->n_more++] = (struct packet_segment){frame, (uint32_t)piece};
        frame += piece;
        rest -= piece;
    }
    packet_parse(packet, &key);
}

void test_packet_request_checksum(struct test_packet *test, uint8_t protocol)
{
    test->packet.offload.flags = PACKET_NEEDS_CSUM;
    test->packet.offload.csum_start = test->packet.l4_offset;
    test->packet.offload.csum_offset = (uint16_t)checksum_place(protocol);
}

size_t packet_flatten(const struct packet *packet, uint8_t *bytes)
{
    size_t size = packet->head_size;

    if (packet->size > TEST_FRAME_SIZE_MAX)
        abort();
    memcpy(bytes, packet->head, packet->head_size);
    if (packet->tail_size)
        memcpy(bytes + size, packet->tail, packet->tail_size);
    size += packet->tail_size;
    for (unsigned i = 0; i < packet->n_more; i++) {
        memcpy(bytes + size, packet->more[i].data, packet->more[i].size);
        size += packet->more[i].size;
    }
    if (size != packet->size)
        abort();
    return size;
}
