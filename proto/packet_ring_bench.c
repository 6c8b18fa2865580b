/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Cycles that a packet ring costs, per frame and side: `proto/packet_ring_bench [FRAME-BYTES]`.
 * "one thread" is the instructions alone, each side timed on its own, with the
 * same copies made without a ring taken off; "two cores" is a real transfer, copies
 * and the travel of cache lines included.
 */
#include "proto/packet_ring.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <x86intrin.h>

#define DATA_SIZE (1u << 20)
#define BATCH 32
#define ROUNDS 200000
#define REPEATS 7

static uint8_t source[BATCH][FRAME_SIZE_MAX], target[BATCH][FRAME_SIZE_MAX];
static uint32_t frame_size = 64;
static struct packet_ring_memory ring;

/* Keeps the compiler from dropping or merging what was written to 'memory'. */
static void use(const void *memory)
{
    __asm__ volatile("" : : "r"(memory) : "memory");
}

static uint16_t produce_batch(struct packet_ring_producer *producer)
{
    uint16_t n = 0;

    for (; n < BATCH; n++) {
        uint8_t *data = packet_ring_reserve(producer, frame_size);

        if (!data)
            break;
        memcpy(data, source[n], frame_size);
        packet_ring_commit(producer, &(struct packet_ring_frame){.size = frame_size, .metadata = n});
    }
    if (packet_ring_publish(producer))
        abort();
    return n;
}

static uint16_t consume_batch(struct packet_ring_consumer *consumer)
{
    struct packet_ring_frame frames[BATCH];
    uint16_t n = packet_ring_peek(consumer, frames, BATCH);

    for (uint16_t i = 0; i < n; i++)
        memcpy(target[i], frames[i].data, frames[i].size);
    packet_ring_release(consumer);
    return n;
}

static void one_thread(void)
{
    struct packet_ring_producer producer;
    struct packet_ring_consumer consumer;
    double best_in = 1e9, best_out = 1e9, best_copy = 1e9;
    uint8_t *flat = aligned_alloc(64, DATA_SIZE);

    if (!flat || packet_ring_producer_attach(&producer, &ring, 0, NULL) ||
        packet_ring_consumer_attach(&consumer, &ring, 0, NULL))
        abort();
    memset(flat, 1, DATA_SIZE);
    for (unsigned repeat = 0; repeat < REPEATS; repeat++) {
        uint64_t in = 0, out = 0, copy = 0, place = 0;

        for (unsigned round = 0; round < ROUNDS / REPEATS; round++) {
            uint64_t start = __rdtsc(), middle, end;

            produce_batch(&producer);
            middle = __rdtsc();
            consume_batch(&consumer);
            end = __rdtsc();
            in += middle - start;
            out += end - middle;
            for (unsigned i = 0; i < BATCH; i++) {
                memcpy(flat + place, source[i], frame_size);
                place += PACKET_RING_RECORD_SIZE(frame_size);
                if (place + PACKET_RING_RECORD_SIZE(frame_size) > DATA_SIZE)
                    place = 0;
            }
            use(flat);
            copy += __rdtsc() - end;
        }
        best_in = in < best_in ? in : best_in;
        best_out = out < best_out ? out : best_out;
        best_copy = copy < best_copy ? copy : best_copy;
    }
    best_in /= (double)(ROUNDS / REPEATS) * BATCH;
    best_out /= (double)(ROUNDS / REPEATS) * BATCH;
    best_copy /= (double)(ROUNDS / REPEATS) * BATCH;
    printf("one thread: produce %.1f, consume %.1f, the copy alone %.1f cycles per frame\n", best_in,
           best_out, best_copy);
    free(flat);
}

static void run_on_cpu(int cpu)
{
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus))
        perror("packet_ring_bench: sched_setaffinity");
}

static void *other_core(void *argument)
{
    struct packet_ring_producer producer;

    run_on_cpu(1);
    if (packet_ring_producer_attach(&producer, &ring, 0, NULL))
        abort();
    for (uint64_t n = 0; n < (uint64_t)ROUNDS * BATCH;)
        n += produce_batch(&producer);
    return NULL;
}

static void two_cores(void)
{
    struct packet_ring_consumer consumer;
    uint64_t start, busy = 0, n = 0, n_full_batches = 0;
    pthread_t thread;

    run_on_cpu(0);
    if (packet_ring_consumer_attach(&consumer, &ring, 0, NULL) ||
        pthread_create(&thread, NULL, other_core, NULL))
        abort();
    start = __rdtsc();
    while (n < (uint64_t)ROUNDS * BATCH && consumer.fault == PACKET_RING_FAULT_NONE) {
        uint64_t before = __rdtsc();
        uint16_t taken = consume_batch(&consumer);

        if (taken == BATCH) {
            busy += __rdtsc() - before;
            n_full_batches++;
        }
        n += taken;
    }
    printf("two cores: %.1f cycles per frame end to end; the consumer's full batches %.1f\n",
           (double)(__rdtsc() - start) / (double)n, (double)busy / (double)(n_full_batches * BATCH));
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        frame_size = (uint32_t)strtoul(argv[1], NULL, 0);
    if (frame_size < 1 || frame_size > 9018) {
        fprintf(stderr, "packet_ring_bench: the frame size must be 1 to 9018 bytes\n");
        return 2;
    }
    memset(source, 1, sizeof source);
    printf("%u-byte frames, batches of %u\n", frame_size, BATCH);
    for (unsigned i = 0; i < 2; i++) {
        int fd;

        if (packet_ring_create("bench", 1, DATA_SIZE, &fd, NULL) || packet_ring_map(&ring, fd, NULL))
            abort();
        close(fd);
        i == 0 ? one_thread() : two_cores();
        packet_ring_unmap(&ring);
    }
    return 0;
}
