/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

/*
 * The messages of the control protocol; docs/protocol.md is its specification.
 * One message is one datagram of a SOCK_SEQPACKET socket: a header of 8 bytes and
 * a body, little-endian, at most MESSAGE_SIZE_MAX bytes. Each struct below is the
 * decoded form of a body, with a function to write and one to read it. The
 * readers check everything, and that nothing is left over.
 */

#include <stdbool.h>
#include <stdint.h>

#include "lib/limits.h"
#include "proto/rule.h"
#include "proto/wire.h"

#define PROTOCOL_VERSION_MIN 1 /* versions that this code speaks */
#define PROTOCOL_VERSION_MAX 1

#define MESSAGE_SIZE_MAX 65536 /* bytes of a message with its header */
#define MESSAGE_HEADER_SIZE 8
#define MESSAGE_BODY_MAX (MESSAGE_SIZE_MAX - MESSAGE_HEADER_SIZE)
#define MESSAGE_FDS_MAX 16 /* file descriptors that come with one message */

#define DEFAULT_SOCKET_PATH "/run/vnode/fastpath.sock"

/*
 * Messages: identifier, number, name, least and most bytes of the body, most file
 * descriptors attached. Numbers below 64 are requests, from 64 on what a server sends.
 */
#define MESSAGES(X)                                          \
    X(HELLO, 1, "hello", 6, 128, 0)                          \
    X(PORT_ADD, 2, "port-add", 12, 512, 0)                   \
    X(PORT_REMOVE, 3, "port-remove", 3, 128, 0)              \
    X(RULE_ADD, 4, "rule-add", 4, MESSAGE_BODY_MAX, 0)       \
    X(RULE_REMOVE, 5, "rule-remove", 4, MESSAGE_BODY_MAX, 0) \
    X(RULE_FLUSH, 6, "rule-flush", 2, 2, 0)                  \
    X(QUERY, 7, "query", 4, MESSAGE_BODY_MAX, 0)             \
    X(CAPTURE_START, 8, "capture-start", 6, 256, 0)          \
    X(CAPTURE_STOP, 9, "capture-stop", 4, 4, 0)              \
    X(RING_OPEN, 10, "ring-open", 3, 128, 0)                 \
    X(SUBSCRIBE, 11, "subscribe", 4, 4, 0)                   \
    X(STOP, 12, "stop", 0, 0, 0)                             \
    X(ATTACH, 13, "attach", 6, 128, 0)                       \
    X(CHANGE, 14, "change", 4, MESSAGE_BODY_MAX, 0)          \
    X(RING_CLOSE, 15, "ring-close", 4, 4, 0)                 \
    X(OK, 64, "ok", 12, 12, 0)                               \
    X(ERROR, 65, "error", 14, 512, 0)                        \
    X(ANSWER, 66, "answer", 0, MESSAGE_BODY_MAX, 0)          \
    X(RINGS, 67, "rings", 8, 8, 3)                           \
    X(EVENT, 68, "event", 24, 512, 0)                        \
    X(ATTACHED, 69, "attached", 16, 16, 1)

enum message_type {
#define X(id, number, name, least, most, fds) MESSAGE_##id = number,
    MESSAGES(X)
#undef X
        MESSAGE_END
};

struct message_kind {
    const char *name; /* NULL: this number is not in use */
    uint32_t body_min;
    uint32_t body_max;
    uint8_t n_fds;
};

/* The table's row, or NULL for a number that is not in use. */
const struct message_kind *message_kind(unsigned type);

#define MESSAGE_MORE 1 /* flag of the header: another message of the same reply follows */

struct message_header {
    uint16_t type;
    uint16_t flags;
    uint32_t request; /* chosen by the client; in a reply that of the request; 0 in an event */
};

/* Writes the header (the body goes behind it). */
void message_put_header(struct wire_writer *writer, const struct message_header *header);

/*
 * Reads the header and checks type, flags and size of the whole message of
 * reader->left bytes. Returns NULL, or a sentence that says what is wrong ('header' then holds what could
 * be read).
 */
const char *message_get_header(struct wire_reader *reader, struct message_header *header);

/* The request offers a range of versions; the reply has the chosen one twice. */
struct message_hello {
    uint16_t version_min;
    uint16_t version_max;
    char software[64]; /* name and version of the program, for people */
};

void message_put_hello(struct wire_writer *writer, const struct message_hello *hello);
bool message_get_hello(struct wire_reader *reader, struct message_hello *hello);

enum message_port_kind {
    MESSAGE_PORT_VHOST = 1,
    MESSAGE_PORT_ETHDEV = 2,
    MESSAGE_PORT_EXISTING = 3, /* is there already, whatever its kind and settings; 'target' is empty */
};

#define MESSAGE_PORT_SERVER 1 /* vhost: the fast path listens on the socket */
#define MESSAGE_PORT_ADOPT 2  /* a port of that name with the same kind, target and queues is good, too */

struct message_port_add {
    uint8_t kind; /* enum message_port_kind */
    uint8_t flags;
    uint16_t n_queues; /* 0: 1 for vhost and ethdev alike */
    uint16_t mtu;      /* 0: 9000 */
    char name[PORT_NAME_SIZE];
    char target[256];            /* vhost: path of the socket; ethdev: device arguments */
    char slice[SLICE_NAME_SIZE]; /* whose port it is; may be empty */
};

void message_put_port_add(struct wire_writer *writer, const struct message_port_add *port);
bool message_get_port_add(struct wire_reader *reader, struct message_port_add *port);

/* The body of PORT_REMOVE and RING_OPEN: the port's name. */
struct message_port_name {
    char name[PORT_NAME_SIZE];
};

