/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_PACKET_RING_H
#define PROTO_PACKET_RING_H

/*
 * A ring of frames in shared memory, from one producer to one consumer, which
 * are threads of two processes that do not trust each other. Frames are
 * written and read in place; positions are published once per batch.
 *
 *     producer                                     consumer
 *     for each frame:                              n = packet_ring_peek(c, frames, 32);
 *         data = packet_ring_reserve(p, size);     for each frame:
 *         (NULL: full; count it as dropped)            copy frames[i].data, then look at the copy
 *         write the frame to 'data'                packet_ring_release(c);
 *         packet_ring_commit(p, &frame);
 *     if (packet_ring_publish(p))
 *         packet_ring_ring_doorbell(eventfd);
 *
 * Trust: each side reads a word of shared memory once, checks the value, and uses
 * only what it checked. A peer that writes rubbish makes the ring *broken*: 'fault'
 * says why, and from then on reserve returns NULL and peek returns 0. Nothing a
 * peer writes makes this side read or write outside the ring, loop or crash.
 * What cannot be prevented is that the producer rewrites a frame while the
 * consumer reads it, so a consumer copies first and decides by the copy.
 * Offload fields, mark and metadata are copied but not checked here: what
 * they may say is between the two users.
 *
 * Memory: a memfd, sealed against shrinking and growing, so that a peer cannot
 * truncate it and make an access raise SIGBUS. Whoever opens one checks the seals.
 *
 * Threads: one thread at a time on each side; nothing here locks, allocates or
 * makes a system call but create, map, unmap and the doorbell.
 *
 * Sleep and wake: before it sleeps on the doorbell (an eventfd) the consumer calls
 * packet_ring_may_sleep(), which asks for the doorbell and looks once more; the
 * producer publishes, then looks whether the doorbell is wanted. All four
 * accesses are sequentially consistent, so at least one side sees the other's
 * and no wake-up is lost. The producer withdraws the wish before it rings, so
 * one sleep costs one system call.
 *
 * Layout (version 1, native byte order, since both ends share the memory): the header
 * below, then, from 'header_size' on, 'data_size' bytes of records. Positions
 * count bytes since the start and never wrap; position & (data_size - 1) is the
 * place. A record starts at a multiple of 64, begins with struct
 * packet_ring_record and is contiguous: where one would pass the end, a
 * record of kind SKIP fills the rest and the record starts at the beginning.
 */

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"
#include "lib/limits.h"

#define PACKET_RING_MAGIC 0x676e6972656e6f76ull
#define PACKET_RING_VERSION 1
#define PACKET_RING_ALIGNMENT 64
#define PACKET_RING_HEADER_SIZE 4096
#define PACKET_RING_COUNT_MAX 256         /* rings in one memfd */
#define PACKET_RING_SIZE_MIN (256u << 10) /* bytes of 'data_size' ... */
#define PACKET_RING_SIZE_MAX (1u << 30)   /* ... which is a power of two */

/*
 * The header in shared memory. What one side writes lies 128 bytes away from what
 * the other does, because processors fetch cache lines in pairs.
 */
struct packet_ring_shared {
    /* set once by the creator */
    uint64_t magic;
    uint32_t version;
    uint32_t header_size; /* offset of the records */
    uint64_t data_size;

    /* written by the producer */
    _Alignas(128) _Atomic uint64_t produced; /* position behind the last published record */
    _Atomic uint64_t n_dropped;              /* frames that did not fit; for information */

    /* written by the consumer */
    _Alignas(128) _Atomic uint64_t consumed; /* position behind the last released record */
    _Atomic uint64_t came_back; /* 'consumed' when the latest peek began that had nothing unreleased */

    /* set by the consumer before it sleeps, cleared by either */
    _Alignas(128) _Atomic uint32_t want_doorbell;
};

static_assert(offsetof(struct packet_ring_shared, data_size) == 16, "layout version 1");
static_assert(offsetof(struct packet_ring_shared, produced) == 128, "layout version 1");
static_assert(offsetof(struct packet_ring_shared, consumed) == 256, "layout version 1");
static_assert(offsetof(struct packet_ring_shared, want_doorbell) == 384, "layout version 1");
static_assert(sizeof(struct packet_ring_shared) <= PACKET_RING_HEADER_SIZE, "the header fits");

