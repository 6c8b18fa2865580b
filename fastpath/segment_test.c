/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fastpath/test_frame.h"

static uint8_t frame[TEST_FRAME_SIZE_MAX], piece[TEST_FRAME_SIZE_MAX], joined[TEST_FRAME_SIZE_MAX];
static struct test_packet test;

static unsigned get16(const uint8_t *from)
{
    return (unsigned)from[0] << 8 | from[1];
}

static void put16(uint8_t *to, unsigned value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *from)
{
    return (uint32_t)get16(from) << 16 | get16(from + 2);
}

/* A packet as a guest sends it that leaves the checksum and, with a 'gso_type', the cutting to us. */
static size_t make(struct frame_spec spec, uint8_t gso_type, uint16_t gso_size, size_t head_size,
                   unsigned n_pieces)
{
    size_t size;

    spec.partial_checksum = true;
    size = frame_build(&spec, frame);
    test_packet_make(&test, frame, size, head_size, n_pieces);
    test_packet_request_checksum(&test, spec.protocol);
    test.packet.in_port = 7;
    test.packet.slot = 9;
    test.packet.offload.gso_type = gso_type;
    test.packet.offload.gso_size = gso_size;
    return size;
}

static const struct frame_spec tcp4 = {.version = 4, .protocol = 6, .payload = 5000, .seed = 1};
static const struct frame_spec tcp6 = {.version = 6, .protocol = 6, .payload = 5000, .seed = 2, .n_vlans = 1};
static const struct frame_spec udp4 = {.version = 4, .protocol = 17, .payload = 5000, .seed = 3};
static const struct frame_spec udp6 = {.version = 6, .protocol = 17, .payload = 5000, .seed = 4};

static uint8_t gso_type_of(const struct frame_spec *spec)
{
    return spec->protocol == 17 ? PACKET_GSO_UDP_L4
           : spec->version == 4 ? PACKET_GSO_TCPV4
                                : PACKET_GSO_TCPV6;
}

static void accepts_what_guests_send(void **state)
{
    struct frame_spec specs[] = {tcp4, tcp6, udp4, udp6};

    for (unsigned i = 0; i < 4; i++) {
        unsigned header_size = i & 1 ? 40 : 20;

        make(specs[i], 0, 0, SNAPSHOT_SIZE, 1);
        test.packet.offload.hdr_len = 9999;
        test.packet.offload.gso_size = 77;
        assert_int_equal(packet_check_offload(&test.packet), 0);
        assert_int_equal(test.packet.offload.hdr_len | test.packet.offload.gso_size, 0);
        make(specs[i], gso_type_of(&specs[i]), 1000, SNAPSHOT_SIZE, 1);
        test.packet.offload.flags |= PACKET_DATA_VALID;
        test.packet.offload.hdr_len = 1;
        assert_int_equal(packet_check_offload(&test.packet), 0);
        assert_int_equal(test.packet.offload.flags, PACKET_NEEDS_CSUM);
        header_size += 14 + 4 * specs[i].n_vlans + (specs[i].protocol == 6 ? 20 : 8);
        assert_int_equal(test.packet.offload.hdr_len, header_size);
        if (specs[i].protocol == 6) {
            test.packet.offload.gso_type |= PACKET_GSO_ECN;
            assert_int_equal(packet_check_offload(&test.packet), 0);
        }
    }
    make(udp4, PACKET_GSO_UDP, 1480, SNAPSHOT_SIZE, 1);
    assert_int_equal(packet_check_offload(&test.packet), 0);
    test.packet.offload = (struct packet_offload){.flags = PACKET_DATA_VALID, .csum_start = 65535};
    assert_int_equal(packet_check_offload(&test.packet), 0);
    assert_int_equal(test.packet.offload.flags, PACKET_DATA_VALID);
}

static void assert_refused(void)
{
    assert_int_equal(packet_check_offload(&test.packet), DROP_RX_BAD_OFFLOAD + 1);
}