void message_put_port_name(struct wire_writer *writer, const struct message_port_name *port);
bool message_get_port_name(struct wire_reader *reader, struct message_port_name *port);

/*
 * RULE_ADD and RULE_REMOVE hold many items: begin, then wire_put_rule() or
 * wire_put_u64() for each, then the number of items into the place that begin returned.
 */
uint8_t *message_begin_items(struct wire_writer *writer);
void message_end_items(uint8_t *place, uint32_t n);

#define MESSAGE_ALL_PORTS UINT16_MAX /* RULE_FLUSH: rules of all ports */

/*
 * A question such as "port/show", with arguments; CHANGE has the same body, with what to set, such as "offload/set".
 * Name and value point into the message.
 */
#define MESSAGE_ARGUMENTS_MAX 16

struct message_argument {
    char name[32];
    const char *value; /* 'size' bytes, no NUL behind them */
    uint16_t size;
};

struct message_query {
    char question[48];
    uint16_t n_arguments;
    struct message_argument arguments[MESSAGE_ARGUMENTS_MAX];
};

void message_put_query(struct wire_writer *writer, const struct message_query *query);
bool message_get_query(struct wire_reader *reader, struct message_query *query);

struct message_capture {
    uint32_t snap_size; /* bytes kept of each frame; 0: all */
    char name[PORT_NAME_SIZE];
};

void message_put_capture(struct wire_writer *writer, const struct message_capture *capture);
bool message_get_capture(struct wire_reader *reader, struct message_capture *capture);

/* What a request did: how many items, and a number that depends on the request (see docs/protocol.md). */
struct message_ok {
    uint32_t count;
    uint64_t value;
};

void message_put_ok(struct wire_writer *writer, const struct message_ok *ok);
bool message_get_ok(struct wire_reader *reader, struct message_ok *ok);

struct message_error {
    uint32_t code;  /* errno value of Linux */
    uint32_t index; /* requests with many items: the first that failed */
    uint32_t done;  /* ... and how many succeeded */
    char text[256]; /* a sentence */
};

void message_put_error(struct wire_writer *writer, const struct message_error *error);
bool message_get_error(struct wire_reader *reader, struct message_error *error);

/*
 * Packet rings (packet_ring.h) in the memory that is the first attached file descriptor. The
 * others are eventfds: of a capture its doorbell; of a representor the peer's, then the fast path's.
 */
struct message_rings {
    uint32_t handle;   /* for CAPTURE_STOP, RING_CLOSE */
    uint32_t n_queues; /* a representor has two rings for each, a capture one */
};

void message_put_rings(struct wire_writer *writer, const struct message_rings *rings);
bool message_get_rings(struct wire_reader *reader, struct message_rings *rings);

/* The client becomes the vSwitch: rules may be its own (WIRE_RULE_MANAGED), and it shares counters. */
struct message_attach {
    uint32_t n_slots;  /* how many rules it wants to count */
    char software[64]; /* name and version of the program, for people */
};

void message_put_attach(struct wire_writer *writer, const struct message_attach *attach);
bool message_get_attach(struct wire_reader *reader, struct message_attach *attach);

/* The attached file descriptor is the memory of the counters (shared_counters.h). */
struct message_attached {
    uint32_t n_slots;
    uint16_t generation; /* 15 bits: part of the ids of the client's rules, see message_managed_id() */
    uint64_t started; /* nanoseconds since 1970, UTC: another one means another process, without rules and ports */
};

void message_put_attached(struct wire_writer *writer, const struct message_attached *attached);
bool message_get_attached(struct wire_reader *reader, struct message_attached *attached);

/*
 * The id of a rule of the vSwitch: 'use' (which it chooses, so that a slot used again gives another id) and
 * the slot of its shared counters.
 */
static inline uint64_t message_managed_id(uint16_t generation, uint16_t use, uint32_t slot)
{
    return 1ull << 63 | (uint64_t)(generation & INT16_MAX) << 48 | (uint64_t)use << 32 | slot;
}

static inline uint32_t message_managed_slot(uint64_t id)
{
    return (uint32_t)id;
}

/* Events: identifier, number, name. SUBSCRIBE has a bit (1 << number) for each. */
#define EVENTS(X)                        \
    X(PORT_ADDED, 0, "port-added")       \
    X(PORT_REMOVED, 1, "port-removed")   \
    X(PORT_UP, 2, "port-up")             \
    X(PORT_DOWN, 3, "port-down")         \
    X(RULES_ADDED, 4, "rules-added")     \
    X(RULES_REMOVED, 5, "rules-removed") \
    X(EVENTS_LOST, 6, "events-lost")     \
    X(RULE_MOVED, 7, "rule-moved")       \
    X(ATTACHED, 8, "attached")           \
    X(DETACHED, 9, "detached")

enum event_kind {
#define X(id, number, name) EVENT_##id = number,
    EVENTS(X)
#undef X
        EVENT_KIND_END
};

#define EVENT_MASK_ALL ((1u << EVENT_KIND_END) - 1)

/* NULL when there is no such kind. */
const char *event_kind_name(unsigned kind);

struct message_event {
    uint16_t kind;
    uint16_t port;             /* id, or MESSAGE_ALL_PORTS */
    uint64_t time;             /* nanoseconds since 1970, UTC */
    uint64_t count;            /* rules added or removed, events lost; a moved rule's id */
    char name[PORT_NAME_SIZE]; /* of the port, or empty */
    char text[128];            /* why, for people; or empty */
};

void message_put_event(struct wire_writer *writer, const struct message_event *event);
bool message_get_event(struct wire_reader *reader, struct message_event *event);

#endif
