/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The table of what is offloaded: managed rules that are inside, that is, offloaded or moving, and those that wait to come
 * in, each sorted by rate into buckets a quarter of an octave wide. The busiest come in first. When the table
 * is full, one comes in for the least busy, but only if it is clearly busier:
 *
 *     lower of its last rate and its average  >=  3/2 * (higher of the other's) + 10 packets/s
 *
 * and a rule that has come in or gone out keeps its place for 'hold' (its own, 10 s unless set). So rules of equal rates never
 * take turns, whatever the noise of measurement, and no input makes a rule move more often than
 * twice in 'hold'.
 */

#include <errno.h>
#include <stdio.h>

#include "fastpath/control_internal.h"
#include "fastpath/move.h"
#include "fastpath/offload_internal.h"

#define CANDIDATES_MAX 16        /* rules looked at for one that may come in, or has to make room */
#define SWAP_MARGIN 10           /* packets per second */
#define PORTIONS 16              /* in which many rules move: one of them at a time ... */
#define PORTION_MIN 64           /* ... of so many rules at least */
#define BACKOFF_MS 10            /* after a first missed deadline; doubles with each in a row ... */
#define BACKOFF_DOUBLINGS_MAX 10 /* ... to 10 s */
#define DELAYED_AT_ONCE 1024     /* rules on the list of those that wait for their time, in one tick */
#define EVICTED_AT_ONCE 10000    /* rules taken out in one tick because the table became smaller */

unsigned offload_bucket(uint32_t rate)
{
    unsigned octave, quarter;

    if (rate < 4)
        return rate;
    octave = 31 - (unsigned)__builtin_clz(rate);
    quarter = rate >> (octave - 2) & 3;
    return 4 * (octave - 1) + quarter; /* 4 .. 123 */
}

static struct managed_ends *ends_of(enum managed_list list, unsigned bucket)
{
    switch (list) {
    case LIST_WAITING: return &offloading.waiting[bucket];
    case LIST_INSIDE: return &offloading.inside[bucket];
    default: return &offloading.delayed;
    }
}

static void count(enum managed_list list, int change)
{
    if (list == LIST_WAITING)
        offloading.n_waiting += (uint32_t)change;
    else if (list == LIST_DELAYED)
        offloading.n_delayed += (uint32_t)change;
}

void offload_unlist(uint32_t number)
{
    struct managed_rule *entry = managed(number);
    struct managed_ends *ends;

    if (entry->list == LIST_NONE)
        return;
    ends = ends_of(entry->list, entry->bucket);
    *(entry->previous ? &managed(entry->previous)->next : &ends->first) = entry->next;
    *(entry->next ? &managed(entry->next)->previous : &ends->last) = entry->previous;
    count(entry->list, -1);
    entry->list = LIST_NONE;
}

void offload_list(uint32_t number, enum managed_list list, unsigned bucket)
{
    struct managed_rule *entry = managed(number);
    struct managed_ends *ends;

    if (entry->list == list && entry->bucket == bucket)
        return;
    offload_unlist(number);
    ends = ends_of(list, bucket);
    entry->list = list;
    entry->bucket = bucket;
    entry->previous = ends->last;
    entry->next = 0;
    *(ends->last ? &managed(ends->last)->next : &ends->first) = number;
    ends->last = number;
    count(list, 1);
}

bool offload_take_move(void)
{
    /* A tenth of a second's worth at once, but two at least: for a swap. */
    uint64_t most = (uint64_t)offloading.moves_max * 100;

    most = most < 2000 ? 2000 : most;
    offloading.tokens += (uint64_t)ms_since(offloading.tokens_ms) * offloading.moves_max;
    offloading.tokens = offloading.tokens < most ? offloading.tokens : most;
    offloading.tokens_ms = offloading.now_ms;
    if (offloading.tokens < 1000)
        return false;
    offloading.tokens -= 1000;
    return true;
}

void offload_tell(const struct rule *rule, enum offload_reason reason)
{
    char text[64];

    if (!control_event_wanted(EVENT_RULE_MOVED))
        return;
    snprintf(text, sizeof text, "onload: %s", offload_reason_code(reason));
    control_moved_event(rule, reason ? text : "offloaded");
}

void offload_take_back(uint32_t number, enum offload_reason reason)
{
    struct managed_rule *entry = managed(number);
    struct rule *rule = rule_of(number);

    move_back(rule);
    offload_unlist(number);
    offloading.n_inside--;
    entry->reason = (uint8_t)reason;
    entry->since_ms = offloading.now_ms;
    entry->was_inside = true;
    entry->timer_ms = 0;
    offload_tell(rule, reason);
}

static uint32_t higher_rate(const struct managed_rule *entry)
{
    return entry->rate > entry->smooth ? entry->rate : entry->smooth;
}

static uint32_t lower_rate(const struct managed_rule *entry)
{
    return entry->rate < entry->smooth ? entry->rate : entry->smooth;
}

static bool keeps_its_place(uint32_t number)
{
    return ms_since(managed(number)->since_ms) < offloading.ports[rule_of(number)->in_port].effective.hold_ms;
}

/* A rule that is inside and has to make room: for 'candidate', or, if that is 0, because there are too many. 0: none. */
static uint32_t find_victim(uint32_t candidate)
{
    const struct managed_rule *newcomer = candidate ? managed(candidate) : NULL;
    unsigned n_seen = 0;

    for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
        for (uint32_t number = offloading.inside[bucket].first; number; number = managed(number)->next) {
            const struct managed_rule *entry = managed(number);
            uint64_t rate = higher_rate(entry);

            if (n_seen++ == CANDIDATES_MAX && newcomer)
                return 0;
            /* Without its vSwitch its packets would be lost; it has little time left anyway. */
            if (is_orphan(entry) && newcomer)
                continue;
            if (!newcomer || newcomer->pinned)
                return number;
            if (lower_rate(newcomer) < rate + rate / 2 + SWAP_MARGIN)
                return 0;
            if (!keeps_its_place(number))
                return number;
        }
    }
    return 0;
}

