/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Rules of a real fast path move while frames flow, a real control socket says when, and a thread plays the vSwitch,
 * which passes on what comes from the sender to the receiver.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "tests/integration/guest_pair.h"
#include "tests/integration/vswitch_peer.h"

#define RULE "7"
#define WINDOW 20 /* frames under way at most: the sender has 32 buffers */
#define FRAME_SIZE 100

static struct guest_pair pair;

/* The vSwitch. */
static struct {
    pthread_t thread;
    struct client *client;
    struct vswitch_peer from, to; /* the representors of sender and receiver */
    _Atomic bool stop, hang;
    _Atomic bool hanging;
    _Atomic uint64_t n_passed, n_open; /* frames; those that asked for something */
} vswitch;

static void *pass_frames(void *argument)
{
    while (!vswitch.stop) {
        struct packet_ring_frame frames[32];
        uint16_t n = 0;

        if (vswitch.hang) {
            vswitch.hanging = true;
            sched_yield();
            continue;
        }
        vswitch.hanging = false;
        n = vswitch_peer_receive(&vswitch.from, 0, frames, 32);
        for (uint16_t i = 0; i < n; i++) {
            vswitch.n_open += frames[i].offload.flags || frames[i].offload.gso_type;
            while (!vswitch_peer_send(&vswitch.to, 0, &frames[i]))
                sched_yield();
        }
        vswitch.n_passed += n;
        vswitch_peer_release(&vswitch.from, 0);
        vswitch_peer_publish(&vswitch.to);
        if (!n)
            sched_yield();
    }
    return NULL;
}

static void vswitch_start(void)
{
    char path[108];
    struct error error;

    snprintf(path, sizeof path, "%s/control", pair.fast_path->directory);
    memset(&vswitch, 0, sizeof vswitch);
    vswitch.client = client_connect(path, "rule_move_test", &error);
    if (!vswitch.client || vswitch_peer_open(&vswitch.from, vswitch.client, "sender", &error) ||
        vswitch_peer_open(&vswitch.to, vswitch.client, "receiver", &error))
        fail_msg("%s", error.text);
    assert_int_equal(pthread_create(&vswitch.thread, NULL, pass_frames, NULL), 0);
}

static void vswitch_stop(void)
{
    vswitch.stop = true;
    pthread_join(vswitch.thread, NULL);
    vswitch_peer_close(&vswitch.from);
    vswitch_peer_close(&vswitch.to);
    client_close(vswitch.client);
}

/* Frames with sequence numbers. */
static uint64_t n_sent, n_received;

static void send_one(void)
{
    static const uint8_t header[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};
    struct virtqueue *queue = guest_send_queue(&pair.sender, 0);
    struct virtqueue_buffer buffer;

    test_guest_take(queue, &buffer);
    memset(buffer.start, 0, queue->header_size + FRAME_SIZE);
    memcpy(buffer.start + queue->header_size, header, sizeof header);
    memcpy(buffer.start + queue->header_size + 16, &n_sent, sizeof n_sent);
    buffer.size = queue->header_size + FRAME_SIZE;
    virtqueue_post(queue, &buffer, 1);
    n_sent++;
}

/* Takes what has come; it has to be the next frames. */
static void receive_all(void)
{
    struct virtqueue *queue = guest_receive_queue(&pair.receiver, 0);

    while (virtqueue_has_used(queue)) {
        struct virtqueue_buffer buffer;
        uint64_t sequence;

        assert_int_equal(virtqueue_take(queue, &buffer, 1), 1);
        assert_int_equal(buffer.size, queue->header_size + FRAME_SIZE);
        memcpy(&sequence, buffer.start + queue->header_size + 16, sizeof sequence);
        assert_int_equal(sequence, n_received);
        n_received++;
        virtqueue_post(queue, &buffer, 1);
    }
}

