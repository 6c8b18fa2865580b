/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/packet_ring_test_frames.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define DATA_SIZE PACKET_RING_SIZE_MIN
#define MEMORY_SIZE (PACKET_RING_HEADER_SIZE + DATA_SIZE)
#define BATCH 32

/* A ring in private memory, exactly as large as it must be, so that a sanitizer sees every overrun. */
struct fixture {
    struct packet_ring_memory memory;
    struct packet_ring_shared *shared;
    struct packet_ring_producer producer;
    struct packet_ring_consumer consumer;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    fixture->memory = (struct packet_ring_memory){
        .base = aligned_alloc(PACKET_RING_ALIGNMENT, MEMORY_SIZE), .ring_size = MEMORY_SIZE, .n_rings = 1};
    memset(fixture->memory.base, 0, MEMORY_SIZE);
    fixture->shared = (void *)fixture->memory.base;
    assert_int_equal(packet_ring_format(fixture->memory.base, MEMORY_SIZE, NULL), 0);
    assert_int_equal(packet_ring_producer_attach(&fixture->producer, &fixture->memory, 0, NULL), 0);
    assert_int_equal(packet_ring_consumer_attach(&fixture->consumer, &fixture->memory, 0, NULL), 0);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    free(fixture->memory.base);
    free(fixture);
    return 0;
}

static void passes_every_size(void **state)
{
    struct fixture *fixture = *state;
    struct packet_ring_frame frames[BATCH];
    uint64_t number = 0;

    for (uint32_t size = 1; size <= FRAME_SIZE_MAX; size += size < 400 ? 1 : 997, number++) {
        assert_true(produce(&fixture->producer, number, size));
        packet_ring_publish(&fixture->producer);
        assert_int_equal(packet_ring_peek(&fixture->consumer, frames, BATCH), 1);
        assert_true(frame_is(&frames[0], number, size));
        packet_ring_release(&fixture->consumer);
    }
    assert_true(fixture->producer.position > 4 * (uint64_t)DATA_SIZE);
}

static void largest_frame_fits_at_every_position(void **state)
{
    struct fixture *fixture = *state;
    struct packet_ring_frame frames[2];

    for (uint64_t number = 0; number < 2 * DATA_SIZE / PACKET_RING_ALIGNMENT; number++) {
        assert_true(produce(&fixture->producer, number, FRAME_SIZE_MAX));
        assert_true(produce(&fixture->producer, number, 1));
        packet_ring_publish(&fixture->producer);
        assert_int_equal(packet_ring_peek(&fixture->consumer, frames, 2), 2);
        assert_int_equal(frames[0].size, FRAME_SIZE_MAX);
        assert_true(frame_is(&frames[1], number, 1));
        packet_ring_release(&fixture->consumer);
    }
}

static void empty_ring_gives_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct packet_ring_frame frames[BATCH];

    assert_int_equal(packet_ring_peek(&fixture->consumer, frames, BATCH), 0);
    packet_ring_release(&fixture->consumer);
    assert_false(packet_ring_publish(&fixture->producer));
    assert_true(produce(&fixture->producer, 0, 60));
    assert_int_equal(packet_ring_peek(&fixture->consumer, frames, BATCH), 0); /* not published */
}

static void full_ring_refuses_until_released(void **state)
{
    struct fixture *fixture = *state;
    struct packet_ring_frame frames[BATCH];
    uint64_t n_in = 0, n_out = 0;
    uint16_t n;

    for (unsigned round = 0; round < 50; round++) {
        while (produce(&fixture->producer, n_in, size_of_frame(n_in)))
            n_in++;
        packet_ring_publish(&fixture->producer);
        assert_null(packet_ring_reserve(&fixture->producer, FRAME_SIZE_MAX));
        n = packet_ring_peek(&fixture->consumer, frames, BATCH);
        assert_int_not_equal(n, 0);
        assert_false(produce(&fixture->producer, n_in, size_of_frame(n_in))); /* peeked, not released */
        for (uint16_t i = 0; i < n; i++, n_out++)
            assert_true(frame_is(&frames[i], n_out, size_of_frame(n_out)));
        packet_ring_release(&fixture->consumer);
    }
    while ((n = packet_ring_peek(&fixture->consumer, frames, BATCH)) > 0)
        for (uint16_t i = 0; i < n; i++, n_out++)
            assert_true(frame_is(&frames[i], n_out, size_of_frame(n_out)));
    assert_int_equal(n_in, n_out);
    assert_int_equal(fixture->consumer.fault, PACKET_RING_FAULT_NONE);
}