static void refuses_segmentation_that_does_not_fit(void **state)
{
    static const uint8_t types[] = {PACKET_GSO_TCPV4,
                                    PACKET_GSO_UDP,
                                    PACKET_GSO_TCPV6,
                                    PACKET_GSO_UDP_L4,
                                    PACKET_GSO_TCPV4 | PACKET_GSO_ECN,
                                    PACKET_GSO_TCPV6 | PACKET_GSO_ECN,
                                    PACKET_GSO_UDP_L4 | PACKET_GSO_ECN,
                                    PACKET_GSO_UDP | PACKET_GSO_ECN,
                                    PACKET_GSO_ECN,
                                    2,
                                    6,
                                    0x40,
                                    0xff};
    /* by bits: which of the types above fit tcp4, tcp6, udp4, udp6 */
    static const unsigned fitting[] = {0x11, 0x24, 0x0a, 0x08};
    struct frame_spec specs[] = {tcp4, tcp6, udp4, udp6};

    for (unsigned i = 0; i < 4; i++)
        for (unsigned j = 0; j < sizeof types; j++) {
            make(specs[i], types[j], 1000, SNAPSHOT_SIZE, 1);
            assert_int_equal(packet_check_offload(&test.packet) == 0, fitting[i] >> j & 1);
            if (!(fitting[i] >> j & 1))
                assert_int_equal(packet_segment_gso(&test.packet, false, NULL, NULL), DROP_RX_BAD_OFFLOAD + 1);
        }
    make(tcp4, PACKET_GSO_TCPV4, 1000, SNAPSHOT_SIZE, 1);
    test.packet.offload.flags = 0;
    assert_refused();
    make(tcp4, PACKET_GSO_TCPV4, 0, SNAPSHOT_SIZE, 1);
    assert_refused();
    make(tcp4, PACKET_GSO_TCPV4, 4, SNAPSHOT_SIZE, 1); /* 1250 segments */
    assert_refused();
    make(tcp4, PACKET_GSO_TCPV4, 5, SNAPSHOT_SIZE, 1);
    assert_int_equal(packet_check_offload(&test.packet), 0);
    make(tcp4, PACKET_GSO_TCPV4, 1000, SNAPSHOT_SIZE, 1);
    test.head[14 + 20 + 12] = 0xf0; /* 60 bytes of TCP header, beyond the head */
    test.packet.head_size = 14 + 20 + 59;
    assert_refused();
    test.packet.head_size = 14 + 20 + 60;
    assert_int_equal(packet_check_offload(&test.packet), 0);
    test.head[14 + 20 + 12] = 0x40;
    assert_refused();
}

static void refuses_fragments_and_cut_headers(void **state)
{
    struct frame_spec spec = tcp4;

    spec.fragment = 0x2000;
    make(spec, 0, 0, SNAPSHOT_SIZE, 1);
    assert_refused();
    make(spec, PACKET_GSO_TCPV4, 1000, SNAPSHOT_SIZE, 1);
    assert_refused();
    spec = tcp6;
    spec.fragment = 1;
    make(spec, 0, 0, SNAPSHOT_SIZE, 1);
    assert_refused();
    make(tcp4, 0, 0, 14 + 20 + 19, 1);
    test.packet.offload.csum_start = 34;
    assert_refused();
    make(tcp4, 0, 0, SNAPSHOT_SIZE, 1); /* a wrong IP header, which the checksum might make right */
    put16(frame + 16, 6000);
    test_packet_make(&test, frame, test.packet.size, SNAPSHOT_SIZE, 1);
    test.packet.offload = (struct packet_offload){PACKET_NEEDS_CSUM, .csum_start = 14, .csum_offset = 2};
    assert_refused();
}