static void pump(unsigned n)
{
    for (uint64_t end = n_sent + n; n_sent < end;) {
        receive_all();
        if (n_sent - n_received < WINDOW)
            send_one();
        else
            sched_yield();
    }
}

static void receive_rest(void)
{
    time_t deadline = time(NULL) + 10;

    while (n_received < n_sent && time(NULL) < deadline)
        receive_all();
    assert_int_equal(n_received, n_sent);
}

/* What the control socket is told and asked. */

static void set_mode(const char *mode)
{
    struct message_query change = {
        .question = "offload/set",
        .n_arguments = 2,
        .arguments = {{"scope", "rule:" RULE, 5 + sizeof RULE - 1}, {"mode", mode, (uint16_t)strlen(mode)}}};
    struct error error;

    message_put_query(client_begin(pair.fast_path->client, MESSAGE_CHANGE), &change);
    if (client_call(pair.fast_path->client, NULL, &error))
        fail_msg("%s", error.text);
}

static json_t *ask(const char *question, bool about_rule)
{
    const struct message_argument id = {"id", RULE, sizeof RULE - 1};
    struct error error;
    char *text = client_query(pair.fast_path->client, question, &id, about_rule, 0, &error);
    json_t *json = text ? json_loads(text, 0, NULL) : NULL;

    if (!json)
        fail_msg("%s: %s", question, error.text);
    free(text);
    return json;
}

static int64_t number(const char *question, const char *name)
{
    json_t *json = ask(question, !strcmp(question, "rule/show"));
    int64_t value = json_integer_value(json_object_get(json, name));

    json_decref(json);
    return value;
}

static bool state_is(const char *state)
{
    json_t *json = ask("rule/show", true);
    bool is = !strcmp(json_string_value(json_object_get(json, "state")), state);

    json_decref(json);
    return is;
}

/* Sends on until the rule is out of the state "moving". */
static void pump_while_moving(void)
{
    time_t deadline = time(NULL) + 10;

    do
        pump(5);
    while (state_is("moving") && time(NULL) < deadline);
    assert_false(state_is("moving"));
}

/* From here on the vSwitch does nothing, and has a frame of the rule. */
static void leave_one_with_vswitch(void)
{
    vswitch.hang = true;
    while (!vswitch.hanging)
        sched_yield();
    send_one();
    while (number("rule/show", "onload_packets") < (int64_t)n_sent)
        sched_yield();
}

static void connect(const struct ability *ability)
{
    guest_pair_connect(&pair, &common_fast_path, &layouts[LAYOUT_SPLIT], ability, &layouts[LAYOUT_PACKED],
                       ability, 1500);
    fast_path_add_rule(&common_fast_path, "in=sender id=" RULE " onload actions=output:receiver");
    n_sent = n_received = 0;
    vswitch_start();
}

static void disconnect(void)
{
    assert_int_equal(fast_path_drops(pair.fast_path, "sender", NULL), 0);
    assert_int_equal(fast_path_drops(pair.fast_path, "receiver", NULL), 0);
    guest_pair_disconnect(&pair);
}

static void rule_moves_while_its_flow_runs(void **state)
{
    unsigned n_offloaded = 0;
    int64_t n_onload;

    connect(&abilities[ABILITY_NOTHING]);
    pump(100);
    for (unsigned i = 0; i < 200; i++) {
        set_mode("on");
        pump_while_moving();
        n_offloaded += state_is("offloaded");
        pump(50);
        set_mode("off");
        assert_true(state_is("onload"));
        pump(50);
    }
    receive_rest();
    n_onload = number("rule/show", "onload_packets");
    assert_int_equal(number("rule/show", "packets"), n_sent);
    assert_int_equal(n_onload, vswitch.n_passed);
    /* Where cores are shared the vSwitch misses deadlines; not always. */
    assert_true(n_offloaded > 100);
    assert_true(n_onload < (int64_t)n_sent);
    assert_int_equal(number("moves/show", "done"), n_offloaded);
    assert_int_equal(number("moves/show", "deadline"), 200 - n_offloaded);
    vswitch_stop();
    disconnect();
}

