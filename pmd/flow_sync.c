/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How the fast path's rules are kept equal to the driver's flows: requests that the connection's thread takes, as many
 * flows in each as have come together meanwhile, and the replies to them.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pmd/flow_internal.h"

#define COMPLAINT_INTERVAL_S 10

void flow_untold(struct flows *flows, const struct rte_flow *flow, uint64_t *packets, uint64_t *bytes)
{
    *packets = 0;
    *bytes = 0;
    /* Without counters nothing is told now; it is later. */
    if (flow->counts && !connection_rule_counters(flows->connection, flow->slot, packets, bytes)) {
        *packets = flow->packets;
        *bytes = flow->bytes;
    }
    *packets -= flow->packets;
    *bytes -= flow->bytes;
    /* Not that a slot ever counted backwards; but then Open vSwitch is not to add 2^64 packets. */
    if ((int64_t)*packets < 0)
        *packets = 0;
    if ((int64_t)*bytes < 0)
        *bytes = 0;
}

static struct flow_list *list_of(struct flows *flows, enum flow_state state)
{
    switch (state) {
    case FLOW_PENDING: return &flows->pending;
    case FLOW_WAITING: return &flows->waiting;
    case FLOW_REMOVAL: return &flows->removals;
    default: return NULL;
    }
}

void flow_enter(struct flows *flows, struct rte_flow *flow, enum flow_state state)
{
    struct flow_list *list = list_of(flows, state);

    flow->state = state;
    if (list)
        TAILQ_INSERT_TAIL(list, flow, of_list);
}

void flow_leave(struct flows *flows, struct rte_flow *flow)
{
    TAILQ_REMOVE(list_of(flows, flow->state), flow, of_list);
}

uint8_t *flow_next_output(struct rte_flow *flow, uint8_t *place)
{
    uint8_t *action = place ? place + 2 : flow->wire + FLOW_MATCHES + flow->matches_size;

    for (; action < flow->wire + flow->wire_size; action += 2 + action[1])
        if (action[0] == WIRE_ACTION_OUTPUT)
            return action + 2;
    return NULL;
}

static void complain(struct flows *flows, const struct message_error *error)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (flows->complained_at && (uint64_t)now.tv_sec < flows->complained_at + COMPLAINT_INTERVAL_S) {
        flows->n_complaints++;
        return;
    }
    driver_log_warning("The fast path refused rules (%" PRIu64 " times since this was said last): %s",
                       flows->n_complaints + 1, error->text);
    flows->complained_at = (uint64_t)now.tv_sec;
    flows->n_complaints = 0;
}

/* The slot stops to count for the flow; what it says now is kept. */
static void settle(struct flows *flows, struct rte_flow *flow)
{
    uint64_t packets, bytes;

    flow_untold(flows, flow, &packets, &bytes);
    flow->packets = -packets;
    flow->bytes = -bytes;
    flow->counts = false;
}

static void wake_waiter(struct flows *flows, uint32_t number)
{
    struct flow_wait *wait;

    TAILQ_FOREACH(wait, &flows->waits, next)
    if (wait->number == number && !--wait->n_left)
        pthread_cond_broadcast(&flows->removed);
}

void flow_end(struct flows *flows, struct rte_flow *flow)
{
    settle(flows, flow);
    flow_slots_give(&flows->slots, flow->slot);
    if (flow->packets || flow->bytes)
        flow_carry_put(&flows->carry, flow);
    else
        free(flow);
}

/* The fast path does not have the rule, for a reason that may go away. */
static void fail(struct flows *flows, struct rte_flow *flow)
{
    flow->id = 0;
    flow->alone = false;
    if (flow->doomed) {
        uint32_t wait = flow->wait;

        flow_end(flows, flow);
        wake_waiter(flows, wait);
        return;
    }
    flow_count(flow->port, FLOW_COUNTER_FAILED, 1);
    flow_enter(flows, flow, FLOW_WAITING);
}

/* The fast path has the rule, and has reset its slot. */
static void succeed(struct flows *flows, struct rte_flow *flow)
{
    flow->counts = true;
    flow->alone = false;
    if (flow->port)
        flow_count(flow->port, FLOW_COUNTER_IN_FASTPATH, 1);
    flow_enter(flows, flow, flow->doomed ? FLOW_REMOVAL : FLOW_ACTIVE);
}

static void retry_waiting(struct flows *flows)
{
    struct rte_flow *flow;

    while ((flow = TAILQ_FIRST(&flows->waiting))) {
        flow_leave(flows, flow);
        flow_enter(flows, flow, FLOW_PENDING);
    }
}

/*
 * Another process knows nothing of what was to be removed. The same one has made orphans of our rules; they are
 * removed by the ids they have, and adopted by being added again.
 */
