/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests that attack a running fast path through their rings and their memory, while
 * honest guests go on. Cases from the history of DPDK's vhost library bear its numbers.
 * Attacks by messages are in hostile_frontend_test.c.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/integration/attack.h"

#define FEATURE(name) (UINT64_C(1) << (name))

/* An attacker that is served, with rings of either format. */
static void begin(bool is_packed)
{
    struct guest_config config;

    arena_config(&arena, &config);
    if (is_packed)
        config.features |= FEATURE(VIRTIO_F_RING_PACKED);
    attack_begin(&config);
}

/* Guest address of 'size' bytes that nobody else uses. */
static uint64_t spare_memory(uint32_t size)
{
    void *memory = guest_memory_allocate(&attacker.memory, size, 64);

    assert_non_null(memory);
    return guest_memory_address(&attacker.memory, memory);
}

static uint64_t memory_end(void)
{
    return guest_memory_address(&attacker.memory, attacker.memory.base + attacker.memory.size - 1) + 1;
}

/*
 * Makes a chain of descriptors available on a send queue that is new: 'first' of the ring and those
 * behind it, with the flags given. A packed ring's are of its first lap.
 */
static void post_raw(struct virtqueue *queue, const struct vring_desc descriptors[], uint16_t n)
{
    for (uint16_t i = n; i-- > 0;) {
        const struct vring_desc *descriptor = &descriptors[i];

        if (queue->is_packed) {
            struct vring_packed_desc *packed = &queue->packed.descriptor[i];

            packed->addr = descriptor->addr;
            packed->len = descriptor->len;
            packed->id = 0;
            __atomic_store_n(&packed->flags, descriptor->flags | 1u << VRING_PACKED_DESC_F_AVAIL,
                             __ATOMIC_RELEASE);
        } else {
            queue->split.descriptor[i] = *descriptor;
        }
    }
    if (!queue->is_packed) {
        queue->split.available->ring[0] = 0;
        __atomic_store_n(&queue->split.available->idx, 1, __ATOMIC_RELEASE);
    }
    virtqueue_kick(queue);
}

/* Attacks with one chain on the send ring of a fresh attacker. */
static void attack_with(const struct vring_desc descriptors[], uint16_t n, bool is_packed, const char *reason)
{
    begin(is_packed);
    post_raw(guest_send_queue(&attacker, 0), descriptors, n);
    attack_end(reason);
}

/* CVE-2018-1059: a buffer that begins in a region and runs over its end; and others that are elsewhere. */
static void buffers_outside_memory(void **state)
{
    for (unsigned is_packed = 0; is_packed < 2; is_packed++) {
        struct vring_desc descriptor = {.len = 1000};
        uint64_t addresses[6];

        begin(is_packed);
        addresses[0] = memory_end() - 999;
        addresses[1] = memory_end();
        addresses[2] = attacker.memory.guest_base + attacker.memory.region_size - 999; /* then there is a gap */
        addresses[3] = 0;
        addresses[4] = UINT64_MAX - 100;
        addresses[5] = (uintptr_t)attacker.memory.base; /* an address of the front end is none of the guest */
        attack_end(NULL);
        for (unsigned i = 0; i < sizeof addresses / sizeof *addresses; i++) {
            descriptor.addr = addresses[i];
            attack_with(&descriptor, 1, is_packed, "ring 1: a descriptor points outside the guest's memory");
        }
        descriptor = (struct vring_desc){.addr = attacker.memory.guest_base, .len = UINT32_MAX};
        attack_with(&descriptor, 1, is_packed, "ring 1: a descriptor points outside the guest's memory");
    }
}

/* The other direction: buffers to be written, posted by the guest and then bent. */
static void receive_buffers_outside_memory(void **state)
{
    for (unsigned is_packed = 0; is_packed < 2; is_packed++) {
        struct virtqueue *receive, *send;
        struct virtqueue_buffer buffer;

        begin(is_packed);
        receive = guest_receive_queue(&attacker, 0);
        send = guest_send_queue(&attacker, 0);
        for (unsigned i = 0; i < receive->size; i++) {
            if (is_packed)
                receive->packed.descriptor[i].addr = memory_end() - 10;
            else
                receive->split.descriptor[i].addr = memory_end() - 10;
        }
        /* Some may have been looked at before: they are still good. */
        for (unsigned i = 0; i < 60; i++) {
            assert_int_equal(virtqueue_take(send, &buffer, 1), 1);
            buffer.size = send->header_size + 100u;
            memset(buffer.start, 0, buffer.size);
            virtqueue_post(send, &buffer, 1);
        }
        attack_end("ring 0: a descriptor points outside the guest's memory");
    }
}

