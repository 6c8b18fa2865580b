/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LOADGEN_TRAFFIC_H
#define LOADGEN_TRAFFIC_H

/*
 * What a guest sends to its peer in one round, and how the peer checks it.
 *
 * Frames are Ethernet, IPv4 and UDP (TCP for segmentation offload). Frames go round over the flows. Guest i has MAC address
 * 02:00:00:00:00:i, address 10.0.0.0 + (i << 20). Flow number f has source port 1024 + f % 1024 and destination port
 * 1024 + f / 1024, and, if addresses vary, f added to the source address. If prefixes vary, ports are 1024
 * and 1024, and then one bit of the 32 of both ports, and one of the low 24 of the destination address, is turned over, another one
 * with each flow: so a classifier that looks at as many bits as it needs looks at other ones for each of 768 flows.
 *
 * Real guests write and read whole packets, and what a switch copies then comes from another core's cache.
 * With 'fresh', the sender writes one word in each cache line behind the stamp, and the receiver checks
 * them all; without, the payload lies still, and only the first line moves between the cores for each
 * frame.
 *
 * The payload begins with a stamp: flow, sequence number within the flow, round, sender and perhaps the time.
 * With frames aligned to cache lines, headers and stamp are one line: that is all a quick send or check
 * touches. Everything else of a frame follows from the stamp, so a full check ('verify') builds the frame
 * again and compares each byte.
 */

#include <stdbool.h>
#include <stdint.h>

#define TRAFFIC_FLOWS_MAX (1u << 20)
#define TRAFFIC_FRAME_MAX 65549 /* bytes: 14 + 65,535 */
#define TRAFFIC_FRAME_MIN 64
#define TRAFFIC_SIZES_MAX 12
#define TRAFFIC_IMIX 0 /* in place of a frame size: 64, 570 and 1,518 bytes as 7:4:1 */

enum traffic_offload {
    TRAFFIC_OFFLOAD_NONE,     /* UDP without checksum */
    TRAFFIC_OFFLOAD_CHECKSUM, /* UDP; the receiver completes the checksum (NEEDS_CSUM) */
    TRAFFIC_OFFLOAD_TSO,      /* TCP; the receiver cuts it up (GSO_TCPV4) */
};

enum traffic_vary { TRAFFIC_VARY_PORTS, TRAFFIC_VARY_ADDRESSES, TRAFFIC_VARY_PREFIXES };

struct traffic_spec {
    uint32_t n_flows;    /* 1 to TRAFFIC_FLOWS_MAX */
    uint32_t frame_size; /* TRAFFIC_FRAME_MIN to TRAFFIC_FRAME_MAX, or TRAFFIC_IMIX */
    enum traffic_offload offload;
    uint16_t segment_size; /* TSO: payload of a segment */
    enum traffic_vary vary;
    bool fresh; /* each cache line of the payload is written for each frame, and read and checked by the peer */
    bool verify;    /* each frame has an own payload, and the peer compares all of it */
    bool flow_gaps; /* the peer looks for the longest time that a flow had no frame */
};

struct traffic_stamp {
    uint32_t flow;
    uint32_t sequence; /* from 1 */
    uint16_t round;
    uint8_t sender;
    uint8_t has_time;
    uint64_t time; /* TSC */
} __attribute__((packed));

/* A frame size with the header fields that depend on it, in network order, checksums as unfolded sums. */
struct traffic_size {
    uint32_t size;
    uint16_t ip_length;
    uint16_t udp_length;
    uint32_t ip_sum;
    uint32_t pseudo_sum;
};

struct traffic {
    struct traffic_spec spec;
    uint16_t round;
    uint8_t sender;
    uint8_t receiver;
    uint8_t stamp_offset; /* of the stamp in the frame */
    uint8_t fresh_offset; /* of the first cache line behind the stamp */
    uint8_t n_sizes;
    uint8_t next_size;
    struct traffic_size sizes[TRAFFIC_SIZES_MAX];
    uint32_t next_flow;
    uint32_t next_sequence;
};

/* Prepares the traffic of one round. */
void traffic_init(struct traffic *traffic, const struct traffic_spec *spec, uint8_t sender, uint8_t receiver,
                  uint16_t round);

/*
 * Writes the virtio-net header (of 'header_size' bytes, directly before 'frame') and all bytes of the next
 * frame; returns its size. 'frame' must have room for TRAFFIC_FRAME_MAX bytes or the spec's largest size.
 */
uint32_t traffic_build(struct traffic *traffic, uint8_t *frame, uint32_t header_size);

/* The same for a buffer that held a frame of this round before: writes only what differs between frames. */
uint32_t traffic_next(struct traffic *traffic, uint8_t *frame);

/* Puts the time into the stamp of a frame just made. */
static inline void traffic_set_time(const struct traffic *traffic, uint8_t *frame, uint64_t time)
{
    struct traffic_stamp *stamp = (struct traffic_stamp *)(frame + traffic->stamp_offset);

    stamp->has_time = 1;
    stamp->time = time;
}

/* What a receiver has seen of one sender's traffic. */
struct traffic_check {
    const struct traffic *traffic;
    uint32_t *last_sequences; /* per flow; TRAFFIC_FLOWS_MAX of them */
    uint64_t *last_times;     /* the same, from the first round with flow_gaps on */
    uint8_t *scratch;         /* TRAFFIC_FRAME_MAX bytes */
    uint64_t n_received;      /* frames of this round */
    uint64_t n_bytes;
    uint64_t n_reordered; /* behind a later frame of their flow, or twice */
    uint64_t n_damaged;   /* other bytes, size, sender or flow than any frame that was sent */
    uint64_t n_stale;     /* of an earlier round */
    uint64_t now;         /* what the receiver says the time is */
    uint64_t longest_gap; /* between two frames of one flow, if the spec has flow_gaps */
};

/*
 * Prepares the check of 'traffic'. ENOMEM. The memory is kept from round to round; free it with
 * traffic_check_free().
 */
int traffic_check_init(struct traffic_check *check, const struct traffic *traffic);
void traffic_check_free(struct traffic_check *check);

/*
 * Checks and counts a received frame of 'size' bytes, of which the first 'contiguous' (>= 128, or all) lie at
 * 'frame'. Returns the time in its stamp, or 0.
 */
uint64_t traffic_check_frame(struct traffic_check *check, const uint8_t *frame, uint32_t size,
                             uint32_t contiguous);

/*
 * Compares a whole frame, which lies at 'frame', with what was sent; counts it as damaged when it differs.
 * 'needs_csum': the virtio-net header says that the checksum is still to be completed.
 */
void traffic_verify_frame(struct traffic_check *check, const uint8_t *frame, uint32_t size, bool needs_csum);

#endif