static bool has_room(void)
{
    return !offloading.table_size || offloading.n_inside < offloading.table_size;
}

/*
 * Moves of many rules begin in portions. One that begins while hundreds of others do waits for all of them: the workers look at
 * each, and where this thread and the vSwitch share a core, the vSwitch waits for this thread. When more rules come than so
 * few moves at a time can serve, it is more.
 */
static bool may_begin(void)
{
    unsigned portion = offloading.n_waiting / PORTIONS;

    return moves_under_way() < (portion > PORTION_MIN ? portion : PORTION_MIN);
}

/* Begins to move a rule. False: not now. */
static bool begin(uint32_t number)
{
    struct managed_rule *entry = managed(number);
    int code = move_begin(rule_of(number));

    if (code == ENOENT) {
        /* Its port is about to go, and it with it. */
        offload_unlist(number);
        entry->reason = REASON_RECEIVER_DOWN;
        return true;
    }
    if (code)
        return false;
    offload_unlist(number);
    entry->timer_ms = 0;
    offloading.n_inside++;
    return true;
}

/* Moves the rule, for another if need be. False: nothing is to be begun for now. */
static bool bring_in(uint32_t number)
{
    uint32_t victim = 0;

    if (!may_begin())
        return false;
    if (!has_room()) {
        victim = find_victim(number);
        if (!victim)
            return true;
        if (!offload_take_move())
            return false;
    }
    if (!offload_take_move())
        return false;
    if (victim) {
        offload_take_back(victim, REASON_TABLE_FULL);
        offloading.n_swapped++;
        offload_decide(victim);
    }
    return begin(number);
}

/* The candidates of one bucket, 'n_seen' of all looked at so far. False: that was enough. */
static bool run_bucket(unsigned bucket, unsigned *n_failed)
{
    uint32_t next;

    for (uint32_t number = offloading.waiting[bucket].first; number; number = next) {
        struct managed_rule *entry = managed(number);

        next = entry->next;
        if (is_orphan(entry)) {
            offload_unlist(number);
            entry->reason = REASON_NO_VSWITCH;
            continue;
        }
        /* It has just made room for another: not at once again. */
        if (!has_room() && entry->was_inside && keeps_its_place(number) && !entry->pinned) {
            if (++*n_failed == CANDIDATES_MAX)
                return false;
            continue;
        }
        if (!bring_in(number))
            return false;
        if (entry->list == LIST_WAITING && ++*n_failed == CANDIDATES_MAX)
            return false;
        /* What made room for it may now wait in front of 'next', or be it: that stays valid, as 'number' left the list. */
    }
    return true;
}

static void run_delayed(void)
{
    for (unsigned i = 0; i < DELAYED_AT_ONCE && i < offloading.n_delayed; i++) {
        uint32_t number = offloading.delayed.first;
        struct managed_rule *entry = managed(number);

        offload_unlist(number);
        if ((int32_t)(entry->timer_ms - offloading.now_ms) > 0) {
            offload_list(number, LIST_DELAYED, 0); /* behind the others */
        } else {
            entry->timer_ms = 0;
            offload_decide(number);
        }
    }
}

void offload_table_run(void)
{
    unsigned n_failed = 0;

    for (unsigned i = 0;
         i < EVICTED_AT_ONCE && offloading.table_size && offloading.n_inside > offloading.table_size; i++) {
        uint32_t victim = find_victim(0);

        if (!victim)
            break;
        offload_take_back(victim, REASON_TABLE_FULL);
        offload_decide(victim);
    }
    run_delayed();
    for (unsigned bucket = BUCKETS; offloading.n_waiting && bucket-- > 0;)
        if (!run_bucket(bucket, &n_failed))
            break;
    offloading.full = !has_room();
}

/* A move has ended, maybe that of a rule that a person moves by hand. */
static void ended(struct rule *rule, enum move_result result, uint64_t duration_ns)
{
    uint32_t number = number_of(rule);
    struct managed_rule *entry = managed(number);

    if (result == MOVE_CANCELLED)
        return;
    if (!entry->generation) {
        offload_tell(rule, result == MOVE_DONE ? REASON_NONE : REASON_MOVE_DEADLINE);
        return;
    }
    entry->since_ms = offloading.now_ms;
    if (result == MOVE_DONE) {
        entry->n_failures = 0;
        entry->reason = REASON_NONE;
        if (!entry->pinned)
            offload_list(number, LIST_INSIDE, offload_bucket(higher_rate(entry)));
        offload_tell(rule, REASON_NONE);
        return;
    }
    offloading.n_inside--;
    entry->timer_ms = timer_of(offloading.now_ms + (BACKOFF_MS << entry->n_failures));
    entry->n_failures += entry->n_failures < BACKOFF_DOUBLINGS_MAX;
    entry->reason = REASON_MOVE_DEADLINE;
    offload_list(number, LIST_DELAYED, 0);
    offload_tell(rule, REASON_MOVE_DEADLINE);
}

void offload_table_reap(void)
{
    if (moves_under_way())
        moves_reap(ended);
}
