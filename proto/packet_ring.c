/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/packet_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/compiler.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/*
 * So many records ahead of the one being read their successors are fetched, which come from the producer's cache: where
 * they lie if all frames are of one size. Each record tells where the next one is, so without it their misses would
 * follow one another.
 */
#define PREFETCH_RECORDS 4

static const char *const fault_sentences[] = {
#define X(id, sentence) [PACKET_RING_FAULT_##id] = sentence,
    PACKET_RING_FAULTS(X)
#undef X
};

const char *packet_ring_fault_sentence(enum packet_ring_fault fault)
{
    return fault_sentences[fault];
}

static bool data_size_is_valid(uint64_t data_size)
{
    return data_size >= PACKET_RING_SIZE_MIN && data_size <= PACKET_RING_SIZE_MAX &&
           (data_size & (data_size - 1)) == 0;
}

/* Set-up and clean-up */

int packet_ring_format(void *memory, uint64_t size, struct error *error)
{
    struct packet_ring_shared *shared = memory;
    uint64_t data_size = size - PACKET_RING_HEADER_SIZE;

    if (size < PACKET_RING_HEADER_SIZE || !data_size_is_valid(data_size))
        return error_set(error, EINVAL,
                         "A packet ring cannot have %llu bytes of records: give a power of two from %u to %u.",
                         (unsigned long long)data_size, PACKET_RING_SIZE_MIN, PACKET_RING_SIZE_MAX);
    memset(memory, 0, PACKET_RING_HEADER_SIZE);
    shared->magic = PACKET_RING_MAGIC;
    shared->version = PACKET_RING_VERSION;
    shared->header_size = PACKET_RING_HEADER_SIZE;
    shared->data_size = data_size;
    return 0;
}

int packet_ring_create(const char *name, uint32_t n_rings, uint64_t data_size, int *fd, struct error *error)
{
    uint64_t ring_size = PACKET_RING_HEADER_SIZE + data_size;
    uint64_t size = ring_size * n_rings;
    uint8_t *base = MAP_FAILED;
    int code;
    int ring_fd;

    if (!data_size_is_valid(data_size))
        return packet_ring_format(NULL, ring_size, error);
    if (n_rings == 0 || n_rings > PACKET_RING_COUNT_MAX)
        return error_set(error, EINVAL, "Packet rings %s: their number must be 1 to %u, not %u.", name,
                         PACKET_RING_COUNT_MAX, n_rings);
    ring_fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (ring_fd < 0)
        return error_set(error, errno, "Packet rings %s: no memfd can be made: %s.", name, strerror(errno));
    /* All pages now: running out of memory later would be a SIGBUS in the middle of a burst. */
    code = ftruncate(ring_fd, (off_t)size) ? errno : posix_fallocate(ring_fd, 0, (off_t)size);
    if (code == 0) {
        base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, 0);
        if (base == MAP_FAILED || fcntl(ring_fd, F_ADD_SEALS, SEALS))
            code = errno;
    }
    if (code == 0)
        for (uint32_t i = 0; i < n_rings; i++)
            packet_ring_format(base + i * ring_size, ring_size, NULL);
    if (base != MAP_FAILED)
        munmap(base, size);
    if (code) {
        close(ring_fd);
        return error_set(error, code, "Packet rings %s: %llu bytes of shared memory cannot be had: %s.", name,
                         (unsigned long long)size, strerror(code));
    }
    *fd = ring_fd;
    return 0;
}

int packet_ring_map(struct packet_ring_memory *memory, int fd, struct error *error)
{
    const struct packet_ring_shared *first;
    struct stat status;
    uint64_t size, ring_size;
    uint8_t *base;
    int seals = fcntl(fd, F_GET_SEALS);

    *memory = (struct packet_ring_memory){.base = NULL};
    if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW))
        return error_set(error, EINVAL,
                         "Packet rings must come in a memfd that is sealed against a change of size.");
    /* The seals hold already, so this size is final. */
    if (fstat(fd, &status))
        return error_set(error, errno, "The size of packet rings cannot be read: %s.", strerror(errno));
    size = (uint64_t)status.st_size;
    if (size < PACKET_RING_HEADER_SIZE)
        return error_set(error, EINVAL, "The shared memory of %llu bytes holds no packet rings.",
                         (unsigned long long)size);
    base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (base == MAP_FAILED)
        return error_set(error, errno, "Packet rings cannot be mapped: %s.", strerror(errno));
    first = (const void *)base;
    ring_size = PACKET_RING_HEADER_SIZE + __atomic_load_n(&first->data_size, __ATOMIC_RELAXED);
    /* That was a stranger's word: it only counts if rings of that size fill the memory, which attaching checks on. */
    if (!data_size_is_valid(ring_size - PACKET_RING_HEADER_SIZE) || size % ring_size ||
        size / ring_size > PACKET_RING_COUNT_MAX) {
        munmap(base, size);
        return error_set(error, EINVAL, "The shared memory of %llu bytes holds no packet rings.",
                         (unsigned long long)size);
    }
    *memory = (struct packet_ring_memory){
        .base = base, .ring_size = ring_size, .n_rings = (uint32_t)(size / ring_size)};
    return 0;
}