void flows_attached(struct flows *flows, const struct message_attached *attached)
{
    struct rte_flow *flow;

    pthread_mutex_lock(&flows->lock);
    retry_waiting(flows);
    if (attached->started != flows->started) {
        while ((flow = TAILQ_FIRST(&flows->removals))) {
            flow_leave(flows, flow);
            flow_end(flows, flow);
        }
        TAILQ_FOREACH(flow, &flows->pending, of_list)
        flow->id = 0;
    }
    flows->started = attached->started;
    flows->generation = attached->generation;
    flows->slots.limit = attached->n_slots;
    flows->attached = true;
    pthread_mutex_unlock(&flows->lock);
}

static void dissolve_batch(struct flows *flows, struct flow_batch *batch)
{
    struct rte_flow *flow;

    while ((flow = TAILQ_FIRST(&batch->flows))) {
        TAILQ_REMOVE(&batch->flows, flow, of_list);
        flow_enter(flows, flow, batch->removal || flow->doomed ? FLOW_REMOVAL : FLOW_PENDING);
    }
}

static void release_batch(struct flows *flows, struct flow_batch *batch)
{
    TAILQ_REMOVE(&flows->batches, batch, next);
    TAILQ_INSERT_HEAD(&flows->spare_batches, batch, next);
}

static void resend(struct flows *flows, struct rte_flow *flow)
{
    settle(flows, flow);
    flow_count(flow->port, FLOW_COUNTER_IN_FASTPATH, (uint64_t)-1);
    flow_enter(flows, flow, FLOW_PENDING);
}

void flows_detached(struct flows *flows)
{
    struct flow_port *port;
    struct flow_wait *wait;
    struct rte_flow *flow;

    pthread_mutex_lock(&flows->lock);
    while (!TAILQ_EMPTY(&flows->batches)) {
        struct flow_batch *batch = TAILQ_FIRST(&flows->batches);

        dissolve_batch(flows, batch);
        release_batch(flows, batch);
    }
    TAILQ_FOREACH(port, &flows->ports, next)
    TAILQ_FOREACH(flow, &port->flows, of_port)
    if (flow->state == FLOW_ACTIVE)
        resend(flows, flow);
    TAILQ_FOREACH(flow, &flows->removals, of_list)
    {
        settle(flows, flow);
        flow->wait = 0;
    }
    TAILQ_FOREACH(wait, &flows->waits, next)
    wait->n_left = 0;
    flows->attached = false;
    pthread_cond_broadcast(&flows->removed);
    pthread_mutex_unlock(&flows->lock);
}

static bool names_port(struct rte_flow *flow, uint16_t port)
{
    if (flow_get_port(flow->wire + FLOW_IN_PORT) == port)
        return true;
    for (uint8_t *place = NULL; (place = flow_next_output(flow, place));)
        if (flow_get_port(place) == port)
            return true;
    return false;
}

/* With the port the fast path has removed all rules that name it. */
void flows_representor_changed(struct flows *flows, struct representor *representor)
{
    struct flow_port *port;
    struct rte_flow *flow;

    pthread_mutex_lock(&flows->lock);
    if (atomic_load(&representor->port_id) < 0)
        TAILQ_FOREACH(port, &flows->ports, next)
    TAILQ_FOREACH(flow, &port->flows, of_port)
    if (flow->state == FLOW_ACTIVE && names_port(flow, representor->ethdev_id))
        resend(flows, flow);
    retry_waiting(flows);
    pthread_mutex_unlock(&flows->lock);
}

/* The fast path's id of DPDK's port, or -1. */
static int32_t port_id(const struct flows *flows, uint16_t ethdev_id)
{
    const struct representor *representor = ethdev_id == FLOW_NO_PORT ? NULL : representor_by_ethdev(ethdev_id);

    return representor && representor->connection == flows->connection ? atomic_load(&representor->port_id)
                                                                       : -1;
}

/* Writes the rule with the fast path's ids of ports. False: one is missing. */
static bool put_flow(struct flows *flows, struct rte_flow *flow, struct wire_writer *writer)
{
    struct wire_writer before = *writer;
    uint8_t *copy = wire_put_space(writer, flow->wire_size);
    struct wire_writer head = wire_writer(copy, FLOW_IN_PORT);
    int32_t id = port_id(flows, flow_get_port(flow->wire + FLOW_IN_PORT));

    memcpy(copy, flow->wire, flow->wire_size);
    flow_set_port(copy + FLOW_IN_PORT, (uint16_t)id);
    for (uint8_t *place = NULL; id >= 0 && (place = flow_next_output(flow, place));) {
        id = port_id(flows, flow_get_port(place));
        flow_set_port(copy + (place - flow->wire), (uint16_t)id);
    }
    if (id < 0) {
        *writer = before;
        return false;
    }
    /* What is sent again to find out whether it is there keeps its id. */
    if (!flow->alone)
        flow->id = message_managed_id(flows->generation, flows->use++, flow->slot);
    wire_put_u64(&head, flow->id);
    return true;
}

