/* SPDX-License-Identifier: Apache-2.0 */
/* Virtqueues, split and packed: each test runs on both. Notifications and faults have their own files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdalign.h>
#include <stdlib.h>

#include "fastpath/packet_copy.h"
#include "fastpath/vring_testbed.h"

#define HEADER 12

/* Byte 'at' of test frame 'number'. */
static uint8_t frame_byte(unsigned number, uint32_t at)
{
    return (uint8_t)(number * 31 + at * 7 + (at >> 8));
}

/* A frame of 'size' bytes in private memory, as if from another port. */
struct test_packet {
    struct packet packet;
    uint8_t head[SNAPSHOT_SIZE_MAX];
    uint8_t tail[FRAME_SIZE_MAX];
};

static struct packet *make_packet(unsigned number, uint32_t size)
{
    struct test_packet *test = aligned_alloc(alignof(struct test_packet), sizeof *test);
    uint32_t head_size = size < SNAPSHOT_SIZE ? size : SNAPSHOT_SIZE;

    assert_non_null(test);
    memset(test, 0, sizeof *test);
    for (uint32_t i = 0; i < size; i++)
        *(i < head_size ? &test->head[i] : &test->tail[i - head_size]) = frame_byte(number, i);
    test->packet.head = test->head;
    test->packet.head_size = (uint16_t)head_size;
    test->packet.tail = test->tail;
    test->packet.tail_size = size - head_size;
    test->packet.size = size;
    return &test->packet;
}

/* Writes test frame 'number' of 'size' bytes to guest memory, from its byte 'begin' on. */
static void write_frame(struct vring_testbed *bed, uint64_t address, unsigned number, uint32_t begin,
                        uint32_t size)
{
    for (uint32_t i = 0; i < size; i++)
        *testbed_at(bed, address + i) = frame_byte(number, begin + i);
}

/* Posts frame 'number' in one piece; returns the buffer's id. */
static uint16_t post_frame(struct vring_testbed *bed, unsigned number, uint32_t size)
{
    uint32_t header = bed->config.header_size;
    uint64_t address = testbed_allocate(bed, header + size);

    write_frame(bed, address + header, number, 0, size);
    return testbed_post_piece(&bed->from_guest, address, header + size);
}

static uint16_t post_room(struct vring_testbed *bed, uint32_t size, uint64_t *address)
{
    *address = testbed_allocate(bed, size);
    return testbed_post_piece(&bed->to_guest, *address, size);
}

/* Checks that packet 'i' of the burst is frame 'number', whole. */
static void check_packet(struct vring_testbed *bed, uint16_t i, unsigned number, uint32_t size)
{
    const struct packet *packet = &bed->worker->burst.packets[i];
    uint8_t *copy = malloc(size);

    assert_int_equal(packet->size, size);
    assert_int_equal(packet->in_port, bed->port.id);
    assert_in_range(packet->head_size, size < SNAPSHOT_SIZE ? size : SNAPSHOT_SIZE, SNAPSHOT_SIZE_MAX);
    packet_copy(copy, packet, size);
    for (uint32_t at = 0; at < size; at++)
        assert_int_equal(copy[at], frame_byte(number, at));
    free(copy);
}

static void check_used(struct testbed_driver *driver, uint32_t id, uint32_t size)
{
    uint32_t used_id, used_size;

    assert_true(testbed_take_used(driver, &used_id, &used_size));
    assert_int_equal(used_id, id);
    assert_int_equal(used_size, size);
}

static void check_nothing_used(struct testbed_driver *driver)
{
    uint32_t id, size;

    assert_false(testbed_take_used(driver, &id, &size));
}

static void check_memory(struct vring_testbed *bed, uint64_t address, unsigned number, uint32_t begin,
                         uint32_t size)
{
    for (uint32_t i = 0; i < size; i++)
        assert_int_equal(*testbed_at(bed, address + i), frame_byte(number, begin + i));
}

static uint64_t drops(struct vring_testbed *bed, enum drop_reason reason)
{
    return bed->counters[0].drops[reason];
}

static void test_receive_plain(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    struct vring_testbed *bed = testbed_create(&config);
    static const uint32_t sizes[] = {14, 15, 60, 64, 65, 127, 128, 129, 1514, 9018};
    uint16_t ids[10];

    assert_int_equal(testbed_receive(bed), 0);
    for (uint16_t i = 0; i < 10; i++)
        ids[i] = post_frame(bed, i, sizes[i]);
    assert_int_equal(testbed_receive(bed), 10);
    assert_int_equal(bed->worker->burst.n, 10);
    for (uint16_t i = 0; i < 10; i++)
        check_packet(bed, i, i, sizes[i]);
    check_nothing_used(&bed->from_guest);
    testbed_release(bed);
    for (uint16_t i = 0; i < 10; i++)
        check_used(&bed->from_guest, ids[i], 0);
    check_nothing_used(&bed->from_guest);
    assert_int_equal(testbed_receive(bed), 0);
    testbed_destroy(bed);
}

