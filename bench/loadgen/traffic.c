/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/loadgen/traffic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>

#define LINE 64u
#define ETH_SIZE 14u
#define IP_SIZE 20u
#define UDP_SIZE 8u
#define TCP_SIZE 20u
#define L4_OFFSET (ETH_SIZE + IP_SIZE)
#define PORT_FIRST 1024u
#define PORT_STEP_BITS 10
#define PREFIX_ADDRESS_BITS 24u

struct headers {
    uint8_t eth_dst[6], eth_src[6];
    uint16_t eth_type;
    uint8_t ip_version, ip_tos;
    uint16_t ip_length, ip_id, ip_fragment;
    uint8_t ip_ttl, ip_protocol;
    uint16_t ip_checksum;
    uint32_t ip_src, ip_dst;
    uint32_t ports; /* source, destination */
    union {
        struct {
            uint16_t length, checksum;
        } udp;
        struct {
            uint32_t sequence, acknowledgement;
            uint8_t offset, flags;
            uint16_t window, checksum, urgent;
        } __attribute__((packed)) tcp;
    };
} __attribute__((packed));

static const uint32_t imix[TRAFFIC_SIZES_MAX] = {64, 570, 64, 570, 64, 1518, 64, 570, 64, 570, 64, 64};

static bool is_tcp(const struct traffic *traffic)
{
    return traffic->spec.offload == TRAFFIC_OFFLOAD_TSO;
}

/* The one's complement sum of RFC 1071, of 16-bit words in memory order. */
static uint16_t fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static uint64_t sum_bytes(const uint8_t *bytes, uint32_t size)
{
    uint64_t sum = 0;
    uint16_t word;

    for (; size >= 2; size -= 2, bytes += 2) {
        memcpy(&word, bytes, 2);
        sum += word;
    }
    return size ? sum + *bytes : sum; /* the last odd byte is the low one of its word in memory order */
}

static uint32_t source_address(const struct traffic *traffic, uint32_t flow)
{
    return htonl(0x0a000000u + ((uint32_t)traffic->sender << 20) +
                 (traffic->spec.vary == TRAFFIC_VARY_PORTS ? 0 : flow));
}

static uint32_t destination_address(const struct traffic *traffic, uint32_t flow)
{
    return htonl((0x0a000000u + ((uint32_t)traffic->receiver << 20)) ^
                 (traffic->spec.vary == TRAFFIC_VARY_PREFIXES ? 1u << flow % PREFIX_ADDRESS_BITS : 0));
}

/* Source and destination port as one number. */
static uint32_t ports_of(const struct traffic *traffic, uint32_t flow)
{
    if (traffic->spec.vary == TRAFFIC_VARY_PREFIXES)
        return htonl((PORT_FIRST << 16 | PORT_FIRST) ^ 1u << flow / PREFIX_ADDRESS_BITS % 32);
    return htonl((PORT_FIRST + (flow & ((1u << PORT_STEP_BITS) - 1))) << 16 |
                 (PORT_FIRST + (flow >> PORT_STEP_BITS)));
}

static void init_size(const struct traffic *traffic, struct traffic_size *size, uint32_t frame_size)
{
    uint16_t l4_size = (uint16_t)(frame_size - L4_OFFSET);
    struct headers headers = {.ip_version = 0x45, .ip_ttl = 64, .ip_protocol = is_tcp(traffic) ? 6 : 17};

    size->size = frame_size;
    size->ip_length = headers.ip_length = htons((uint16_t)(frame_size - ETH_SIZE));
    size->udp_length = htons(l4_size);
    size->ip_sum = fold(sum_bytes(&headers.ip_version, IP_SIZE));
    /* A checksum left to the receiver starts from the sum of the pseudo header (RFC 768, RFC 9293). */
    size->pseudo_sum = fold(htons(headers.ip_protocol) + htons(l4_size));
}

