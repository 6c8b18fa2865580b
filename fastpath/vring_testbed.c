/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/vring_testbed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FLAG_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define FLAG_USED (1u << VRING_PACKED_DESC_F_USED)

const struct testbed_config testbed_default = {
    .header_size = 12,
    .size = 256,
    .region_a_size = TESTBED_REGION_A_SIZE,
    .region_b_size = TESTBED_REGION_B_SIZE,
};

const bool testbed_formats[2] = {false, true};

struct testbed_config testbed_config_of(void **state)
{
    struct testbed_config config = testbed_default;

    config.is_packed = *(const bool *)*state;
    return config;
}

static void *allocate(size_t alignment, size_t size)
{
    void *memory;

    if (posix_memalign(&memory, alignment, size))
        abort();
    return memset(memory, 0, size);
}

static void create_ring(struct virtqueue *ring, struct vring_testbed *bed)
{
    const struct testbed_config *config = &bed->config;
    uint16_t size = config->size;

    *ring = (struct virtqueue){
        .memory = &bed->memory,
        .size = size,
        .mask = size - 1,
        .header_size = config->header_size,
        .is_packed = config->is_packed,
        .event_index = config->event_index,
        .mergeable = config->mergeable,
        .call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
        .peer = &bed->peer,
        .last_avail = config->start,
        .last_used = config->start,
        .avail_wrap = config->is_packed,
        .used_wrap = config->is_packed,
    };
    if (config->is_packed) {
        ring->packed = allocate(16, size * sizeof *ring->packed);
        for (uint16_t i = 0; i < config->start; i++)
            ring->packed[i].flags = FLAG_AVAIL | FLAG_USED; /* in this lap, before the test began */
        ring->driver_event = allocate(8, sizeof *ring->driver_event);
        ring->device_event = allocate(8, sizeof *ring->device_event);
        vring_packed_start(ring);
    } else {
        ring->desc = allocate(16, size * sizeof *ring->desc);
        ring->avail = allocate(8, 6 + 2 * size);
        ring->used = allocate(8, 6 + 8 * size);
        ring->avail->idx = ring->used->idx = config->start;
        vring_split_start(ring);
    }
}

static void destroy_ring(struct virtqueue *ring)
{
    close(ring->call_fd);
    free(ring->desc);
    free(ring->avail);
    free(ring->used);
}

static void create_driver(struct testbed_driver *driver, struct vring_testbed *bed, struct virtqueue *ring)
{
    driver->bed = bed;
    driver->ring = ring;
    driver->used = bed->config.start;
    driver->next_descriptor = bed->config.is_packed ? bed->config.start : 0;
    driver->wrap = driver->used_wrap = true;
    driver->lengths = allocate(8, ring->size * sizeof *driver->lengths);
    testbed_calls(driver); /* the one at the start of every ring */
}

struct vring_testbed *testbed_create(const struct testbed_config *config)
{
    struct vring_testbed *bed = allocate(64, sizeof *bed);
    bool is_packed = config->is_packed;

    bed->config = *config;
    bed->memory.n_regions = 2;
    bed->memory.regions[0] =
        (struct guest_region){TESTBED_REGION_A, config->region_a_size, allocate(64, config->region_a_size)};
    bed->memory.regions[1] = (struct guest_region){
        TESTBED_REGION_A + config->region_a_size, config->region_b_size, allocate(64, config->region_b_size)};
    bed->allocated = TESTBED_REGION_A;
    bed->worker = allocate(64, sizeof *bed->worker);
    bed->worker->alone = true;
    bed->worker->burst.worker = bed->worker;
    for (uint16_t i = 0; i < BURST_MAX; i++)
        bed->worker->burst.all[i] = &bed->worker->burst.packets[i];
    bed->port.id = 7;
    bed->port.counters = bed->counters;
    bed->receive_ops = is_packed ? &vring_packed_receive_ops : &vring_split_receive_ops;
    bed->send_ops = is_packed ? &vring_packed_send_ops : &vring_split_send_ops;
    bed->receive.queue = (struct receive_queue){.port = &bed->port, .ops = bed->receive_ops, .ready = true};
    bed->send.queue = (struct send_queue){.port = &bed->port, .ops = bed->send_ops, .ready = true};
    create_ring(&bed->receive.ring, bed);
    create_ring(&bed->send.ring, bed);
    create_driver(&bed->from_guest, bed, &bed->receive.ring);
    create_driver(&bed->to_guest, bed, &bed->send.ring);
    return bed;
}