static void full_ring_takes_every_small_frame_that_has_room(void **state)
{
    struct fixture *fixture = *state;
    uint32_t n = 0;

    while (produce(&fixture->producer, n, 32))
        n++;
    assert_int_equal(n, DATA_SIZE / 64);
    packet_ring_count_dropped(&fixture->producer, 3);
    assert_int_equal(packet_ring_n_dropped(&fixture->consumer), 3);
}

static void reservation_can_shrink_or_be_given_up(void **state)
{
    struct fixture *fixture = *state;
    struct packet_ring_frame frames[BATCH];

    for (unsigned round = 0; round < 100; round++) {
        assert_non_null(packet_ring_reserve(&fixture->producer, FRAME_SIZE_MAX));
        assert_non_null(packet_ring_reserve(&fixture->producer, 9000));
        packet_ring_commit(&fixture->producer, &(struct packet_ring_frame){.size = 60, .metadata = round});
        packet_ring_publish(&fixture->producer);
        assert_int_equal(packet_ring_peek(&fixture->consumer, frames, BATCH), 1);
        assert_int_equal(frames[0].size, 60);
        assert_int_equal(frames[0].metadata, round);
        packet_ring_release(&fixture->consumer);
    }
}

static void doorbell_is_wanted_once_for_each_sleep(void **state)
{
    struct fixture *fixture = *state;
    struct packet_ring_frame frames[BATCH];

    assert_true(packet_ring_may_sleep(&fixture->consumer));
    assert_true(produce(&fixture->producer, 0, 60));
    assert_true(packet_ring_publish(&fixture->producer));
    assert_true(produce(&fixture->producer, 1, 60));
    assert_false(packet_ring_publish(&fixture->producer));
    assert_false(packet_ring_may_sleep(&fixture->consumer)); /* there is something to do */
    assert_int_equal(packet_ring_peek(&fixture->consumer, frames, BATCH), 2);
    packet_ring_release(&fixture->consumer);
    assert_true(packet_ring_may_sleep(&fixture->consumer));
    packet_ring_awake(&fixture->consumer);
    assert_true(produce(&fixture->producer, 2, 60));
    assert_false(packet_ring_publish(&fixture->producer));
}

static void came_back_tells_that_the_batch_is_dealt_with(void **state)
{
    struct fixture *fixture = *state;
    struct packet_ring_frame frames[BATCH];
    uint64_t tail;

    assert_true(packet_ring_came_back(&fixture->producer, packet_ring_tail(&fixture->producer)));
    assert_true(produce(&fixture->producer, 0, 60));
    assert_true(produce(&fixture->producer, 1, 60));
    packet_ring_publish(&fixture->producer);
    tail = packet_ring_tail(&fixture->producer);
    assert_false(packet_ring_came_back(&fixture->producer, tail));
    assert_int_equal(packet_ring_peek(&fixture->consumer, frames, 1), 1);
    packet_ring_release(&fixture->consumer);
    assert_int_equal(packet_ring_peek(&fixture->consumer, frames, 1), 1);
    assert_false(packet_ring_came_back(&fixture->producer, tail)); /* the second is not released */
    packet_ring_release(&fixture->consumer);
    assert_false(packet_ring_came_back(&fixture->producer, tail)); /* its burst may not be out */
    assert_int_equal(packet_ring_peek(&fixture->consumer, frames, 1), 0);
    assert_true(packet_ring_came_back(&fixture->producer, tail));
}

/* Hostile peers */

static void producer_refuses_bad_positions(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t bad[] = {64, UINT64_MAX, UINT64_MAX - 63, 1ull << 63, DATA_SIZE};

    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        packet_ring_producer_attach(&fixture->producer, &fixture->memory, 0, NULL);
        atomic_store(&fixture->shared->consumed, 0);
        for (uint32_t n = 0; n < DATA_SIZE / 64; n++)
            assert_true(produce(&fixture->producer, n, 32));
        /* Published is nothing yet, so that nothing can have been consumed. */
        atomic_store(&fixture->shared->consumed, bad[i]);
        assert_null(packet_ring_reserve(&fixture->producer, 32));
        assert_int_equal(fixture->producer.fault, PACKET_RING_FAULT_CONSUMED);
        assert_null(packet_ring_reserve(&fixture->producer, 32));
    }
}

static void producer_refuses_consumer_that_goes_back(void **state)
{
    struct fixture *fixture = *state;

    while (produce(&fixture->producer, 0, 32))
        continue;
    packet_ring_publish(&fixture->producer);
    atomic_store(&fixture->shared->consumed, 128);
    assert_true(produce(&fixture->producer, 0, 32));
    assert_true(produce(&fixture->producer, 0, 32));
    atomic_store(&fixture->shared->consumed, 64);
    assert_false(produce(&fixture->producer, 0, 32));
    assert_int_equal(fixture->producer.fault, PACKET_RING_FAULT_CONSUMED);
}

