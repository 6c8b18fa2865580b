/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <rte_ethdev.h>
#include <ethdev_driver.h>
#include <rte_flow_driver.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pmd/flow_internal.h"

/* Bytes of a rule with all matches and actions that there can be. */
#define WIRE_RULE_SIZE_MAX \
    (WIRE_RULE_SIZE_MIN + WIRE_MATCHES_MAX * (2 + 2 * 16) + RULE_ACTIONS_MAX * (2 + RAW_ENCAP_SIZE_MAX))

static struct representor *representor_of(const struct rte_eth_dev *device)
{
    return representor_by_ethdev(device->data->port_id);
}

static struct flow_port *port_of(const struct rte_eth_dev *device)
{
    return representor_of(device)->flows;
}

static struct flows *flows_of(const struct flow_port *port)
{
    return connection_flows(port->representor->connection);
}

static bool is_ours(uint16_t port, const void *context)
{
    const struct representor *other = representor_by_ethdev(port);

    return other && other->connection == ((const struct representor *)context)->connection;
}

/* Counts the refusal and makes it DPDK's. Returns a negative errno value. */
static int report(struct flow_port *port, const struct flow_refusal *refusal, struct rte_flow_error *error)
{
    atomic_fetch_add_explicit(&port->refused[refusal->reason], 1, memory_order_relaxed);
    return rte_flow_error_set(error, refusal->code, refusal->type, refusal->cause, refusal->sentence);
}

static int translate(const struct rte_eth_dev *device, const struct rte_flow_attr *attributes,
                     const struct rte_flow_item items[], const struct rte_flow_action actions[],
                     struct wire_rule *rule, struct flow_refusal *refusal)
{
    struct flow_place place = {device->data->port_id, is_ours, representor_of(device)};

    return flow_translate(&place, attributes, items, actions, rule, refusal);
}

static int validate(struct rte_eth_dev *device, const struct rte_flow_attr *attributes,
                    const struct rte_flow_item items[], const struct rte_flow_action actions[],
                    struct rte_flow_error *error)
{
    struct flow_refusal refusal;
    struct wire_rule rule;

    return translate(device, attributes, items, actions, &rule, &refusal)
               ? report(port_of(device), &refusal, error)
               : 0;
}

/* In the manner of FNV-1a, eight bytes at a time; what collides costs Open vSwitch time only. */
static uint32_t hash_bytes(const uint8_t *bytes, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u, word;

    for (; size; bytes += sizeof word, size -= sizeof word) {
        word = 0;
        if (size < sizeof word) {
            memcpy(&word, bytes, size);
            size = sizeof word;
        } else {
            memcpy(&word, bytes, sizeof word);
        }
        hash = (hash ^ word) * 0x100000001b3u;
        hash ^= hash >> 32;
    }
    return (uint32_t)hash;
}

/* The flow in no list, without a slot. NULL: no memory. */
static struct rte_flow *make_flow(struct flow_port *port, const struct wire_rule *rule)
{
    uint8_t wire[WIRE_RULE_SIZE_MAX];
    struct wire_writer writer = wire_writer(wire, sizeof wire);
    struct rte_flow *flow;
    size_t matches_size = 0;

    /* All that a rule can be fits. */
    wire_put_rule(&writer, rule);
    flow = malloc(sizeof *flow + wire_size(&writer));
    if (!flow)
        return NULL;
    for (unsigned i = 0; i < rule->n_matches; i++)
        matches_size += 2 + 2u * rule->matches[i].size;
    *flow = (struct rte_flow){
        .port = port,
        .match_hash = hash_bytes(wire + FLOW_MATCHES, matches_size),
        .wire_size = (uint16_t)wire_size(&writer),
        .matches_size = (uint16_t)matches_size,
    };
    memcpy(flow->wire, wire, flow->wire_size);
    return flow;
}

/* Gives the flow a slot, what was carried over, and to the connection's thread. */
static int start_flow(struct flows *flows, struct rte_flow *flow, struct flow_refusal *refusal)
{
    if (!flows->attached)
        return flow_refuse(refusal, FLOW_REFUSED_NOT_ATTACHED, ENOTCONN, RTE_FLOW_ERROR_TYPE_UNSPECIFIED,
                           NULL, "The fast path does not answer; packets go through the vSwitch");
    flow->slot = flow_slots_take(&flows->slots);
    if (flow->slot == FLOW_SLOT_NONE)
        return flow_refuse(refusal, FLOW_REFUSED_TABLE_FULL, ENOSPC, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL,
                           "The fast path has no room for more rules of this vSwitch");
    flow_count(flow->port, FLOW_COUNTER_CARRIED, flow_carry_take(&flows->carry, flow));
    flow_count(flow->port, FLOW_COUNTER_RULES, 1);
    flow_count(flow->port, FLOW_COUNTER_CREATED, 1);
    TAILQ_INSERT_TAIL(&flow->port->flows, flow, of_port);
    flow_enter(flows, flow, FLOW_PENDING);
    return 0;
}

