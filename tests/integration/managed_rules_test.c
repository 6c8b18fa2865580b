/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A vSwitch attaches to a real fast path and dies, its rules move by modes and rates, and frames flow meanwhile: none is lost,
 * all are in order, and each is counted on one of the two ways.
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

#include "proto/rule_text.h"
#include "proto/shared_counters.h"
#include "tests/integration/guest_pair.h"
#include "tests/integration/vswitch_peer.h"

#define SLOT 7
#define WINDOW 20 /* frames under way at most: the sender has 32 buffers */
#define FRAME_SIZE 100
#define WAIT_S 60

static struct guest_pair pair;

static struct {
    pthread_t thread;
    struct client *client;
    struct message_attached session;
    struct shared_counters counters;
    struct vswitch_peer from, to; /* the representors of sender and receiver */
    _Atomic bool stop;
    _Atomic uint64_t n_passed; /* frames */
} vswitch;

static uint64_t n_sent, n_received;

static void *pass_frames(void *argument)
{
    while (!vswitch.stop) {
        struct packet_ring_frame frames[32];
        uint16_t n = vswitch_peer_receive(&vswitch.from, 0, frames, 32);

        for (uint16_t i = 0; i < n; i++)
            while (!vswitch_peer_send(&vswitch.to, 0, &frames[i]))
                sched_yield();
        vswitch.n_passed += n;
        vswitch_peer_release(&vswitch.from, 0);
        vswitch_peer_publish(&vswitch.to);
        if (!n)
            sched_yield();
    }
    return NULL;
}

static void must(int code, const struct error *error)
{
    if (code)
        fail_msg("%s", error->text);
}

static void attach(void)
{
    struct message reply;
    struct error error;
    char path[108];

    snprintf(path, sizeof path, "%s/control", pair.fast_path->directory);
    memset(&vswitch, 0, sizeof vswitch);
    vswitch.client = client_connect(path, "managed_rules_test", &error);
    must(!vswitch.client, &error);
    message_put_attach(client_begin(vswitch.client, MESSAGE_ATTACH), &(struct message_attach){64, "test"});
    must(client_call(vswitch.client, &reply, &error), &error);
    assert_true(message_get_attached(&reply.body, &vswitch.session));
    must(shared_counters_map(&vswitch.counters, reply.fds[0], &error), &error);
    message_close_fds(&reply);
    must(vswitch_peer_open(&vswitch.from, vswitch.client, "sender", &error), &error);
    must(vswitch_peer_open(&vswitch.to, vswitch.client, "receiver", &error), &error);
    assert_int_equal(pthread_create(&vswitch.thread, NULL, pass_frames, NULL), 0);
}

/* The same as its being killed: its connection ends. */
static void die(void)
{
    vswitch.stop = true;
    pthread_join(vswitch.thread, NULL);
    client_close(vswitch.client);
    vswitch_peer_close(&vswitch.from);
    vswitch_peer_close(&vswitch.to);
    shared_counters_close(&vswitch.counters);
}

static uint64_t rule_id(void)
{
    return message_managed_id(vswitch.session.generation, 0, SLOT);
}

static int find_port(const char *name, void *argument)
{
    struct message_port_add port = {.kind = MESSAGE_PORT_EXISTING};
    struct message reply;
    struct message_ok ok;
    struct error error;

    snprintf(port.name, sizeof port.name, "%s", name);
    message_put_port_add(client_begin(vswitch.client, MESSAGE_PORT_ADD), &port);
    must(client_call(vswitch.client, &reply, &error), &error);
    assert_true(message_get_ok(&reply.body, &ok));
    return (int)ok.value;
}

static void add_rule(void)
{
    static const struct rule_text_ports ports = {find_port, NULL};
    static struct wire_rule rule;
    struct wire_writer *body;
    struct error error;
    uint8_t *place;

    must(rule_parse("in=sender actions=output:receiver", RULE_TEXT_WHOLE, &ports, &rule, &error), &error);
    rule.id = rule_id();
    rule.flags = WIRE_RULE_MANAGED;
    body = client_begin(vswitch.client, MESSAGE_RULE_ADD);
    place = message_begin_items(body);
    assert_true(wire_put_rule(body, &rule));
    message_end_items(place, 1);
    must(client_call(vswitch.client, NULL, &error), &error);
}

static void remove_rule(void)
{
    struct wire_writer *body = client_begin(vswitch.client, MESSAGE_RULE_REMOVE);
    uint8_t *place = message_begin_items(body);
    struct error error;

    wire_put_u64(body, rule_id());
    message_end_items(place, 1);
    must(client_call(vswitch.client, NULL, &error), &error);
}

static void change(const char *what, unsigned n, const struct message_argument *arguments)
{
    struct message_query query = {.n_arguments = (uint16_t)n};
    struct error error;

    strcpy(query.question, what);
    memcpy(query.arguments, arguments, n * sizeof *arguments);
    message_put_query(client_begin(pair.fast_path->client, MESSAGE_CHANGE), &query);
    must(client_call(pair.fast_path->client, NULL, &error), &error);
}

static void set_mode(const char *mode)
{
    change("offload/set", 2,
           (struct message_argument[]){{"scope", "port:sender", 11}, {"mode", mode, (uint16_t)strlen(mode)}});
}

