/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest may do wrong with its rings: each stops the queue with the reason that it
 * deserves, and what came before it is served. Split and packed, both directions.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>

#include "fastpath/vring_testbed.h"

#define FRAME 60
#define BUFFER (12 + FRAME)

/* One queue under attack. */
struct target {
    struct vring_testbed *bed;
    struct testbed_driver *driver;
    struct virtqueue *ring;
    _Atomic bool *ready;
    bool sending; /* to the guest */
};

static struct target target_create(bool is_packed, bool sending)
{
    struct testbed_config config = testbed_default;
    struct target target = {.sending = sending};

    config.is_packed = is_packed;
    config.mergeable = true;
    target.bed = testbed_create(&config);
    target.driver = sending ? &target.bed->to_guest : &target.bed->from_guest;
    target.ring = target.driver->ring;
    target.ready = sending ? &target.bed->send.queue.ready : &target.bed->receive.queue.ready;
    return target;
}

static struct testbed_piece good_piece(const struct target *target)
{
    return (struct testbed_piece){testbed_allocate(target->bed, BUFFER), BUFFER, target->sending};
}

/* Posts good pieces as one buffer. */
static uint16_t post(const struct target *target, uint16_t n, enum testbed_layout layout)
{
    struct testbed_piece pieces[TESTBED_PIECES_MAX];

    for (uint16_t i = 0; i < n; i++)
        pieces[i] = good_piece(target);
    return testbed_post(target->driver, pieces, n, layout);
}

/* Lets the device work on three packets; returns how many went through. */
static uint16_t work(const struct target *target, uint32_t frame_size)
{
    struct vring_testbed *bed = target->bed;
    static uint8_t frame[FRAME_SIZE_MAX];
    uint16_t n;

    if (target->sending) {
        struct packet packet = {
            .head = frame, .head_size = FRAME, .size = frame_size, .tail = frame, .tail_size = frame_size - FRAME};
        struct packet *packets[3] = {&packet, &packet, &packet};

        n = bed->send_ops->send(&bed->send.queue, bed->worker, packets, 3, false);
        bed->send_ops->notify(&bed->send.queue);
        return n;
    }
    n = testbed_receive(bed);
    testbed_release(bed);
    return n;
}

/*
 * Checks that the queue stops with 'fault' behind 'n_good' packets, whose buffers and
 * no others are given back.
 */
static void check_stops(struct target *target, uint16_t n_good, enum vring_fault fault)
{
    uint32_t id, size;

    assert_int_equal(work(target, FRAME), n_good);
    assert_int_equal(target->ring->fault, fault);
    assert_false(*target->ready);
    for (uint16_t i = 0; i < n_good; i++)
        assert_true(testbed_take_used(target->driver, &id, &size));
    assert_false(testbed_take_used(target->driver, &id, &size));
    assert_true(vring_fault_sentence(fault)[0]);
    testbed_destroy(target->bed);
}

static const struct {
    bool is_packed, sending;
} variants[] = {{false, false}, {false, true}, {true, false}, {true, true}};

#define FOR_EACH_TARGET(target)                                                                            \
    for (unsigned variant = 0; variant < 4; variant++)                                                     \
        for (struct target target = target_create(variants[variant].is_packed, variants[variant].sending); \
             target.bed; target.bed = NULL)

static void test_bad_address(void **state)
{
    static const struct {
        uint64_t address;
        uint32_t size;
    } outside[] = {
        {0, BUFFER},
        {TESTBED_REGION_A - 1, BUFFER},
        {TESTBED_MEMORY_END - BUFFER + 1, BUFFER},
        {TESTBED_MEMORY_END, BUFFER},
        {TESTBED_REGION_A, TESTBED_MEMORY_END - TESTBED_REGION_A + 1},
        {TESTBED_REGION_A, UINT32_MAX},
        {UINT64_MAX - 10, BUFFER},
        {UINT64_MAX, UINT32_MAX},
        {TESTBED_REGION_A + (1ULL << 32), BUFFER},
        {TESTBED_REGION_A | 1ULL << 63, BUFFER},
    };

    for (unsigned i = 0; i < sizeof outside / sizeof *outside; i++) {
        FOR_EACH_TARGET(target)
        {
            post(&target, 1, TESTBED_CHAIN);
            testbed_post_piece(target.driver, outside[i].address, outside[i].size);
            check_stops(&target, 1, VRING_FAULT_BAD_ADDRESS);
        }
    }
}