/* Fields of struct virtio_net_hdr (virtio 1.2, 5.1.6), in native byte order. */
struct packet_ring_offload {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
};

#define PACKET_RING_FRAME 1 /* values of 'kind'; 0 is never valid */
#define PACKET_RING_SKIP 2

/* What each record begins with; the frame follows at once. */
struct packet_ring_record {
    uint32_t size;       /* of the record, header and padding too: a multiple of 64 */
    uint32_t frame_size; /* 1 to FRAME_SIZE_MAX; SKIP: 0 */
    struct packet_ring_offload offload;
    uint16_t kind;
    uint32_t mark;
    uint64_t metadata;
};

static_assert(offsetof(struct packet_ring_record, offload) == 8, "layout version 1");
static_assert(offsetof(struct packet_ring_record, kind) == 18, "layout version 1");
static_assert(offsetof(struct packet_ring_record, metadata) == 24, "layout version 1");
static_assert(sizeof(struct packet_ring_record) == 32, "layout version 1");

#define PACKET_RING_RECORD_SIZE(frame_size)                                                               \
    (((uint32_t)(frame_size) + (uint32_t)sizeof(struct packet_ring_record) + PACKET_RING_ALIGNMENT - 1) & \
     ~(uint32_t)(PACKET_RING_ALIGNMENT - 1))

/* A record may need as much again in front of it as a SKIP. */
static_assert(2 * PACKET_RING_RECORD_SIZE(FRAME_SIZE_MAX) <= PACKET_RING_SIZE_MIN,
              "an empty ring takes any frame, wherever its position is");

/* Why a ring is broken: identifier, and a sentence for people. */
#define PACKET_RING_FAULTS(X)                                                                      \
    X(NONE, "the ring is sound")                                                                   \
    X(CONSUMED, "the consumer claims to have released what was not published, or to take it back") \
    X(PRODUCED, "the producer claims to have published more than fits, or to take it back")        \
    X(RECORD_KIND, "a record is neither a frame nor a skip")                                       \
    X(RECORD_SIZE, "a record's size does not fit its frame, or passes what was published")         \
    X(FRAME_SIZE, "a frame is empty or longer than the limit")                                     \
    X(SKIP_SIZE, "a skip does not end where the ring ends")

enum packet_ring_fault {
#define X(id, sentence) PACKET_RING_FAULT_##id,
    PACKET_RING_FAULTS(X)
#undef X
};

/* One sentence, without a final full stop. */
const char *packet_ring_fault_sentence(enum packet_ring_fault fault);

/* A frame of the ring, and what goes with it. */
struct packet_ring_frame {
    const uint8_t *data; /* in shared memory; set by peek, not used by commit */
    uint32_t size;       /* 1 to FRAME_SIZE_MAX */
    uint32_t mark;       /* of a rule or flow */
    uint64_t metadata;   /* such as a time stamp */
    struct packet_ring_offload offload;
};

/*
 * One memfd holds one or several rings of the same size, one behind the other;
 * which is for what, and from whom to whom, its users agree upon.
 */
struct packet_ring_memory {
    uint8_t *base;
    uint64_t ring_size; /* bytes of each ring, header and records */
    uint32_t n_rings;
};

/* One end's private state; the fields are for packet_ring.c, except 'fault', which anyone may read. */
struct packet_ring_producer {
    struct packet_ring_shared *shared;
    uint8_t *data;
    uint64_t data_size;
    uint64_t position;  /* behind the last committed record */
    uint64_t published; /* what the consumer was told */
    uint64_t consumed;  /* what the consumer last told, checked */
    uint64_t n_dropped;
    uint32_t reserved; /* bytes of the frame reserved at 'position' */
    _Atomic(enum packet_ring_fault) fault;
};

struct packet_ring_consumer {
    struct packet_ring_shared *shared;
    const uint8_t *data;
    uint64_t data_size;
    uint64_t position; /* behind the last peeked record */
    uint64_t released; /* what the producer was told */
    uint64_t produced; /* what the producer last told, checked */
    uint64_t came_back;
    _Atomic(enum packet_ring_fault) fault;
};

/*
 * Makes memory for 'n_rings' (1 to PACKET_RING_COUNT_MAX) empty rings with 'data_size' bytes of
 * records each (a power of two between PACKET_RING_SIZE_MIN and _MAX) and
 * returns its memfd in '*fd', sealed, all of its pages allocated; the caller closes it.
 * 'name' is what /proc shows. EINVAL, ENOMEM, ENOSPC, EMFILE.
 */
