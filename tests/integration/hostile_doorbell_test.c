/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Peers of a running fast path that make its threads block when they ring: the
 * open file description of an eventfd is shared, and so is its O_NONBLOCK. Guests, the
 * vSwitch's side of a representor, and a client that captures.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/integration/attack.h"
#include "tests/integration/test_guest.h"
#include "tests/integration/vswitch_peer.h"

#define REASON "its call eventfd blocks"
#define WAIT_S 60
#define CHANCE_S 5
#define REFUSED_MS 300

/* Fills the counter, so that one ring more has to wait, and lets it wait. */
static void make_blocking(int fd)
{
    eventfd_t n;

    assert_int_equal(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK), 0);
    while (eventfd_write(fd, UINT64_MAX - 1)) {
        assert_int_equal(errno, EAGAIN);
        eventfd_read(fd, &n);
    }
    assert_int_equal(fcntl(fd, F_SETFL, O_RDWR), 0);
}

/* Sends a frame if there is a buffer for it. */
static void send_frame(void)
{
    struct virtqueue *queue = guest_send_queue(&attacker, 0);
    struct virtqueue_buffer buffer;

    if (!virtqueue_take(queue, &buffer, 1))
        return;
    buffer.size = queue->header_size + 64u;
    memset(buffer.start, 0, queue->header_size);
    memset(buffer.start + queue->header_size, 2, 64);
    virtqueue_post(queue, &buffer, 1);
}

/* An attacker that wants to be notified of everything. */
static void begin(void)
{
    struct guest_config config;

    arena_config(&arena, &config);
    attack_begin(&config);
    for (unsigned i = 0; i < 2; i++)
        virtqueue_want_call(&attacker.queues[i], true);
}

static void add_port_again(void)
{
    fast_path_remove_port(&arena.fast_path, "attacker");
    fast_path_add_listening_port(&arena.fast_path, "attacker", 2);
}

/* The port is stopped and lets nobody in, until it is made anew. */
static void end(void)
{
    struct guest_config config;
    struct error error = {0};

    fast_path_await_reason(&arena.fast_path, "attacker", REASON);
    arena_await_rounds(&arena, 10);
    arena_config(&arena, &config);
    for (unsigned i = 0; i < 3; i++) {
        guest_destroy(&attacker);
        test_guest_create(&attacker, &config);
        assert_int_not_equal(guest_connect(&attacker, REFUSED_MS, &error), 0);
        fast_path_await_reason(&arena.fast_path, "attacker", REASON);
    }
    guest_destroy(&attacker);
    add_port_again();
    fast_path_add_rule(&arena.fast_path, "in=attacker actions=output:attacker");
    arena_check(&arena);
}

/* Each of a guest's rings alone: the one that it receives from, and the one it sends by. */
static void call_eventfd_blocks(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        begin();
        make_blocking(attacker.queues[i].call_fd);
        send_frame();
        end();
    }
}

/* Blocks each ring for a moment only. */
static void call_eventfd_blocks_now_and_then(void **state)
{
    const struct timespec moment = {.tv_nsec = 2000000};
    time_t deadline = time(NULL) + WAIT_S;
    bool is_up = true;

    begin();
    while (is_up && time(NULL) < deadline) {
        struct virtqueue *queue = guest_receive_queue(&attacker, 0);
        struct virtqueue_buffer buffer;
        eventfd_t n;

        make_blocking(queue->call_fd);
        send_frame();
        clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
        fcntl(queue->call_fd, F_SETFL, O_RDWR | O_NONBLOCK);
        eventfd_read(queue->call_fd, &n);
        is_up = guest_is_connected(&attacker);
        while (virtqueue_take(queue, &buffer, 1))
            virtqueue_post(queue, &buffer, 1);
    }
    assert_false(is_up);
    end();
}

static _Atomic bool toggle_on;

static void *toggle(void *argument)
{
    const int *fd = argument;

    while (toggle_on)
        fcntl(*fd, F_SETFL, O_RDWR);
    return NULL;
}

/*
 * The first call to a guest is made by the vhost library's thread, when it is given a ring, directly behind setting
 * O_NONBLOCK. Whether somebody comes in between is chance: where nobody does, there is nothing to defend against.
 */
static void first_call_blocks(void **state)
{
    time_t deadline = time(NULL) + CHANCE_S;
    bool is_up = true;
    pthread_t thread;
    struct error error;

    begin();
    make_blocking(attacker.queues[0].call_fd);
    toggle_on = true;
    assert_int_equal(pthread_create(&thread, NULL, toggle, &attacker.queues[0].call_fd), 0);
    while (is_up && time(NULL) < deadline)
        is_up = !guest_enable_pair(&attacker, 0, true, &error);
    toggle_on = false;
    pthread_join(thread, NULL);
    /* Caught at the last moment, it is cut off within a second. */
    while (guest_is_connected(&attacker) && time(NULL) < deadline + 3)
        arena_await_rounds(&arena, 1);
    if (guest_is_connected(&attacker))
        attack_end(NULL);
    else
        end();
}