/* A member of the only flow there is, into 'text'; "" when there is none. */
static const char *flow(const char *name, char text[32])
{
    struct error error;
    char *answer = client_query(pair.fast_path->client, "flows/list", NULL, 0, 0, &error);
    json_t *flows = answer ? json_loads(answer, 0, NULL) : NULL;
    const char *value;

    assert_non_null(flows);
    value = json_string_value(json_object_get(json_array_get(flows, 0), name));
    snprintf(text, 32, "%s", value ? value : "");
    json_decref(flows);
    free(answer);
    return text;
}

/* Frames with sequence numbers. */

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
    time_t deadline = time(NULL) + WAIT_S;

    while (n_received < n_sent && time(NULL) < deadline)
        receive_all();
    assert_int_equal(n_received, n_sent);
}

static void pump_until(const char *name, const char *value)
{
    time_t deadline = time(NULL) + WAIT_S;
    char text[32];

    while (strcmp(flow(name, text), value) != 0 && time(NULL) < deadline)
        pump(5);
    assert_string_equal(text, value);
}

static void await_without_frames(const char *name, const char *value)
{
    time_t deadline = time(NULL) + WAIT_S;
    char text[32];

    while (strcmp(flow(name, text), value) != 0 && time(NULL) < deadline)
        sched_yield();
    assert_string_equal(text, value);
}

static uint64_t counted(void)
{
    return atomic_load(&vswitch.counters.slots[SLOT].packets);
}

static int connect_guests(void **state)
{
    guest_pair_connect(&pair, &common_fast_path, &layouts[LAYOUT_SPLIT], &abilities[ABILITY_NOTHING],
                       &layouts[LAYOUT_SPLIT], &abilities[ABILITY_NOTHING], 9000);
    n_sent = n_received = 0;
    attach();
    return 0;
}

static int disconnect_guests(void **state)
{
    die();
    set_mode("inherit");
    guest_pair_disconnect(&pair);
    return 0;
}

static void rules_move_and_frames_are_counted_once(void **state)
{
    char text[32];

    pump(100);
    receive_rest();
    add_rule();
    pump_until("state", "offloaded");
    for (unsigned i = 0; i < 20; i++) {
        pump(100);
        set_mode("off");
        assert_string_equal(flow("reason", text), "mode-off");
        pump(100);
        set_mode("on");
        pump_until("state", "offloaded");
    }
    pump(100);
    receive_rest();
    remove_rule();
    /* What the vSwitch passed on, and what the fast path did. */
    assert_int_equal(counted() + vswitch.n_passed, n_sent);
    assert_true(counted() > 2000 && vswitch.n_passed > 2000);
    assert_int_equal(atomic_load(&vswitch.counters.slots[SLOT].bytes), counted() * FRAME_SIZE);
}

static void busy_rules_are_offloaded_and_idle_ones_come_back(void **state)
{
    change("offload/set", 5,
           (struct message_argument[]){{"scope", "port:sender", 11},
                                       {"mode", "auto", 4},
                                       {"promote", "20", 2},
                                       {"demote", "10", 2},
                                       {"hold", "1000", 4}});
    add_rule();
    assert_string_equal(flow("reason", (char[32]){0}), "below-promote");
    pump_until("state", "offloaded");
    receive_rest();
    await_without_frames("reason", "below-promote");
    pump(10);
    receive_rest();
    remove_rule();
    assert_int_equal(counted() + vswitch.n_passed, n_sent);
}

static void offloaded_rules_survive_their_vswitch(void **state)
{
    uint16_t generation = vswitch.session.generation;
    char id[32], text[32];

    add_rule();
    pump_until("state", "offloaded");
    receive_rest();
    die();
    for (unsigned i = 0; i < 3; i++) {
        pump(1000);
        attach();
        assert_int_not_equal(vswitch.session.generation, generation);
        generation = vswitch.session.generation;
        flow("id", id);
        add_rule();
        assert_string_not_equal(flow("id", text), id);
        assert_string_equal(flow("state", text), "offloaded");
        pump(100);
        receive_rest();
        if (i < 2)
            die();
    }
    /* Nothing of this went its way. */
    assert_int_equal(vswitch.n_passed, 0);
    remove_rule();
    assert_true(counted() >= 100 && counted() <= 100 + WINDOW);
}

static void orphans_go_when_their_time_is_over(void **state)
{
    add_rule();
    pump_until("state", "offloaded");
    receive_rest();
    die();
    change("offload/hold", 1, (struct message_argument[]){{"seconds", "0", 1}});
    await_without_frames("id", "");
    change("offload/hold", 1, (struct message_argument[]){{"seconds", "30", 2}});
    send_one();
    fast_path_await_drops(&common_fast_path, "sender", "no-rule", 1);
    attach();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, connect_guests, disconnect_guests)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_path_starts),
        T(rules_move_and_frames_are_counted_once),
        T(busy_rules_are_offloaded_and_idle_ones_come_back),
        T(offloaded_rules_survive_their_vswitch),
        T(orphans_go_when_their_time_is_over),
        cmocka_unit_test(fast_path_ends_without_a_warning),
    };

    return cmocka_run_group_tests_name("managed_rules", tests, NULL, NULL);
}