int packet_ring_create(const char *name, uint32_t n_rings, uint64_t data_size, int *fd, struct error *error);

/*
 * Maps the rings in 'fd', which may be closed afterwards. EINVAL: these are no
 * rings of this version, or not sealed; the sentence says which.
 */
int packet_ring_map(struct packet_ring_memory *memory, int fd, struct error *error);

/* Unmaps; the ends attached to it must not be used any more. Harmless when nothing is mapped. */
void packet_ring_unmap(struct packet_ring_memory *memory);

/* Makes an empty ring of 'size' bytes (header and records) at 'base', which is 64-byte aligned. For tests. EINVAL. */
int packet_ring_format(void *base, uint64_t size, struct error *error);

/*
 * Starts one end of ring 'index', at position 0: a ring has one producer and one consumer in its whole
 * life. The memory has to outlive the end. EINVAL: there is no such ring, or its header is not sound.
 */
int packet_ring_producer_attach(struct packet_ring_producer *producer,
                                const struct packet_ring_memory *memory, uint32_t index, struct error *error);
int packet_ring_consumer_attach(struct packet_ring_consumer *consumer,
                                const struct packet_ring_memory *memory, uint32_t index, struct error *error);

/*
 * Room for a frame of up to 'frame_size' bytes (1 to FRAME_SIZE_MAX), 32-byte aligned, to
 * be written and then committed; reserving again instead gives the room back.
 * NULL: the ring is full (or broken).
 */
uint8_t *packet_ring_reserve(struct packet_ring_producer *producer, uint32_t frame_size);

/*
 * Bytes that records (PACKET_RING_RECORD_SIZE) find room for. The consumer's word is looked at when it is less than 'enough'. 0 when the
 * ring is broken.
 */
uint64_t packet_ring_room(struct packet_ring_producer *producer, uint64_t enough);

/* Finishes the reserved frame with 'frame->size' bytes (at most what was reserved) and the other fields. */
void packet_ring_commit(struct packet_ring_producer *producer, const struct packet_ring_frame *frame);

/* Counts 'n' frames that did not fit, where the consumer sees it. */
void packet_ring_count_dropped(struct packet_ring_producer *producer, uint64_t n);

/*
 * Shows the consumer all that was committed. Once per batch. True: the consumer
 * sleeps; ring its doorbell (after this call, once for any number of rings that share it).
 */
bool packet_ring_publish(struct packet_ring_producer *producer);

/* Rings. Never waits, as long as 'eventfd' is non-blocking. */
void packet_ring_ring_doorbell(int eventfd);

/*
 * The producer's view: whether the consumer has released everything up to position
 * 'tail' (a value of packet_ring_tail()) and has since come back for more, which tells that
 * it has dealt with the last batch. A position that makes no sense breaks the ring and counts as no.
 */
bool packet_ring_came_back(struct packet_ring_producer *producer, uint64_t tail);

/* The consumer's word for where it has come back to, unchecked. Only to be compared: packet_ring_came_back() may say more if it has changed. */
static inline uint64_t packet_ring_progress(const struct packet_ring_producer *producer)
{
    return atomic_load_explicit(&producer->shared->came_back, memory_order_relaxed);
}

/* The position behind the last published frame. */
static inline uint64_t packet_ring_tail(const struct packet_ring_producer *producer)
{
    return producer->published;
}

/* Fills 'frames' with up to 'n' of the next frames and returns how many; they stay in place until released. */
uint16_t packet_ring_peek(struct packet_ring_consumer *consumer, struct packet_ring_frame frames[], uint16_t n);

/* Gives the room of all frames peeked so far back to the producer. */
void packet_ring_release(struct packet_ring_consumer *consumer);

/* The frames that the producer says it could not fit in so far. Not to be trusted. */
uint64_t packet_ring_n_dropped(const struct packet_ring_consumer *consumer);

/*
 * Asks for the doorbell. True: nothing is there, so the consumer may wait for it; false: there is
 * something to peek (or the ring is broken), and the wish is withdrawn.
 */
bool packet_ring_may_sleep(struct packet_ring_consumer *consumer);

/* Withdraws the wish for the doorbell, after waking up for whatever reason. */
void packet_ring_awake(struct packet_ring_consumer *consumer);

#endif