/* The receiver writes the checksum: it must not get a chance to change what a rule has matched. */
static void refuses_checksums_upon_headers(void **state)
{
    static const struct frame_spec plain = {.payload = 100, .n_vlans = 3};
    struct frame_spec specs[] = {tcp4, udp4, tcp6, udp6};

    for (unsigned i = 0; i < 4; i++) {
        unsigned l4;

        make(specs[i], 0, 0, SNAPSHOT_SIZE, 1);
        l4 = test.packet.l4_offset;
        for (unsigned start = 0; start < SNAPSHOT_SIZE; start++)
            for (unsigned offset = 0; start + offset < SNAPSHOT_SIZE; offset++) {
                unsigned field = start + offset;
                bool own = start == l4 && offset == (specs[i].protocol == 6 ? 16 : 6);
                bool behind = start > l4 && field >= l4 + (specs[i].protocol == 6 ? 20 : 16) &&
                              field + 2 <= SNAPSHOT_SIZE;

                test.packet.offload = (struct packet_offload){
                    PACKET_NEEDS_CSUM, .csum_start = (uint16_t)start, .csum_offset = (uint16_t)offset};
                assert_int_equal(packet_check_offload(&test.packet) == 0, own || behind);
            }
    }
    make(tcp4, 0, 0, SNAPSHOT_SIZE, 1);
    test.packet.offload.csum_start = 65535;
    test.packet.offload.csum_offset = 65535;
    assert_refused();
    test_packet_make(&test, frame, frame_build(&plain, frame), SNAPSHOT_SIZE, 1);
    test.packet.offload = (struct packet_offload){PACKET_NEEDS_CSUM, .csum_start = 25};
    assert_refused();
    test.packet.offload.csum_start = 26;
    assert_int_equal(packet_check_offload(&test.packet), 0);
}

static void finishes_checksums(void **state)
{
    for (unsigned round = 0; round < 3000; round++) {
        struct frame_spec spec = (struct frame_spec[]){tcp4, tcp6, udp4, udp6}[round % 4];
        size_t size, head_size;

        spec.seed = round;
        spec.payload = round % 700;
        spec.n_vlans = round % 3;
        spec.options_size = round % 5 ? 0 : 8;
        head_size = 14 + 4 * spec.n_vlans + (spec.version == 4 ? 20 : 40) + spec.options_size + 20;
        size = make(spec, 0, 0, head_size + round % 40, 1 + round % 9);
        assert_int_equal(packet_check_offload(&test.packet), 0);
        packet_finish_checksum(&test.packet);
        assert_int_equal(test.packet.offload.flags, 0);
        assert_int_equal(packet_flatten(&test.packet, piece), size);
        assert_null(frame_check(piece, size));
    }
}

/* What a sink has been given, and what it expects. */
struct collected {
    size_t size; /* payload bytes so far, in 'joined' */
    unsigned n;
    bool keep_checksum;
    unsigned gso_size;
    size_t payload;
    unsigned stop_after;
};

static void check_ip_header(const struct packet *segment, unsigned index)
{
    unsigned l3 = segment->l3_offset;

    assert_int_equal(l3, test.packet.l3_offset);
    if (frame[l3] >> 4 == 4)
        assert_int_equal(get16(piece + l3 + 4), (get16(frame + l3 + 4) + index) & 0xffff);
    for (unsigned i = 0; i < segment->l4_offset; i++) {
        bool changes = frame[l3] >> 4 == 4 ? (i >= l3 + 2 && i < l3 + 6) || (i >= l3 + 10 && i < l3 + 12)
                                           : i >= l3 + 4 && i < l3 + 6;
        if (!changes)
            assert_int_equal(piece[i], frame[i]);
    }
}

