/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Both ends of a packet ring against a peer that writes anything: the input's
 * bytes are scattered over the shared memory between the calls. Input: a list of
 * 12-byte steps {operation u8, unused u8, place u16, value u64}.
 */
#include "proto/packet_ring.h"

#include <stdlib.h>
#include <string.h>

#define MEMORY_SIZE (PACKET_RING_HEADER_SIZE + PACKET_RING_SIZE_MIN)

static struct packet_ring_memory memory = {.ring_size = MEMORY_SIZE, .n_rings = 1};
static struct packet_ring_producer producer;
static struct packet_ring_consumer consumer;
static volatile uint8_t sink;

static void produce(uint32_t size)
{
    uint8_t *data = packet_ring_reserve(&producer, size);

    if (!data)
        return;
    memset(data, 0x5a, size);
    packet_ring_commit(&producer, &(struct packet_ring_frame){.size = 1 + size / 2});
}

static void consume(uint16_t n)
{
    struct packet_ring_frame frames[32];

    n = packet_ring_peek(&consumer, frames, n);
    for (uint16_t i = 0; i < n; i++) {
        if (frames[i].size == 0 || frames[i].size > FRAME_SIZE_MAX)
            abort();
        sink = frames[i].data[0];
        sink = frames[i].data[frames[i].size - 1];
    }
}

static void step(uint8_t operation, uint16_t place, uint64_t value)
{
    struct packet_ring_shared *shared = (void *)memory.base;

    switch (operation % 10) {
    case 0: atomic_store(&shared->produced, value); break;
    case 1: atomic_store(&shared->produced, consumer.position + place * 64); break;
    case 2: atomic_store(&shared->consumed, value); break;
    case 3:
        atomic_store(&shared->came_back, value);
        packet_ring_came_back(&producer, place);
        break;
    case 4: /* any word of the header of any record, or between */
        memcpy(memory.base + PACKET_RING_HEADER_SIZE + (place * 8) % PACKET_RING_SIZE_MIN, &value,
               sizeof value);
        break;
    case 5: /* a record that is nearly right, where the consumer will look next */
        memcpy(memory.base + PACKET_RING_HEADER_SIZE + consumer.position % PACKET_RING_SIZE_MIN,
               &(struct packet_ring_record){.size = PACKET_RING_RECORD_SIZE(value & 0x1ffff),
                                            .frame_size = value & 0x1ffff,
                                            .kind = place % 4},
               sizeof(struct packet_ring_record));
        break;
    case 6: consume(place % 33); break;
    case 7:
        packet_ring_release(&consumer);
        packet_ring_may_sleep(&consumer);
        packet_ring_awake(&consumer);
        break;
    case 8: produce(1 + value % FRAME_SIZE_MAX); break;
    default: packet_ring_publish(&producer);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (!memory.base && !(memory.base = aligned_alloc(PACKET_RING_ALIGNMENT, MEMORY_SIZE)))
        abort();
    packet_ring_format(memory.base, MEMORY_SIZE, NULL);
    packet_ring_producer_attach(&producer, &memory, 0, NULL);
    packet_ring_consumer_attach(&consumer, &memory, 0, NULL);
    for (; size >= 12; input += 12, size -= 12) {
        uint16_t place;
        uint64_t value;

        memcpy(&place, input + 2, sizeof place);
        memcpy(&value, input + 4, sizeof value);
        step(input[0], place, value);
    }
    return 0;
}