void packet_ring_unmap(struct packet_ring_memory *memory)
{
    if (memory->base)
        munmap(memory->base, memory->ring_size * memory->n_rings);
    *memory = (struct packet_ring_memory){.base = NULL};
}

/*
 * Reads the creator's fields of ring 'index' once each and checks them against the
 * memory. Returns where the ring is, or NULL with 'error' set.
 */
static uint8_t *check_ring(const struct packet_ring_memory *memory, uint32_t index, struct error *error)
{
    struct packet_ring_shared *shared = (void *)(memory->base + index * memory->ring_size);
    uint64_t magic, data_size;
    uint32_t version, header_size;

    if (index >= memory->n_rings) {
        error_set(error, EINVAL, "There is no packet ring %u: the shared memory holds %u.", index,
                  memory->n_rings);
        return NULL;
    }
    magic = __atomic_load_n(&shared->magic, __ATOMIC_RELAXED);
    version = __atomic_load_n(&shared->version, __ATOMIC_RELAXED);
    header_size = __atomic_load_n(&shared->header_size, __ATOMIC_RELAXED);
    data_size = __atomic_load_n(&shared->data_size, __ATOMIC_RELAXED);
    if (magic != PACKET_RING_MAGIC)
        error_set(error, EINVAL, "The shared memory holds no packet ring.");
    else if (version != PACKET_RING_VERSION)
        error_set(error, EINVAL, "The packet ring has layout version %u; this program knows version %u.",
                  version, PACKET_RING_VERSION);
    else if (header_size != PACKET_RING_HEADER_SIZE || !data_size_is_valid(data_size) ||
             header_size + data_size != memory->ring_size)
        error_set(error, EINVAL, "The packet ring's header states other sizes than its memory has.");
    else
        return (uint8_t *)shared;
    return NULL;
}

int packet_ring_producer_attach(struct packet_ring_producer *producer,
                                const struct packet_ring_memory *memory, uint32_t index, struct error *error)
{
    uint8_t *ring = check_ring(memory, index, error);

    if (!ring)
        return EINVAL;
    *producer = (struct packet_ring_producer){.shared = (void *)ring,
                                              .data = ring + PACKET_RING_HEADER_SIZE,
                                              .data_size = memory->ring_size - PACKET_RING_HEADER_SIZE};
    return 0;
}

int packet_ring_consumer_attach(struct packet_ring_consumer *consumer,
                                const struct packet_ring_memory *memory, uint32_t index, struct error *error)
{
    uint8_t *ring = check_ring(memory, index, error);

    if (!ring)
        return EINVAL;
    *consumer = (struct packet_ring_consumer){.shared = (void *)ring,
                                              .data = ring + PACKET_RING_HEADER_SIZE,
                                              .data_size = memory->ring_size - PACKET_RING_HEADER_SIZE};
    return 0;
}

/* The producer */

/* Reads the consumer's position. False: it makes no sense, and the ring is broken. */
static bool refresh_consumed(struct packet_ring_producer *producer)
{
    /* Acquire: the consumer's reads of what it released come before our writes over it. */
    uint64_t consumed = atomic_load_explicit(&producer->shared->consumed, memory_order_acquire);

    if (consumed - producer->consumed > producer->published - producer->consumed ||
        consumed % PACKET_RING_ALIGNMENT) {
        producer->fault = PACKET_RING_FAULT_CONSUMED;
        return false;
    }
    producer->consumed = consumed;
    return true;
}

static void write_record(struct packet_ring_producer *producer, const struct packet_ring_record *record)
{
    memcpy(producer->data + (producer->position & (producer->data_size - 1)), record, sizeof *record);
    producer->position += record->size;
}