static struct rte_flow *create(struct rte_eth_dev *device, const struct rte_flow_attr *attributes,
                               const struct rte_flow_item items[], const struct rte_flow_action actions[],
                               struct rte_flow_error *error)
{
    struct flow_port *port = port_of(device);
    struct flows *flows = flows_of(port);
    struct rte_flow *flow = NULL;
    struct flow_refusal refusal;
    struct wire_rule rule;
    int result = translate(device, attributes, items, actions, &rule, &refusal);

    if (!result) {
        flow = make_flow(port, &rule);
        if (!flow)
            result = flow_refuse(&refusal, FLOW_REFUSED_NO_MEMORY, ENOMEM, RTE_FLOW_ERROR_TYPE_UNSPECIFIED,
                                 NULL, "No memory for the rule");
    }
    if (!result) {
        pthread_mutex_lock(&flows->lock);
        result = start_flow(flows, flow, &refusal);
        pthread_mutex_unlock(&flows->lock);
    }
    if (result) {
        free(flow);
        report(port, &refusal, error);
        return NULL;
    }
    connection_wake(flows->connection);
    return flow;
}

/*
 * The user gives the flow up. Returns whether the fast path has to be told, and 'wait' to wait for that; else the flow is
 * gone.
 */
static bool give_up(struct flows *flows, struct rte_flow *flow, const struct flow_wait *wait)
{
    TAILQ_REMOVE(&flow->port->flows, flow, of_port);
    flow_count(flow->port, FLOW_COUNTER_RULES, (uint64_t)-1);
    flow_count(flow->port, FLOW_COUNTER_DESTROYED, 1);
    if (flow->state == FLOW_ACTIVE)
        flow_count(flow->port, FLOW_COUNTER_IN_FASTPATH, (uint64_t)-1);
    flow->port = NULL;
    flow->wait = wait->number;
    if (flow->state == FLOW_SENT) {
        flow->doomed = true;
        return true;
    }
    if (flow->state != FLOW_ACTIVE)
        flow_leave(flows, flow);
    if (!flow->id) {
        flow_end(flows, flow);
        return false;
    }
    flow_enter(flows, flow, FLOW_REMOVAL);
    return true;
}

static void begin_wait(struct flows *flows, struct flow_wait *wait)
{
    if (!++flows->last_wait)
        flows->last_wait = 1;
    *wait = (struct flow_wait){.number = flows->last_wait};
    TAILQ_INSERT_TAIL(&flows->waits, wait, next);
}

/* Waits until the fast path has removed what 'wait' counts. Without a fast path there is nothing to wait for. */
static void end_wait(struct flows *flows, struct flow_wait *wait, struct flow_port *port)
{
    struct timespec deadline;
    int result = 0;

    if (wait->n_left && flows->attached) {
        connection_wake(flows->connection);
        clock_gettime(CLOCK_MONOTONIC, &deadline);
        deadline.tv_nsec += DRIVER_WAIT_MS * 1000000L;
        deadline.tv_sec += deadline.tv_nsec / 1000000000L;
        deadline.tv_nsec %= 1000000000L;
        while (wait->n_left && flows->attached && !result)
            result = pthread_cond_timedwait(&flows->removed, &flows->lock, &deadline);
        if (wait->n_left && flows->attached)
            flow_count(port, FLOW_COUNTER_REMOVALS_LATE, wait->n_left);
    }
    TAILQ_REMOVE(&flows->waits, wait, next);
}

/* When this returns, the fast path forwards by the rule no more; unless it does not answer within DRIVER_WAIT_MS. */
static int destroy(struct rte_eth_dev *device, struct rte_flow *flow, struct rte_flow_error *error)
{
    struct flow_port *port = port_of(device);
    struct flows *flows = flows_of(port);
    struct flow_wait wait;

    pthread_mutex_lock(&flows->lock);
    begin_wait(flows, &wait);
    wait.n_left = give_up(flows, flow, &wait);
    end_wait(flows, &wait, port);
    pthread_mutex_unlock(&flows->lock);
    return 0;
}

static void flush_port(struct flows *flows, struct flow_port *port)
{
    struct flow_wait wait;

    pthread_mutex_lock(&flows->lock);
    begin_wait(flows, &wait);
    while (!TAILQ_EMPTY(&port->flows))
        wait.n_left += give_up(flows, TAILQ_FIRST(&port->flows), &wait);
    end_wait(flows, &wait, port);
    pthread_mutex_unlock(&flows->lock);
}

static int flush(struct rte_eth_dev *device, struct rte_flow_error *error)
{
    struct flow_port *port = port_of(device);

    flush_port(flows_of(port), port);
    return 0;
}

