/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Two hostile guests, one that sends and one that receives: the input is a small
 * program that writes their rings and memory, whole buffers or single values, and lets
 * the device work in between, also between receive and release. All memory is
 * allocated with its exact size, so the address sanitizer sees every access
 * outside it; what else must hold is checked here.
 *
 * Input: flags, ring size, start index (2 bytes), then steps: a byte each, and operands.
 */

#include <stdlib.h>

#include "fastpath/packet_parse.h"
#include "fastpath/segment.h"
#include "fastpath/vring_testbed.h"

#define REGION_A_SIZE 2048
#define REGION_B_SIZE 1024

#define CHECK(condition)  \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

enum step {
    STEP_RECEIVE,
    STEP_RELEASE,
    STEP_FORWARD,
    STEP_SEND,
    STEP_POST,
    STEP_DESCRIPTOR,
    STEP_TABLE,
    STEP_WORD,
    STEP_BYTES,
    STEP_ARM,
    STEP_RESTART,
    STEP_COUNT
};

struct input {
    const uint8_t *at, *end;
};

static uint8_t take_8(struct input *input)
{
    return input->at < input->end ? *input->at++ : 0;
}

static uint16_t take_16(struct input *input)
{
    uint16_t low = take_8(input);

    return low | (uint16_t)take_8(input) << 8;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool in_memory(const struct vring_testbed *bed, const uint8_t *data, uint32_t size)
{
    for (uint32_t i = 0; i < bed->memory.n_regions; i++) {
        const struct guest_region *region = &bed->memory.regions[i];

        if (data >= region->host && data + size <= region->host + region->size)
            return true;
    }
    return false;
}

static void check_packet(const struct vring_testbed *bed, struct packet *packet)
{
    uint64_t size = (uint64_t)packet->head_size + packet->tail_size;
    struct flow_key key;

    CHECK(packet->head_size >= 14 && packet->head_size <= SNAPSHOT_SIZE_MAX);
    CHECK(!packet->tail_size || in_memory(bed, packet->tail, packet->tail_size));
    for (uint32_t i = 0; i < packet->n_more; i++) {
        CHECK(in_memory(bed, packet->more[i].data, packet->more[i].size));
        size += packet->more[i].size;
    }
    CHECK(packet->size == size && packet->size <= FRAME_SIZE_MAX);
    packet_parse(packet, &key);
    packet_check_offload(packet);
}

static uint64_t sum_drops(const struct vring_testbed *bed)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < DROP_REASON_COUNT; i++)
        sum += bed->counters[0].drops[i];
    return sum;
}

/* What has been taken has been given back; a faulty queue is stopped, and no other. */
static void check_settled(const struct virtqueue *ring, bool ready)
{
    CHECK(ring->last_avail == ring->last_used && ring->avail_wrap == ring->used_wrap);
    CHECK(!ring->is_packed || ring->last_avail < ring->size);
    CHECK(ready == !ring->fault);
}

/* Buffers taken, and not given back yet; the burst is valid that long. */
static uint16_t outstanding;

static void release(struct vring_testbed *bed)
{
    if (outstanding)
        testbed_release(bed);
    outstanding = 0;
    bed->worker->burst.n = 0;
    check_settled(&bed->receive.ring, bed->receive.queue.ready);
}

static void receive(struct vring_testbed *bed)
{
    uint64_t dropped = sum_drops(bed);

    release(bed);
    if (!bed->receive.queue.ready)
        return;
    outstanding = testbed_receive(bed);
    CHECK(outstanding <= BURST_MAX);
    CHECK(bed->worker->burst.n + sum_drops(bed) - dropped == outstanding);
    for (uint16_t i = 0; i < bed->worker->burst.n; i++)
        check_packet(bed, &bed->worker->burst.packets[i]);
}

static void send_packets(struct vring_testbed *bed, struct packet *const packets[], uint16_t n)
{
    uint64_t before = bed->counters[0].tx_packets + sum_drops(bed);

    if (!bed->send.queue.ready || !n)
        return;
    bed->send_ops->send(&bed->send.queue, bed->worker, packets, n, false);
    CHECK(bed->counters[0].tx_packets + sum_drops(bed) - before == n);
    if (bed->send.queue.ready)
        bed->send_ops->notify(&bed->send.queue);
    check_settled(&bed->send.ring, bed->send.queue.ready);
}

/* From the sending guest's memory straight into the receiving one's. */
static void forward(struct vring_testbed *from, struct vring_testbed *to)
{
    struct burst *burst = &from->worker->burst;
    struct packet *packets[BURST_MAX];

    for (uint16_t i = 0; i < burst->n; i++)
        packets[i] = &burst->packets[i];
    send_packets(to, packets, burst->n);
}

static void send_made_up(struct vring_testbed *bed, struct input *input)
{
    static uint8_t bytes[SNAPSHOT_SIZE_MAX + UINT16_MAX];
    struct packet packets[BURST_MAX], *pointers[BURST_MAX];
    uint16_t n = take_8(input) % BURST_MAX + 1;
    uint32_t size = 14 + take_16(input);

    for (uint16_t i = 0; i < n; i++) {
        uint32_t head_size = size < SNAPSHOT_SIZE ? size : SNAPSHOT_SIZE;

        packets[i] = (struct packet){.head = bytes,
                                     .head_size = (uint16_t)head_size,
                                     .size = size,
                                     .tail = bytes + head_size,
                                     .tail_size = size - head_size,
                                     .offload.flags = size & 1};
        pointers[i] = &packets[i];
    }
    send_packets(bed, pointers, n);
}