/* The second descriptor of a chain, and of an indirect table, lies outside. */
static void test_bad_address_in_chain(void **state)
{
    static const enum testbed_layout layouts[] = {TESTBED_CHAIN, TESTBED_INDIRECT};

    for (unsigned i = 0; i < 2; i++) {
        FOR_EACH_TARGET(target)
        {
            struct testbed_piece pieces[2] = {good_piece(&target), {TESTBED_MEMORY_END - 5, 6, target.sending}};

            post(&target, 1, TESTBED_CHAIN);
            testbed_post(target.driver, pieces, 2, layouts[i]);
            check_stops(&target, 1, VRING_FAULT_BAD_ADDRESS);
        }
    }
}

static void test_bad_direction(void **state)
{
    static const enum testbed_layout layouts[] = {TESTBED_CHAIN, TESTBED_INDIRECT};

    for (unsigned i = 0; i < 4; i++) {
        FOR_EACH_TARGET(target)
        {
            struct testbed_piece pieces[2] = {good_piece(&target), good_piece(&target)};

            post(&target, 1, TESTBED_CHAIN);
            pieces[i / 2].device_writes = !target.sending;
            testbed_post(target.driver, pieces, 2, layouts[i % 2]);
            check_stops(&target, 1, VRING_FAULT_BAD_DIRECTION);
        }
    }
}

static void test_index_too_far(void **state)
{
    static const uint16_t steps[] = {257, 300, 32768, 65535};

    for (unsigned i = 0; i < 4; i++) {
        for (unsigned sending = 0; sending < 2; sending++) {
            struct target target = target_create(false, sending);

            post(&target, 1, TESTBED_CHAIN);
            work(&target, FRAME);
            target.ring->avail->idx += steps[i];
            target.driver->used++;
            check_stops(&target, 0, VRING_FAULT_BAD_INDEX);
        }
    }
}

/* The index goes wrong when the device looks for more room, in the middle of a burst. */
static void test_index_too_far_while_sending(void **state)
{
    struct target target = target_create(false, true);
    uint8_t frame[FRAME] = {0};
    struct packet packet = {.head = frame, .head_size = FRAME, .size = FRAME};
    struct packet *packets[3] = {&packet, &packet, &packet};

    for (unsigned i = 0; i < 5; i++)
        post(&target, 1, TESTBED_CHAIN);
    assert_int_equal(work(&target, FRAME), 3);
    target.ring->avail->idx = 1000;
    /* Two are known to be there; for the third the index is read. */
    assert_int_equal(
        target.bed->send_ops->send(&target.bed->send.queue, target.bed->worker, packets, 3, false), 0);
    assert_int_equal(target.ring->fault, VRING_FAULT_BAD_INDEX);
    assert_false(*target.ready);
    assert_int_equal(target.bed->counters[0].tx_packets, 3);
    testbed_destroy(target.bed);
}

static void test_bad_head(void **state)
{
    static const uint16_t heads[] = {256, 32768, 65535};

    for (unsigned i = 0; i < 3; i++) {
        for (unsigned sending = 0; sending < 2; sending++) {
            struct target target = target_create(false, sending);

            post(&target, 1, TESTBED_CHAIN);
            post(&target, 1, TESTBED_CHAIN);
            target.ring->avail->ring[1] = heads[i];
            check_stops(&target, 1, VRING_FAULT_BAD_HEAD);
        }
    }
}