static void producer_refuses_to_be_told_of_the_future(void **state)
{
    struct fixture *fixture = *state;

    atomic_store(&fixture->shared->came_back, 1 << 20);
    assert_false(packet_ring_came_back(&fixture->producer, 0));
    assert_int_equal(fixture->producer.fault, PACKET_RING_FAULT_CONSUMED);
}

static void consumer_refuses_bad_positions(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t bad[] = {1, 63, DATA_SIZE + 64, UINT64_MAX, UINT64_MAX - 63, 1ull << 63};
    struct packet_ring_frame frames[BATCH];

    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        packet_ring_consumer_attach(&fixture->consumer, &fixture->memory, 0, NULL);
        atomic_store(&fixture->shared->produced, bad[i]);
        assert_int_equal(packet_ring_peek(&fixture->consumer, frames, BATCH), 0);
        assert_int_equal(fixture->consumer.fault, PACKET_RING_FAULT_PRODUCED);
        assert_false(packet_ring_may_sleep(&fixture->consumer));
    }
}

static void consumer_refuses_producer_that_goes_back(void **state)
{
    struct fixture *fixture = *state;
    struct packet_ring_frame frames[BATCH];

    assert_true(produce(&fixture->producer, 0, 32));
    assert_true(produce(&fixture->producer, 1, 32));
    packet_ring_publish(&fixture->producer);
    assert_int_equal(packet_ring_peek(&fixture->consumer, frames, BATCH), 2);
    packet_ring_release(&fixture->consumer);
    atomic_store(&fixture->shared->produced, 64);
    assert_int_equal(packet_ring_peek(&fixture->consumer, frames, BATCH), 0);
    assert_int_equal(fixture->consumer.fault, PACKET_RING_FAULT_PRODUCED);
}

static void consumer_refuses_bad_records(void **state)
{
    struct fixture *fixture = *state;
    const struct {
        struct packet_ring_record record;
        uint64_t produced;
        enum packet_ring_fault fault;
    } cases[] = {
        {{.size = 128, .frame_size = 60, .kind = 0}, 128, PACKET_RING_FAULT_RECORD_KIND},
        {{.size = 128, .frame_size = 60, .kind = 3}, 128, PACKET_RING_FAULT_RECORD_KIND},
        {{.size = 64, .frame_size = 0, .kind = 1}, 128, PACKET_RING_FAULT_FRAME_SIZE},
        {{.size = 65600, .frame_size = FRAME_SIZE_MAX + 1, .kind = 1}, 65664, PACKET_RING_FAULT_FRAME_SIZE},
        {{.size = 64, .frame_size = UINT32_MAX, .kind = 1}, 128, PACKET_RING_FAULT_FRAME_SIZE},
        {{.size = 0, .frame_size = UINT32_MAX - 31, .kind = 1}, 128, PACKET_RING_FAULT_FRAME_SIZE},
        {{.size = 64, .frame_size = 60, .kind = 1}, 128, PACKET_RING_FAULT_RECORD_SIZE},
        {{.size = 0, .frame_size = 60, .kind = 1}, 128, PACKET_RING_FAULT_RECORD_SIZE},
        {{.size = 192, .frame_size = 60, .kind = 1}, 192, PACKET_RING_FAULT_RECORD_SIZE},
        {{.size = 128, .frame_size = 60, .kind = 1}, 64, PACKET_RING_FAULT_RECORD_SIZE},
        {{.size = 0, .kind = 2}, 128, PACKET_RING_FAULT_SKIP_SIZE},
        {{.size = 64, .kind = 2}, 128, PACKET_RING_FAULT_SKIP_SIZE},
        {{.size = DATA_SIZE, .kind = 2}, 128, PACKET_RING_FAULT_SKIP_SIZE},
    };
    struct packet_ring_frame frames[BATCH];

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        packet_ring_consumer_attach(&fixture->consumer, &fixture->memory, 0, NULL);
        memcpy(fixture->memory.base + PACKET_RING_HEADER_SIZE, &cases[i].record, sizeof cases[i].record);
        atomic_store(&fixture->shared->produced, cases[i].produced);
        assert_int_equal(packet_ring_peek(&fixture->consumer, frames, BATCH), 0);
        assert_int_equal(fixture->consumer.fault, cases[i].fault);
        assert_int_equal(packet_ring_peek(&fixture->consumer, frames, BATCH), 0);
    }
}