static void test_receive_takes_bursts(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    struct vring_testbed *bed = testbed_create(&config);
    uint16_t ids[BURST_MAX + 3];

    for (uint16_t i = 0; i < BURST_MAX + 3; i++)
        ids[i] = post_frame(bed, i, 60);
    assert_int_equal(testbed_receive(bed), BURST_MAX);
    testbed_release(bed);
    assert_int_equal(testbed_receive(bed), 3);
    check_packet(bed, 2, BURST_MAX + 2, 60);
    testbed_release(bed);
    for (uint16_t i = 0; i < BURST_MAX + 3; i++)
        check_used(&bed->from_guest, ids[i], 0);
    testbed_destroy(bed);
}

/* Posts a frame of 300 bytes cut into a header and pieces of 100, each elsewhere. */
static uint16_t post_pieces(struct vring_testbed *bed, unsigned number, enum testbed_layout layout)
{
    struct testbed_piece pieces[4];

    pieces[0] = (struct testbed_piece){testbed_allocate(bed, HEADER), HEADER, false};
    for (uint32_t i = 0; i < 3; i++) {
        pieces[i + 1] = (struct testbed_piece){testbed_allocate(bed, 200), 100, false};
        write_frame(bed, pieces[i + 1].address, number, 100 * i, 100);
    }
    return testbed_post(&bed->from_guest, pieces, 4, layout);
}

static void test_receive_chained(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    struct vring_testbed *bed = testbed_create(&config);
    uint16_t first = post_frame(bed, 1, 60), second = post_pieces(bed, 2, TESTBED_CHAIN);
    uint16_t third = post_pieces(bed, 3, TESTBED_INDIRECT), fourth = post_frame(bed, 4, 60);

    assert_int_equal(testbed_receive(bed), 4);
    check_packet(bed, 0, 1, 60);
    check_packet(bed, 1, 2, 300);
    check_packet(bed, 2, 3, 300);
    check_packet(bed, 3, 4, 60);
    testbed_release(bed);
    check_used(&bed->from_guest, first, 0);
    check_used(&bed->from_guest, second, 0);
    check_used(&bed->from_guest, third, 0);
    check_used(&bed->from_guest, fourth, 0);
    testbed_destroy(bed);
}

/* Direct descriptors, then an indirect one: valid for a split ring (2.7.5.3.2), not for a packed one (2.8.19). */
static void test_receive_chained_then_indirect(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    struct vring_testbed *bed = testbed_create(&config);

    post_pieces(bed, 2, TESTBED_CHAIN_INDIRECT);
    assert_int_equal(testbed_receive(bed), config.is_packed ? 0 : 1);
    if (config.is_packed)
        assert_int_equal(bed->receive.ring.fault, VRING_FAULT_BAD_INDIRECT);
    else
        check_packet(bed, 0, 2, 300);
    testbed_destroy(bed);
}

/* Virtio header and frame cut at any place: what CVE-2022-2132 was about. */
static void test_receive_cut_anywhere(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    struct vring_testbed *bed = testbed_create(&config);
    const uint32_t size = HEADER + 60;

    for (uint32_t cut = 1; cut < size; cut++) {
        uint64_t first, second;

        bed->allocated = TESTBED_REGION_A;
        first = testbed_allocate(bed, size);
        second = testbed_allocate(bed, size);
        for (uint32_t i = HEADER; i < size; i++)
            *testbed_at(bed, i < cut ? first + i : second + i - cut) = frame_byte(cut, i - HEADER);
        testbed_post(&bed->from_guest,
                     (struct testbed_piece[]){{first, cut, false}, {second, size - cut, false}}, 2,
                     cut % 2 ? TESTBED_CHAIN : TESTBED_INDIRECT);
        assert_int_equal(testbed_receive(bed), 1);
        check_packet(bed, 0, cut, 60);
        testbed_release(bed);
    }
    testbed_destroy(bed);
}