static bool collect_segment(struct packet *segment, void *argument)
{
    struct collected *collected = argument;
    unsigned l4 = test.packet.l4_offset;
    bool last = collected->size + collected->gso_size >= collected->payload;
    bool tcp = test.packet.offload.gso_type != PACKET_GSO_UDP_L4;
    unsigned header_size = l4 + (tcp ? (frame[l4 + 12] >> 4) * 4u : 8);
    size_t size;

    assert_int_equal(segment->in_port, 7);
    assert_int_equal(segment->slot, 9);
    assert_null(segment->mbuf);
    assert_int_equal(segment->headroom, PACKET_HEADROOM);
    memset(segment->head - PACKET_HEADROOM, 0xee, PACKET_HEADROOM);
    assert_int_equal(segment->l4_offset, l4);
    assert_int_equal(segment->offload.gso_type, 0);
    assert_int_equal(segment->offload.flags, collected->keep_checksum ? PACKET_NEEDS_CSUM : 0);
    assert_true(segment->tail_size || !segment->n_more);
    assert_int_equal(packet_check_offload(segment), 0);
    packet_finish_checksum(segment);
    size = packet_flatten(segment, piece);
    assert_null(frame_check(piece, size));
    assert_int_equal(size - header_size, last ? collected->payload - collected->size : collected->gso_size);
    check_ip_header(segment, collected->n);
    if (tcp) {
        uint8_t flags = frame[l4 + 13] & (uint8_t) ~((last ? 0 : 0x09) | (collected->n ? 0x80 : 0));

        assert_int_equal(get32(piece + l4 + 4), get32(frame + l4 + 4) + (uint32_t)collected->size);
        assert_int_equal(piece[l4 + 13], flags);
        assert_memory_equal(piece + l4 + 8, frame + l4 + 8, 5);
        assert_memory_equal(piece + l4 + 18, frame + l4 + 18, header_size - l4 - 18);
    }
    memcpy(joined + collected->size, piece + header_size, size - header_size);
    collected->size += size - header_size;
    memset(segment->head, 0xdd, segment->head_size); /* the next one must not depend on it */
    return ++collected->n != collected->stop_after;
}

static void segment_and_compare(struct frame_spec spec, unsigned gso_size, size_t head_size,
                                unsigned n_pieces, bool keep_checksum)
{
    struct collected collected = {
        .keep_checksum = keep_checksum, .gso_size = gso_size, .payload = spec.payload};
    size_t size = make(spec, gso_type_of(&spec), (uint16_t)gso_size, head_size, n_pieces);
    struct test_packet before = test;

    assert_int_equal(packet_check_offload(&test.packet), 0);
    before.packet.offload.hdr_len = test.packet.offload.hdr_len;
    assert_int_equal(packet_segment_gso(&test.packet, keep_checksum, collect_segment, &collected), 0);
    assert_memory_equal(&test, &before, sizeof test);
    assert_int_equal(collected.size, spec.payload);
    assert_memory_equal(joined, frame + size - spec.payload, spec.payload);
    assert_int_equal(collected.n, spec.payload ? (spec.payload + gso_size - 1) / gso_size : 1);
}

static void segments_join_to_the_original(void **state)
{
    static const unsigned gso_sizes[] = {88, 89, 536, 1448, 1460};

    for (unsigned round = 0; round < 6000; round++) {
        struct frame_spec spec = (struct frame_spec[]){tcp4, tcp6, udp4, udp6}[round % 4];
        unsigned gso_size = gso_sizes[round % 5], header_size;
        /* around each multiple of gso_size, and around nothing */
        int payload = (int)(round / 20 % 7 * gso_size) + (int)(round / 140 % 5) - 2;

        spec.seed = round;
        spec.payload = payload > 0 ? (size_t)payload : 0;
        spec.n_vlans = round / 3 % 3;
        spec.options_size = round / 7 % 3 == 0 ? 8 : 0;
        spec.tcp_options_size = spec.protocol == 6 ? round / 11 % 11 * 4 : 0;
        header_size = 14 + 4 * spec.n_vlans + (spec.version == 4 ? 20 : 40) + spec.options_size +
                      (spec.protocol == 6 ? 20 + spec.tcp_options_size : 8);
        segment_and_compare(spec, gso_size, header_size + round % 126, 1 + round / 13 % 20, round & 1);
    }
}

static void segments_the_largest_frames(void **state)
{
    struct frame_spec spec = tcp4;

    spec.payload = 65535 - 40;
    segment_and_compare(spec, 88, 128, PACKET_SEGMENTS_MAX, false);
    segment_and_compare(spec, 64, 60, 1, true);
    segment_and_compare(spec, 65495, 128, PACKET_SEGMENTS_MAX, false); /* one segment of all pieces */
    spec = udp6;
    spec.payload = 65535 - 8;
    segment_and_compare(spec, 9000, 128, 5, false);
    spec.version = 4;
    spec.payload = 65535 - 28;
    segment_and_compare(spec, 1472, 128, 17, false);
}

