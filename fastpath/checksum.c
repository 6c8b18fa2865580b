/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/checksum.h"

#include <string.h>

/* Eight words of 64 bits; the compiler makes of it whatever vectors the CPU has. */
typedef uint64_t words __attribute__((vector_size(64)));

#define LOW_HALVES 0xffffffffull

/*
 * Sums as 32-bit words, since 2^16 = 1 modulo 2^16 - 1: each 64-bit lane
 * collects low and high halves apart, so that no carry can get lost (a lane
 * overflows after 2^32 blocks).
 */
static uint64_t sum_blocks(const uint8_t *data, size_t n_blocks)
{
    words low = {0}, high = {0};
    uint64_t sum = 0;

    for (size_t i = 0; i < n_blocks; i++) {
        words block;

        memcpy(&block, data + i * sizeof block, sizeof block);
        low += block & LOW_HALVES;
        high += block >> 32;
    }
    low += high;
    for (unsigned lane = 0; lane < sizeof low / sizeof low[0]; lane++)
        sum += checksum_fold(low[lane]);
    return sum;
}

uint16_t checksum_sum(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint64_t sum = 0;

    if (size >= sizeof(words)) {
        sum = sum_blocks(bytes, size / sizeof(words));
        bytes += size & ~(sizeof(words) - 1);
        size &= sizeof(words) - 1;
    }
    for (; size >= 4; bytes += 4, size -= 4) {
        uint32_t word;

        memcpy(&word, bytes, 4);
        sum += word;
    }
    if (size) {
        uint32_t word = 0;

        memcpy(&word, bytes, size);
        sum += word;
    }
    return checksum_fold(sum);
}

/* Protocol and size in network order, at the places they have in the pseudo headers' last words. */
static uint64_t sum_protocol_and_size(uint8_t protocol, uint32_t size)
{
    return (uint64_t)__builtin_bswap32(size) + __builtin_bswap16(protocol);
}

uint16_t checksum_pseudo_ipv4(const uint8_t source[4], const uint8_t destination[4], uint8_t protocol,
                              uint32_t size)
{
    uint32_t addresses[2];

    memcpy(&addresses[0], source, 4);
    memcpy(&addresses[1], destination, 4);
    return checksum_fold(sum_protocol_and_size(protocol, size) + addresses[0] + addresses[1]);
}

uint16_t checksum_pseudo_ipv6(const uint8_t source[16], const uint8_t destination[16], uint8_t protocol,
                              uint32_t size)
{
    return checksum_fold(sum_protocol_and_size(protocol, size) + checksum_sum(source, 16) +
                         checksum_sum(destination, 16));
}

#define CRC32C_POLYNOMIAL 0x82f63b78u /* RFC 9260, appendix A; bit 31 is x^0 */

/* a * b modulo the polynomial. */
static uint32_t crc32c_multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;

    for (; a; a <<= 1) {
        if (a & 0x80000000u)
            product ^= b;
        b = b & 1 ? (b >> 1) ^ CRC32C_POLYNOMIAL : b >> 1;
    }
    return product;
}

/*
 * A CRC without its constants is linear: crc(a) ^ crc(b) = crc(a ^ b). Here a ^ b
 * is the four changed bytes and zeros behind them, whose CRC is the change times
 * x^(8 * size), found by repeated squaring.
 */
uint32_t checksum_crc32c_change(uint32_t from, uint32_t to, uint32_t size)
{
    uint32_t change = from ^ to;
    uint32_t power = 0x80000000u >> 8; /* x^8 */

    for (; size; size >>= 1) {
        if (size & 1)
            change = crc32c_multiply(power, change);
        power = crc32c_multiply(power, power);
    }
    return change;
}