/* 2026's control queue and others before: chains without end, of the ring and of a table, also of empty descriptors. */
static void loops(void **state)
{
    struct vring_desc chain[64];

    for (unsigned is_packed = 0; is_packed < 2; is_packed++) {
        for (uint32_t size = 0; size < 2; size++) {
            begin(is_packed);
            for (uint16_t i = 0; i < 64; i++)
                chain[i] =
                    (struct vring_desc){attacker.memory.guest_base, size, VRING_DESC_F_NEXT, (i + 1) % 64};
            post_raw(guest_send_queue(&attacker, 0), chain, 64);
            attack_end(is_packed || !size ? "ring 1: a descriptor chain points outside the ring"
                                          : "ring 1: a buffer lies in more pieces");
        }
    }
    /* A table whose first entry leads to itself, then one that names itself as a table. */
    for (unsigned flag = VRING_DESC_F_NEXT; flag <= VRING_DESC_F_INDIRECT; flag += 3) {
        struct vring_desc *table;

        begin(false);
        table = guest_memory_allocate(&attacker.memory, 2 * sizeof *table, 64);
        assert_non_null(table);
        chain[0] =
            (struct vring_desc){guest_memory_address(&attacker.memory, table), 32, VRING_DESC_F_INDIRECT, 0};
        table[0] = (struct vring_desc){chain[0].addr, 32, (uint16_t)flag, 0};
        post_raw(guest_send_queue(&attacker, 0), chain, 1);
        attack_end(flag == VRING_DESC_F_NEXT ? "ring 1: a buffer lies in more pieces"
                                             : "ring 1: an indirect table has an impossible");
    }
}

static void links_and_tables_that_lead_astray(void **state)
{
    const struct vring_desc next_outside[] = {{0x100000000, 100, VRING_DESC_F_NEXT, 64}};
    const struct vring_desc for_writing[] = {{0x100000000, 100, VRING_DESC_F_WRITE, 0}};
    const struct vring_desc huge_table[] = {{0x100000000, 0xfffffff0, VRING_DESC_F_INDIRECT, 0}};
    const struct vring_desc odd_table[] = {{0x100000000, 17, VRING_DESC_F_INDIRECT, 0}};
    const struct vring_desc table_outside[] = {{64, 32, VRING_DESC_F_INDIRECT, 0}};

    attack_with(next_outside, 1, false, "ring 1: a descriptor chain points outside the ring");
    for (unsigned is_packed = 0; is_packed < 2; is_packed++) {
        attack_with(for_writing, 1, is_packed, "ring 1: a descriptor to be read is marked for writing");
        attack_with(huge_table, 1, is_packed, "ring 1: an indirect table has an impossible");
        attack_with(odd_table, 1, is_packed, "ring 1: an indirect table has an impossible");
        attack_with(table_outside, 1, is_packed, "ring 1: an indirect table has an impossible");
    }
}

/* CVE-2020-10723's kind: indices that are cut down to 16 bits, or are just not there. */
static void indices_out_of_range(void **state)
{
    static const uint16_t indices[] = {65, 0x8000, 0xffff};
    static const uint16_t heads[] = {64, 0xffff};

    for (unsigned i = 0; i < 3; i++) {
        begin(false);
        guest_send_queue(&attacker, 0)->split.available->idx = indices[i];
        virtqueue_kick(guest_send_queue(&attacker, 0));
        attack_end("ring 1: the guest's available index is further ahead");
    }
    for (unsigned i = 0; i < 2; i++) {
        struct virtqueue *send;

        begin(false);
        send = guest_send_queue(&attacker, 0);
        send->split.available->ring[0] = heads[i];
        send->split.available->idx = 1;
        virtqueue_kick(send);
        attack_end("ring 1: the guest made a descriptor available that its ring does not have");
    }
}