static void stops_when_the_sink_says_so(void **state)
{
    struct collected collected = {.gso_size = 1000, .payload = tcp4.payload, .stop_after = 2};

    make(tcp4, PACKET_GSO_TCPV4, 1000, SNAPSHOT_SIZE, 1);
    assert_int_equal(packet_segment_gso(&test.packet, false, collect_segment, &collected), 0);
    assert_int_equal(collected.n, 2);
}

/* Joins fragments as RFC 791, section 3.2 says; they come in order. */
static bool collect_fragment(struct packet *fragment, void *argument)
{
    struct collected *collected = argument;
    unsigned l3 = test.packet.l3_offset, flags;
    size_t size = packet_flatten(fragment, piece), header_size = l3 + (frame[l3] & 15) * 4u;
    static uint8_t fixed[TEST_FRAME_SIZE_MAX];

    memcpy(fixed, piece, size);
    frame_fix_checksums(fixed, size);
    assert_memory_equal(piece, fixed, header_size); /* behind that are sums over the whole datagram */
    assert_int_equal(fragment->offload.flags | fragment->offload.gso_type, 0);
    assert_true(size - l3 <= collected->gso_size); /* the MTU */
    assert_int_equal(get16(piece + l3 + 2), size - l3);
    assert_int_equal(piece[l3] & 15, frame[l3] & 15);
    assert_memory_equal(piece + l3 + 4, frame + l3 + 4, 2);
    flags = get16(piece + l3 + 6);
    assert_int_equal((flags & 0x1fff) * 8, (get16(frame + l3 + 6) & 0x1fff) * 8 + collected->size);
    memcpy(joined + collected->size, piece + header_size, size - header_size);
    collected->size += size - header_size;
    assert_int_equal(!!(flags & 0x2000),
                     collected->size < collected->payload || get16(frame + l3 + 6) & 0x2000);
    if (collected->size < collected->payload)
        assert_int_equal((size - header_size) % 8, 0);
    assert_true(!fragment->l4_offset || !collected->n);
    collected->n++;
    return true;
}

static void fragment_and_compare(struct frame_spec spec, unsigned mtu, size_t head_size, unsigned n_pieces,
                                 uint8_t gso_type, size_t padding)
{
    struct collected collected = {.gso_size = mtu};
    size_t size, header_size;

    size = make(spec, gso_type, 100, head_size, n_pieces);
    header_size = test.packet.l3_offset + (frame[test.packet.l3_offset] & 15) * 4u;
    collected.payload = size - header_size;
    if (padding) {
        memset(frame + size, 0, padding);
        test_packet_make(&test, frame, size + padding, head_size, n_pieces);
        test_packet_request_checksum(&test, spec.protocol);
    }
    if (spec.fragment)
        test.packet.offload.flags = 0;
    assert_int_equal(packet_fragment(&test.packet, mtu, collect_fragment, &collected), 0);
    assert_int_equal(collected.size, collected.payload);
    /* The original with its checksum finished. */
    frame_fix_checksums(frame, size);
    if (!spec.fragment)
        assert_memory_equal(joined, frame + header_size, collected.payload);
    else
        assert_memory_equal(joined + 20, frame + header_size + 20, collected.payload - 20);
}

static void fragments_join_to_the_original(void **state)
{
    for (unsigned round = 0; round < 3000; round++) {
        struct frame_spec spec = round & 1 ? tcp4 : udp4;
        unsigned mtu = (unsigned[]){68, 576, 1500, 1501}[round / 2 % 4];

        spec.seed = round;
        spec.n_vlans = round % 3;
        spec.payload = mtu * (1 + round / 9 % 3) + round % 9;
        spec.fragment = round % 5 == 4 ? (round & 8 ? 0x2000 : 0) | 1000 : 0;
        fragment_and_compare(spec, mtu, 80 + round % 60, 1 + round / 7 % 9, 0, round % 11 == 0 ? 7 : 0);
    }
}

