/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What forwarding a burst costs when all lines are in this core's cache: the instructions' share of the
 * cycles that `vnode perf` shows. It repeats to a few per cent whatever else the machine does, because the best of
 * many rounds is printed; so it tells what a change to the packet path did.
 *
 *     forward_bench [FRAME-BYTES [packed]]
 */
#include <rte_cycles.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fastpath/deliver.h"
#include "fastpath/flow_table.h"
#include "fastpath/match_cache.h"
#include "fastpath/vring_testbed.h"

#define HEADER_SIZE 12
#define ROUNDS 20000

enum stage { PREPARE, PREPARE_OUTPUT, RECEIVE, FORWARD, RELEASE, STAGES };

static const char *const stage_names[] = {"prepare", "prepare output", "receive", "forward", "release"};

/* An address for a buffer whose frame begins a cache line, as drivers have it. */
static uint64_t allocate_buffer(struct vring_testbed *bed, uint32_t size)
{
    uint64_t address = testbed_allocate(bed, size + HEADER_SIZE + 128);
    uint64_t frame = (uintptr_t)testbed_at(bed, address) + HEADER_SIZE;

    return address + (-frame & 63);
}

/* Lets the port send to itself whatever it receives. */
static struct flow_tables *plug(struct vring_testbed *bed)
{
    struct rule_spec spec = {.id = 1, .n_actions = 1, .actions = {{.type = ACTION_OUTPUT}}};
    struct flow_tables *tables = flow_tables_create(16, NULL);

    bed->port.table = tables ? flow_tables_get(tables, 0) : NULL;
    bed->worker->cache = match_cache_create();
    if (!bed->port.table || !bed->worker->cache || flow_tables_insert(tables, &spec, NULL))
        abort();
    bed->worker->alone = true;
    bed->port.id = 0;
    bed->port.n_send_active = 1;
    bed->port.send[0] = &bed->send.queue;
    bed->port.offloads = PORT_OFFLOAD_BASE;
    bed->port.frame_size_max = FRAME_SIZE_MAX;
    testbed_want_calls(&bed->from_guest, false);
    testbed_want_calls(&bed->to_guest, false);
    atomic_store(&ports[0], &bed->port);
    return tables;
}

static void post_burst(struct vring_testbed *bed, const uint64_t sends[], const uint64_t receives[],
                       uint32_t size)
{
    for (unsigned i = 0; i < BURST_MAX; i++) {
        struct testbed_piece send = {sends[i], HEADER_SIZE + size, false};
        struct testbed_piece receive = {receives[i], HEADER_SIZE + size, true};

        testbed_post(&bed->from_guest, &send, 1, TESTBED_CHAIN);
        testbed_post(&bed->to_guest, &receive, 1, TESTBED_CHAIN);
    }
}

static void take_burst(struct vring_testbed *bed)
{
    uint32_t id, size;

    for (unsigned i = 0; i < BURST_MAX; i++)
        if (!testbed_take_used(&bed->from_guest, &id, &size) || !testbed_take_used(&bed->to_guest, &id, &size))
            abort();
}

/* Forwards one burst; cycles[stage] becomes what is less, its value or the cycles taken now. */
static void forward_once(struct vring_testbed *bed, uint64_t cycles[])
{
    struct receive_queue *queue = &bed->receive.queue;
    struct burst *burst = &bed->worker->burst;
    uint64_t times[STAGES + 1];

    times[PREPARE] = rte_rdtsc();
    queue->ops->prepare(queue);
    times[PREPARE_OUTPUT] = rte_rdtsc();
    deliver_prepare(bed->worker, 0, BURST_MAX);
    times[RECEIVE] = rte_rdtsc();
    if (queue->ops->receive(queue, burst, BURST_MAX) != BURST_MAX)
        abort();
    times[FORWARD] = rte_rdtsc();
    forward_burst(bed->worker, queue, burst);
    times[RELEASE] = rte_rdtsc();
    queue->ops->release(queue, burst);
    times[STAGES] = rte_rdtsc();
    deliver_notify(bed->worker);
    for (enum stage stage = 0; stage < STAGES; stage++)
        if (times[stage + 1] - times[stage] < cycles[stage])
            cycles[stage] = times[stage + 1] - times[stage];
}

int main(int argc, char *argv[])
{
    uint32_t size = argc > 1 ? strtoul(argv[1], NULL, 10) : 64;
    struct testbed_config config = testbed_default;
    uint64_t sends[BURST_MAX], receives[BURST_MAX], cycles[STAGES], total = 0;
    struct vring_testbed *bed;
    struct flow_tables *tables;

    if (size < 60 || size > 9000) {
        fprintf(stderr, "forward_bench takes a frame size from 60 to 9000 bytes.\n");
        return 2;
    }
    config.is_packed = argc > 2 && !strcmp(argv[2], "packed");
    config.region_a_size = 4 << 20;
    bed = testbed_create(&config);
    tables = plug(bed);
    memset(cycles, UINT8_MAX, sizeof cycles);
    for (unsigned i = 0; i < BURST_MAX; i++) {
        sends[i] = allocate_buffer(bed, size);
        receives[i] = allocate_buffer(bed, size);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        post_burst(bed, sends, receives, size);
        forward_once(bed, cycles);
        take_burst(bed);
    }
    for (enum stage stage = 0; stage < STAGES; stage++) {
        printf("%-16s %6.1f cycles/packet\n", stage_names[stage], (double)cycles[stage] / BURST_MAX);
        total += cycles[stage];
    }
    printf("%-16s %6.1f\n", "all", (double)total / BURST_MAX);
    atomic_store(&ports[0], NULL);
    flow_tables_destroy(tables);
    match_cache_destroy(bed->worker->cache);
    testbed_destroy(bed);
    return 0;
}