static void put_rules(struct flows *flows, struct flow_batch *batch, struct wire_writer *writer)
{
    struct rte_flow *flow;
    bool alone = false;

    while (!alone && batch->n < FLOW_BATCH_MAX && (flow = TAILQ_FIRST(&flows->pending)) &&
           flow->wire_size <= writer->left && (!flow->alone || !batch->n)) {
        flow_leave(flows, flow);
        if (flow->slot >= flows->slots.limit || !put_flow(flows, flow, writer)) {
            flow_enter(flows, flow, FLOW_WAITING);
            continue;
        }
        alone = flow->alone;
        flow_enter(flows, flow, FLOW_SENT);
        TAILQ_INSERT_TAIL(&batch->flows, flow, of_list);
        batch->n++;
    }
}

static void put_ids(struct flows *flows, struct flow_batch *batch, struct wire_writer *writer)
{
    struct rte_flow *flow;

    while (batch->n < FLOW_BATCH_MAX && (flow = TAILQ_FIRST(&flows->removals)) &&
           writer->left >= sizeof flow->id) {
        flow_leave(flows, flow);
        wire_put_u64(writer, flow->id);
        flow_enter(flows, flow, FLOW_REMOVING);
        TAILQ_INSERT_TAIL(&batch->flows, flow, of_list);
        batch->n++;
    }
}

/* A batch without flows, or NULL: no memory. */
static struct flow_batch *begin_batch(struct flows *flows)
{
    struct flow_batch *batch = TAILQ_FIRST(&flows->spare_batches);

    if (batch)
        TAILQ_REMOVE(&flows->spare_batches, batch, next);
    else
        batch = malloc(sizeof *batch);
    if (!batch)
        return NULL;
    *batch = (struct flow_batch){.removal = !TAILQ_EMPTY(&flows->removals)};
    TAILQ_INIT(&batch->flows);
    return batch;
}

bool flows_next_request(struct flows *flows, struct client *client, uint64_t *cookie)
{
    struct flow_batch *batch = NULL;
    struct wire_writer *writer;
    uint8_t *place;

    pthread_mutex_lock(&flows->lock);
    if (!TAILQ_EMPTY(&flows->removals) || !TAILQ_EMPTY(&flows->pending))
        batch = begin_batch(flows);
    if (batch) {
        /* Removals first: somebody waits for them, and room is made. */
        writer = client_begin(client, batch->removal ? MESSAGE_RULE_REMOVE : MESSAGE_RULE_ADD);
        place = message_begin_items(writer);
        if (batch->removal)
            put_ids(flows, batch, writer);
        else
            put_rules(flows, batch, writer);
        message_end_items(place, batch->n);
        if (batch->n) {
            TAILQ_INSERT_TAIL(&flows->batches, batch, next);
        } else {
            TAILQ_INSERT_HEAD(&flows->spare_batches, batch, next);
            batch = NULL;
        }
    }
    pthread_mutex_unlock(&flows->lock);
    *cookie = (uintptr_t)batch;
    return batch;
}

/* A reply to RULE_REMOVE, whatever it says, means that the rules are not there any more. */
static void finish_removal(struct flows *flows, struct flow_batch *batch)
{
    struct rte_flow *flow, *next;

    for (flow = TAILQ_FIRST(&batch->flows); flow; flow = next) {
        uint32_t wait = flow->wait;

        next = TAILQ_NEXT(flow, of_list);
        flow_end(flows, flow);
        wake_waiter(flows, wait);
    }
    TAILQ_INIT(&batch->flows);
}

/*
 * The error names the first rule that failed, and how many did not. If others failed, too, which
 * ones is found out by sending each by itself once more: EEXIST then means that it had succeeded.
 */
static void finish_addition(struct flows *flows, struct flow_batch *batch, const struct message_error *error)
{
    unsigned n_failed = error->code ? batch->n - error->done : 0;
    struct rte_flow *flow;

    if (error->code == EEXIST && batch->n == 1)
        n_failed = 0;
    for (unsigned i = 0; (flow = TAILQ_FIRST(&batch->flows)); i++) {
        TAILQ_REMOVE(&batch->flows, flow, of_list);
        if (!n_failed || i < error->index) {
            succeed(flows, flow);
        } else if (i == error->index) {
            fail(flows, flow);
        } else if (n_failed == 1) {
            succeed(flows, flow);
        } else if (flow->doomed) {
            flow_enter(flows, flow, FLOW_REMOVAL);
        } else {
            flow->alone = true;
            flow_enter(flows, flow, FLOW_PENDING);
        }
    }
    if (n_failed)
        complain(flows, error);
}

void flows_reply(struct flows *flows, uint64_t cookie, struct message *reply)
{
    struct flow_batch *batch = (struct flow_batch *)(uintptr_t)cookie;
    struct message_error error = {0};

    if (reply->header.type != MESSAGE_OK && !message_get_error(&reply->body, &error))
        error = (struct message_error){.code = EPROTO, .text = "Its reply is malformed."};
    pthread_mutex_lock(&flows->lock);
    if (batch->removal)
        finish_removal(flows, batch);
    else
        finish_addition(flows, batch, &error);
    release_batch(flows, batch);
    pthread_mutex_unlock(&flows->lock);
}