void traffic_init(struct traffic *traffic, const struct traffic_spec *spec, uint8_t sender, uint8_t receiver,
                  uint16_t round)
{
    *traffic = (struct traffic){
        .spec = *spec, .round = round, .sender = sender, .receiver = receiver, .next_sequence = 1};
    traffic->stamp_offset = L4_OFFSET + (is_tcp(traffic) ? TCP_SIZE : UDP_SIZE);
    traffic->fresh_offset =
        (uint8_t)((traffic->stamp_offset + sizeof(struct traffic_stamp) + LINE - 1) / LINE * LINE);
    traffic->n_sizes = spec->frame_size == TRAFFIC_IMIX ? TRAFFIC_SIZES_MAX : 1;
    for (unsigned i = 0; i < traffic->n_sizes; i++)
        init_size(traffic, &traffic->sizes[i], spec->frame_size == TRAFFIC_IMIX ? imix[i] : spec->frame_size);
}

/* The word that a fresh payload has in each of its cache lines. */
static inline uint64_t fresh_word(uint32_t flow, uint32_t sequence)
{
    return (uint64_t)sequence << 32 | flow;
}

static inline void write_fresh(const struct traffic *traffic, uint8_t *frame, uint32_t size, uint64_t word)
{
    for (uint32_t offset = traffic->fresh_offset; offset + sizeof word <= size; offset += LINE)
        memcpy(frame + offset, &word, sizeof word); /* unaligned */
}

static inline bool is_fresh(const struct traffic *traffic, const uint8_t *frame, uint32_t size, uint64_t word)
{
    uint64_t difference = 0, found;

    for (uint32_t offset = traffic->fresh_offset; offset + sizeof word <= size; offset += LINE) {
        memcpy(&found, frame + offset, sizeof found);
        difference |= found ^ word;
    }
    return !difference;
}

/* The header fields that differ from frame to frame. */
static inline void write_fields(const struct traffic *traffic, uint8_t *frame,
                                const struct traffic_size *size, uint32_t flow, uint32_t sequence)
{
    struct headers *headers = (struct headers *)frame;
    struct traffic_stamp *stamp = (struct traffic_stamp *)(frame + traffic->stamp_offset);
    uint32_t source = source_address(traffic, flow);
    uint32_t destination = destination_address(traffic, flow);
    uint32_t addresses_sum = (source & 0xffff) + (source >> 16) + (destination & 0xffff) + (destination >> 16);
    uint16_t checksum = 0;

    if (traffic->spec.offload != TRAFFIC_OFFLOAD_NONE)
        checksum = fold(size->pseudo_sum + addresses_sum);
    headers->ip_length = size->ip_length;
    headers->ip_checksum = (uint16_t)~fold(size->ip_sum + addresses_sum);
    headers->ip_src = source;
    headers->ip_dst = destination;
    headers->ports = ports_of(traffic, flow);
    if (is_tcp(traffic)) {
        headers->tcp.checksum = checksum;
    } else {
        headers->udp.length = size->udp_length;
        headers->udp.checksum = checksum;
    }
    stamp->flow = flow;
    stamp->sequence = sequence;
    stamp->has_time = 0;
    if (traffic->spec.fresh)
        write_fresh(traffic, frame, size->size, fresh_word(flow, sequence));
}

static void write_virtio_header(const struct traffic *traffic, uint8_t *bytes, uint32_t header_size)
{
    struct virtio_net_hdr header = {0};

    if (traffic->spec.offload != TRAFFIC_OFFLOAD_NONE) {
        header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        header.csum_start = L4_OFFSET;
        header.csum_offset = is_tcp(traffic) ? 16 : 6;
    }
    if (is_tcp(traffic)) {
        header.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
        header.gso_size = traffic->spec.segment_size;
        header.hdr_len = L4_OFFSET + TCP_SIZE;
    }
    memset(bytes, 0, header_size);
    memcpy(bytes, &header, sizeof header);
}