static void test_next_outside(void **state)
{
    for (unsigned sending = 0; sending < 2; sending++) {
        struct target target = target_create(false, sending);

        post(&target, 1, TESTBED_CHAIN);
        target.ring->desc[post(&target, 2, TESTBED_CHAIN)].next = 256;
        check_stops(&target, 1, VRING_FAULT_BAD_NEXT);
    }
}

/* Chains that loop: on themselves, of empty descriptors, and a packed one that never ends. */
static void test_loops(void **state)
{
    FOR_EACH_TARGET(target)
    {
        post(&target, 1, TESTBED_CHAIN);
        post(&target, 2, TESTBED_CHAIN);
        if (target.ring->is_packed) {
            for (unsigned i = 1; i < 256; i++) {
                target.ring->packed[i].addr = TESTBED_REGION_A;
                target.ring->packed[i].flags |= VRING_DESC_F_NEXT | (target.sending ? VRING_DESC_F_WRITE : 0);
                target.ring->packed[i].len = i % 2;
            }
        } else {
            target.ring->desc[1].next = 1;
        }
        check_stops(&target, 1, target.ring->is_packed ? VRING_FAULT_BAD_NEXT : VRING_FAULT_TOO_MANY_PIECES);
    }
    FOR_EACH_TARGET(target)
    {
        post(&target, 1, TESTBED_CHAIN);
        post(&target, 2, TESTBED_CHAIN);
        for (unsigned i = 1; i < 256; i++) {
            uint16_t flags = VRING_DESC_F_NEXT | (target.sending ? VRING_DESC_F_WRITE : 0);

            if (target.ring->is_packed) {
                target.ring->packed[i].flags |= flags;
                target.ring->packed[i].len = 0;
            } else {
                target.ring->desc[i] = (struct vring_desc){0, 0, flags, i % 255 + 1};
            }
        }
        check_stops(&target, 1, VRING_FAULT_BAD_NEXT);
    }
}

static void test_too_many_pieces(void **state)
{
    static const enum testbed_layout layouts[] = {TESTBED_CHAIN, TESTBED_INDIRECT};

    for (unsigned i = 0; i < 2; i++) {
        FOR_EACH_TARGET(target)
        {
            struct testbed_piece pieces[PACKET_SEGMENTS_MAX + 1];

            for (unsigned j = 0; j < PACKET_SEGMENTS_MAX + 1; j++)
                pieces[j] = (struct testbed_piece){TESTBED_REGION_A + j, 1, target.sending};
            post(&target, 1, TESTBED_CHAIN);
            testbed_post(target.driver, pieces, PACKET_SEGMENTS_MAX + 1, layouts[i]);
            /* A packed chain is not followed further than that. */
            check_stops(&target, 1,
                        target.ring->is_packed && layouts[i] == TESTBED_CHAIN ? VRING_FAULT_BAD_NEXT
                                                                              : VRING_FAULT_TOO_MANY_PIECES);
        }
    }
}

/* The most that is allowed is served: every piece is a byte or two. */
static void test_as_many_pieces_as_allowed(void **state)
{
    static const enum testbed_layout layouts[] = {TESTBED_CHAIN, TESTBED_INDIRECT};

    for (unsigned i = 0; i < 2; i++) {
        FOR_EACH_TARGET(target)
        {
            struct testbed_piece pieces[PACKET_SEGMENTS_MAX];
            uint64_t address = testbed_allocate(target.bed, 2 * PACKET_SEGMENTS_MAX);

            for (unsigned j = 0; j < PACKET_SEGMENTS_MAX; j++)
                pieces[j] = (struct testbed_piece){address + 2 * j, 2, target.sending};
            testbed_post(target.driver, pieces, PACKET_SEGMENTS_MAX, layouts[i]);
            assert_int_equal(work(&target, FRAME), 1);
            assert_int_equal(target.ring->fault, VRING_FAULT_NONE);
            if (!target.sending)
                assert_int_equal(target.bed->worker->burst.packets[0].size, 2 * PACKET_SEGMENTS_MAX - 12);
            testbed_destroy(target.bed);
        }
    }
}

