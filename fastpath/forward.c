/* SPDX-License-Identifier: Apache-2.0 */
#include <rte_cycles.h>

#include "fastpath/capture.h"
#include "fastpath/deliver.h"
#include "fastpath/flow_table.h"
#include "fastpath/match_cache.h"
#include "fastpath/move.h"
#include "fastpath/offload_rule.h"
#include "fastpath/onload.h"
#include "fastpath/port_rate.h"
#include "fastpath/segment.h"
#include "lib/compiler.h"

/* Where a packet of a burst goes, beside the ids of ports. */
#define TO_NOWHERE UINT16_MAX       /* dropped, or sent already */
#define TO_VSWITCH (UINT16_MAX - 1) /* onload */

static_assert(PORTS_MAX < TO_VSWITCH, "ids of ports and these must not meet");

/* Adds to the counters of a rule, 'packets' and 'bytes'. */
static inline void count_hits(_Atomic uint64_t *packets, _Atomic uint64_t *bytes, uint64_t n_packets,
                              uint64_t n_bytes, bool shared)
{
    if (unlikely(shared)) {
        atomic_fetch_add_explicit(packets, n_packets, memory_order_relaxed);
        atomic_fetch_add_explicit(bytes, n_bytes, memory_order_relaxed);
    } else {
        /* This worker is the only writer: an atomic store, but no locked addition. */
        atomic_store_explicit(packets, *packets + n_packets, memory_order_relaxed);
        atomic_store_explicit(bytes, *bytes + n_bytes, memory_order_relaxed);
    }
}

struct rest {
    struct worker *worker;
    const struct action *actions;
    uint16_t n_actions;
};

static uint16_t run_actions(struct worker *worker, const struct action *actions, uint16_t n,
                            struct packet *packet);

static bool run_rest(struct packet *segment, void *argument)
{
    const struct rest *rest = argument;
    struct packet *packet = segment;
    uint16_t to = run_actions(rest->worker, rest->actions, rest->n_actions, segment);

    if (to != TO_NOWHERE)
        deliver(rest->worker, port_by_id(to), &packet, 1, NULL, false);
    return true;
}

static void drop(struct worker *worker, const struct packet *packet, enum drop_reason reason)
{
    worker_counters(worker, port_by_id(packet->in_port))->drops[reason]++;
}

/* An outer header hides what the receiver would have to finish: so that is done before 'actions', which begin with it. */
static bool finish_before_encapsulation(struct worker *worker, const struct action *actions, uint16_t n,
                                        struct packet *packet)
{
    struct rest rest = {worker, actions, n};
    int result;

    if (!packet->offload.gso_type) {
        if (packet->offload.flags & PACKET_NEEDS_CSUM)
            packet_finish_checksum(packet);
        return false;
    }
    result = packet_segment_gso(packet, false, run_rest, &rest);
    if (result)
        drop(worker, packet, result - 1);
    return true;
}

/*
 * 'packet' is about to leave by port 'id', changed: if the port has several queues, the one for it is that of the flow that
 * it belongs to now; so it would be if the vSwitch had changed it.
 */
static void change_flow(struct worker *worker, uint16_t id, const struct packet *packet)
{
    const struct port *port = port_by_id(id);
    struct packet as_it_is = *packet;

    if (port && port->n_send_active > 1)
        packet_parse(&as_it_is, &worker->burst.keys[packet->slot]);
}

/* Executes 'actions' on 'packet'. Returns the port of a final output, still to be done, or TO_NOWHERE. */
static uint16_t run_actions(struct worker *worker, const struct action *actions, uint16_t n,
                            struct packet *packet)
{
    bool changed = false;

    for (uint16_t i = 0; i < n; i++) {
        const struct action *action = &actions[i];
        int result;

        if (action->type == ACTION_OUTPUT) {
            if (changed)
                change_flow(worker, action->port, packet);
            if (i == n - 1)
                return action->port;
            deliver(worker, port_by_id(action->port), &packet, 1, NULL, true);
            continue;
        }
        if (action->type == ACTION_DROP) {
            drop(worker, packet, DROP_RULE);
            return TO_NOWHERE;
        }
        if (action->type == ACTION_ENCAP_RAW && packet->offload.gso_type | packet->offload.flags &&
            finish_before_encapsulation(worker, action, n - i, packet))
            return TO_NOWHERE;
        changed = true;
        result = action_apply(action, packet);
        if (result) {
            drop(worker, packet, result - 1);
            return TO_NOWHERE;
        }
    }
    /* A list that outputs nothing drops what is left; when it did output, there is nothing left. */
    if (!n || actions[n - 1].type != ACTION_OUTPUT)
        drop(worker, packet, DROP_RULE);
    return TO_NOWHERE;
}

/* Reads the headers of all packets, if that was not done yet. To be called before any is changed. */
static void parse_all(struct burst *burst)
{
    if (burst->parsed)
        return;
    for (uint16_t i = 0; i < burst->n; i++)
        packet_parse(&burst->packets[i], &burst->keys[i]);
    burst->parsed = true;
}

