/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_CHECKSUM_H
#define FASTPATH_CHECKSUM_H

/*
 * The Internet checksum (RFC 1071) and SCTP's CRC32c (RFC 9260, appendix A).
 *
 * A *sum* is the folded one's complement sum of 16-bit words; a *checksum* is its
 * complement, as it stands in a header. Both are kept in the byte order of
 * memory: they are stored and loaded as they are, and no function here swaps
 * bytes (RFC 1071, section 2, (B)). 0x0000 and 0xffff are both zero.
 *
 *     uint16_t sum = checksum_pseudo_ipv4(source, destination, 17, size);
 *     sum = checksum_append(sum, 0, head, head_size);
 *     sum = checksum_append(sum, head_size, tail, tail_size);
 *     udp->checksum = checksum_finish(sum);
 */

#include <stddef.h>
#include <stdint.h>

/* The sum of 'size' bytes at 'data', which may be odd and unaligned; an odd last byte counts as padded with 0. */
uint16_t checksum_sum(const void *data, size_t size);

static inline uint16_t checksum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static inline uint16_t checksum_add(uint16_t sum, uint16_t other)
{
    return checksum_fold((uint32_t)sum + other);
}

/* 'sum', continued by 'size' bytes at 'data' that lie 'offset' bytes behind the first byte summed. */
static inline uint16_t checksum_append(uint16_t sum, size_t offset, const void *data, size_t size)
{
    uint16_t more = checksum_sum(data, size);

    return checksum_add(sum, offset & 1 ? __builtin_bswap16(more) : more);
}

/* The checksum for 'sum', never 0: UDP reads that as "no checksum" (RFC 768), and for the others 0xffff says the same. */
static inline uint16_t checksum_finish(uint16_t sum)
{
    uint16_t checksum = (uint16_t)~sum;

    return checksum ? checksum : 0xffff;
}

/* 'sum' after a summed 16-bit word changed. Without the complements of RFC 1624, equation 3, which make it work on checksums. */
static inline uint16_t checksum_exchange(uint16_t sum, uint16_t from, uint16_t to)
{
    return checksum_fold((uint32_t)sum + (uint16_t)~from + to);
}

/* 'checksum' after covered bytes changed: RFC 1624, equation 3. The bytes begin at an even offset. */
static inline uint16_t checksum_update16(uint16_t checksum, uint16_t from, uint16_t to)
{
    return (uint16_t)~checksum_exchange((uint16_t)~checksum, from, to);
}

static inline uint16_t checksum_update32(uint16_t checksum, uint32_t from, uint32_t to)
{
    return checksum_update16(checksum, checksum_fold(from), checksum_fold(to));
}

static inline uint16_t checksum_update128(uint16_t checksum, const void *from, const void *to)
{
    return checksum_update16(checksum, checksum_sum(from, 16), checksum_sum(to, 16));
}

/* The sums of the pseudo headers of RFC 9293, section 3.1 and RFC 8200, section 8.1. 'size': bytes of the transport packet. */
uint16_t checksum_pseudo_ipv4(const uint8_t source[4], const uint8_t destination[4], uint8_t protocol,
                              uint32_t size);
uint16_t checksum_pseudo_ipv6(const uint8_t source[16], const uint8_t destination[16], uint8_t protocol,
                              uint32_t size);

/*
 * What a CRC32c of 'size' >= 4 bytes is to be XORed with after its first four
 * changed: 'from' and 'to' are those four, loaded as a little-endian word. The
 * other bytes do not matter, so nothing of them is read.
 */
uint32_t checksum_crc32c_change(uint32_t from, uint32_t to, uint32_t size);

#endif