static void consumer_refuses_record_across_the_end(void **state)
{
    struct fixture *fixture = *state;
    struct packet_ring_frame frames[BATCH];
    struct packet_ring_record record = {.size = 128, .frame_size = 60, .kind = PACKET_RING_FRAME};

    for (uint32_t n = 0; n < DATA_SIZE / 64 - 1; n++) {
        assert_true(produce(&fixture->producer, n, 32));
        packet_ring_publish(&fixture->producer);
        assert_int_equal(packet_ring_peek(&fixture->consumer, frames, BATCH), 1);
        packet_ring_release(&fixture->consumer);
    }
    memcpy(fixture->memory.base + MEMORY_SIZE - 64, &record, sizeof record);
    atomic_store(&fixture->shared->produced, DATA_SIZE + 64);
    assert_int_equal(packet_ring_peek(&fixture->consumer, frames, BATCH), 0);
    assert_int_equal(fixture->consumer.fault, PACKET_RING_FAULT_RECORD_SIZE);
}

static void skip_as_large_as_the_ring_ends(void **state)
{
    struct fixture *fixture = *state;
    struct packet_ring_frame frames[BATCH];
    struct packet_ring_record record = {.size = DATA_SIZE, .kind = PACKET_RING_SKIP};

    memcpy(fixture->memory.base + PACKET_RING_HEADER_SIZE, &record, sizeof record);
    atomic_store(&fixture->shared->produced, DATA_SIZE);
    assert_int_equal(packet_ring_peek(&fixture->consumer, frames, BATCH), 0);
    packet_ring_release(&fixture->consumer);
    assert_int_equal(atomic_load(&fixture->shared->consumed), DATA_SIZE);
}

/* Shared memory */

static void memfd_is_sealed_and_checked(void **state)
{
    struct packet_ring_memory memory;
    struct error error;
    int fd, unsealed;

    assert_int_equal(packet_ring_create("test", 1, DATA_SIZE, &fd, &error), 0);
    assert_int_not_equal(ftruncate(fd, 0), 0);
    assert_int_not_equal(ftruncate(fd, 2 * MEMORY_SIZE), 0);
    assert_int_equal(packet_ring_map(&memory, fd, &error), 0);
    packet_ring_unmap(&memory);
    packet_ring_unmap(&memory);

    unsealed = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(unsealed, MEMORY_SIZE), 0);
    assert_int_equal(packet_ring_map(&memory, unsealed, &error), EINVAL);
    assert_int_equal(fcntl(unsealed, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_int_equal(packet_ring_map(&memory, unsealed, &error), EINVAL); /* no header */
    assert_int_equal(packet_ring_map(&memory, STDIN_FILENO, &error), EINVAL);
    assert_null(memory.base);
    close(unsealed);
    close(fd);
}

static void rings_of_one_memfd_are_apart(void **state)
{
    struct packet_ring_memory memory;
    struct packet_ring_producer producers[3];
    struct packet_ring_consumer consumers[3];
    struct packet_ring_frame frames[BATCH];
    int fd;

    assert_int_equal(packet_ring_create("test", 3, DATA_SIZE, &fd, NULL), 0);
    assert_int_equal(packet_ring_map(&memory, fd, NULL), 0);
    close(fd);
    assert_int_equal(memory.n_rings, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(packet_ring_producer_attach(&producers[i], &memory, i, NULL), 0);
        assert_int_equal(packet_ring_consumer_attach(&consumers[i], &memory, i, NULL), 0);
        while (produce(&producers[i], i, 9000))
            continue;
        packet_ring_publish(&producers[i]);
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(packet_ring_peek(&consumers[i], frames, BATCH),
                         DATA_SIZE / PACKET_RING_RECORD_SIZE(9000));
        assert_true(frame_is(&frames[27], i, 9000));
    }
    assert_int_equal(packet_ring_producer_attach(&producers[0], &memory, 3, NULL), EINVAL);
    packet_ring_unmap(&memory);
}

static void sizes_and_versions_are_checked(void **state)
{
    struct fixture *fixture = *state;
    struct packet_ring_producer producer;
    struct error error;
    int fd;

    assert_int_equal(packet_ring_create("test", 1, DATA_SIZE - 64, &fd, &error), EINVAL);
    assert_int_equal(packet_ring_create("test", 1, 0, &fd, &error), EINVAL);
    assert_int_equal(packet_ring_create("test", 1, UINT64_MAX, &fd, &error), EINVAL);
    assert_int_equal(packet_ring_create("test", 1, 3 * DATA_SIZE, &fd, &error), EINVAL);
    assert_int_equal(packet_ring_create("test", 0, DATA_SIZE, &fd, &error), EINVAL);
    assert_int_equal(packet_ring_create("test", PACKET_RING_COUNT_MAX + 1, DATA_SIZE, &fd, &error), EINVAL);
    assert_int_equal(packet_ring_producer_attach(&producer, &fixture->memory, 1, &error), EINVAL);
    fixture->shared->data_size = UINT64_MAX;
    assert_int_equal(packet_ring_producer_attach(&producer, &fixture->memory, 0, &error), EINVAL);
    fixture->shared->data_size = 2 * DATA_SIZE;
    assert_int_equal(packet_ring_producer_attach(&producer, &fixture->memory, 0, &error), EINVAL);
    fixture->shared->data_size = DATA_SIZE;
    fixture->shared->version++;
    assert_int_equal(packet_ring_producer_attach(&producer, &fixture->memory, 0, &error), EINVAL);
    assert_non_null(strstr(error.text, "version 2"));
    fixture->shared->magic++;
    assert_int_equal(packet_ring_producer_attach(&producer, &fixture->memory, 0, &error), EINVAL);
}

/* A peer that scribbles over the whole ring while this side uses it. */

static _Atomic bool scribbling;

__attribute__((no_sanitize("thread"))) static void *scribble(void *argument)
{
    volatile uint64_t *words = argument;
    uint64_t random = 88172645463325252ull;

    while (atomic_load(&scribbling)) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        words[random % (MEMORY_SIZE / 8)] = random >> (random & 63);
    }
    return NULL;
}