/* Changes the descriptor that points to the table of the buffer posted second. */
static void check_bad_table(uint64_t address, uint32_t size, uint16_t more_flags)
{
    FOR_EACH_TARGET(target)
    {
        post(&target, 1, TESTBED_CHAIN);
        post(&target, 2, TESTBED_INDIRECT);
        if (target.ring->is_packed) {
            target.ring->packed[1].addr = address ? address : target.ring->packed[1].addr;
            target.ring->packed[1].len = size;
            target.ring->packed[1].flags |= more_flags;
        } else {
            target.ring->desc[1].addr = address ? address : target.ring->desc[1].addr;
            target.ring->desc[1].len = size;
            target.ring->desc[1].flags |= more_flags;
        }
        check_stops(&target, 1, VRING_FAULT_BAD_INDIRECT);
    }
}

static void test_bad_indirect(void **state)
{
    check_bad_table(0, 0, 0);
    check_bad_table(0, 15, 0);
    check_bad_table(0, 33, 0);
    check_bad_table(TESTBED_REGION_A, 257 * 16, 0);
    check_bad_table(TESTBED_REGION_A, UINT32_MAX - 15, 0);
    check_bad_table(TESTBED_MEMORY_END - 16, 32, 0);
    check_bad_table(TESTBED_MEMORY_END, 32, 0);
    check_bad_table(TESTBED_REGION_B - 16, 32, 0); /* over two regions, which lie apart here */
    check_bad_table(UINT64_MAX - 15, 32, 0);
    check_bad_table(0, 32, VRING_DESC_F_NEXT);
}

/* A split ring with a good buffer, and behind it one of two pieces, whose indirect table is returned. */
static struct vring_desc *post_table(struct target *target, bool sending)
{
    uint16_t head;

    *target = target_create(false, sending);
    post(target, 1, TESTBED_CHAIN);
    head = post(target, 2, TESTBED_INDIRECT);
    return (struct vring_desc *)testbed_at(target->bed, target->ring->desc[head].addr);
}

/* A table within a table, and one whose entries point outside it: only split ones have such links. */
static void test_bad_indirect_links(void **state)
{
    for (unsigned sending = 0; sending < 2; sending++) {
        struct target target;

        post_table(&target, sending)[1].flags |= VRING_DESC_F_INDIRECT;
        check_stops(&target, 1, VRING_FAULT_BAD_INDIRECT);
        post_table(&target, sending)[0].next = 2;
        check_stops(&target, 1, VRING_FAULT_BAD_NEXT);
        post_table(&target, sending)[0].next = 0;
        check_stops(&target, 1, VRING_FAULT_TOO_MANY_PIECES);
    }
}

/* An indirect table may lie at any address: the specification asks for no alignment. */
static void test_unaligned_table(void **state)
{
    FOR_EACH_TARGET(target)
    {
        uint64_t address = testbed_allocate(target.bed, 100);
        uint64_t *table_address;
        uint8_t *table;

        post(&target, 2, TESTBED_INDIRECT);
        table_address = target.ring->is_packed ? (uint64_t *)&target.ring->packed[0].addr
                                               : (uint64_t *)&target.ring->desc[0].addr;
        table = testbed_at(target.bed, *table_address);
        memcpy(testbed_at(target.bed, address + 3), table, 32);
        *table_address = address + 3;
        assert_int_equal(work(&target, FRAME), 1);
        assert_int_equal(target.ring->fault, VRING_FAULT_NONE);
        testbed_destroy(target.bed);
    }
}