uint8_t *packet_ring_reserve(struct packet_ring_producer *producer, uint32_t frame_size)
{
    uint32_t size = PACKET_RING_RECORD_SIZE(frame_size);
    uint64_t place = producer->position & (producer->data_size - 1);
    uint64_t to_end = producer->data_size - place;
    uint64_t needed = size <= to_end ? size : to_end + size;

    assert(frame_size > 0 && frame_size <= FRAME_SIZE_MAX);
    if (unlikely(producer->fault != PACKET_RING_FAULT_NONE))
        return NULL;
    if (producer->data_size - (producer->position - producer->consumed) < needed &&
        (!refresh_consumed(producer) ||
         producer->data_size - (producer->position - producer->consumed) < needed))
        return NULL;
    producer->reserved = frame_size;
    return producer->data + (size <= to_end ? place : 0) + sizeof(struct packet_ring_record);
}

uint64_t packet_ring_room(struct packet_ring_producer *producer, uint64_t enough)
{
    uint64_t room = producer->data_size - (producer->position - producer->consumed);

    if (unlikely(producer->fault != PACKET_RING_FAULT_NONE))
        return 0;
    if (room >= enough)
        return room;
    return refresh_consumed(producer) ? producer->data_size - (producer->position - producer->consumed) : 0;
}

void packet_ring_commit(struct packet_ring_producer *producer, const struct packet_ring_frame *frame)
{
    uint64_t to_end = producer->data_size - (producer->position & (producer->data_size - 1));

    assert(frame->size > 0 && frame->size <= producer->reserved);
    if (unlikely(PACKET_RING_RECORD_SIZE(producer->reserved) > to_end))
        write_record(producer,
                     &(struct packet_ring_record){.size = (uint32_t)to_end, .kind = PACKET_RING_SKIP});
    producer->reserved = 0;
    write_record(producer, &(struct packet_ring_record){.size = PACKET_RING_RECORD_SIZE(frame->size),
                                                        .frame_size = frame->size,
                                                        .offload = frame->offload,
                                                        .kind = PACKET_RING_FRAME,
                                                        .mark = frame->mark,
                                                        .metadata = frame->metadata});
}

void packet_ring_count_dropped(struct packet_ring_producer *producer, uint64_t n)
{
    producer->n_dropped += n;
    atomic_store_explicit(&producer->shared->n_dropped, producer->n_dropped, memory_order_relaxed);
}

bool packet_ring_publish(struct packet_ring_producer *producer)
{
    struct packet_ring_shared *shared = producer->shared;

    if (producer->position == producer->published)
        return false;
    producer->published = producer->position;
    /*
     * Sequentially consistent, as the next load and the two accesses in packet_ring_may_sleep():
     * either the load sees that the doorbell is wanted, or the consumer's sees this position.
     */
    atomic_store(&shared->produced, producer->published);
    if (atomic_load(&shared->want_doorbell) == 0)
        return false;
    /* Before ringing: a wish that comes after this is for the ring that follows, or for a later one. */
    atomic_store_explicit(&shared->want_doorbell, 0, memory_order_relaxed);
    return true;
}

void packet_ring_ring_doorbell(int eventfd)
{
    const uint64_t one = 1;

    /* EAGAIN: the counter is full, so the peer has a bell to hear already. */
    if (write(eventfd, &one, sizeof one) < 0)
        return;
}

bool packet_ring_came_back(struct packet_ring_producer *producer, uint64_t tail)
{
    /* Acquire: what the consumer published elsewhere before it came back is visible behind this. */
    uint64_t came_back = atomic_load_explicit(&producer->shared->came_back, memory_order_acquire);

    if (producer->fault != PACKET_RING_FAULT_NONE)
        return false;
    if (came_back > producer->published) {
        producer->fault = PACKET_RING_FAULT_CONSUMED;
        return false;
    }
    return came_back >= tail;
}

/* The consumer */

/* Takes over 'produced', just read from shared memory. False: it makes no sense, and the ring is broken. */
static bool accept_produced(struct packet_ring_consumer *consumer, uint64_t produced)
{
    uint64_t unread = produced - consumer->position;

    if (produced - consumer->released > consumer->data_size ||
        unread < consumer->produced - consumer->position || unread > consumer->data_size ||
        produced % PACKET_RING_ALIGNMENT) {
        consumer->fault = PACKET_RING_FAULT_PRODUCED;
        return false;
    }
    consumer->produced = produced;
    return true;
}

