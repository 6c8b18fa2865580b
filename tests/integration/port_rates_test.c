/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Limits of ports' rates, as guests notice them: two guests on a real fast path that send as fast as they may.
 *
 * The bucket lets nobody have more than the rate, and that is so whatever the machine is busy with. That nobody
 * gets less holds as long as worker and guests get a CPU in time; so of a few tries the best one counts.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>
#include <sched.h>

#include "fastpath/segment.h"
#include "tests/integration/guest_pair.h"

#define FRAME_SIZE 1514
#define WINDOW 30 /* frames under way at most: a sender has 32 buffers */
#define TRIES 20

static struct guest_pair pair;

/* One direction: frames with sequence numbers. */
struct stream {
    struct guest *from, *to;
    uint64_t n_sent, n_received;
};

static struct stream forth, back;

static uint64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void connect_pair(const struct ability *ability)
{
    guest_pair_connect(&pair, &common_fast_path, &layouts[LAYOUT_SPLIT], ability, &layouts[LAYOUT_SPLIT],
                       ability, 9000);
    fast_path_add_rule(pair.fast_path, "in=sender actions=output:receiver");
    fast_path_add_rule(pair.fast_path, "in=receiver actions=output:sender");
    forth = (struct stream){.from = &pair.sender, .to = &pair.receiver};
    back = (struct stream){.from = &pair.receiver, .to = &pair.sender};
}

static void limit(const char *port, const char *what, uint64_t value)
{
    fast_path_set_limit(pair.fast_path, port, what, value);
}

/* Sends frames while WINDOW allows. */
static void send_some(struct stream *stream)
{
    static const uint8_t header[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};
    struct virtqueue *queue = guest_send_queue(stream->from, 0);
    struct virtqueue_buffer buffer;

    while (stream->n_sent - stream->n_received < WINDOW && virtqueue_take(queue, &buffer, 1)) {
        memset(buffer.start, 0, queue->header_size);
        memcpy(buffer.start + queue->header_size, header, sizeof header);
        memcpy(buffer.start + queue->header_size + 16, &stream->n_sent, sizeof stream->n_sent);
        buffer.size = queue->header_size + FRAME_SIZE;
        virtqueue_post(queue, &buffer, 1);
        stream->n_sent++;
    }
}

/* Takes what has come. It is in order; 'lossless': and all there. */
static void receive_some(struct stream *stream, bool lossless)
{
    struct virtqueue *queue = guest_receive_queue(stream->to, 0);
    struct virtqueue_buffer buffer;

    while (virtqueue_take(queue, &buffer, 1)) {
        uint64_t sequence;

        assert_int_equal(buffer.size, queue->header_size + FRAME_SIZE);
        memcpy(&sequence, buffer.start + queue->header_size + 16, sizeof sequence);
        assert_true(lossless ? sequence == stream->n_received : sequence >= stream->n_received);
        stream->n_received = sequence + 1;
        virtqueue_post(queue, &buffer, 1);
    }
}

static void pump(struct stream *stream)
{
    send_some(stream);
    receive_some(stream, true);
    sched_yield();
}

/* Sends until 'n' more frames have come; returns how long that took. */
static uint64_t pump_frames(struct stream *stream, uint64_t n)
{
    uint64_t end = stream->n_received + n, begin = now_ns();

    while (stream->n_received < end)
        pump(stream);
    return now_ns() - begin;
}

static void receive_rest(struct stream *stream)
{
    uint64_t deadline = now_ns() + UINT64_C(60000000000);

    while (stream->n_received < stream->n_sent && now_ns() < deadline)
        receive_some(stream, true);
    assert_int_equal(stream->n_received, stream->n_sent);
}

/* Whether the two differ by at most a hundredth. */
static bool is_near(uint64_t ns, uint64_t expected)
{
    return ns > expected - expected / 100 && ns < expected + expected / 100;
}

