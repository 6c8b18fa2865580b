/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The floor of every one-copy switch: what it costs a core to copy packets that another core has just
 * written, to buffers that the other core then reads. Core A writes each byte of a ring of packets and
 * reads each cache line of the copies, as a guest does; core B copies in bursts and counts its cycles while
 * it copies. With a 'still' payload core A touches only the first line of each packet, as a load generator
 * that sends the same bytes again and again.
 */

#include <err.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <x86intrin.h>

#include "bench/memcpy/copy_routines.h"

#define LINE 64u
#define BURST 32u
#define ROUTINES_MAX 16
#define ROUNDS_MAX 1000

static const uint32_t sizes[] = {64, 512, 1518, 9018, 65536};
#define N_SIZES (sizeof sizes / sizeof *sizes)

static struct options {
    unsigned core_guest, core_copy;
    unsigned n_rounds;
    unsigned n_packets; /* in the ring: those of both directions of a pair of guests */
    uint64_t bytes_per_round;
    uint32_t size;       /* 0: all */
    const char *payload; /* NULL: both */
    const char *json;
} options = {.core_guest = 0, .core_copy = 1, .n_rounds = 15, .bytes_per_round = 16 << 20};

/* One measurement; what a core writes and the other reads has a line of its own. */
static struct shared {
    const struct copy_routine *routine;
    uint32_t size;
    bool fresh; /* all of a packet is written and read; else its first line only */
    uint64_t n_total;
    uint8_t **sources, **targets;
    _Alignas(LINE) _Atomic uint64_t n_written;
    _Alignas(LINE) _Atomic uint64_t n_copied;
    _Alignas(LINE) uint64_t cycles; /* of the copying core, while it copied */
    uint64_t read_cycles;           /* of the other core, while it read copies */
} shared;

static void pin(unsigned cpu)
{
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus))
        err(1, "cannot run on core %u", cpu);
}

static void copy_all(void)
{
    uint64_t n_copied = 0;

    while (n_copied < shared.n_total) {
        unsigned place = n_copied % options.n_packets;
        uint64_t start;

        while (atomic_load_explicit(&shared.n_written, memory_order_acquire) - n_copied < BURST)
            _mm_pause();
        start = __rdtsc();
        shared.routine->copy(&shared.targets[place], (const uint8_t *const *)&shared.sources[place], BURST,
                             shared.size);
        n_copied += BURST;
        atomic_store_explicit(&shared.n_copied, n_copied, memory_order_release);
        shared.cycles += __rdtsc() - start;
    }
}

static void *copy_thread(void *argument)
{
    pin(options.core_copy);
    copy_all();
    return NULL;
}

/* Plays both guests: writes whole packets, and reads a word of each line of the copies. */
static void write_and_read(void)
{
    uint32_t touched = shared.fresh ? shared.size : LINE;
    uint64_t n_written = 0, n_read = 0;

    while (n_read < shared.n_total) {
        uint64_t start, n_before;

        if (n_written < shared.n_total && n_written - n_read <= options.n_packets - BURST) {
            for (unsigned i = 0; i < BURST; i++)
                memset(shared.sources[(n_written + i) % options.n_packets], (int)(n_written + i), touched);
            n_written += BURST;
            atomic_store_explicit(&shared.n_written, n_written, memory_order_release);
        }
        start = __rdtsc();
        n_before = n_read;
        while (n_read < atomic_load_explicit(&shared.n_copied, memory_order_acquire)) {
            const uint8_t *packet = shared.targets[n_read % options.n_packets];

            for (uint32_t offset = 0; offset < touched; offset += LINE) {
                if (packet[offset] != (uint8_t)n_read)
                    errx(1, "'%s' copies wrongly", shared.routine->name);
            }
            n_read++;
        }
        if (n_read > n_before)
            shared.read_cycles += __rdtsc() - start;
    }
}

struct figures {
    double copy[ROUNDS_MAX]; /* cycles for each packet, of each round */
    double read[ROUNDS_MAX];
};

static void measure(const struct copy_routine *routine, uint32_t size, bool fresh, struct figures *figures,
                    unsigned round)
{
    uint64_t n = options.bytes_per_round / size;
    pthread_t thread;

    shared.routine = routine;
    shared.size = size;
    shared.fresh = fresh;
    shared.n_total = (n > options.n_packets * 8 ? n : options.n_packets * 8) / BURST * BURST;
    shared.n_written = shared.n_copied = 0;
    shared.cycles = shared.read_cycles = 0;
    if (pthread_create(&thread, NULL, copy_thread, NULL))
        errx(1, "cannot start a thread");
    write_and_read();
    pthread_join(thread, NULL);
    figures->copy[round] = (double)shared.cycles / (double)shared.n_total;
    figures->read[round] = (double)shared.read_cycles / (double)shared.n_total;
}

static int compare(const void *a, const void *b)
{
    double difference = *(const double *)a - *(const double *)b;

    return (difference > 0) - (difference < 0);
}