/* Each word once: the checks and the use must not see different values. */
static struct packet_ring_record read_record(const uint8_t *place)
{
    const uint64_t *words = (const uint64_t *)(const void *)place;
    union {
        uint64_t words[sizeof(struct packet_ring_record) / sizeof(uint64_t)];
        struct packet_ring_record record;
    } copy;

    for (unsigned i = 0; i < sizeof copy.words / sizeof copy.words[0]; i++)
        copy.words[i] = __atomic_load_n(&words[i], __ATOMIC_RELAXED);
    return copy.record;
}

/* What is wrong with a record that lies 'to_end' before the ring's end and 'unread' before the published end. */
static enum packet_ring_fault check_record(const struct packet_ring_record *record, uint64_t to_end,
                                           uint64_t unread)
{
    if (unlikely(record->kind == PACKET_RING_SKIP))
        return record->size == to_end && record->size <= unread ? PACKET_RING_FAULT_NONE
                                                                : PACKET_RING_FAULT_SKIP_SIZE;
    if (record->kind != PACKET_RING_FRAME)
        return PACKET_RING_FAULT_RECORD_KIND;
    if (record->frame_size == 0 || record->frame_size > FRAME_SIZE_MAX)
        return PACKET_RING_FAULT_FRAME_SIZE;
    if (record->size != PACKET_RING_RECORD_SIZE(record->frame_size) || record->size > to_end ||
        record->size > unread)
        return PACKET_RING_FAULT_RECORD_SIZE;
    return PACKET_RING_FAULT_NONE;
}

uint16_t packet_ring_peek(struct packet_ring_consumer *consumer, struct packet_ring_frame frames[], uint16_t n)
{
    uint64_t position = consumer->position;
    uint16_t n_frames = 0;

    if (consumer->fault != PACKET_RING_FAULT_NONE)
        return 0;
    if (position == consumer->released && position != consumer->came_back) {
        consumer->came_back = position;
        /* Release: whatever this side did with the batch before is visible to who sees this. */
        atomic_store_explicit(&consumer->shared->came_back, position, memory_order_release);
    }
    if (position == consumer->produced &&
        /* Acquire: the records' bytes are read behind this. */
        !accept_produced(consumer, atomic_load_explicit(&consumer->shared->produced, memory_order_acquire)))
        return 0;
    while (n_frames < n && position != consumer->produced) {
        uint64_t place = position & (consumer->data_size - 1);
        const uint8_t *data = consumer->data + place;
        struct packet_ring_record record;
        enum packet_ring_fault fault;

        record = read_record(data);
        fault = check_record(&record, consumer->data_size - place, consumer->produced - position);
        if (unlikely(fault != PACKET_RING_FAULT_NONE)) {
            consumer->fault = fault;
            break;
        }
        place = (place + (uint64_t)PREFETCH_RECORDS * record.size) & (consumer->data_size - 1);
        __builtin_prefetch(consumer->data + place);
        __builtin_prefetch(consumer->data + place + 64);
        position += record.size;
        if (unlikely(record.kind == PACKET_RING_SKIP))
            continue;
        frames[n_frames++] = (struct packet_ring_frame){.data = data + sizeof record,
                                                        .size = record.frame_size,
                                                        .mark = record.mark,
                                                        .metadata = record.metadata,
                                                        .offload = record.offload};
    }
    consumer->position = position;
    return n_frames;
}

void packet_ring_release(struct packet_ring_consumer *consumer)
{
    if (consumer->position == consumer->released)
        return;
    consumer->released = consumer->position;
    /* Release: our reads of the frames come before the producer's writes over them. */
    atomic_store_explicit(&consumer->shared->consumed, consumer->released, memory_order_release);
}

uint64_t packet_ring_n_dropped(const struct packet_ring_consumer *consumer)
{
    return atomic_load_explicit(&consumer->shared->n_dropped, memory_order_relaxed);
}

bool packet_ring_may_sleep(struct packet_ring_consumer *consumer)
{
    if (consumer->fault != PACKET_RING_FAULT_NONE)
        return false;
    /* Both sequentially consistent: see packet_ring_publish(). */
    atomic_store(&consumer->shared->want_doorbell, 1);
    if (atomic_load(&consumer->shared->produced) == consumer->position)
        return true;
    packet_ring_awake(consumer);
    return false;
}

void packet_ring_awake(struct packet_ring_consumer *consumer)
{
    if (atomic_load_explicit(&consumer->shared->want_doorbell, memory_order_relaxed))
        atomic_store_explicit(&consumer->shared->want_doorbell, 0, memory_order_relaxed);
}