/* CVE-2022-2132: the virtio header over several descriptors, the first of which is shorter than it. */
static void header_in_several_descriptors(void **state)
{
    for (unsigned is_packed = 0; is_packed < 2; is_packed++) {
        for (uint32_t first = 1; first <= 13; first++) {
            uint64_t before = fast_path_drops(&arena.fast_path, "attacker", "rx-too-short");
            struct virtqueue_buffer buffer;
            struct virtqueue *receive;
            struct vring_desc chain[3];
            uint64_t address;

            begin(is_packed);
            address = spare_memory(256);
            chain[0] = (struct vring_desc){address, first, VRING_DESC_F_NEXT, 1};
            chain[1] = (struct vring_desc){address + first, 1, VRING_DESC_F_NEXT, 2};
            chain[2] = (struct vring_desc){address + first + 1, 100, 0, 0};
            if (first % 2)
                chain[2].len = 5; /* too short for any frame */
            post_raw(guest_send_queue(&attacker, 0), chain, 3);
            if (first % 2) {
                fast_path_await_drops(&arena.fast_path, "attacker", "rx-too-short", before + 1);
            } else {
                receive = guest_receive_queue(&attacker, 0);
                test_guest_take(receive, &buffer);
                assert_int_equal(buffer.size, first + 101);
            }
            guest_destroy(&attacker);
        }
    }
    arena_check(&arena);
}

/* CVE-2024-11614 and the like: checksum and segmentation requests that point anywhere. */
static void absurd_requests(void **state)
{
    static const uint8_t headers[][12] = {
        {1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},       /* checksum field at 131070 */
        {1, 0, 0, 0, 0, 0, 0xff, 0xff, 2, 0},             /* ... at 65537, which is 1 in 16 bits */
        {1, 0, 0, 0, 0, 0, 34, 0, 0xfe, 0xff},            /* ... before its own beginning */
        {1, 0, 0, 0, 0, 0, 99, 0, 0, 0},                  /* half outside the frame */
        {1, 1, 0xff, 0xff, 0, 0, 34, 0, 16, 0},           /* segments of no size, headers of 65535 bytes */
        {1, 1, 54, 0, 1, 0, 34, 0, 16, 0},                /* segments of a byte */
        {0, 1, 54, 0, 0xff, 0xff, 34, 0, 16, 0},          /* segments without a checksum request */
        {1, 4, 54, 0, 0, 4, 34, 0, 16, 0},                /* IPv6 segments of what is not IPv6 */
        {1, 0x7f, 54, 0, 0, 4, 34, 0, 16, 0, 0xff, 0xff}, /* a type that is not there, num_buffers 65535 */
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
    };

    for (unsigned i = 0; i < sizeof headers / sizeof *headers; i++) {
        uint64_t before = fast_path_drops(&arena.fast_path, "attacker", "rx-bad-offload");
        struct virtqueue_buffer buffer;
        struct virtqueue *send;

        begin(false);
        send = guest_send_queue(&attacker, 0);
        assert_int_equal(virtqueue_take(send, &buffer, 1), 1);
        memset(buffer.start, 0, 112);
        memcpy(buffer.start, headers[i], 12);
        memcpy(buffer.start + 12 + 12, "\x08\0\x45", 3); /* IPv4, TCP */
        buffer.start[12 + 14 + 9] = 6;
        buffer.size = 112;
        virtqueue_post(send, &buffer, 1);
        fast_path_await_drops(&arena.fast_path, "attacker", "rx-bad-offload", before + 1);
        arena_echo(&attacker, 16); /* the port goes on */
        guest_destroy(&attacker);
    }
    arena_check(&arena);
}

/* Rings and all memory overwritten with noise, again and again, under the eyes of the fast path. */
static void noise(void **state)
{
    unsigned seed = 1;

    for (unsigned round = 0; round < 20; round++) {
        begin(round % 2);
        for (unsigned change = 0; change < 20000; change++) {
            struct virtqueue *queue =
                change % 2 ? guest_send_queue(&attacker, 0) : guest_receive_queue(&attacker, 0);
            uint8_t *ring = (uint8_t *)(queue->is_packed ? (void *)queue->packed.descriptor
                                                         : (void *)queue->split.descriptor);

            ring[(unsigned)rand_r(&seed) % 1024] = (uint8_t)rand_r(&seed);
            if (!queue->is_packed && change % 16 == 0)
                queue->split.available->idx++;
            if (change % 500 == 0)
                virtqueue_kick(queue);
        }
        guest_destroy(&attacker);
    }
    arena_check(&arena);
}