/* Lengths whose sum wraps at 32 bits are summed up right, and dropped: the first piece is all that is written. */
static void test_lengths_that_wrap(void **state)
{
    for (unsigned is_packed = 0; is_packed < 2; is_packed++) {
        struct target target = target_create(is_packed, false);
        struct testbed_piece pieces[PACKET_SEGMENTS_MAX];
        uint32_t size = TESTBED_REGION_A_SIZE;

        for (unsigned i = 0; i < PACKET_SEGMENTS_MAX; i++)
            pieces[i] = (struct testbed_piece){TESTBED_REGION_A, size, false};
        testbed_post(target.driver, pieces, PACKET_SEGMENTS_MAX, TESTBED_CHAIN);
        assert_int_equal(work(&target, FRAME), 1);
        assert_int_equal(target.bed->worker->burst.n, 0);
        assert_int_equal(target.bed->counters[0].drops[DROP_RX_TOO_LONG], 1);
        testbed_destroy(target.bed);
    }
}

/* A place to be called at that the ring does not have: the guest is called rather than forgotten. */
static void test_nonsense_event(void **state)
{
    struct testbed_config config = testbed_default;
    struct vring_testbed *bed;

    config.is_packed = true;
    config.event_index = true;
    bed = testbed_create(&config);
    bed->receive.ring.driver_event->flags = VRING_PACKED_EVENT_FLAG_DESC;
    bed->receive.ring.driver_event->off_wrap = 0x7fff;
    testbed_post_piece(&bed->from_guest, TESTBED_REGION_A, BUFFER);
    assert_int_equal(testbed_receive(bed), 1);
    testbed_release(bed);
    assert_int_equal(testbed_calls(&bed->from_guest), 1);
    testbed_destroy(bed);
}

/*
 * The guest flips the flags of a small packed ring's descriptor, so that it is available in each lap
 * anew while it is still held: it is prepared once, and nothing behind the ring is looked at.
 */
static void test_flags_flipped(void **state)
{
    struct testbed_config config = testbed_default;
    struct vring_testbed *bed;

    config.is_packed = true;
    config.size = 1;
    bed = testbed_create(&config);
    testbed_post_piece(&bed->from_guest, TESTBED_REGION_A, BUFFER);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(bed->receive_ops->prepare(&bed->receive.queue), 1);
        bed->receive.ring.packed[0].flags ^= 1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED;
    }
    testbed_destroy(bed);
}

/* A frame over several buffers of which the last is wrong: none is used, the fault is told. */
static void test_fault_within_mergeable(void **state)
{
    for (unsigned is_packed = 0; is_packed < 2; is_packed++) {
        struct target target = target_create(is_packed, true);
        uint32_t id, size;

        post(&target, 1, TESTBED_CHAIN);
        post(&target, 1, TESTBED_CHAIN);
        testbed_post_piece(target.driver, TESTBED_MEMORY_END, BUFFER);
        assert_int_equal(work(&target, 2 * BUFFER), 0);
        assert_int_equal(target.ring->fault, VRING_FAULT_BAD_ADDRESS);
        assert_int_equal(target.bed->counters[0].drops[DROP_TX_FULL], 3);
        assert_int_equal(target.bed->counters[0].tx_packets, 0);
        assert_false(testbed_take_used(target.driver, &id, &size));
        testbed_destroy(target.bed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_address),
        cmocka_unit_test(test_bad_address_in_chain),
        cmocka_unit_test(test_bad_direction),
        cmocka_unit_test(test_index_too_far),
        cmocka_unit_test(test_index_too_far_while_sending),
        cmocka_unit_test(test_bad_head),
        cmocka_unit_test(test_next_outside),
        cmocka_unit_test(test_loops),
        cmocka_unit_test(test_too_many_pieces),
        cmocka_unit_test(test_as_many_pieces_as_allowed),
        cmocka_unit_test(test_bad_indirect),
        cmocka_unit_test(test_bad_indirect_links),
        cmocka_unit_test(test_unaligned_table),
        cmocka_unit_test(test_lengths_that_wrap),
        cmocka_unit_test(test_nonsense_event),
        cmocka_unit_test(test_fault_within_mergeable),
        cmocka_unit_test(test_flags_flipped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