/*
 * Whether packets that hit 'rule', which is in a state other than RULE_OFFLOADED, go to the vSwitch; if so, counts
 * them.
 */
static __attribute__((noinline)) bool is_onload(const struct rule *rule, enum rule_state state,
                                                const struct receive_queue *queue, uint64_t n_packets,
                                                uint64_t n_bytes)
{
    struct offload_rule *offload = rule_offload(rule);

    if (state == RULE_MOVING && !move_onload(rule, queue))
        return false;
    count_hits(&offload->n_packets, &offload->n_bytes, n_packets, n_bytes, queue->port->shared_rules);
    return true;
}

/* Whether the actions of 'rule' are executed on packets of 'queue' that hit it; counts them, or those that are onload. */
static inline bool is_offloaded(struct rule *rule, const struct receive_queue *queue, uint64_t n_packets,
                                uint64_t n_bytes)
{
    /* Acquire: with RULE_MOVING the move can be seen. */
    enum rule_state state = atomic_load_explicit(&rule->state, memory_order_acquire);

    if (unlikely(state != RULE_OFFLOADED) && is_onload(rule, state, queue, n_packets, n_bytes))
        return false;
    count_hits(&rule->n_packets, &rule->n_bytes, n_packets, n_bytes, queue->port->shared_rules);
    return true;
}

/*
 * Decides where the packets [begin, end) of 'n_bytes', which have the same rule, go, executing it if it does more than output.
 * Returns whether all of them go to to[begin] as they came.
 */
static bool decide(struct worker *worker, const struct receive_queue *queue, struct burst *burst,
                   uint16_t begin, uint16_t end, uint64_t n_bytes, uint16_t to[])
{
    struct rule *rule = burst->rules[begin];
    uint16_t destination = TO_VSWITCH;

    if (likely(rule && is_offloaded(rule, queue, end - begin, n_bytes))) {
        if (unlikely(rule->fast_output == RULE_NO_FAST_OUTPUT)) {
            parse_all(burst);
            for (uint16_t i = begin; i < end; i++)
                to[i] = run_actions(worker, rule->actions, rule->n_actions, &burst->packets[i]);
            return false;
        }
        destination = rule->fast_output;
    } else if (!rule) {
        worker->stats.n_lookups_missed += end - begin;
    }
    for (uint16_t i = begin; i < end; i++)
        to[i] = destination;
    return true;
}

/*
 * Looks the packets' rules up, counts, and executes what they say but the last output. Returns
 * whether all packets go to to[0] as they came.
 */
static bool apply_rules(struct worker *worker, const struct receive_queue *queue, struct burst *burst,
                        uint16_t to[])
{
    struct flow_table *table = queue->port->table;
    bool uniform = true;

    if (flow_table_lookup_keyless(table, &burst->rules[0])) {
        for (uint16_t i = 1; i < burst->n; i++)
            burst->rules[i] = burst->rules[0];
    } else {
        parse_all(burst);
        match_cache_lookup(worker->cache, table, burst->keys, burst->n, burst->rules);
    }
    for (uint16_t begin = 0, end = 0; begin < burst->n; begin = end) {
        const struct rule *rule = burst->rules[begin];
        uint64_t n_bytes = 0;

        do
            n_bytes += burst->packets[end++].size;
        while (end < burst->n && burst->rules[end] == rule);
        uniform &= decide(worker, queue, burst, begin, end, n_bytes, to) & (to[begin] == to[0]);
    }
    return uniform;
}

static void send_to(struct worker *worker, struct receive_queue *queue, uint16_t destination,
                    struct packet *const packets[], uint16_t n, const struct demands *demands)
{
    struct port *out;

    if (unlikely(destination >= PORTS_MAX)) {
        if (destination == TO_VSWITCH)
            onload(worker, queue, packets, n);
        return;
    }
    out = port_by_id(destination);
    queue->likely_output = destination;
    if (!worker->burst.parsed && out && (out->n_send_active != 1 || !demands_met(out, demands)))
        parse_all(&worker->burst);
    deliver(worker, out, packets, n, demands, false);
}

/*
 * Hands the packets on, those for one destination together and in order. Those for the vSwitch last: a rule may have
 * become onload in the middle of the burst, and the vSwitch must not be faster with its later packets (move.c).
 */