static void vswitch_that_hangs_keeps_its_rules(void **state)
{
    int64_t n_missed;

    connect(&abilities[ABILITY_NOTHING]);
    n_missed = number("moves/show", "deadline");
    pump(10);
    receive_rest();
    leave_one_with_vswitch();
    set_mode("on");
    while (state_is("moving"))
        sched_yield();
    assert_true(state_is("onload"));
    assert_int_equal(number("moves/show", "deadline"), n_missed + 1);
    vswitch.hang = false;
    receive_rest();
    vswitch_stop();
    disconnect();
}

/* Its packets under way die with it; the rule does not wait for them. */
static void vswitch_dies_while_a_rule_moves(void **state)
{
    connect(&abilities[ABILITY_NOTHING]);
    pump(10);
    receive_rest();
    leave_one_with_vswitch();
    set_mode("on");
    vswitch_stop();
    while (state_is("moving"))
        sched_yield();
    if (state_is("onload")) {
        set_mode("on");
        while (state_is("moving"))
            sched_yield();
    }
    assert_true(state_is("offloaded"));
    n_received = n_sent;
    pump(100);
    receive_rest();
    disconnect();
}

static void ports_are_removed_while_their_rules_move(void **state)
{
    for (unsigned i = 0; i < 10; i++) {
        connect(&abilities[ABILITY_NOTHING]);
        pump(10);
        receive_rest();
        leave_one_with_vswitch();
        set_mode("on");
        if (i % 2)
            fast_path_remove_port(pair.fast_path, "receiver");
        else
            fast_path_remove_port(pair.fast_path, "sender");
        assert_int_equal(number("moves/show", "under_way"), 0);
        vswitch_stop();
        fast_path_remove_port(pair.fast_path, i % 2 ? "sender" : "receiver");
        guest_destroy(&pair.sender);
        guest_destroy(&pair.receiver);
    }
}

/* Guests leave segmentation and checksums to the device; the vSwitch gets frames without any wish, in order. */
static void vswitch_gets_finished_frames(void **state)
{
    const struct frame_spec spec = {.version = 4, .protocol = 6, .payload = 6000, .seed = 1};
    const unsigned n_segments = (6000 + 1447) / 1448;

    connect(&abilities[ABILITY_EVERYTHING]);
    for (unsigned round = 0; round < 10; round++) {
        size_t offset = 0;

        assert_true(guest_pair_build(&pair, spec, VIRTIO_NET_HDR_GSO_TCPV4, 1448));
        guest_pair_send(&pair);
        for (unsigned i = 0; i < n_segments; i++) {
            struct virtio_net_hdr header;
            size_t size = guest_pair_receive(&pair, &header), payload = size - pair.sent.header_size;

            assert_int_equal(header.flags | header.gso_type, 0);
            assert_null(frame_check(pair.received, size));
            assert_memory_equal(pair.received + pair.sent.header_size,
                                pair.sent.bytes + pair.sent.header_size + offset, payload);
            offset += payload;
        }
        assert_int_equal(offset, spec.payload);
    }
    assert_int_equal(vswitch.n_open, 0);
    assert_int_equal(vswitch.n_passed, 10 * n_segments);
    vswitch_stop();
    disconnect();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_path_starts),
        cmocka_unit_test(rule_moves_while_its_flow_runs),
        cmocka_unit_test(vswitch_that_hangs_keeps_its_rules),
        cmocka_unit_test(vswitch_dies_while_a_rule_moves),
        cmocka_unit_test(ports_are_removed_while_their_rules_move),
        cmocka_unit_test(vswitch_gets_finished_frames),
        cmocka_unit_test(fast_path_ends_without_a_warning),
    };

    return cmocka_run_group_tests_name("rule_move", tests, NULL, NULL);
}
