/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_CONTROL_INTERNAL_H
#define FASTPATH_CONTROL_INTERNAL_H

/*
 * What the files of the control server share. All of it runs in the control
 * thread, with the control lock held (so that DPDK's telemetry thread may ask, too).
 */

#include <assert.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "fastpath/flow_table.h"
#include "lib/error.h"
#include "proto/message.h"

struct control_client;
struct control_answer;

/* Whether 'client' is the attached vSwitch. */
bool control_is_attached(const struct control_client *client);

/* The rule tables given to control_create(). */
struct flow_tables *control_tables(void);

void control_lock(void);
void control_unlock(void);

/*
 * Handles a request. 0: it has sent a reply, or started one with control_answer(). Otherwise the server
 * replies ERROR with the result as code and 'error' as sentence.
 */
typedef int control_handler(struct control_client *client, const struct message_header *header,
                            struct wire_reader *body, struct error *error);

/*
 * The handler of a type of request, or NULL for types that clients may not send (and HELLO, which control.c
 * handles).
 */
control_handler *control_handler_of(unsigned type);

control_handler control_rule_add, control_rule_remove, control_rule_flush;
control_handler control_query, control_change;
control_handler control_capture_start, control_capture_stop, control_ring_open, control_ring_close;
control_handler control_attach;

/* Starts a message to 'client'; there is one such message at a time. */
struct wire_writer *control_begin(struct control_client *client, enum message_type type, uint16_t flags,
                                  uint32_t request);

/* Sends or queues the message begun, with 'n_fds' file descriptors, which it duplicates. */
void control_send(struct control_client *client, const int fds[], unsigned n_fds);

void control_reply_ok(struct control_client *client, uint32_t request, uint32_t count, uint64_t value);

/* The reply to a request with many items; 'first' is the failure of item 'index', or has code 0. */
void control_reply_items(struct control_client *client, uint32_t request, uint32_t done, uint32_t index,
                         const struct error *first, uint64_t value);

/* Publishes "'count' rules were added (removed)" of port 'port' (MESSAGE_ALL_PORTS: several). */
void control_rule_event(enum event_kind kind, uint16_t port, uint64_t count);

/* Whether somebody has subscribed to such events. */
bool control_event_wanted(enum event_kind kind);

/* Publishes that 'rule' has moved: 'text' is "offloaded", or "onload: " and a reason's code. */
void control_moved_event(const struct rule *rule, const char *text);

/* Nobody uses the rules that were removed any more when this returns. */
void control_finish_removal(void);

/* Ends the server's main loop after this request. */
void control_request_stop(void);

/* Captures and representors that a client holds, and its being the vSwitch: given back when it goes, if not before. */
struct control_holding;
struct control_holding **control_holdings(struct control_client *client);

/* Has release('handle') called when the client goes; at once, if this fails with ENOMEM. */
int control_hold(struct control_client *client, uint32_t handle, void (*release)(uint32_t handle),
                 struct error *error);
void control_release_holdings(struct control_holding **holdings);

/*
 * The answer to a query, produced piece by piece, so that a long one needs
 * little memory. 'refill' appends to the text until it has a piece's worth, and
 * sets 'finished' with the last.
 */
struct control_answer {
    uint32_t request;
    char *text; /* produced and not sent */
    size_t size, room;
    bool finished;
    bool failed;      /* no memory: the answer cannot be completed */
    uint32_t cursor;  /* for 'refill' */
    uint32_t n_items; /* appended so far, for 'refill' */
    uint32_t slot;    /* another cursor */
    uint16_t port;    /* filters, for 'refill' */
    uint8_t state;
    char *slice;                                   /* NULL: any; freed with the answer */
    bool (*refill)(struct control_answer *answer); /* false: that was the last of it */
};

#define ANSWER_PIECE_SIZE 32768 /* bytes of JSON text in a message */

/* Takes over 'answer' (from control_answer_create()) and sends it as the client takes it. */
void control_answer(struct control_client *client, struct control_answer *answer);
struct control_answer *control_answer_create(uint32_t request);
void control_answer_append(struct control_answer *answer, const char *text, size_t size);
void control_answer_destroy(struct control_answer *answer);

/* Questions: the answer as JSON, a new reference, or NULL with 'error'. */
json_t *query_answer(const struct message_query *query, struct error *error);

/* The argument's value as text, or NULL when it is not there or too long for 'room'. */
const char *query_argument(const struct message_query *query, const char *name, char *text, size_t room);

/* Whether an argument is called 'name', whatever it says. */
bool query_has_argument(const struct message_query *query, const char *name);

/* Looks a port up by name: 0, or ENOENT. */
int control_port(const char *name, uint16_t *port, struct error *error);

/* EINVAL unless 'name', of a "Slice" or the like, has no other characters than a port's. */
int control_check_name(const char *what, const char *name, struct error *error);

/* Looks a port up by the argument 'name': 0, or an error sentence. */
int query_port(const struct message_query *query, const char *name, uint16_t *port, struct error *error);

/* Moves a rule that no vSwitch manages: 'mode' is "on" or "off". EINVAL: it is neither; else as move_begin(). */
int control_move_by_hand(struct rule *rule, const char *mode, struct error *error);

/* CHANGE "port/set". */
int control_set_port(const struct message_query *query, struct error *error);

/* How many moves came to what end, and how long they took. */
json_t *query_moves(const struct message_query *query, struct error *error);

/* The list of managed rules. */
int control_list_flows(struct control_client *client, const struct message_header *header,
                       const struct message_query *query, struct error *error);

/* Modes and counts; slices; why a rule is not offloaded. */
json_t *query_offload(const struct message_query *query, struct error *error);
json_t *query_slices(const struct message_query *query, struct error *error);
json_t *query_why(const struct message_query *query, struct error *error);

/* What would happen to a packet (trace.c). */
json_t *trace_packet(const struct message_query *query, struct error *error);

/* A rule as JSON: compact text of 'size' bytes, or a new reference. */
struct rule_json {
    size_t size;
    char text[8192];
};

/* The longest rule there can be: each field at most 120 bytes, each action a raw encapsulation. */
static_assert(sizeof(((struct rule_json *)0)->text) >=
                  256 + WIRE_MATCHES_MAX * 120 + RULE_ACTIONS_MAX * (2 * RAW_ENCAP_SIZE_MAX + 32),
              "any rule fits");

void rule_to_text(const struct rule *rule, struct rule_json *json);
void rule_json_append(struct rule_json *json, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends the members match and actions. */
void rule_json_wire(struct rule_json *json, const struct wire_rule *wire);

/* The rule as the protocol carries it, without flags. */
void rule_to_wire(const struct rule *rule, struct wire_rule *wire);
json_t *rule_to_json(const struct rule *rule);

/* The name of a port, or "port-ID" for one that is gone; valid until the next call. */
const char *control_port_name(uint16_t port);

/* Converts between what the protocol carries and what the rule table takes. 'spec' points into 'wire'. */
int rule_from_wire(const struct wire_rule *wire, struct rule_spec *spec, struct error *error);
void rule_key_to_wire(const struct flow_key *key, const struct flow_key *mask, struct wire_rule *wire);
void action_to_wire(const struct action *action, struct wire_action *wire);

/* DPDK telemetry end points /vnode/... */
void control_telemetry_register(void);

#endif
