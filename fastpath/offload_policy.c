/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Which rules are to be offloaded. Each is measured once a second, those of one second spread over it, and
 * then decided on. In mode auto a rule comes in when its rate is 'promote' or more, and goes out when it was below
 * 'demote', which is less than 'promote', for the whole of 'hold'. Hence a rule of constant rate moves once at most,
 * and one whose rate goes up and down costs two moves in 'hold' at most.
 */

#include "fastpath/move.h"
#include "fastpath/offload_internal.h"
#include "fastpath/offload_rule.h"
#include "fastpath/port.h"

#define ROUND_MS 1000           /* a measurement of all rules */
#define MEASURE_MS_MIN 200      /* shorter times give no rate */
#define MEASURED_AT_ONCE 100000 /* rules in one tick, at most */
#define SWEPT_AT_ONCE 20000

static uint64_t hits_of(const struct rule *rule)
{
    return atomic_load_explicit(&rule->n_packets, memory_order_relaxed) +
           atomic_load_explicit(&rule_offload(rule)->n_packets, memory_order_relaxed);
}

static bool receivers_are_up(const struct rule *rule)
{
    if (rule->fast_output != RULE_NO_FAST_OUTPUT)
        return offloading.ports[rule->fast_output].up;
    for (unsigned i = 0; i < rule->n_actions; i++)
        if (rule->actions[i].type == ACTION_OUTPUT && !offloading.ports[rule->actions[i].port].up)
            return false;
    return true;
}

static enum offload_reason auto_refusal(const struct managed_rule *entry,
                                        const struct offload_settings *settings, enum rule_state state)
{
    if (state == RULE_ONLOAD)
        return entry->rate >= settings->promote ? REASON_NONE : REASON_BELOW_PROMOTE;
    return state == RULE_OFFLOADED && entry->timer_ms && ms_since(entry->timer_ms) >= settings->hold_ms
               ? REASON_BELOW_PROMOTE
               : REASON_NONE;
}

/* Why the rule is not to be inside; REASON_NONE: it is to be. */
static enum offload_reason refusal(const struct rule *rule, const struct managed_rule *entry,
                                   enum rule_state state)
{
    const struct offload_settings *settings = &offloading.ports[rule->in_port].effective;
    enum offload_reason reason = REASON_NONE;

    if (is_orphan(entry))
        return state == RULE_ONLOAD ? REASON_NO_VSWITCH : REASON_NONE;
    if (!entry->pinned && settings->mode == OFFLOAD_OFF)
        return REASON_MODE_OFF;
    if (!entry->pinned && settings->mode == OFFLOAD_AUTO)
        reason = auto_refusal(entry, settings, state);
    if (!reason && state == RULE_ONLOAD && !receivers_are_up(rule))
        reason = REASON_RECEIVER_DOWN;
    return reason;
}

static void decide_inside(uint32_t number, enum offload_reason reason)
{
    struct managed_rule *entry = managed(number);

    if (reason == REASON_BELOW_PROMOTE) {
        if (!offload_take_move())
            return; /* at the next measurement */
        offloading.n_demoted++;
    }
    if (reason) {
        offload_take_back(number, reason);
    } else if (state_of(rule_of(number)) == RULE_OFFLOADED) {
        uint32_t rate = entry->rate > entry->smooth ? entry->rate : entry->smooth;

        if (entry->pinned)
            offload_unlist(number);
        else
            offload_list(number, LIST_INSIDE, offload_bucket(rate));
    }
}

void offload_decide(uint32_t number)
{
    struct managed_rule *entry = managed(number);
    const struct rule *rule = rule_of(number);
    enum rule_state state = state_of(rule);
    enum offload_reason reason = refusal(rule, entry, state);

    if (state != RULE_ONLOAD) {
        decide_inside(number, reason);
    } else if (reason) {
        offload_unlist(number);
        entry->reason = (uint8_t)reason;
        entry->timer_ms = 0;
    } else if (entry->list != LIST_DELAYED) {
        uint32_t rate = entry->rate < entry->smooth ? entry->rate : entry->smooth;

        entry->timer_ms = 0;
        offload_list(number, LIST_WAITING, entry->pinned ? BUCKET_PINNED : offload_bucket(rate));
        offload_hurry();
    }
}