void testbed_destroy(struct vring_testbed *bed)
{
    destroy_ring(&bed->receive.ring);
    destroy_ring(&bed->send.ring);
    free(bed->from_guest.lengths);
    free(bed->to_guest.lengths);
    free(bed->worker);
    for (uint32_t i = 0; i < bed->memory.n_regions; i++)
        free(bed->memory.regions[i].host);
    free(bed);
}

uint64_t testbed_allocate(struct vring_testbed *bed, uint32_t size)
{
    uint64_t address = bed->allocated;

    bed->allocated += (size + 63) / 64 * 64;
    assert(bed->allocated <= TESTBED_REGION_A + bed->config.region_a_size);
    memset(testbed_at(bed, address), 0, size);
    return address;
}

uint8_t *testbed_at(struct vring_testbed *bed, uint64_t address)
{
    uint8_t *here = guest_memory_at(&bed->memory, address, 1);

    assert(here);
    return here;
}

static uint16_t write_flag(const struct testbed_piece *piece)
{
    return piece->device_writes ? VRING_DESC_F_WRITE : 0;
}

/* Writes an indirect table for 'pieces'; returns its guest address. */
static uint64_t write_table(struct vring_testbed *bed, const struct testbed_piece pieces[], uint16_t n)
{
    uint64_t address = testbed_allocate(bed, n * sizeof(struct vring_desc));
    uint8_t *table = testbed_at(bed, address);

    for (uint16_t i = 0; i < n; i++) {
        const struct testbed_piece *piece = &pieces[i];
        struct vring_desc split = {piece->address, piece->size,
                                   write_flag(piece) | (i + 1 < n ? VRING_DESC_F_NEXT : 0), i + 1};
        struct vring_packed_desc packed = {piece->address, piece->size, 0, write_flag(piece)};

        if (bed->config.is_packed)
            memcpy(table + i * sizeof packed, &packed, sizeof packed);
        else
            memcpy(table + i * sizeof split, &split, sizeof split);
    }
    return address;
}

static uint16_t post_split(struct testbed_driver *driver, const struct vring_desc descriptors[], uint16_t n)
{
    struct virtqueue *ring = driver->ring;
    uint16_t head = driver->next_descriptor;
    uint16_t index = ring->avail->idx;

    for (uint16_t i = 0; i < n; i++) {
        struct vring_desc *descriptor = &ring->desc[driver->next_descriptor];

        driver->next_descriptor = (driver->next_descriptor + 1) & ring->mask;
        *descriptor = descriptors[i];
        descriptor->next = driver->next_descriptor;
    }
    ring->avail->ring[index & ring->mask] = head;
    __atomic_store_n(&ring->avail->idx, (uint16_t)(index + 1), __ATOMIC_RELEASE);
    return head;
}

static uint16_t post_packed(struct testbed_driver *driver, const struct vring_desc descriptors[], uint16_t n)
{
    struct virtqueue *ring = driver->ring;
    struct vring_packed_desc *first = &ring->packed[driver->next_descriptor];
    uint16_t first_flags = 0, id = driver->next_id++ % ring->size;

    for (uint16_t i = 0; i < n; i++) {
        struct vring_packed_desc *descriptor = &ring->packed[driver->next_descriptor];
        uint16_t flags = descriptors[i].flags | (driver->wrap ? FLAG_AVAIL : FLAG_USED);

        descriptor->addr = descriptors[i].addr;
        descriptor->len = descriptors[i].len;
        descriptor->id = id;
        if (i)
            descriptor->flags = flags;
        else
            first_flags = flags;
        if (++driver->next_descriptor == ring->size) {
            driver->next_descriptor = 0;
            driver->wrap = !driver->wrap;
        }
    }
    driver->lengths[id] = n;
    __atomic_store_n(&first->flags, first_flags, __ATOMIC_RELEASE);
    return id;
}

uint16_t testbed_post(struct testbed_driver *driver, const struct testbed_piece pieces[], uint16_t n,
                      enum testbed_layout layout)
{
    uint16_t n_direct = layout == TESTBED_CHAIN ? n : layout == TESTBED_CHAIN_INDIRECT ? 1 : 0;
    uint16_t n_all = n_direct + (layout != TESTBED_CHAIN);
    struct vring_desc descriptors[TESTBED_PIECES_MAX + 1];

