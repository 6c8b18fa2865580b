/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/checksum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fastpath/test_frame.h"

#define BUFFER_SIZE (66 * 1024)

static uint8_t buffer[BUFFER_SIZE];

static void fill(unsigned seed)
{
    srand(seed);
    for (size_t i = 0; i < sizeof buffer; i++)
        buffer[i] = (uint8_t)(rand() >> 7);
}

static uint16_t swap(uint16_t value)
{
    return (uint16_t)(value << 8 | value >> 8);
}

/* frame_sum() as checksum.h has its sums: as a word of this machine. */
static uint16_t naive_sum(const uint8_t *data, size_t size)
{
    return swap((uint16_t)frame_sum(data, size));
}

static void sum_matches_rfc_example(void **state)
{
    static const uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

    assert_int_equal(checksum_sum(example, sizeof example), swap(0xddf2));
}

static void sum_of_every_size_and_alignment(void **state)
{
    fill(1);
    for (size_t offset = 0; offset < 66; offset++)
        for (size_t size = 0; size < 300; size++)
            assert_int_equal(checksum_sum(buffer + offset, size), naive_sum(buffer + offset, size));
    for (size_t size = 65535 - 200; size <= 65550; size++)
        assert_int_equal(checksum_sum(buffer + size % 3, size), naive_sum(buffer + size % 3, size));
}

static void sum_of_extremes(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 3, 4, 63, 64, 65, 9000, 65535, 65536};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memset(buffer, 0, sizeof buffer);
        assert_int_equal(checksum_sum(buffer, sizes[i]), 0);
        memset(buffer, 0xff, sizeof buffer);
        assert_int_equal(checksum_sum(buffer, sizes[i]), naive_sum(buffer, sizes[i]));
    }
}

static void pieces_make_the_whole(void **state)
{
    fill(2);
    for (unsigned round = 0; round < 2000; round++) {
        size_t size = (size_t)rand() % 3000, done = 0;
        uint16_t sum = 0;

        while (done < size) {
            size_t piece = 1 + (size_t)rand() % (size - done);

            sum = checksum_append(sum, done, buffer + done, piece);
            done += piece;
        }
        assert_int_equal(sum, naive_sum(buffer, size));
    }
}

/* 0 and 0xffff are the same number. */
static uint16_t canonical(uint16_t sum)
{
    return sum == 0xffff ? 0 : sum;
}

static void updates_match_recomputation(void **state)
{
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff};

    fill(3);
    for (unsigned round = 0; round < 20000; round++) {
        uint8_t old[16];
        size_t where = 2 * ((size_t)rand() % 20), size = (size_t[]){2, 4, 16}[round % 3];
        uint16_t checksum = (uint16_t)~checksum_sum(buffer, 60), updated = 0;
        uint32_t from32, to32;
        uint16_t from16, to16;

        memcpy(old, buffer + where, 16);
        for (size_t i = 0; i < size; i++)
            buffer[where + i] = round & 1 ? values[(size_t)rand() % sizeof values] : (uint8_t)(rand() >> 7);
        memcpy(&from16, old, 2);
        memcpy(&to16, buffer + where, 2);
        memcpy(&from32, old, 4);
        memcpy(&to32, buffer + where, 4);
        if (size == 2)
            updated = checksum_update16(checksum, from16, to16);
        else if (size == 4)
            updated = checksum_update32(checksum, from32, to32);
        else
            updated = checksum_update128(checksum, old, buffer + where);
        assert_int_equal(canonical((uint16_t)~updated), canonical(checksum_sum(buffer, 60)));
    }
}

static void update_keeps_the_sign_of_zero(void **state)
{
    /* RFC 1624, section 4: equation 3 must give 0x0000 here, not 0xffff. */
    assert_int_equal(checksum_update16(swap(0xdd2f), swap(0x5555), swap(0x3285)), 0);
}

static void finished_checksum_is_never_zero(void **state)
{
    assert_int_equal(checksum_finish(0xffff), 0xffff);
    assert_int_equal(checksum_finish(0), 0xffff);
    assert_int_equal(checksum_finish(0x1234), 0xedcb);
}

static void pseudo_headers(void **state)
{
    uint8_t header4[12], header6[40] = {0};

    fill(4);
    for (unsigned round = 0; round < 1000; round++) {
        const uint8_t *addresses = buffer + round;
        uint32_t size = (uint32_t)rand() % 65536;
        uint8_t protocol = (uint8_t)rand();

        memcpy(header4, addresses, 8);
        memcpy(header4 + 8, (uint8_t[]){0, protocol, (uint8_t)(size >> 8), (uint8_t)size}, 4);
        assert_int_equal(checksum_pseudo_ipv4(addresses, addresses + 4, protocol, size),
                         naive_sum(header4, 12));
        size += round << 16;
        memcpy(header6, addresses, 32);
        memcpy(header6 + 32,
               (uint8_t[]){(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size,
                           0, 0, 0, protocol},
               8);
        assert_int_equal(checksum_pseudo_ipv6(addresses, addresses + 16, protocol, size),
                         naive_sum(header6, 40));
    }
}

static void crc32c_changes(void **state)
{
    assert_int_equal(frame_crc32c((const uint8_t *)"123456789", 9), 0xe3069283);
    fill(5);
    for (uint32_t size = 4; size < 3000; size += 1 + size / 50) {
        uint32_t before = frame_crc32c(buffer, size), from, to = (uint32_t)rand() * 3u;

        memcpy(&from, buffer, 4);
        memcpy(buffer, &to, 4);
        assert_int_equal(before ^ checksum_crc32c_change(from, to, size), frame_crc32c(buffer, size));
    }
    assert_int_equal(checksum_crc32c_change(77, 77, 65535), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sum_matches_rfc_example),
        cmocka_unit_test(sum_of_every_size_and_alignment),
        cmocka_unit_test(sum_of_extremes),
        cmocka_unit_test(pieces_make_the_whole),
        cmocka_unit_test(updates_match_recomputation),
        cmocka_unit_test(update_keeps_the_sign_of_zero),
        cmocka_unit_test(finished_checksum_is_never_zero),
        cmocka_unit_test(pseudo_headers),
        cmocka_unit_test(crc32c_changes),
    };

    return cmocka_run_group_tests_name("checksum", tests, NULL, NULL);
}