/* A second's worth of frames takes a second, once the bucket is empty. */
static void check_rate(uint64_t rate)
{
    uint64_t n = rate / 8 / FRAME_SIZE, expected = n * FRAME_SIZE * 8 * 1000000000 / rate, begin, first, ns = 0;
    const uint64_t burst = rate / 8 / 20; /* 50 ms: the test may have to wait for a CPU so long */

    limit("sender", "burst", burst);
    limit("sender", "rate", rate);
    begin = now_ns();
    first = forth.n_received;
    pump_frames(&forth, burst / FRAME_SIZE + WINDOW);
    for (unsigned i = 0; i < TRIES && !is_near(ns, expected); i++)
        ns = pump_frames(&forth, n);
    if (!is_near(ns, expected))
        fail_msg("%lu frames took %lu us, not %lu", (unsigned long)n, (unsigned long)ns / 1000,
                 (unsigned long)expected / 1000);
    /* Never more, from the beginning on, than the rate, the bucket, and what may be a debt. */
    ns = now_ns() - begin;
    assert_true((forth.n_received - first) * FRAME_SIZE <=
                (rate / 8) * (ns / 1000) / 1000000 + burst + 32 * FRAME_SIZE);
    receive_rest(&forth);
    limit("sender", "rate", 0);
}

static void a_guest_has_its_rate_and_loses_nothing(void **state)
{
    connect_pair(&abilities[ABILITY_NOTHING]);
    check_rate(20000000);
    check_rate(200000000);
    assert_true(fast_path_counter(pair.fast_path, "sender", "holds") > 100);
    assert_int_equal(fast_path_drops(pair.fast_path, "sender", NULL), 0);
    assert_int_equal(fast_path_drops(pair.fast_path, "receiver", NULL), 0);
    guest_pair_disconnect(&pair);
}

/* Segmentation-offload packets count as what they would be on a wire. */
static void packets_to_be_segmented_count_as_segments(void **state)
{
    struct frame_spec spec = {.version = 4, .protocol = 6, .payload = 40000};
    const uint64_t rate = 100000000, wire = 40000 + 400 * (14 + 20 + 20);
    const uint64_t n = rate / 8 / wire, expected = n * wire * 8 * 1000000000 / rate;
    uint64_t ns = 0;

    connect_pair(&abilities[ABILITY_EVERYTHING]);
    assert_true(guest_pair_build(&pair, spec, VIRTIO_NET_HDR_GSO_TCPV4, 100));
    limit("sender", "burst", 200000);
    limit("sender", "rate", rate);
    for (unsigned i = 0; i < TRIES && !is_near(ns, expected); i++) {
        uint64_t begin, sent = 0, received = 0;
        struct virtio_net_hdr header;

        /* The bucket is emptied by the first eight. */
        for (begin = now_ns(); received < n + 8; received++) {
            while (sent < n + 8 && sent < received + 8) {
                guest_pair_send(&pair);
                sent++;
            }
            assert_int_equal(guest_pair_receive(&pair, &header), pair.sent.size);
            if (received == 7)
                begin = now_ns();
        }
        ns = now_ns() - begin;
    }
    if (!is_near(ns, expected))
        fail_msg("%lu packets took %lu us, not %lu", (unsigned long)n, (unsigned long)ns / 1000,
                 (unsigned long)expected / 1000);
    guest_pair_disconnect(&pair);
}

/* Both ports are on one worker. */
static void a_held_port_does_not_hold_up_another(void **state)
{
    uint64_t begin, ns;

    connect_pair(&abilities[ABILITY_NOTHING]);
    limit("sender", "burst", 3000);
    limit("sender", "rate", 1000000);
    begin = now_ns();
    while (back.n_received < 20000) {
        pump(&forth);
        pump(&back);
    }
    ns = now_ns() - begin;
    assert_true(forth.n_received * FRAME_SIZE <= ns / 8000 + 3000 + 32 * FRAME_SIZE);
    assert_true(back.n_received > 10 * forth.n_received);
    limit("sender", "rate", 0);
    receive_rest(&forth);
    receive_rest(&back);
    assert_int_equal(fast_path_drops(pair.fast_path, "receiver", NULL), 0);
    guest_pair_disconnect(&pair);
}