/* A port that connects does not connect to that guest again. */
static void connecting_port(void **state)
{
    struct guest_config config;
    struct error error = {0};

    test_guest_config(&arena.fast_path, "called", &config);
    test_guest_create(&attacker, &config);
    fast_path_add_guest_port(&arena.fast_path, "called", 0);
    fast_path_add_rule(&arena.fast_path, "in=called actions=output:called");
    test_guest_connect(&attacker);
    fast_path_await_up(&arena.fast_path, "called");
    virtqueue_want_call(guest_receive_queue(&attacker, 0), true);
    make_blocking(attacker.queues[0].call_fd);
    send_frame();
    fast_path_await_reason(&arena.fast_path, "called", REASON);
    while (guest_is_connected(&attacker))
        arena_await_rounds(&arena, 1);
    /* Longer than the second after which such a port tries again. */
    assert_int_equal(guest_connect(&attacker, 5 * REFUSED_MS, &error), ETIMEDOUT);
    fast_path_await_reason(&arena.fast_path, "called", REASON);
    guest_destroy(&attacker);
    fast_path_remove_port(&arena.fast_path, "called");
    test_guest_create(&attacker, &config);
    fast_path_add_guest_port(&arena.fast_path, "called", 0);
    fast_path_add_rule(&arena.fast_path, "in=called actions=output:called");
    test_guest_connect(&attacker);
    fast_path_await_up(&arena.fast_path, "called");
    arena_echo(&attacker, 16);
    guest_destroy(&attacker);
    fast_path_remove_port(&arena.fast_path, "called");
    arena_check(&arena);
}

static struct client *connect_client(void)
{
    struct error error = {0};
    struct client *client;
    char path[108];

    snprintf(path, sizeof path, "%s/control", arena.fast_path.directory);
    client = client_connect(path, "attacker", &error);
    if (!client)
        fail_msg("%s", error.text);
    return client;
}

/* Sends frames until 'n' were dropped because no vSwitch is attached. */
static void await_misses_dropped(uint64_t n)
{
    time_t deadline = time(NULL) + WAIT_S;

    do {
        send_frame();
        arena_await_rounds(&arena, 1);
    } while (fast_path_drops(&arena.fast_path, "attacker", "no-rule") < n && time(NULL) < deadline);
    assert_true(fast_path_drops(&arena.fast_path, "attacker", "no-rule") >= n);
}

/* The vSwitch's side of a representor: it loses it, and gets no other until the port is made anew. */
static void representor_doorbell_blocks(void **state)
{
    struct client *client = connect_client();
    struct vswitch_peer peer;
    struct error error = {0};
    struct packet_ring_frame frame;

    add_port_again(); /* without a rule */
    begin();
    assert_int_equal(vswitch_peer_open(&peer, client, "attacker", &error), 0);
    assert_true(vswitch_peer_may_sleep(&peer));
    make_blocking(peer.to_vswitch_fd);
    await_misses_dropped(1);
    client_close(client);
    vswitch_peer_close(&peer);
    client = connect_client();
    assert_int_equal(vswitch_peer_open(&peer, client, "attacker", &error), EPERM);
    assert_non_null(strstr(error.text, "remove it and add it again"));
    guest_destroy(&attacker);
    add_port_again();
    begin();
    assert_int_equal(vswitch_peer_open(&peer, client, "attacker", &error), 0);
    send_frame();
    while (!vswitch_peer_receive(&peer, 0, &frame, 1))
        arena_await_rounds(&arena, 1);
    assert_int_equal(frame.size, 64);
    client_close(client);
    vswitch_peer_close(&peer);
    guest_destroy(&attacker);
    fast_path_add_rule(&arena.fast_path, "in=attacker actions=output:attacker");
    arena_check(&arena);
}

/* Starts a capture of the attacker's port. Returns 0 with its descriptors, or the error. */
static int start_capture(struct client *client, struct message *reply, struct error *error)
{
    message_put_capture(client_begin(client, MESSAGE_CAPTURE_START),
                        &(struct message_capture){.name = "attacker"});
    return client_call(client, reply, error);
}

/* The same with a capture. */
static void capture_doorbell_blocks(void **state)
{
    struct client *client = connect_client();
    time_t deadline = time(NULL) + WAIT_S;
    struct packet_ring_memory memory;
    struct packet_ring_consumer ring;
    struct message reply;
    struct error error = {0};

    begin();
    assert_int_equal(start_capture(client, &reply, &error), 0);
    assert_int_equal(packet_ring_map(&memory, reply.fds[0], &error), 0);
    assert_int_equal(packet_ring_consumer_attach(&ring, &memory, 0, &error), 0);
    assert_true(packet_ring_may_sleep(&ring));
    make_blocking(reply.fds[1]);
    send_frame();
    arena_await_rounds(&arena, 10);
    packet_ring_unmap(&memory);
    message_close_fds(&reply);
    client_close(client);
    client = connect_client();
    /* EBUSY: it was not noticed yet that the client before has gone. */
    while (start_capture(client, &reply, &error) == EBUSY && time(NULL) < deadline)
        ;
    assert_int_equal(error.code, EPERM);
    assert_non_null(strstr(error.text, "remove it and add it again"));
    guest_destroy(&attacker);
    add_port_again();
    fast_path_add_rule(&arena.fast_path, "in=attacker actions=output:attacker");
    assert_int_equal(start_capture(client, &reply, &error), 0);
    message_close_fds(&reply);
    client_close(client);
    arena_check(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_opens),
        ATTACK_TEST(call_eventfd_blocks),
        ATTACK_TEST(call_eventfd_blocks_now_and_then),
        ATTACK_TEST(first_call_blocks),
        ATTACK_TEST(connecting_port),
        ATTACK_TEST(representor_doorbell_blocks),
        ATTACK_TEST(capture_doorbell_blocks),
        cmocka_unit_test(arena_closes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