/* Everything of one frame, its payload behind the stamp too. */
static void write_frame(const struct traffic *traffic, uint8_t *frame, const struct traffic_size *size,
                        uint32_t flow, uint32_t sequence)
{
    struct headers headers = {
        .eth_dst = {2, 0, 0, 0, 0, traffic->receiver},
        .eth_src = {2, 0, 0, 0, 0, traffic->sender},
        .eth_type = htons(0x0800),
        .ip_version = 0x45,
        .ip_ttl = 64,
        .ip_protocol = is_tcp(traffic) ? 6 : 17,
    };
    struct traffic_stamp stamp = {.round = traffic->round, .sender = traffic->sender};
    uint32_t offset = traffic->stamp_offset + (uint32_t)sizeof stamp;
    uint64_t seed = ((uint64_t)sequence << 32 | flow) * 0x9e3779b97f4a7c15u + traffic->sender;

    if (is_tcp(traffic)) {
        headers.tcp.sequence = htonl(sequence * (size->size - offset));
        headers.tcp.offset = TCP_SIZE / 4 << 4;
        headers.tcp.flags = 0x10; /* ACK */
        headers.tcp.window = 0xffff;
    }
    memcpy(frame, &headers, traffic->stamp_offset);
    memcpy(frame + traffic->stamp_offset, &stamp, sizeof stamp);
    for (; offset < size->size; offset += sizeof seed) {
        uint32_t left = size->size - offset;

        seed += 0x9e3779b97f4a7c15u;
        memcpy(frame + offset, &seed, left < sizeof seed ? left : sizeof seed);
    }
    write_fields(traffic, frame, size, flow, sequence);
}

static inline void advance(struct traffic *traffic)
{
    if (++traffic->next_flow == traffic->spec.n_flows) {
        traffic->next_flow = 0;
        traffic->next_sequence++;
    }
    if (++traffic->next_size >= traffic->n_sizes)
        traffic->next_size = 0;
}

uint32_t traffic_build(struct traffic *traffic, uint8_t *frame, uint32_t header_size)
{
    const struct traffic_size *size = &traffic->sizes[traffic->next_size];

    write_virtio_header(traffic, frame - header_size, header_size);
    write_frame(traffic, frame, size, traffic->next_flow, traffic->next_sequence);
    advance(traffic);
    return size->size;
}

uint32_t traffic_next(struct traffic *traffic, uint8_t *frame)
{
    const struct traffic_size *size = &traffic->sizes[traffic->next_size];

    write_fields(traffic, frame, size, traffic->next_flow, traffic->next_sequence);
    advance(traffic);
    return size->size;
}

int traffic_check_init(struct traffic_check *check, const struct traffic *traffic)
{
    uint32_t *last_sequences = check->last_sequences;
    uint64_t *last_times = check->last_times;
    uint8_t *scratch = check->scratch;

    if (!last_sequences)
        last_sequences = aligned_alloc(2 << 20, TRAFFIC_FLOWS_MAX * sizeof *last_sequences);
    if (!last_times && traffic->spec.flow_gaps)
        last_times = malloc(TRAFFIC_FLOWS_MAX * sizeof *last_times);
    if (!scratch)
        scratch = malloc(TRAFFIC_FRAME_MAX);
    *check = (struct traffic_check){
        .traffic = traffic, .last_sequences = last_sequences, .last_times = last_times, .scratch = scratch};
    if (!last_sequences || (!last_times && traffic->spec.flow_gaps) || !scratch)
        return ENOMEM;
    memset(last_sequences, 0, traffic->spec.n_flows * sizeof *last_sequences);
    return 0;
}

void traffic_check_free(struct traffic_check *check)
{
    free(check->last_sequences);
    free(check->last_times);
    free(check->scratch);
    check->last_sequences = NULL;
    check->last_times = NULL;
    check->scratch = NULL;
}

/* Called before the frame's sequence number is noted: a flow's first frame ends no gap. */
static void note_gap(struct traffic_check *check, uint32_t flow)
{
    uint64_t *last = &check->last_times[flow];

    if (check->last_sequences[flow] && check->now - *last > check->longest_gap)
        check->longest_gap = check->now - *last;
    *last = check->now;
}