static void test_buffer_spans_regions(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    struct vring_testbed *bed = testbed_create(&config);
    uint64_t address = TESTBED_REGION_B - HEADER - 500;
    struct packet *packet = make_packet(9, 1000);
    uint16_t id;

    write_frame(bed, address + HEADER, 5, 0, 1000);
    testbed_post_piece(&bed->from_guest, address, HEADER + 1000);
    assert_int_equal(testbed_receive(bed), 1);
    check_packet(bed, 0, 5, 1000);
    testbed_release(bed);

    id = testbed_post_piece(&bed->to_guest, address, HEADER + 1000);
    assert_int_equal(testbed_send(bed, packet), 1);
    check_memory(bed, address + HEADER, 9, 0, 1000);
    check_used(&bed->to_guest, id, HEADER + 1000);

    /* The last bytes of all memory are the guest's, too. */
    address = TESTBED_MEMORY_END - HEADER - 60;
    write_frame(bed, address + HEADER, 6, 0, 60);
    testbed_post_piece(&bed->from_guest, address, HEADER + 60);
    assert_int_equal(testbed_receive(bed), 1);
    check_packet(bed, 0, 6, 60);
    free(packet);
    testbed_destroy(bed);
}

/* Rounds enough for the ring and the 16-bit index to wrap, both ways at once, with chains between. */
static void test_wrap_around(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    struct vring_testbed *bed;
    struct packet *packet = make_packet(77, 60);

    config.size = 16;
    config.start = config.is_packed ? 13 : 65000;
    bed = testbed_create(&config);
    for (unsigned round = 0; round < 20000; round++) {
        uint16_t ids[4], room[4];
        uint64_t address[4];

        bed->allocated = TESTBED_REGION_A;
        for (uint16_t i = 0; i < 4; i++) {
            ids[i] = i == 1 ? post_pieces(bed, round + i, TESTBED_CHAIN) : post_frame(bed, round + i, 60);
            room[i] = post_room(bed, HEADER + 60, &address[i]);
        }
        assert_int_equal(testbed_receive(bed), 4);
        for (uint16_t i = 0; i < 4; i++)
            check_packet(bed, i, round + i, i == 1 ? 300 : 60);
        testbed_release(bed);
        for (uint16_t i = 0; i < 4; i++) {
            check_used(&bed->from_guest, ids[i], 0);
            assert_int_equal(testbed_send(bed, packet), 1);
            check_used(&bed->to_guest, room[i], HEADER + 60);
            check_memory(bed, address[i] + HEADER, 77, 0, 60);
        }
    }
    assert_int_equal(bed->counters[0].tx_packets, 80000);
    assert_int_equal(bed->counters[0].tx_bytes, 80000 * 60);
    free(packet);
    testbed_destroy(bed);
}

static void test_legacy_header(void **state)
{
    struct testbed_config config = testbed_default;
    struct packet *packet = make_packet(3, 60);
    struct vring_testbed *bed;
    uint64_t address;

    config.header_size = 10;
    bed = testbed_create(&config);
    post_frame(bed, 2, 60);
    assert_int_equal(testbed_receive(bed), 1);
    check_packet(bed, 0, 2, 60);
    post_room(bed, 100, &address);
    assert_int_equal(testbed_send(bed, packet), 1);
    check_memory(bed, address + 10, 3, 0, 60);
    check_used(&bed->to_guest, 0, 70);
    free(packet);
    testbed_destroy(bed);
}

static void test_send_mergeable(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    struct packet *packet = make_packet(8, 1000);
    struct vring_testbed *bed;
    uint64_t address[5];
    uint16_t ids[5];

    config.mergeable = true;
    bed = testbed_create(&config);
    for (unsigned i = 0; i < 5; i++)
        ids[i] = post_room(bed, 300, &address[i]);
    assert_int_equal(testbed_send(bed, packet), 1);
    /* 5.1.6: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers */
    assert_memory_equal(testbed_at(bed, address[0]), "\0\0\0\0\0\0\0\0\0\0\4\0", HEADER);
    check_memory(bed, address[0] + HEADER, 8, 0, 300 - HEADER);
    check_memory(bed, address[1], 8, 288, 300);
    check_memory(bed, address[2], 8, 588, 300);
    check_memory(bed, address[3], 8, 888, 112);
    assert_int_equal(*testbed_at(bed, address[3] + 112), 0);
    for (unsigned i = 0; i < 3; i++)
        check_used(&bed->to_guest, ids[i], 300);
    check_used(&bed->to_guest, ids[3], 112);
    check_nothing_used(&bed->to_guest);

    /* One buffer is left: too little for this packet, which leaves it there. */
    assert_int_equal(testbed_send(bed, packet), 0);
    assert_int_equal(drops(bed, DROP_TX_FULL), 1);
    check_nothing_used(&bed->to_guest);
    assert_int_equal(bed->counters[0].tx_packets, 1);
    assert_int_equal(bed->counters[0].tx_bytes, 1000);
    free(packet);
    testbed_destroy(bed);
}