/* An odd number of lines between packets, so that they spread over the cache's sets. */
static uint8_t **allocate_packets(uint32_t size)
{
    size_t stride = ((size + LINE - 1) / LINE | 1) * LINE;
    size_t total = (stride * options.n_packets + (2 << 20)) >> 21 << 21;
    uint8_t *memory = aligned_alloc(2 << 20, total + (2 << 20));
    uint8_t **packets = calloc(options.n_packets + 1, sizeof *packets);

    if (!memory || !packets)
        errx(1, "no memory");
    madvise(memory, total + (2 << 20), MADV_HUGEPAGE);
    memset(memory, 0, total + (2 << 20));
    for (unsigned i = 0; i < options.n_packets; i++)
        packets[i] = memory + i * stride;
    packets[options.n_packets] = memory;
    return packets;
}

static void free_packets(uint8_t **packets)
{
    free(packets[options.n_packets]);
    free(packets);
}

static void report(uint32_t size, bool fresh, struct figures figures[], FILE *json)
{
    const char *payload = fresh ? "fresh" : "still";
    unsigned best = 0;

    for (unsigned i = 0; i < n_copy_routines; i++) {
        if (!copy_routines[i].is_possible())
            continue;
        qsort(figures[i].copy, options.n_rounds, sizeof figures[i].copy[0], compare);
        qsort(figures[i].read, options.n_rounds, sizeof figures[i].read[0], compare);
        if (figures[i].copy[0] < figures[best].copy[0] && !copy_routines[i].past_caches)
            best = i;
    }
    for (unsigned i = 0; i < n_copy_routines; i++) {
        double lowest = figures[i].copy[0], median = figures[i].copy[options.n_rounds / 2];

        if (!copy_routines[i].is_possible())
            continue;
        printf("%7u  %-7s  %-28s %10.1f %10.1f %10.2f %10.1f%s\n", size, payload, copy_routines[i].name,
               lowest, median, size / lowest, figures[i].read[0], i == best ? "  <- floor" : "");
        if (json)
            fprintf(json,
                    "{\"bench\": \"memcpy\", \"packet_bytes\": %u, \"payload\": \"%s\", \"routine\": \"%s\", \"cycles_per_packet\": %.1f, "
                    "\"cycles_per_packet_median\": %.1f, \"reader_cycles_per_packet\": %.1f, \"floor\": %s}\n",
                    size, payload, copy_routines[i].name, lowest, median, figures[i].read[0],
                    i == best ? "true" : "false");
    }
    printf("\n");
}

static void run_size(uint32_t size, bool fresh, FILE *json)
{
    static struct figures figures[ROUTINES_MAX];

    /* As many as v2v has under way: rings of 256 in both directions, of 64 for the largest. */
    options.n_packets = size <= 16384 ? 512 : 128;
    shared.sources = allocate_packets(size);
    shared.targets = allocate_packets(size);
    for (unsigned round = 0; round < options.n_rounds; round++) {
        for (unsigned i = 0; i < n_copy_routines; i++) {
            if (copy_routines[i].is_possible())
                measure(&copy_routines[i], size, fresh, &figures[i], round);
        }
    }
    report(size, fresh, figures, json);
    free_packets(shared.sources);
    free_packets(shared.targets);
}

static uint32_t number(const char *option, const char *text, uint32_t low, uint32_t high)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (end == text || *end || value < low || value > high)
        errx(2, "--%s takes a number of %u to %u, not '%s'", option, low, high, text);
    return (uint32_t)value;
}

static void parse_options(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"quick", no_argument, NULL, 'q'},
        {"json", required_argument, NULL, 'j'},
        {"rounds", required_argument, NULL, 'r'},
        {"size", required_argument, NULL, 's'},
        {"payload", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'q': options.n_rounds = 5; break;
        case 'j': options.json = optarg; break;
        case 'r': options.n_rounds = number("rounds", optarg, 1, ROUNDS_MAX); break;
        case 's': options.size = number("size", optarg, LINE, 1 << 20); break;
        case 'p': options.payload = optarg; break;
        case 'h':
            puts("Usage: memcpy-bench [--quick | --rounds N] [--json FILE] [--size BYTES] [--payload fresh|still]\n"
                 "Cycles to copy packets that another core has just written. Needs cores 0 and 1.");
            exit(0);
        default: exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    FILE *json = NULL;

    parse_options(argc, argv);
    if (options.json && !(json = fopen(options.json, "w")))
        err(1, "cannot write %s", options.json);
    pin(options.core_guest);
    printf("  bytes  payload  routine                            best     median  bytes/cycle     reader\n");
    for (unsigned i = 0; i < (options.size ? 1 : N_SIZES); i++) {
        uint32_t size = options.size ? options.size : sizes[i];

        if (!options.payload || !strcmp(options.payload, "fresh"))
            run_size(size, true, json);
        if (size > LINE && (!options.payload || !strcmp(options.payload, "still")))
            run_size(size, false, json);
    }
    return json && fclose(json) ? 1 : 0;
}