static void dispatch(struct worker *worker, struct receive_queue *queue, struct burst *burst,
                     const uint16_t to[], const struct demands *demands)
{
    uint32_t left = burst->n == 32 ? UINT32_MAX : (1u << burst->n) - 1;
    struct packet *for_vswitch[BURST_MAX];
    uint16_t n_for_vswitch = 0;

    static_assert(BURST_MAX <= 32, "packets are bits of a word");
    while (left) {
        uint16_t destination = to[__builtin_ctz(left)];
        struct packet *packets[BURST_MAX];
        uint32_t others = 0;
        uint16_t n = 0;

        for (uint32_t rest = left; rest; rest &= rest - 1) {
            uint32_t i = __builtin_ctz(rest);

            if (likely(to[i] == destination))
                packets[n++] = &burst->packets[i];
            else
                others |= 1u << i;
        }
        left = others;
        if (destination == TO_VSWITCH) {
            memcpy(for_vswitch, packets, n * sizeof packets[0]);
            n_for_vswitch = n;
        } else {
            send_to(worker, queue, destination, packets, n, burst->parsed ? NULL : demands);
        }
    }
    if (n_for_vswitch)
        onload(worker, queue, for_vswitch, n_for_vswitch);
}

/* Counts a packet whose sender asks for what cannot be, and takes it out of the burst. */
static void reject(struct worker *worker, struct receive_queue *queue, struct burst *burst, uint16_t i,
                   int reason)
{
    struct packet rejected = burst->packets[i];
    uint16_t last = burst->n - 1;

    worker_counters(worker, queue->port)->drops[queue->from_vswitch ? DROP_RING_BAD : reason]++;
    memmove(&burst->packets[i], &burst->packets[i + 1], (last - i) * sizeof rejected);
    /* Behind the others, where release() still finds what it holds. */
    burst->packets[last] = rejected;
    burst->n = last;
}

/* Takes 'n' packets of 'n_bytes', of which those of 'burst' remain, out of the bucket of their port's limit. */
static __attribute__((noinline)) void take_from_bucket(struct worker *worker, const struct receive_queue *queue,
                                                       const struct burst *burst, uint16_t n, uint64_t n_bytes)
{
    struct rate_in *rate = atomic_load_explicit(&queue->rate, memory_order_acquire);

    for (uint16_t i = 0; i < burst->n; i++)
        n_bytes += packet_size_added(&burst->packets[i]);
    if (rate && n && rate_in_took(rate, queue, n, n_bytes))
        worker->n_held += n;
}

/*
 * Counts the packets received and finds out what they ask for. Those that leave work to the
 * receiver are parsed, to be checked; the others only when somebody needs their headers (parse_all).
 */
static struct demands survey(struct worker *worker, struct receive_queue *queue, struct burst *burst)
{
    struct port_counters *counters = worker_counters(worker, queue->port);
    struct demands demands = {0};
    uint64_t n_bytes = 0;
    uint16_t n = burst->n;
    uint8_t has_gso = 0;

    burst->parsed = false;
    for (uint16_t i = 0; i < burst->n;) {
        struct packet *packet = &burst->packets[i];
        int result = 0;

        n_bytes += packet->size;
        packet->slot = i;
        if (unlikely(packet->offload.flags | packet->offload.gso_type)) {
            packet_parse(packet, &burst->keys[i]);
            result = packet_check_offload(packet);
            has_gso |= packet->offload.gso_type;
        }
        demands_add(&demands, packet);
        if (unlikely(result))
            reject(worker, queue, burst, i, result - 1);
        else
            i++;
    }
    if (queue->from_vswitch) {
        counters->from_vswitch += n;
    } else {
        counters->rx_packets += n;
        counters->rx_bytes += n_bytes;
        onload_begin(queue, has_gso != 0);
        if (unlikely(atomic_load_explicit(&queue->rate, memory_order_relaxed) != NULL))
            take_from_bucket(worker, queue, burst, n, n_bytes);
    }
    return demands;
}

/* Begins the next stage of a burst: the cycles since '*then' were spent on 'stage'. */
static void stage_end(struct worker *worker, enum worker_stage stage, uint64_t *then)
{
    if (unlikely(worker->sampling)) {
        uint64_t now = rte_rdtsc();

        worker->stats.stage_cycles[stage] += now - *then;
        *then = now;
    }
}

void forward_burst(struct worker *worker, struct receive_queue *queue, struct burst *burst)
{
    struct port *port = queue->port;
    uint64_t time = worker->sampling ? rte_rdtsc() : 0;
    const struct demands demands = survey(worker, queue, burst);
    uint16_t to[BURST_MAX];
    bool uniform;

    if (!burst->n)
        return;
    stage_end(worker, WORKER_STAGE_SURVEY, &time);
    if (unlikely(queue->from_vswitch)) {
        send_to(worker, queue, port->id, burst->all, burst->n, &demands);
        return;
    }
    if (unlikely(atomic_load_explicit(&port->capture, memory_order_relaxed) != NULL))
        capture_packets(worker, port, burst->all, burst->n, CAPTURE_IN);
    uniform = apply_rules(worker, queue, burst, to);
    stage_end(worker, WORKER_STAGE_RULES, &time);
    if (likely(uniform))
        send_to(worker, queue, to[0], burst->all, burst->n, &demands);
    else
        dispatch(worker, queue, burst, to, &demands);
    stage_end(worker, WORKER_STAGE_SEND, &time);
}