static void test_send_into_pieces(void **state)
{
    static const enum testbed_layout layouts[] = {TESTBED_CHAIN, TESTBED_INDIRECT};
    struct testbed_config config = testbed_config_of(state);
    struct packet *packet = make_packet(8, 400);
    struct vring_testbed *bed = testbed_create(&config);

    for (unsigned i = 0; i < 2; i++) {
        uint64_t header = testbed_allocate(bed, HEADER), first = testbed_allocate(bed, 130),
                 second = testbed_allocate(bed, 500);
        uint16_t id = testbed_post(
            &bed->to_guest,
            (struct testbed_piece[]){{header, HEADER, true}, {first, 130, true}, {second, 500, true}}, 3,
            layouts[i]);

        assert_int_equal(testbed_send(bed, packet), 1);
        check_memory(bed, first, 8, 0, 130);
        check_memory(bed, second, 8, 130, 270);
        assert_int_equal(*testbed_at(bed, second + 270), 0);
        check_used(&bed->to_guest, id, HEADER + 400);
    }
    free(packet);
    testbed_destroy(bed);
}

static void test_full_receiver(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    struct vring_testbed *bed = testbed_create(&config);
    struct packet *packets[5];
    uint64_t address[3];

    for (unsigned i = 0; i < 5; i++)
        packets[i] = make_packet(i, 60);
    for (unsigned i = 0; i < 3; i++)
        post_room(bed, 100, &address[i]);
    assert_int_equal(bed->send_ops->send(&bed->send.queue, bed->worker, packets, 5, false), 3);
    for (unsigned i = 0; i < 3; i++)
        check_memory(bed, address[i] + HEADER, i, 0, 60);
    assert_int_equal(drops(bed, DROP_TX_FULL), 2);
    assert_int_equal(bed->counters[0].tx_packets, 3);
    assert_true(bed->send.queue.ready);
    for (unsigned i = 0; i < 5; i++)
        free(packets[i]);
    testbed_destroy(bed);
}

static void test_small_buffer_stays(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    struct vring_testbed *bed = testbed_create(&config);
    struct packet *big = make_packet(1, 200), *small = make_packet(2, 60);
    uint64_t address;
    uint16_t id = post_room(bed, HEADER + 60, &address);

    testbed_send(bed, big);
    assert_int_equal(drops(bed, DROP_TX_NO_ROOM), 1);
    check_nothing_used(&bed->to_guest);
    testbed_send(bed, small);
    check_memory(bed, address + HEADER, 2, 0, 60);
    check_used(&bed->to_guest, id, HEADER + 60);
    assert_int_equal(drops(bed, DROP_TX_FULL), 0);
    free(big);
    free(small);
    testbed_destroy(bed);
}

/* A frame that would need more pieces than the fast path takes is dropped; the guest is not at fault. */
static void test_tiny_mergeable_buffers(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    struct packet *packet = make_packet(1, 9000), *small = make_packet(2, 60);
    struct vring_testbed *bed;
    uint64_t address;

    config.mergeable = true;
    bed = testbed_create(&config);
    for (unsigned i = 0; i < PACKET_SEGMENTS_MAX + 72; i++)
        post_room(bed, 40, &address);
    testbed_send(bed, packet);
    assert_int_equal(drops(bed, DROP_TX_NO_ROOM), 1);
    assert_int_equal(bed->send.ring.fault, VRING_FAULT_NONE);
    assert_int_equal(testbed_send(bed, small), 1);
    check_used(&bed->to_guest, 0, 40);
    check_used(&bed->to_guest, 1, 32);
    free(packet);
    free(small);
    testbed_destroy(bed);
}