static int query(struct rte_eth_dev *device, struct rte_flow *flow, const struct rte_flow_action *action,
                 void *data, struct rte_flow_error *error)
{
    struct rte_flow_query_count *count = data;
    struct flows *flows = flows_of(port_of(device));
    uint64_t packets, bytes;

    if (action->type != RTE_FLOW_ACTION_TYPE_COUNT)
        return rte_flow_error_set(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, action,
                                  "Only counts can be queried");
    pthread_mutex_lock(&flows->lock);
    flow_untold(flows, flow, &packets, &bytes);
    if (count->reset) {
        flow->packets += packets;
        flow->bytes += bytes;
    }
    pthread_mutex_unlock(&flows->lock);
    count->hits_set = 1;
    count->bytes_set = 1;
    count->hits = packets;
    count->bytes = bytes;
    return 0;
}

/*
 * What is not here DPDK answers with ENOTSUP, which is what Open vSwitch expects of a driver without tunnel
 * offload; and a port is its own proxy for transfer rules.
 */
const struct rte_flow_ops vnode_flow_ops = {
    .validate = validate,
    .create = create,
    .destroy = destroy,
    .flush = flush,
    .query = query,
};

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

struct flows *flows_create(struct connection *connection)
{
    struct flows *flows = calloc(1, sizeof *flows);

    if (!flows)
        return NULL;
    flows->connection = connection;
    pthread_mutex_init(&flows->lock, NULL);
    init_condition(&flows->removed);
    flow_carry_init(&flows->carry);
    TAILQ_INIT(&flows->pending);
    TAILQ_INIT(&flows->waiting);
    TAILQ_INIT(&flows->removals);
    TAILQ_INIT(&flows->batches);
    TAILQ_INIT(&flows->spare_batches);
    TAILQ_INIT(&flows->waits);
    TAILQ_INIT(&flows->ports);
    return flows;
}

/* All devices are gone, so what is left is what the fast path was not seen to remove. */
void flows_destroy(struct flows *flows)
{
    struct flow_batch *batch;

    if (!flows)
        return;
    flows_detached(flows);
    while (!TAILQ_EMPTY(&flows->removals)) {
        struct rte_flow *flow = TAILQ_FIRST(&flows->removals);

        TAILQ_REMOVE(&flows->removals, flow, of_list);
        free(flow);
    }
    while ((batch = TAILQ_FIRST(&flows->spare_batches))) {
        TAILQ_REMOVE(&flows->spare_batches, batch, next);
        free(batch);
    }
    flow_carry_finish(&flows->carry);
    flow_slots_finish(&flows->slots);
    pthread_cond_destroy(&flows->removed);
    pthread_mutex_destroy(&flows->lock);
    free(flows);
}

int flows_add_representor(struct flows *flows, struct representor *representor)
{
    struct flow_port *port = calloc(1, sizeof *port);

    if (!port)
        return ENOMEM;
    port->representor = representor;
    TAILQ_INIT(&port->flows);
    representor->flows = port;
    /* Else DPDK itself locks, and no query could be answered while a removal is waited for. */
    rte_eth_devices[representor->ethdev_id].data->dev_flags |= RTE_ETH_DEV_FLOW_OPS_THREAD_SAFE;
    pthread_mutex_lock(&flows->lock);
    TAILQ_INSERT_TAIL(&flows->ports, port, next);
    pthread_mutex_unlock(&flows->lock);
    return 0;
}

/* No rule is ever sent again with an output to DPDK's port 'gone', whose number the next device may get. */
static void forget_outputs(struct flows *flows, uint16_t gone)
{
    struct flow_port *port;
    struct rte_flow *flow;

    TAILQ_FOREACH(port, &flows->ports, next)
    TAILQ_FOREACH(flow, &port->flows, of_port)
    for (uint8_t *place = NULL; (place = flow_next_output(flow, place));)
        if (flow_get_port(place) == gone)
            flow_set_port(place, FLOW_NO_PORT);
}

void flows_remove_representor(struct flows *flows, struct representor *representor)
{
    struct flow_port *port = representor->flows;

    if (!port)
        return;
    flush_port(flows, port);
    pthread_mutex_lock(&flows->lock);
    TAILQ_REMOVE(&flows->ports, port, next);
    forget_outputs(flows, representor->ethdev_id);
    flow_carry_forget(&flows->carry, representor->ethdev_id);
    pthread_mutex_unlock(&flows->lock);
    representor->flows = NULL;
    free(port);
}

static const char *const counter_names[] = {
#define X(id, name) [FLOW_COUNTER_##id] = name,
    FLOW_COUNTERS(X)
#undef X
};

static const char *const reason_names[] = {
#define X(id, name, about) [FLOW_REFUSED_##id] = name,
    FLOW_REASONS(X)
#undef X
};

unsigned flows_n_counters(void)
{
    return FLOW_COUNTERS_END + FLOW_REASONS_END;
}

const char *flows_counter_name(unsigned i)
{
    return i < FLOW_COUNTERS_END ? counter_names[i] : reason_names[i - FLOW_COUNTERS_END];
}

uint64_t flows_counter(const struct representor *representor, unsigned i)
{
    const struct flow_port *port = representor->flows;

    if (!port)
        return 0;
    return atomic_load_explicit(
        i < FLOW_COUNTERS_END ? &port->counters[i] : &port->refused[i - FLOW_COUNTERS_END],
        memory_order_relaxed);
}
