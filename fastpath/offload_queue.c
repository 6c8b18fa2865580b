/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Rules over quota. They are no rules of the table, so that they cost lookups nothing; their packets match no rule and go to
 * the vSwitch. Each slice has a queue of its own, of bounded length, and so has all of them together.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "fastpath/control_internal.h"
#include "fastpath/offload_internal.h"

#define FAILURES_AT_ONCE 500 /* rules that do not fit yet, looked at in one tick ... */
#define ENTRIES_AT_ONCE 1000 /* ... and that do */

#define WIRE_RULE_SIZE_MAX 4096

static void link_queued(struct queued_rule *rule)
{
    struct slice *slice = &offloading.slices[rule->slice];

    rule->next = NULL;
    rule->previous = slice->last;
    *(slice->last ? &slice->last->next : &slice->first) = rule;
    slice->last = rule;
    slice->n_queued++;
    offloading.n_queued++;
}

int offload_queue_add(const struct wire_rule *rule, uint16_t slice, enum offload_reason reason,
                      struct error *error)
{
    static uint8_t bytes[WIRE_RULE_SIZE_MAX];
    struct wire_writer writer = wire_writer(bytes, sizeof bytes);
    struct slice *owner = &offloading.slices[slice];
    struct queued_rule *queued;

    if (owner->n_queued >= QUEUED_OF_SLICE_MAX || offloading.n_queued >= QUEUED_MAX)
        return error_set(error, EDQUOT, "Rule %" PRIu64 " does not fit (%s), and too many wait already.",
                         rule->id, offload_reason_code(reason));
    wire_put_rule(&writer, rule);
    queued = malloc(sizeof *queued + wire_size(&writer));
    if (!queued)
        return error_set(error, ENOMEM, "No memory to keep rule %" PRIu64 ".", rule->id);
    *queued = (struct queued_rule){
        .id = rule->id, .slice = slice, .size = (uint16_t)wire_size(&writer), .reason = (uint8_t)reason};
    memcpy(queued->bytes, bytes, queued->size);
    link_queued(queued);
    offloading.slot_queued[message_managed_slot(rule->id)] = queued;
    return 0;
}

static void unlink_queued(struct queued_rule *rule)
{
    struct slice *slice = &offloading.slices[rule->slice];

    *(rule->previous ? &rule->previous->next : &slice->first) = rule->next;
    *(rule->next ? &rule->next->previous : &slice->last) = rule->previous;
    slice->n_queued--;
    offloading.n_queued--;
}

void offload_queue_drop(struct queued_rule *rule)
{
    unlink_queued(rule);
    offloading.slot_queued[message_managed_slot(rule->id)] = NULL;
    free(rule);
}

void offload_queue_drop_all(void)
{
    for (unsigned i = 0; i < SLICES_MAX && offloading.n_queued; i++)
        while (offloading.slices[i].first)
            offload_queue_drop(offloading.slices[i].first);
}

/* Takes the rule apart again. What we wrote ourselves is well-formed. */
static void read_rule(const struct queued_rule *queued, struct rule_spec *spec)
{
    static struct wire_rule wire;
    struct wire_reader reader = wire_reader(queued->bytes, queued->size);
    const char *problem = wire_get_rule(&reader, &wire);
    int code = rule_from_wire(&wire, spec, NULL);

    assert(!problem && !code);
    (void)problem;
    (void)code;
    spec->onload = true;
}

uint16_t offload_queued_port(const struct queued_rule *queued)
{
    struct rule_spec spec;

    read_rule(queued, &spec);
    return spec.in_port;
}

static bool names_port(const struct queued_rule *queued, uint16_t port)
{
    struct rule_spec spec;

    read_rule(queued, &spec);
    for (unsigned i = 0; i < spec.n_actions; i++)
        if (spec.actions[i].type == ACTION_OUTPUT && spec.actions[i].port == port)
            return true;
    return spec.in_port == port;
}

void offload_queue_drop_port(uint16_t port)
{
    for (unsigned i = 0; i < SLICES_MAX && offloading.n_queued; i++)
        for (struct queued_rule *rule = offloading.slices[i].first, *next; rule; rule = next) {
            next = rule->next;
            if (names_port(rule, port))
                offload_queue_drop(rule);
        }
}

/* Tries a rule again. True: it is in the table now, or failed for good, and is queued no more. */
static bool retry(struct queued_rule *rule, struct slice *slice)
{
    enum offload_reason reason;
    struct rule_spec spec;
    int code = 0;

    read_rule(rule, &spec);
    reason = offload_quota(slice, &spec);
    if (!reason) {
        uint32_t slot = message_managed_slot(rule->id);

        offloading.slot_queued[slot] = NULL;
        reason = offload_enter(&spec, rule->pinned, &code, NULL);
        if (reason || code)
            offloading.slot_queued[slot] = rule;
    }
    /* No memory, say: it goes on waiting, for the reason that it had. */
    if (reason)
        rule->reason = (uint8_t)reason;
    return !reason && !code;
}

/* What one tick may do. */
struct budget {
    unsigned failures, entries;
};

static void retry_slice(struct slice *slice, struct budget *budget)
{
    for (uint32_t n = slice->n_queued; n > 0 && budget->failures && budget->entries; n--) {
        struct queued_rule *rule = slice->first;

        if (slice->rules_max && slice->n_rules >= slice->rules_max)
            return;
        /* It was not counted when it was refused for that. */
        if (rule->reason == REASON_QUOTA_OPERATIONS && !offload_take_operation(slice))
            return;
        unlink_queued(rule);
        if (retry(rule, slice)) {
            free(rule);
            budget->entries--;
        } else {
            link_queued(rule);
            budget->failures--;
        }
    }
}

void offload_queue_retry(void)
{
    static unsigned turn; /* so that each slice is first at times */
    struct budget budget = {FAILURES_AT_ONCE, ENTRIES_AT_ONCE};

    turn++;
    for (unsigned i = 0; i < SLICES_MAX && offloading.n_queued; i++) {
        struct slice *slice = &offloading.slices[(turn + i) % SLICES_MAX];

        if (slice->first)
            retry_slice(slice, &budget);
    }
}