    assert(n <= TESTBED_PIECES_MAX);
    for (uint16_t i = 0; i < n_direct; i++)
        descriptors[i] = (struct vring_desc){pieces[i].address, pieces[i].size, write_flag(&pieces[i]), 0};
    if (layout != TESTBED_CHAIN)
        descriptors[n_direct] =
            (struct vring_desc){write_table(driver->bed, pieces + n_direct, n - n_direct),
                                (n - n_direct) * sizeof(struct vring_desc), VRING_DESC_F_INDIRECT, 0};
    for (uint16_t i = 0; i + 1 < n_all; i++)
        descriptors[i].flags |= VRING_DESC_F_NEXT;
    return (driver->ring->is_packed ? post_packed : post_split)(driver, descriptors, n_all);
}

uint16_t testbed_post_piece(struct testbed_driver *driver, uint64_t address, uint32_t size)
{
    const struct testbed_piece piece = {address, size, driver == &driver->bed->to_guest};

    return testbed_post(driver, &piece, 1, TESTBED_CHAIN);
}

static bool take_used_packed(struct testbed_driver *driver, uint32_t *id, uint32_t *size)
{
    struct vring_packed_desc *descriptor = &driver->ring->packed[driver->used];
    uint16_t flags = __atomic_load_n(&descriptor->flags, __ATOMIC_ACQUIRE);

    if (!!(flags & FLAG_AVAIL) != driver->used_wrap || !!(flags & FLAG_USED) != driver->used_wrap)
        return false;
    *id = descriptor->id;
    *size = descriptor->len;
    /* 2.8.5: the length counts only when the device says that it wrote. */
    assert(!!(flags & VRING_DESC_F_WRITE) == (*size > 0));
    driver->used += driver->lengths[*id];
    if (driver->used >= driver->ring->size) {
        driver->used -= driver->ring->size;
        driver->used_wrap = !driver->used_wrap;
    }
    return true;
}

bool testbed_take_used(struct testbed_driver *driver, uint32_t *id, uint32_t *size)
{
    const struct virtqueue *ring = driver->ring;
    const struct vring_used_elem *element;

    if (ring->is_packed)
        return take_used_packed(driver, id, size);
    if (__atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE) == driver->used)
        return false;
    element = &ring->used->ring[driver->used++ & ring->mask];
    *id = element->id;
    *size = element->len;
    return true;
}

bool testbed_wants_kick(const struct testbed_driver *driver)
{
    const struct virtqueue *ring = driver->ring;

    if (ring->is_packed) {
        uint16_t wanted = ring->device_event->off_wrap;

        if (ring->device_event->flags != VRING_PACKED_EVENT_FLAG_DESC)
            return ring->device_event->flags == VRING_PACKED_EVENT_FLAG_ENABLE;
        return (wanted & 0x7fff) == driver->next_descriptor && wanted >> 15 == driver->wrap;
    }
    if (ring->event_index) {
        uint16_t index = ring->avail->idx;

        return vring_need_event(*(uint16_t *)&ring->used->ring[ring->size], index + 1, index);
    }
    return !(ring->used->flags & VRING_USED_F_NO_NOTIFY);
}

uint64_t testbed_calls(struct testbed_driver *driver)
{
    eventfd_t n = 0;

    return eventfd_read(driver->ring->call_fd, &n) ? 0 : n;
}

void testbed_want_call_after(struct testbed_driver *driver, uint16_t n)
{
    struct virtqueue *ring = driver->ring;

    if (ring->is_packed) {
        uint32_t at = driver->used + n - 1;
        bool wrap = driver->used_wrap ^ (at >= ring->size);

        ring->driver_event->off_wrap = (uint16_t)(at % ring->size | wrap << 15);
        ring->driver_event->flags = VRING_PACKED_EVENT_FLAG_DESC;
    } else {
        ring->avail->ring[ring->size] = driver->used + n - 1;
    }
}

void testbed_want_calls(struct testbed_driver *driver, bool want)
{
    struct virtqueue *ring = driver->ring;

    if (ring->is_packed)
        ring->driver_event->flags = want ? VRING_PACKED_EVENT_FLAG_ENABLE : VRING_PACKED_EVENT_FLAG_DISABLE;
    else
        ring->avail->flags = want ? 0 : VRING_AVAIL_F_NO_INTERRUPT;
}

uint16_t testbed_receive(struct vring_testbed *bed)
{
    return bed->receive_ops->receive(&bed->receive.queue, &bed->worker->burst, BURST_MAX);
}

void testbed_release(struct vring_testbed *bed)
{
    bed->receive_ops->release(&bed->receive.queue, &bed->worker->burst);
    bed->receive_ops->notify(&bed->receive.queue);
}

uint16_t testbed_send(struct vring_testbed *bed, struct packet *packet)
{
    uint16_t n = bed->send_ops->send(&bed->send.queue, bed->worker, &packet, 1, false);

    bed->send_ops->notify(&bed->send.queue);
    return n;
}
