/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Order and content between two threads and two processes that sleep whenever
 * they can: a lost wake-up hangs the test.
 */
#include "proto/packet_ring_test_frames.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DATA_SIZE PACKET_RING_SIZE_MIN
#define BATCH 32

#define STRESS_FRAMES 60000

struct stress {
    struct packet_ring_memory memory;
    int doorbell; /* blocking for the reader, who waits in read() */
    unsigned batch;
};

static void map_ring(struct packet_ring_memory *memory)
{
    int fd;

    assert_int_equal(packet_ring_create("stress", 1, DATA_SIZE, &fd, NULL), 0);
    assert_int_equal(packet_ring_map(memory, fd, NULL), 0);
    close(fd);
}

static void *stress_produce(void *argument)
{
    const struct stress *stress = argument;
    struct packet_ring_producer producer;
    uint64_t number = 0;

    if (packet_ring_producer_attach(&producer, &stress->memory, 0, NULL))
        abort();
    while (number < STRESS_FRAMES) {
        for (unsigned i = 0; i < stress->batch && number < STRESS_FRAMES; i++, number++)
            if (!produce(&producer, number, size_of_frame(number)))
                break;
        if (packet_ring_publish(&producer))
            packet_ring_ring_doorbell(stress->doorbell);
    }
    return NULL;
}

/* Returns the number of the first frame that was wrong, or STRESS_FRAMES. */
static uint64_t stress_consume(const struct stress *stress)
{
    struct packet_ring_consumer consumer;
    struct packet_ring_frame frames[BATCH];
    uint64_t number = 0, rung;

    if (packet_ring_consumer_attach(&consumer, &stress->memory, 0, NULL))
        abort();
    while (number < STRESS_FRAMES && consumer.fault == PACKET_RING_FAULT_NONE) {
        uint16_t n = packet_ring_peek(&consumer, frames, BATCH);

        for (uint16_t i = 0; i < n; i++, number++)
            if (!frame_is(&frames[i], number, size_of_frame(number)))
                return number;
        packet_ring_release(&consumer);
        if (n == 0 && packet_ring_may_sleep(&consumer) &&
            read(stress->doorbell, &rung, sizeof rung) != sizeof rung)
            break;
    }
    return number;
}

static void threads_keep_order_and_content(void **state)
{
    const unsigned batches[] = {1, 32};

    for (unsigned i = 0; i < 2; i++) {
        struct stress stress = {.doorbell = eventfd(0, EFD_CLOEXEC), .batch = batches[i]};
        pthread_t thread;

        map_ring(&stress.memory);
        assert_int_equal(pthread_create(&thread, NULL, stress_produce, &stress), 0);
        assert_int_equal(stress_consume(&stress), STRESS_FRAMES);
        pthread_join(thread, NULL);
        packet_ring_unmap(&stress.memory);
        close(stress.doorbell);
    }
}

static void processes_keep_order_and_content(void **state)
{
    struct stress stress = {.doorbell = eventfd(0, EFD_CLOEXEC), .batch = 8};
    int status;
    pid_t child;

    map_ring(&stress.memory);
    child = fork();
    if (child == 0) {
        stress_produce(&stress);
        _exit(0);
    }
    assert_int_equal(stress_consume(&stress), STRESS_FRAMES);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    packet_ring_unmap(&stress.memory);
    close(stress.doorbell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_keep_order_and_content),
        cmocka_unit_test(processes_keep_order_and_content),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