/* The memory's file is cut short while the fast path reads rings and buffers from it. */
static void memory_cut_short(void **state)
{
    for (unsigned is_packed = 0; is_packed < 2; is_packed++) {
        begin(is_packed);
        arena_echo(&attacker, 16);
        assert_int_equal(ftruncate(attacker.memory.fd, 0), 0);
        virtqueue_kick(guest_send_queue(&attacker, 0));
        attack_end("the front end took memory away");
    }
}

/* ... and before the library itself looks into the ring, when it is told where to be kicked. */
static void memory_cut_short_before_start(void **state)
{
    struct guest_config config;
    struct error error = {0};

    arena_config(&arena, &config);
    config.start = false;
    attack_begin(&config);
    for (uint8_t i = 0; i < 2; i++) {
        const struct virtqueue *queue = &attacker.queues[i];
        const struct vhost_user_vring_address address = attack_ring_address(i);

        assert_int_equal(
            frontend_set_vring(&attacker.frontend, VHOST_USER_SET_VRING_NUM, i, queue->size, &error), 0);
        assert_int_equal(frontend_set_vring(&attacker.frontend, VHOST_USER_SET_VRING_BASE, i, 0, &error), 0);
        assert_int_equal(frontend_request(&attacker.frontend, VHOST_USER_SET_VRING_ADDR, &address,
                                          sizeof address, NULL, 0, &error),
                         0);
        assert_int_equal(
            frontend_set_vring_fd(&attacker.frontend, VHOST_USER_SET_VRING_CALL, i, queue->call_fd, &error), 0);
    }
    assert_int_equal(ftruncate(attacker.memory.fd, 0), 0);
    for (uint8_t i = 0; i < 2; i++) {
        assert_int_equal(frontend_set_vring_fd(&attacker.frontend, VHOST_USER_SET_VRING_KICK, i,
                                               attacker.queues[i].kick_fd, &error),
                         0);
        assert_int_equal(frontend_set_vring(&attacker.frontend, VHOST_USER_SET_VRING_ENABLE, i, 1, &error), 0);
    }
    attack_end(NULL);
}

/* A guest killed in the middle of its work takes nothing with it. */
static void killed(void **state)
{
    struct guest_config config;

    arena_config(&arena, &config);
    for (unsigned i = 0; i < 5; i++) {
        int ready[2], status;
        pid_t pid;
        char byte;

        assert_int_equal(pipe(ready), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (!pid) {
            struct error error;

            if (guest_create(&attacker, &config, &error) ||
                guest_connect(&attacker, TEST_GUEST_WAIT_MS, &error))
                _exit(1);
            if (write(ready[1], "", 1) == 1)
                while (!arena_try_echo(&attacker, 16))
                    ;
            _exit(1);
        }
        close(ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        arena_await_rounds(&arena, 5);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        fast_path_await_reason(&arena.fast_path, "attacker", "no guest is connected");
    }
    arena_check(&arena);
}

/* A call eventfd that is full would block a writer that asks for nothing better. */
static void call_eventfd_full(void **state)
{
    begin(false);
    for (unsigned i = 0; i < 2; i++) {
        virtqueue_want_call(&attacker.queues[i], true);
        assert_int_equal(eventfd_write(attacker.queues[i].call_fd, UINT64_MAX - 1), 0);
    }
    arena_echo(&attacker, 200);
    attack_end(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_opens),
        ATTACK_TEST(buffers_outside_memory),
        ATTACK_TEST(receive_buffers_outside_memory),
        ATTACK_TEST(loops),
        ATTACK_TEST(links_and_tables_that_lead_astray),
        ATTACK_TEST(indices_out_of_range),
        ATTACK_TEST(header_in_several_descriptors),
        ATTACK_TEST(absurd_requests),
        ATTACK_TEST(noise),
        ATTACK_TEST(memory_cut_short),
        ATTACK_TEST(memory_cut_short_before_start),
        ATTACK_TEST(killed),
        ATTACK_TEST(call_eventfd_full),
        cmocka_unit_test(arena_closes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