static void test_largest_frames(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    struct packet *packet = make_packet(4, FRAME_SIZE_MAX);
    struct vring_testbed *bed = testbed_create(&config);
    uint64_t address;
    uint16_t id;

    /* whole, in pieces, and one byte too long */
    post_frame(bed, 1, FRAME_SIZE_MAX);
    address = testbed_allocate(bed, HEADER + FRAME_SIZE_MAX);
    write_frame(bed, address + HEADER, 2, 0, FRAME_SIZE_MAX);
    testbed_post(&bed->from_guest,
                 (struct testbed_piece[]){{address, 40000, false},
                                          {address + 40000, HEADER + FRAME_SIZE_MAX - 40000, false}},
                 2, TESTBED_CHAIN);
    post_frame(bed, 3, FRAME_SIZE_MAX + 1);
    post_frame(bed, 4, 13);
    assert_int_equal(testbed_receive(bed), 4);
    assert_int_equal(bed->worker->burst.n, 2);
    check_packet(bed, 0, 1, FRAME_SIZE_MAX);
    check_packet(bed, 1, 2, FRAME_SIZE_MAX);
    assert_int_equal(drops(bed, DROP_RX_TOO_LONG), 1);
    assert_int_equal(drops(bed, DROP_RX_TOO_SHORT), 1);
    testbed_release(bed);
    for (unsigned i = 0; i < 4; i++) {
        uint32_t used_id, size;

        assert_true(testbed_take_used(&bed->from_guest, &used_id, &size));
    }
    id = post_room(bed, HEADER + FRAME_SIZE_MAX, &address);
    assert_int_equal(testbed_send(bed, packet), 1);
    check_memory(bed, address + HEADER, 4, 0, FRAME_SIZE_MAX);
    check_used(&bed->to_guest, id, HEADER + FRAME_SIZE_MAX);
    free(packet);
    testbed_destroy(bed);
}

static void test_snapshot(void **state)
{
    struct testbed_config config = testbed_config_of(state);
    struct vring_testbed *bed = testbed_create(&config);
    const struct packet *packet = &bed->worker->burst.packets[0];

    post_frame(bed, 1, 600);
    assert_int_equal(testbed_receive(bed), 1);
    memset(testbed_at(bed, TESTBED_REGION_A), 0xee, 700);
    memset(bed->receive.ring.desc, 0xee, 16 * (size_t)config.size);
    for (uint32_t i = 0; i < SNAPSHOT_SIZE; i++)
        assert_int_equal(packet->head[i], frame_byte(1, i));
    assert_int_equal(packet->size, 600);
    assert_int_equal(packet->tail_size, 600 - SNAPSHOT_SIZE);
    assert_int_equal(packet->tail[0], 0xee);
    testbed_destroy(bed);
}

static void test_offload_requests(void **state)
{
    /* NEEDS_CSUM, TCPV4 | ECN, hdr_len 54, gso_size 1448, csum_start 190, csum_offset 16 */
    static const uint8_t header[10] = {1, 0x81, 54, 0, 0xa8, 5, 190, 0, 16, 0};
    struct testbed_config config = testbed_config_of(state);
    struct vring_testbed *bed = testbed_create(&config);
    struct packet *packet = &bed->worker->burst.packets[0];
    uint64_t address = bed->allocated, to;

    post_frame(bed, 1, 3000);
    memcpy(testbed_at(bed, address), header, sizeof header);
    assert_int_equal(testbed_receive(bed), 1);
    assert_int_equal(packet->offload.flags, PACKET_NEEDS_CSUM);
    assert_int_equal(packet->offload.gso_type, PACKET_GSO_TCPV4 | PACKET_GSO_ECN);
    assert_int_equal(packet->offload.hdr_len, 54);
    assert_int_equal(packet->offload.gso_size, 1448);
    assert_int_equal(packet->offload.csum_start, 190);
    assert_int_equal(packet->offload.csum_offset, 16);
    /* The head reaches behind a whole TCP header. */
    assert_in_range(packet->head_size, 190 + 60, SNAPSHOT_SIZE_MAX);
    check_packet(bed, 0, 1, 3000);
    post_room(bed, 4000, &to);
    assert_int_equal(testbed_send(bed, packet), 1);
    assert_memory_equal(testbed_at(bed, to), header, sizeof header);
    check_memory(bed, to + HEADER, 1, 0, 3000);
    testbed_destroy(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_BOTH(receive_plain),
        TESTBED_BOTH(receive_takes_bursts),
        TESTBED_BOTH(receive_chained),
        TESTBED_BOTH(receive_chained_then_indirect),
        TESTBED_BOTH(receive_cut_anywhere),
        TESTBED_BOTH(buffer_spans_regions),
        TESTBED_BOTH(wrap_around),
        cmocka_unit_test(test_legacy_header),
        TESTBED_BOTH(send_mergeable),
        TESTBED_BOTH(send_into_pieces),
        TESTBED_BOTH(full_receiver),
        TESTBED_BOTH(small_buffer_stays),
        TESTBED_BOTH(tiny_mergeable_buffers),
        TESTBED_BOTH(largest_frames),
        TESTBED_BOTH(snapshot),
        TESTBED_BOTH(offload_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