static json_t *ask_worker(void)
{
    struct error error;
    char *text = client_query(pair.fast_path->client, "perf/show", NULL, 0, 0, &error);
    json_t *perf = text ? json_loads(text, 0, NULL) : NULL;

    if (!perf)
        fail_msg("%s", error.text);
    free(text);
    return perf;
}

static double cycles(const json_t *perf, const char *name)
{
    return json_number_value(json_object_get(json_array_get(json_object_get(perf, "workers"), 0), name));
}

static void the_worker_sleeps_while_all_are_held(void **state)
{
    json_t *before, *after;
    double asleep, awake;

    connect_pair(&abilities[ABILITY_NOTHING]);
    limit("sender", "burst", 3000);
    limit("sender", "rate", 10000000);
    pump_frames(&forth, 50);
    before = ask_worker();
    pump_frames(&forth, 400);
    after = ask_worker();
    asleep = cycles(after, "sleep_cycles") - cycles(before, "sleep_cycles");
    awake = cycles(after, "busy_cycles") + cycles(after, "idle_cycles") - cycles(before, "busy_cycles") -
            cycles(before, "idle_cycles");
    json_decref(before);
    json_decref(after);
    if (awake > asleep / 4)
        fail_msg("of %.0f cycles the worker was awake for %.0f", asleep + awake, awake);
    guest_pair_disconnect(&pair);
}

static void a_port_that_is_held_for_long_goes_on_when_its_limit_is_lifted(void **state)
{
    uint64_t begin;

    connect_pair(&abilities[ABILITY_NOTHING]);
    limit("sender", "burst", 1);
    limit("sender", "rate", 1000);
    /* 12 seconds for a frame. */
    pump_frames(&forth, 1);
    for (begin = now_ns(); now_ns() - begin < 20000000;)
        pump(&forth);
    assert_int_equal(forth.n_received, 1);
    limit("sender", "rate", 0);
    begin = now_ns();
    receive_rest(&forth);
    assert_true(now_ns() - begin < UINT64_C(5000000000));
    guest_pair_disconnect(&pair);
}

static void what_goes_out_too_fast_is_dropped_and_counted(void **state)
{
    const uint64_t rate = 20000000, burst = 20000;
    uint64_t begin, ns, n_received = 0, n_dropped;

    connect_pair(&abilities[ABILITY_NOTHING]);
    limit("receiver", "burst_out", burst);
    limit("receiver", "rate_out", rate);
    for (begin = now_ns(); n_received < 500 || forth.n_sent < 5000;) {
        struct virtqueue *queue = guest_receive_queue(&pair.receiver, 0);
        struct virtqueue_buffer buffer;

        /* Nobody tells the sender what was dropped. */
        forth.n_received = forth.n_sent;
        send_some(&forth);
        for (; virtqueue_take(queue, &buffer, 1); n_received++)
            virtqueue_post(queue, &buffer, 1);
        sched_yield();
    }
    limit("receiver", "rate_out", 0);
    ns = now_ns() - begin;
    n_dropped = fast_path_drops(pair.fast_path, "receiver", "tx-rate");
    assert_true(n_dropped > 0);
    assert_true(n_received * FRAME_SIZE <= rate / 8 * (ns / 1000) / 1000000 + burst + FRAME_SIZE);
    assert_true(n_received + n_dropped <= forth.n_sent);
    assert_int_equal(fast_path_drops(pair.fast_path, "receiver", NULL), n_dropped);
    guest_pair_disconnect(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_path_starts),
        cmocka_unit_test(a_guest_has_its_rate_and_loses_nothing),
        cmocka_unit_test(packets_to_be_segmented_count_as_segments),
        cmocka_unit_test(a_held_port_does_not_hold_up_another),
        cmocka_unit_test(the_worker_sleeps_while_all_are_held),
        cmocka_unit_test(a_port_that_is_held_for_long_goes_on_when_its_limit_is_lifted),
        cmocka_unit_test(what_goes_out_too_fast_is_dropped_and_counted),
        cmocka_unit_test(fast_path_ends_without_a_warning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
