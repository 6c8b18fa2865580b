/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/guest/fake_backend.h"
#include "bench/loadgen/command.h"

#define HEADER_SIZE 12
#define BIT(n) (UINT64_C(1) << (n))

static uint8_t buffer[HEADER_SIZE + TRAFFIC_FRAME_MAX + 1];
static uint8_t *const frame = buffer + HEADER_SIZE;

static void test_histogram_quantiles(void **state)
{
    static struct histogram histogram;

    histogram_reset(&histogram);
    assert_int_equal(histogram_quantile(&histogram, 0.5), 0);
    for (uint64_t i = 1; i <= 100000; i++)
        histogram_add(&histogram, i);
    for (double quantile = 0.001; quantile <= 1; quantile += 0.001) {
        double exact = quantile * 100000;
        double found = (double)histogram_quantile(&histogram, quantile);

        assert_true(found >= exact - 1 && found <= exact * 65 / 64 + 1);
    }
    assert_int_equal(histogram_quantile(&histogram, 1), 100000);
    histogram_add(&histogram, UINT64_MAX);
    assert_true(histogram.max == UINT64_MAX);
    assert_int_equal(histogram.n_values, 100001);
}

static void test_small_values_are_exact(void **state)
{
    static struct histogram histogram;

    for (uint64_t value = 0; value < 128; value++) {
        histogram_reset(&histogram);
        histogram_add(&histogram, value);
        histogram_add(&histogram, UINT32_MAX);
        assert_int_equal(histogram_quantile(&histogram, 0.5), value);
    }
}

static struct traffic_spec default_spec(void)
{
    struct round_spec spec;

    command_default_spec(&spec);
    return spec.traffic;
}