uint64_t traffic_check_frame(struct traffic_check *check, const uint8_t *frame, uint32_t size,
                             uint32_t contiguous)
{
    const struct traffic *traffic = check->traffic;
    const struct headers *headers = (const struct headers *)frame;
    const struct traffic_stamp *stamp = (const struct traffic_stamp *)(frame + traffic->stamp_offset);

    if (size < TRAFFIC_FRAME_MIN || contiguous < traffic->stamp_offset + sizeof *stamp ||
        stamp->sender != traffic->sender || stamp->flow >= TRAFFIC_FLOWS_MAX ||
        size != (uint32_t)ntohs(headers->ip_length) + ETH_SIZE) {
        check->n_damaged++;
        return 0;
    }
    if (stamp->round != traffic->round) {
        check->n_stale++;
        return 0;
    }
    if (traffic->spec.fresh && contiguous == size &&
        !is_fresh(traffic, frame, size, fresh_word(stamp->flow, stamp->sequence))) {
        check->n_damaged++;
        return 0;
    }
    check->n_received++;
    check->n_bytes += size;
    if (traffic->spec.flow_gaps)
        note_gap(check, stamp->flow);
    if (stamp->sequence <= check->last_sequences[stamp->flow])
        check->n_reordered++;
    else
        check->last_sequences[stamp->flow] = stamp->sequence;
    return stamp->has_time ? stamp->time : 0;
}

static uint16_t *checksum_field(const struct traffic *traffic, uint8_t *frame)
{
    return (uint16_t *)(frame + L4_OFFSET + (is_tcp(traffic) ? 16 : 6));
}

/*
 * A checksum that the sender left open may have been completed on the way, or not when 'needs_csum' still
 * says so. Both are right.
 */
static bool checksum_is_right(const struct traffic *traffic, const uint8_t *frame, uint32_t size,
                              bool needs_csum, uint16_t sent, uint16_t received)
{
    uint64_t pseudo;

    if (needs_csum && is_tcp(traffic) && fold(received + htons((uint16_t)(size - L4_OFFSET))) == sent)
        return true; /* DPDK leaves the length out of the sum when segments are to be cut: each has its own */
    if (traffic->spec.offload == TRAFFIC_OFFLOAD_NONE || needs_csum)
        return sent == received;
    pseudo = sent; /* what was sent is the sum of the pseudo header */
    return fold(pseudo + sum_bytes(frame + L4_OFFSET, size - L4_OFFSET)) == 0xffff;
}

void traffic_verify_frame(struct traffic_check *check, const uint8_t *frame, uint32_t size, bool needs_csum)
{
    const struct traffic *traffic = check->traffic;
    const struct traffic_stamp *stamp = (const struct traffic_stamp *)(frame + traffic->stamp_offset);
    const struct traffic_size *expected_size = traffic->sizes;
    uint8_t *expected = check->scratch;
    uint16_t received_checksum;

    while (expected_size < traffic->sizes + traffic->n_sizes && expected_size->size != size)
        expected_size++;
    if (expected_size == traffic->sizes + traffic->n_sizes || stamp->flow >= traffic->spec.n_flows) {
        check->n_damaged++;
        return;
    }
    write_frame(traffic, expected, expected_size, stamp->flow, stamp->sequence);
    if (stamp->has_time)
        traffic_set_time(traffic, expected, stamp->time);
    memcpy(&received_checksum, frame + ((uint8_t *)checksum_field(traffic, expected) - expected), 2);
    if (!checksum_is_right(traffic, frame, size, needs_csum, *checksum_field(traffic, expected),
                           received_checksum)) {
        check->n_damaged++;
        return;
    }
    *checksum_field(traffic, expected) = received_checksum;
    if (memcmp(expected, frame, size))
        check->n_damaged++;
}
