/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_PCAPNG_H
#define CLI_PCAPNG_H

/*
 * Writes a capture file in the pcapng format (draft-ietf-opsawg-pcapng) with one
 * Ethernet interface and times in nanoseconds. Whether writing succeeded, ferror() tells.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* The section and the interface; 'snap_size' 0: no limit. */
void pcapng_write_start(FILE *stream, const char *interface, uint32_t snap_size);

/* A packet of 'packet_size' bytes, the first 'size' (at most FRAME_SIZE_MAX) of which are at 'data'. */
void pcapng_write_packet(FILE *stream, uint64_t time_ns, const uint8_t *data, uint32_t size,
                         uint32_t packet_size, bool outbound);

/* The statistics at the end: packets written, and packets that the capture missed. */
void pcapng_write_end(FILE *stream, uint64_t time_ns, uint64_t n_packets, uint64_t n_missed);

#endif
