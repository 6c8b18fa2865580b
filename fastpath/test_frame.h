/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_TEST_FRAME_H
#define FASTPATH_TEST_FRAME_H

/*
 * For tests only: frames of every kind, and checksums computed and verified bit by
 * bit from the RFCs, independently of the code under test.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fastpath/packet.h"

#define TEST_FRAME_SIZE_MAX (FRAME_SIZE_MAX + PACKET_HEADROOM)

struct frame_spec {
    unsigned n_vlans; /* 802.1Q tags */
    unsigned version; /* 4 or 6; else no IP but EtherType 0x88b5 */
    uint8_t protocol;
    unsigned options_size; /* IPv4: of options, a multiple of 4 up to 40; IPv6: of a hop-by-hop header, of 8 */
    bool routed;           /* IPv6: a routing header with one address to go */
    uint16_t fragment;     /* IPv4's flags and offset field; IPv6: adds a fragment header with this field */
    unsigned tcp_options_size;
    bool no_udp_checksum;
    bool partial_checksum; /* the transport checksum holds the pseudo header's sum only */
    size_t payload;        /* bytes behind the transport header */
    unsigned seed;         /* of addresses, ports and payload */
};

/* Builds the frame, checksums right, into 'frame' (TEST_FRAME_SIZE_MAX bytes); returns its size. */
size_t frame_build(const struct frame_spec *spec, uint8_t *frame);

/* The spec that 'random' numbers make: any kind of frame, with a payload of less than 'payload_max' bytes. */
struct frame_spec frame_spec_random(unsigned seed, size_t payload_max);

/* Computes all checksums anew, tunnelled frames included (not the UDP ones that are 0). */
void frame_fix_checksums(uint8_t *frame, size_t size);

/* NULL, or what is wrong with a checksum or a length in the frame. */
const char *frame_check(const uint8_t *frame, size_t size);

/* RFC 1071, section 4.1, by the letter: the sum of big-endian words, carries folded at the end; not complemented. */
unsigned frame_sum(const uint8_t *data, size_t size);

/* The CRC32c of SCTP (RFC 9260, appendix A), bit by bit. */
uint32_t frame_crc32c(const uint8_t *data, size_t size);

/* Offsets of the IP and the transport header; 0: there is none. */
unsigned frame_l3_offset(const uint8_t *frame, size_t size);
unsigned frame_l4_offset(const uint8_t *frame, size_t size);

/* A packet whose head is a copy of the first 'head_size' bytes of a frame, and whose rest is in 'n_pieces' parts of the frame. */
struct test_packet {
    struct packet packet;
    struct packet_segment more[PACKET_SEGMENTS_MAX];
    uint8_t headroom[PACKET_HEADROOM];
    uint8_t head[SNAPSHOT_SIZE_MAX];
    uint8_t guard[64];
};

/* 'n_pieces' >= 1. The packet is parsed; no offload is requested. */
void test_packet_make(struct test_packet *test, const uint8_t *frame, size_t size, size_t head_size,
                      unsigned n_pieces);

/* Asks for the transport checksum, as a guest does whose frame_spec had 'partial_checksum'. */
void test_packet_request_checksum(struct test_packet *test, uint8_t protocol);

/* Copies all bytes of 'packet' to 'bytes' (TEST_FRAME_SIZE_MAX); returns how many. Aborts when the sizes do not add up. */
size_t packet_flatten(const struct packet *packet, uint8_t *bytes);

#endif