static void fragments_what_udp_senders_left(void **state)
{
    struct frame_spec spec = udp4;

    spec.payload = 65535 - 28;
    fragment_and_compare(spec, 1500, SNAPSHOT_SIZE, PACKET_SEGMENTS_MAX, PACKET_GSO_UDP, 0);
    spec.payload = 100;
    fragment_and_compare(spec, 1500, SNAPSHOT_SIZE, 1, PACKET_GSO_UDP, 0); /* fits: no fragment at all */
}

static bool count(struct packet *packet, void *argument)
{
    assert_ptr_equal(packet, &test.packet);
    ++*(unsigned *)argument;
    return true;
}

static void refuses_to_fragment(void **state)
{
    struct frame_spec spec = udp4;
    unsigned n = 0;

    make(udp6, 0, 0, SNAPSHOT_SIZE, 1);
    assert_int_equal(packet_fragment(&test.packet, 1500, count, &n), DROP_TX_MTU + 1);
    spec.fragment = 0x4000; /* don't fragment */
    make(spec, 0, 0, SNAPSHOT_SIZE, 1);
    assert_int_equal(packet_fragment(&test.packet, 1500, count, &n), DROP_TX_MTU + 1);
    make(udp4, 0, 0, SNAPSHOT_SIZE, 1);
    assert_int_equal(packet_fragment(&test.packet, 27, count, &n), DROP_TX_MTU + 1);
    make(udp4, PACKET_GSO_UDP_L4, 1000, SNAPSHOT_SIZE, 1);
    assert_int_equal(packet_fragment(&test.packet, 1500, count, &n), DROP_TX_MTU + 1);
    spec.fragment = 0x1fff; /* would reach beyond 64 KiB */
    make(spec, 0, 0, SNAPSHOT_SIZE, 1);
    assert_int_equal(packet_fragment(&test.packet, 1500, count, &n), DROP_TX_MTU + 1);
    spec.fragment = 0;
    spec.payload = 65500;
    make(spec, 0, 0, SNAPSHOT_SIZE, 1);
    assert_int_equal(packet_fragment(&test.packet, 68, count, &n), DROP_TX_MTU + 1); /* 1365 of them */
    assert_int_equal(n, 0);
    make(udp4, 0, 0, SNAPSHOT_SIZE, 1);
    assert_int_equal(packet_fragment(&test.packet, 5028, count, &n), 0);
    assert_int_equal(n, 1);
}

/* RFC 791, section 3.1: an option without the copied flag is in the first fragment only. */
static bool check_options(struct packet *fragment, void *argument)
{
    static const uint8_t first[] = {0x44, 4, 5, 0, 0x83, 3, 4, 1}, later[] = {1, 1, 1, 1, 0x83, 3, 4, 1};
    unsigned *n = argument;

    assert_memory_equal(fragment->head + 34, *n ? later : first, 8);
    ++*n;
    return true;
}

static void copies_options_that_ask_for_it(void **state)
{
    struct frame_spec spec = udp4;
    unsigned n = 0;

    spec.options_size = 8;
    make(spec, 0, 0, SNAPSHOT_SIZE, 1);
    memcpy(test.head + 34, (uint8_t[]){0x44, 4, 5, 0, 0x83, 3, 4, 1}, 8);
    assert_int_equal(packet_fragment(&test.packet, 1500, check_options, &n), 0);
    assert_int_equal(n, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_what_guests_send),
        cmocka_unit_test(refuses_segmentation_that_does_not_fit),
        cmocka_unit_test(refuses_fragments_and_cut_headers),
        cmocka_unit_test(refuses_checksums_upon_headers),
        cmocka_unit_test(finishes_checksums),
        cmocka_unit_test(segments_join_to_the_original),
        cmocka_unit_test(segments_the_largest_frames),
        cmocka_unit_test(stops_when_the_sink_says_so),
        cmocka_unit_test(fragments_join_to_the_original),
        cmocka_unit_test(fragments_what_udp_senders_left),
        cmocka_unit_test(refuses_to_fragment),
        cmocka_unit_test(copies_options_that_ask_for_it),
    };

    return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