enum offload_reason offload_reason_of(const struct rule *rule, const struct managed_rule *entry)
{
    switch (state_of(rule)) {
    case RULE_OFFLOADED: return REASON_NONE;
    case RULE_MOVING: return REASON_MOVING;
    default: break;
    }
    if (is_orphan(entry))
        return REASON_NO_VSWITCH;
    if (entry->list == LIST_WAITING)
        return offloading.table_size && offloading.n_inside >= offloading.table_size ? REASON_TABLE_FULL
                                                                                     : REASON_MOVES_LIMITED;
    return entry->list == LIST_DELAYED ? REASON_MOVE_DEADLINE : entry->reason;
}

void offload_policy_enter(uint32_t number)
{
    const struct rule *rule = rule_of(number);
    struct managed_rule *entry = managed(number);

    entry->n_seen = hits_of(rule);
    entry->seen_ms = offloading.now_ms;
    entry->since_ms = offloading.now_ms;
    offload_decide(number);
}

void offload_policy_leave(uint32_t number)
{
    struct rule *rule = rule_of(number);

    if (state_of(rule) != RULE_ONLOAD)
        offloading.n_inside--;
    offload_unlist(number);
    move_cancel(rule);
}

static void measure(uint32_t number)
{
    struct managed_rule *entry = managed(number);
    const struct rule *rule = rule_of(number);
    uint32_t elapsed = ms_since(entry->seen_ms);
    uint64_t n, rate;

    if (elapsed < MEASURE_MS_MIN)
        return;
    n = hits_of(rule);
    rate = (n - entry->n_seen) * 1000 / elapsed;
    entry->rate = rate < UINT32_MAX ? (uint32_t)rate : UINT32_MAX;
    entry->smooth = entry->n_seen || entry->smooth
                        ? (uint32_t)((3 * (uint64_t)entry->smooth + entry->rate) / 4)
                        : entry->rate;
    entry->n_seen = n;
    entry->seen_ms = offloading.now_ms;
    if (state_of(rule) == RULE_OFFLOADED) {
        if (entry->rate >= offloading.ports[rule->in_port].effective.demote)
            entry->timer_ms = 0;
        else if (!entry->timer_ms)
            entry->timer_ms = timer_of(offloading.now_ms);
    }
    offload_decide(number);
}

/* Goes on with the rules from '*cursor' on, 'n' at most. False: that was the last. */
static bool each_managed(uint32_t *cursor, uint32_t n, void (*handle)(uint32_t number))
{
    for (; n > 0; n--) {
        const struct rule *rule = flow_tables_next(offloading.tables, cursor);

        if (!rule)
            return false;
        offload_prefetch(rule, managed(number_of(rule)));
        if (managed(number_of(rule))->generation)
            handle(number_of(rule));
    }
    return true;
}

/* What is due of a round by now: the share of its rules that is the share of its time. */
void offload_measure_share(void)
{
    uint32_t elapsed = ms_since(offloading.round_ms), n = flow_tables_count(offloading.tables);
    uint32_t due = n / (ROUND_MS / OFFLOAD_TICK_MS) + 1;

    /* The round's time is over, or nearly: the rest of it. */
    if (elapsed + OFFLOAD_TICK_MS >= ROUND_MS)
        due = MEASURED_AT_ONCE;
    if (offloading.measured != UINT32_MAX && !each_managed(&offloading.measured, due, measure))
        offloading.measured = UINT32_MAX;
    if (elapsed >= ROUND_MS && offloading.measured == UINT32_MAX) {
        offloading.measured = 0;
        offloading.round_ms = offloading.now_ms;
    }
}

void offload_sweep(void)
{
    offloading.sweeping = true;
    offloading.swept = 0;
    offload_hurry();
}

void offload_sweep_share(void)
{
    if (offloading.sweeping)
        offloading.sweeping = each_managed(&offloading.swept, SWEPT_AT_ONCE, offload_decide);
}

void offload_look_at_ports(void)
{
    bool came_up = false;

    for (uint16_t port = port_next(0); port != PORT_NONE; port = port_next(port + 1)) {
        struct port_status status;

        port_get_status(port, &status);
        came_up |= status.up && !offloading.ports[port].up;
        offloading.ports[port].up = status.up;
    }
    if (came_up && offloading.n_managed)
        offload_sweep();
}