/* A buffer as a driver would make it, though of pieces that may lie anywhere. */
static void post(struct testbed_driver *driver, struct input *input)
{
    struct testbed_piece pieces[8];
    uint8_t shape = take_8(input);
    uint16_t n = shape % 8 + 1;

    for (uint16_t i = 0; i < n; i++) {
        pieces[i].address = TESTBED_REGION_A + take_16(input);
        pieces[i].size = take_16(input);
        pieces[i].device_writes = driver == &driver->bed->to_guest;
    }
    driver->bed->allocated = TESTBED_REGION_A;
    testbed_post(driver, pieces, n, (enum testbed_layout)((shape >> 3) % 3));
}

/* A descriptor of either format; two of its bits make address and length large. */
static void take_descriptor(struct input *input, bool is_packed, uint8_t descriptor[16])
{
    uint64_t address = TESTBED_REGION_A + take_16(input);
    uint32_t size = take_16(input);
    uint16_t flags = take_16(input), other = take_16(input);

    if (flags & 0x100)
        address |= (uint64_t)other << 48;
    if (flags & 0x200)
        size |= (uint32_t)other << 16;
    memcpy(descriptor, &address, 8);
    memcpy(descriptor + 8, &size, 4);
    memcpy(descriptor + 12, is_packed ? &other : &flags, 2);
    memcpy(descriptor + 14, is_packed ? &flags : &other, 2);
}

static void write_descriptor(struct virtqueue *ring, struct input *input)
{
    uint16_t at = take_8(input) % ring->size;

    take_descriptor(input, ring->is_packed, (uint8_t *)&ring->desc[at]);
}

static void write_table(struct vring_testbed *bed, struct input *input)
{
    uint32_t at = take_16(input) % (REGION_A_SIZE - 16);

    take_descriptor(input, bed->config.is_packed, bed->memory.regions[0].host + at);
}

/* Writes 16 bits behind the descriptors: indices, flags and events. */
static void write_word(struct virtqueue *ring, struct input *input)
{
    bool used = take_8(input) % 2;
    uint32_t at = take_16(input), size = ring->is_packed ? 4 : used ? 6 + 8 * ring->size : 6 + 2 * ring->size;
    uint16_t value = take_16(input);

    memcpy((uint8_t *)(used ? (void *)ring->used : (void *)ring->avail) + at % size / 2 * 2, &value, 2);
}

static void write_bytes(struct vring_testbed *bed, struct input *input)
{
    const struct guest_region *region = &bed->memory.regions[take_8(input) % 2];
    uint32_t at = take_16(input) % region->size;

    for (uint8_t n = take_8(input); n && at < region->size && input->at < input->end; n--)
        region->host[at++] = take_8(input);
}

static void arm(struct vring_testbed *bed)
{
    release(bed);
    if (!bed->receive.queue.ready)
        return;
    bed->receive_ops->arm(&bed->receive.queue);
    bed->receive_ops->disarm(&bed->receive.queue);
}

/* The guest resets its device and sets the ring up again, with an index of its choice. */
static void restart(struct virtqueue *ring, _Atomic bool *ready, struct input *input)
{
    uint16_t base = take_16(input);

    ring->last_avail = ring->last_used = ring->is_packed ? (base & 0x7fff) % ring->size : base;
    ring->avail_wrap = ring->used_wrap = ring->is_packed && base >> 15;
    ring->fault = VRING_FAULT_NONE;
    *ready = true;
    (ring->is_packed ? vring_packed_start : vring_split_start)(ring);
}

static void run_step(struct vring_testbed *from, struct vring_testbed *to, struct input *input)
{
    uint8_t byte = take_8(input);
    bool of_receiver = byte & 0x80;
    struct vring_testbed *bed = of_receiver ? to : from;
    struct testbed_driver *driver = of_receiver ? &to->to_guest : &from->from_guest;

    switch ((enum step)((byte & 0x7f) % STEP_COUNT)) {
    case STEP_RECEIVE: receive(from); break;
    case STEP_RELEASE: release(from); break;
    case STEP_FORWARD: forward(from, to); break;
    case STEP_SEND: send_made_up(to, input); break;
    case STEP_POST: post(driver, input); break;
    case STEP_DESCRIPTOR: write_descriptor(driver->ring, input); break;
    case STEP_TABLE: write_table(bed, input); break;
    case STEP_WORD: write_word(driver->ring, input); break;
    case STEP_BYTES: write_bytes(bed, input); break;
    case STEP_ARM: arm(from); break;
    case STEP_RESTART:
        release(from);
        if (of_receiver)
            restart(&to->send.ring, &to->send.queue.ready, input);
        else
            restart(&from->receive.ring, &from->receive.queue.ready, input);
        break;
    case STEP_COUNT: break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, data + size};
    uint8_t flags = take_8(&input), ring_size = take_8(&input);
    uint16_t start = take_16(&input);
    struct testbed_config config = {
        .is_packed = flags & 1,
        .event_index = flags & 2,
        .mergeable = flags & 4,
        .header_size = flags & 9 ? 12 : 10,
        .size = flags & 1 ? ring_size % 64u + 1 : 1u << ring_size % 7,
        .region_a_size = REGION_A_SIZE,
        .region_b_size = REGION_B_SIZE,
    };
    struct vring_testbed *from, *to;

    config.start = config.is_packed ? start % config.size : start;
    from = testbed_create(&config);
    to = testbed_create(&config);
    outstanding = 0;
    while (input.at < input.end)
        run_step(from, to, &input);
    release(from);
    testbed_destroy(from);
    testbed_destroy(to);
    return 0;
}