static uint16_t sum16(const uint8_t *bytes, unsigned size, uint32_t sum)
{
    for (unsigned i = 0; i + 1 < size; i += 2)
        sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
    if (size % 2)
        sum += (uint32_t)bytes[size - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static void test_frames_are_what_the_header_says(void **state)
{
    struct traffic_spec spec = default_spec();
    struct traffic traffic;

    spec.n_flows = 3000;
    spec.frame_size = TRAFFIC_IMIX;
    spec.vary = TRAFFIC_VARY_ADDRESSES;
    traffic_init(&traffic, &spec, 2, 3, 7);
    for (unsigned i = 0; i < 6000; i++) {
        uint32_t flow = i % 3000;
        uint32_t size = i % 2 ? traffic_next(&traffic, frame) : traffic_build(&traffic, frame, HEADER_SIZE);

        assert_true(size == 64 || size == 570 || size == 1518);
        assert_int_equal(frame[16] << 8 | frame[17], size - 14);
        assert_int_equal(sum16(frame + 14, 20, 0), 0xffff);
        assert_int_equal(frame[34] << 8 | frame[35], 1024 + flow % 1024);
        assert_int_equal(frame[36] << 8 | frame[37], 1024 + flow / 1024);
        assert_int_equal(frame[38] << 8 | frame[39], size - 34);
        assert_int_equal((frame[26] << 24 | frame[27] << 16 | frame[28] << 8 | frame[29]),
                         0x0a000000 + (2 << 20) + flow);
    }
}

static void test_prefixes_vary(void **state)
{
    static const uint8_t base[] = {10, 48, 0, 0, 4, 0, 4, 0};
    struct traffic_spec spec = default_spec();
    struct traffic traffic;

    spec.n_flows = TRAFFIC_FLOWS_MAX;
    spec.frame_size = 64;
    spec.vary = TRAFFIC_VARY_PREFIXES;
    traffic_init(&traffic, &spec, 2, 3, 7);
    traffic_build(&traffic, frame, HEADER_SIZE);
    for (unsigned flow = 1; flow < 2000; flow++) {
        unsigned n_turned = 0;

        traffic_next(&traffic, frame);
        assert_int_equal(sum16(frame + 14, 20, 0), 0xffff);
        for (unsigned i = 0; i < sizeof base; i++)
            n_turned += (unsigned)__builtin_popcount(frame[30 + i] ^ base[i]);
        assert_int_equal(n_turned, 2);
        assert_int_equal((frame[30] << 24 | frame[31] << 16 | frame[32] << 8 | frame[33]) ^ 0x0a300000,
                         1 << flow % 24);
        assert_int_equal((uint32_t)frame[34] << 24 | frame[35] << 16 | frame[36] << 8 | frame[37],
                         0x04000400u ^ 1u << flow / 24 % 32);
    }
}

static void test_imix_shares(void **state)
{
    struct traffic_spec spec = default_spec();
    struct traffic traffic;
    unsigned n_small = 0, n_middle = 0, n_large = 0;

    spec.frame_size = TRAFFIC_IMIX;
    traffic_init(&traffic, &spec, 0, 1, 1);
    for (unsigned i = 0; i < 1200; i++) {
        uint32_t size = traffic_build(&traffic, frame, HEADER_SIZE);

        n_small += size == 64;
        n_middle += size == 570;
        n_large += size == 1518;
    }
    assert_int_equal(n_small, 700);
    assert_int_equal(n_middle, 400);
    assert_int_equal(n_large, 100);
}

/* An unfinished checksum is the sum of the pseudo header; finishing it makes it right. */
static void test_offloaded_checksums(void **state)
{
    for (unsigned tso = 0; tso < 2; tso++) {
        struct traffic_spec spec = default_spec();
        struct traffic_check check = {0};
        struct traffic traffic;
        unsigned field = tso ? 50 : 40;
        uint32_t size;
        uint16_t sum;

        spec.offload = tso ? TRAFFIC_OFFLOAD_TSO : TRAFFIC_OFFLOAD_CHECKSUM;
        spec.frame_size = 4001;
        spec.verify = true;
        traffic_init(&traffic, &spec, 0, 1, 1);
        assert_int_equal(traffic_check_init(&check, &traffic), 0);
        size = traffic_build(&traffic, frame, HEADER_SIZE);
        assert_int_equal(buffer[0], 1);
        traffic_verify_frame(&check, frame, size, true);
        assert_int_equal(check.n_damaged, 0);
        traffic_verify_frame(&check, frame, size, false); /* nobody finished it */
        assert_int_equal(check.n_damaged, 1);
        sum = (uint16_t)~sum16(frame + 34, size - 34, 0);
        frame[field] = (uint8_t)(sum >> 8);
        frame[field + 1] = (uint8_t)sum;
        traffic_verify_frame(&check, frame, size, false);
        assert_int_equal(check.n_damaged, 1);
        traffic_check_free(&check);
    }
}

static void test_check_counts_what_happened(void **state)
{
    struct traffic_spec spec = default_spec();
    struct traffic_check check = {0};
    struct traffic traffic, old;
    uint8_t copies[4][64];

    spec.n_flows = 2;
    traffic_init(&old, &spec, 0, 1, 6);
    traffic_init(&traffic, &spec, 0, 1, 7);
    assert_int_equal(traffic_check_init(&check, &traffic), 0);
    for (unsigned i = 0; i < 4; i++) {
        traffic_build(&traffic, frame, HEADER_SIZE);
        memcpy(copies[i], frame, 64);
    }
    /* Flows 0 1 0 1. Between flows any order is right. */
    traffic_check_frame(&check, copies[1], 64, 64);
    traffic_check_frame(&check, copies[0], 64, 64);
    assert_int_equal(check.n_reordered, 0);
    traffic_check_frame(&check, copies[3], 64, 64);
    traffic_check_frame(&check, copies[1], 64, 64);
    assert_int_equal(check.n_reordered, 1);
    traffic_check_frame(&check, copies[3], 64, 64);
    assert_int_equal(check.n_reordered, 2);
    assert_int_equal(check.n_received, 5);
    assert_int_equal(check.n_bytes, 5 * 64);

    traffic_check_frame(&check, copies[2], 63, 63);
    traffic_check_frame(&check, copies[2], 65, 65);
    assert_int_equal(check.n_damaged, 2);
    traffic_build(&old, frame, HEADER_SIZE);
    traffic_check_frame(&check, frame, 64, 64);
    assert_int_equal(check.n_stale, 1);

    traffic_set_time(&traffic, copies[2], 12345);
    assert_int_equal(traffic_check_frame(&check, copies[2], 64, 64), 12345);
    traffic_check_free(&check);
}

/* A changed bit anywhere is seen. */
static void test_gaps_are_those_of_flows(void **state)
{
    /* Flows 0 and 1 in turns; the time at which each frame comes. */
    static const uint64_t times[] = {1000, 1900, 2000, 2100, 2200, 5100};
    struct traffic_spec spec = default_spec();
    struct traffic_check check = {0};
    struct traffic traffic;

    spec.n_flows = 2;
    spec.flow_gaps = true;
    traffic_init(&traffic, &spec, 0, 1, 7);
    for (unsigned round = 0; round < 2; round++) {
        traffic.next_flow = 0;
        traffic.next_sequence = 1;
        assert_int_equal(traffic_check_init(&check, &traffic), 0);
        for (unsigned i = 0; i < 6; i++) {
            traffic_build(&traffic, frame, HEADER_SIZE);
            check.now = times[i] - round;
            traffic_check_frame(&check, frame, 64, 64);
        }
        assert_int_equal(check.n_received, 6);
        assert_int_equal(check.longest_gap, 3000);
    }
    traffic_check_free(&check);
}

static void test_verify_sees_each_bit(void **state)
{
    struct traffic_spec spec = default_spec();
    struct traffic_check check = {0};
    struct traffic traffic;
    uint32_t size;

    spec.frame_size = 301;
    spec.verify = true;
    traffic_init(&traffic, &spec, 0, 1, 7);
    assert_int_equal(traffic_check_init(&check, &traffic), 0);
    size = traffic_build(&traffic, frame, HEADER_SIZE);
    traffic_verify_frame(&check, frame, size, false);
    assert_int_equal(check.n_damaged, 0);
    for (unsigned bit = 0; bit < size * 8; bit++) {
        if (bit / 8 >= 53 && bit / 8 < 62)
            continue; /* the time */
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        check.n_damaged = 0;
        traffic_verify_frame(&check, frame, size, false);
        if (!check.n_damaged)
            fail_msg("changed bit %u of byte %u was not seen", bit % 8, bit / 8);
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    traffic_check_free(&check);
}

/* In a fresh payload each cache line is checked; a still one is not looked at. */
static void test_fresh_payload(void **state)
{
    for (unsigned combination = 0; combination < 4; combination++) {
        unsigned fresh = combination % 2, tso = combination / 2;
        struct traffic_spec spec = default_spec();
        struct traffic_check check = {0};
        struct traffic traffic;
        uint32_t size;

        spec.frame_size = 1518;
        spec.fresh = fresh;
        spec.offload = tso ? TRAFFIC_OFFLOAD_TSO : TRAFFIC_OFFLOAD_NONE;
        traffic_init(&traffic, &spec, 0, 1, 7);
        assert_int_equal(traffic_check_init(&check, &traffic), 0);
        traffic_build(&traffic, frame, HEADER_SIZE);
        size = traffic_next(&traffic, frame);
        traffic_set_time(&traffic, frame, 99);
        assert_int_equal(traffic_check_frame(&check, frame, size, size), 99);
        assert_int_equal(check.n_damaged, 0);
        for (uint32_t offset = tso ? 128 : 64; offset < 1518; offset += 64) {
            frame[offset] ^= 1;
            check.n_damaged = 0;
            traffic_check_frame(&check, frame, size, size);
            assert_int_equal(check.n_damaged, fresh);
            frame[offset] ^= 1;
        }
        traffic_check_free(&check);
    }
}

static void test_settings(void **state)
{
    struct round_spec spec;
    struct error error;
    char good[] = "seconds=0.25 rate=1e6 size=imix flows=1000 direction=backward window=0 verify=1 nap=1 "
                  "write_off=2.5";
    char unknown[] = "sedonds=1";
    char wrong[] = "size=63";
    char bare[] = "size";

    command_default_spec(&spec);
    assert_int_equal(command_parse_round(good, &spec, &error), 0);
    assert_true(spec.seconds == 0.25 && spec.rate == 1e6);
    assert_int_equal(spec.traffic.frame_size, TRAFFIC_IMIX);
    assert_int_equal(spec.traffic.n_flows, 1000);
    assert_int_equal(spec.direction, ROUND_BACKWARD);
    assert_int_equal(spec.window, 0);
    assert_true(spec.traffic.verify);
    assert_int_equal(spec.nap_us, 1);
    assert_true(spec.write_off_seconds == 2.5);
    assert_int_equal(command_parse_round(unknown, &spec, &error), EINVAL);
    assert_int_equal(command_parse_round(wrong, &spec, &error), EINVAL);
    assert_int_equal(command_parse_round(bare, &spec, &error), EINVAL);
    assert_int_equal(spec.traffic.n_flows, 1000);
}

/* The fake back end sends everything back to the one guest, so that whole rounds of its players can be checked. */
static void run_rounds(struct player players[], unsigned n_players, const char *path)
{
    static struct round_result result;
    struct round_spec spec;
    struct error error = {0};

    if (guest_connect(&players->guest, 5000, &error))
        fail_msg("%s: %s", path, error.text);
    command_default_spec(&spec);
    spec.seconds = 0.05;
    spec.drain_seconds = 5;
    spec.traffic.verify = true;
    spec.traffic.frame_size = TRAFFIC_IMIX;
    spec.traffic.n_flows = 10;
    spec.direction = n_players == 1 ? ROUND_FORWARD : ROUND_BOTH;
    spec.sample_every = 1;
    for (unsigned i = 0; i < 3; i++) {
        if (round_run(players, n_players, &spec, &result, &error))
            fail_msg("%s", error.text);
        assert_int_equal(result.n_lost, 0);
        assert_int_equal(result.n_reordered + result.n_damaged + result.n_stale, 0);
        assert_int_equal(result.latencies.n_values, result.n_sent);
        for (unsigned k = 0; k < n_players; k++) {
            assert_true(players[k].n_sent > 0);
            assert_int_equal(players[k].peer->check.n_received, players[k].n_sent);
        }
    }
}

/* 'players' share the one guest of the first of them; peers are set. */
static void check_rounds_through_a_back_end(struct player players[], unsigned n_players)
{
    static struct round_result result;
    char path[] = "/tmp/loadgen_test.XXXXXX";
    struct fake_backend_config backend_config = {
        .features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VHOST_USER_F_PROTOCOL_FEATURES),
        .n_queue_pairs = 1,
    };
    struct fake_backend backend;
    struct guest_config config;
    struct round_spec spec;
    struct error error = {0};
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    strcpy(backend_config.path, path);
    guest_config_default(&config, path);
    config.want_huge = false;
    config.receive.buffer_size = 256;
    for (unsigned i = 0; i < n_players; i++)
        assert_int_equal(player_create(&players[i], i, &config, i ? players : NULL, &error), 0);
    assert_int_equal(fake_backend_start(&backend, &backend_config), 0);
    run_rounds(players, n_players, path);
    fake_backend_stop(&backend);
    command_default_spec(&spec);
    assert_int_equal(round_run(players, n_players, &spec, &result, &error), ENOTCONN);
    for (unsigned i = 0; i < n_players; i++)
        player_destroy(&players[i]);
}

/* A guest that is its own peer. */
static void test_round_through_a_back_end(void **state)
{
    static struct player player[1];

    player->peer = player;
    check_rounds_through_a_back_end(player, 1);
}

/* Four players on one guest: each gets what its own peer has sent, and only that. */
static void test_players_share_a_guest(void **state)
{
    static struct player players[4];

    for (unsigned i = 0; i < 4; i++)
        players[i].peer = &players[i ^ 1];
    check_rounds_through_a_back_end(players, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram_quantiles),
        cmocka_unit_test(test_small_values_are_exact),
        cmocka_unit_test(test_frames_are_what_the_header_says),
        cmocka_unit_test(test_prefixes_vary),
        cmocka_unit_test(test_imix_shares),
        cmocka_unit_test(test_offloaded_checksums),
        cmocka_unit_test(test_check_counts_what_happened),
        cmocka_unit_test(test_gaps_are_those_of_flows),
        cmocka_unit_test(test_verify_sees_each_bit),
        cmocka_unit_test(test_fresh_payload),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_round_through_a_back_end),
        cmocka_unit_test(test_players_share_a_guest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