static void scribbling_peer_is_survived(void **state)
{
    struct fixture *fixture = *state;
    struct packet_ring_frame frames[BATCH];
    struct packet_ring_producer producer;
    struct packet_ring_consumer consumer;
    uint64_t sum = 0, n_faults = 0;
    pthread_t thread;

    atomic_store(&scribbling, true);
    assert_int_equal(pthread_create(&thread, NULL, scribble, fixture->memory.base), 0);
    for (unsigned round = 0; round < 20000; round++) {
        uint16_t n;

        if (fixture->producer.fault != PACKET_RING_FAULT_NONE ||
            fixture->consumer.fault != PACKET_RING_FAULT_NONE) {
            n_faults++;
            packet_ring_format(fixture->memory.base, MEMORY_SIZE, NULL);
            if (packet_ring_producer_attach(&producer, &fixture->memory, 0, NULL) ||
                packet_ring_consumer_attach(&consumer, &fixture->memory, 0, NULL))
                continue; /* the header is rubbish already */
            fixture->producer = producer;
            fixture->consumer = consumer;
        }
        for (unsigned i = 0; i < BATCH; i++)
            produce(&fixture->producer, i, size_of_frame(i));
        packet_ring_publish(&fixture->producer);
        n = packet_ring_peek(&fixture->consumer, frames, BATCH);
        for (uint16_t i = 0; i < n; i++)
            sum += frames[i].data[0] + frames[i].data[frames[i].size - 1];
        packet_ring_release(&fixture->consumer);
        packet_ring_may_sleep(&fixture->consumer);
    }
    atomic_store(&scribbling, false);
    pthread_join(thread, NULL);
    assert_int_not_equal(n_faults, 0);
    assert_int_not_equal(sum, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(passes_every_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(largest_frame_fits_at_every_position, set_up, tear_down),
        cmocka_unit_test_setup_teardown(empty_ring_gives_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full_ring_refuses_until_released, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full_ring_takes_every_small_frame_that_has_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reservation_can_shrink_or_be_given_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(doorbell_is_wanted_once_for_each_sleep, set_up, tear_down),
        cmocka_unit_test_setup_teardown(came_back_tells_that_the_batch_is_dealt_with, set_up, tear_down),
        cmocka_unit_test_setup_teardown(producer_refuses_bad_positions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(producer_refuses_consumer_that_goes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(producer_refuses_to_be_told_of_the_future, set_up, tear_down),
        cmocka_unit_test_setup_teardown(consumer_refuses_bad_positions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(consumer_refuses_producer_that_goes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(consumer_refuses_bad_records, set_up, tear_down),
        cmocka_unit_test_setup_teardown(consumer_refuses_record_across_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(skip_as_large_as_the_ring_ends, set_up, tear_down),
        cmocka_unit_test(memfd_is_sealed_and_checked),
        cmocka_unit_test(rings_of_one_memfd_are_apart),
        cmocka_unit_test_setup_teardown(sizes_and_versions_are_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(scribbling_peer_is_survived, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
