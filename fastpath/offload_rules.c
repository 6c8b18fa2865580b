/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Rules of the vSwitch come and go. A session numbers its rules by slots of the shared counters; what an earlier session left
 * are orphans, told apart by their generation alone, so that nothing has to be done to each when a session ends.
 */

#include <errno.h>
#include <inttypes.h>

#include "fastpath/control_internal.h"
#include "fastpath/move.h"
#include "fastpath/offload_internal.h"
#include "lib/log.h"

#define PURGED_AT_ONCE 2000

/* Rules taken out since the workers were last waited for, whose last counters are to be written. */
static struct {
    uint32_t n;
    struct {
        const struct rule *rule;
        struct managed_rule entry;
    } removals[OFFLOAD_REMOVALS_MAX];
} finals;

static int check_id(uint64_t id, struct error *error)
{
    uint32_t slot = message_managed_slot(id);

    if (!offload_owns(id))
        return error_set(error, EINVAL,
                         "The rule's id %" PRIu64 " does not belong to this session (generation %u).", id,
                         offloading.generation);
    if (offloading.slot_rules[slot] || offloading.slot_queued[slot])
        return error_set(error, EEXIST, "Another rule counts in slot %" PRIu32 "; remove it first.", slot);
    return 0;
}

bool offload_owns(uint64_t id)
{
    return offloading.attached && id >> 48 == (1u << 15 | offloading.generation) &&
           message_managed_slot(id) < offloading.counters.n_slots;
}

bool offload_is_managed(const struct rule *rule)
{
    return managed(number_of(rule))->generation != 0;
}

static bool same_action(const struct action *one, const struct action *other)
{
    if (one->type != other->type)
        return false;
    switch (one->type) {
    case ACTION_OUTPUT: return one->port == other->port;
    case ACTION_ENCAP_RAW:
        return one->raw_size == other->raw_size && !memcmp(one->raw, other->raw, one->raw_size);
    default: return one->byte == other->byte && one->be16 == other->be16 && !memcmp(one->ip, other->ip, 16);
    }
}

static bool same_actions(const struct rule *rule, const struct rule_spec *spec)
{
    if (rule->n_actions != spec->n_actions || rule->priority != spec->priority)
        return false;
    for (unsigned i = 0; i < spec->n_actions; i++)
        if (!same_action(&rule->actions[i], &spec->actions[i]))
            return false;
    return true;
}

/* Gives a rule in the table to the session, as 'id'; what it has counted so far is not the session's. */
static void enroll(uint32_t number, uint64_t id)
{
    const struct rule *rule = rule_of(number);
    struct managed_rule *entry = managed(number);

    entry->generation = offloading.generation;
    entry->slot = message_managed_slot(id);
    entry->base_packets = atomic_load_explicit(&rule->n_packets, memory_order_relaxed);
    entry->base_bytes = atomic_load_explicit(&rule->n_bytes, memory_order_relaxed);
    offloading.slot_rules[entry->slot] = number;
    offloading.n_current++;
    offload_publish_rule(rule, entry);
}

static bool adopt(struct rule *rule, uint64_t id)
{
    if (flow_tables_rename(offloading.tables, rule, id))
        return false;
    enroll(number_of(rule), id);
    offload_decide(number_of(rule));
    return true;
}

/*
 * Looks for orphans that match what 'spec' matches. One that does the same becomes the rule: true. Others are removed: they
 * would outlive, or hide, what the vSwitch wants now.
 */
static bool take_orphan(const struct rule_spec *spec)
{
    struct rule *rule = flow_tables_equal(offloading.tables, spec, NULL), *next;

    for (; rule; rule = next) {
        next = flow_tables_equal(offloading.tables, spec, rule);
        if (!offload_is_managed(rule) || !is_orphan(managed(number_of(rule))))
            continue;
        if (same_actions(rule, spec) && adopt(rule, spec->id))
            return true;
        flow_tables_remove(offloading.tables, rule->id, NULL);
        offloading.removed = true;
    }
    return false;
}

enum offload_reason offload_enter(const struct rule_spec *spec, bool pinned, int *code, struct error *error)
{
    struct managed_rule *entry;
    uint32_t number;

    *code = flow_tables_insert(offloading.tables, spec, error);
    if (*code == ENOSPC) {
        *code = 0;
        return flow_tables_count(offloading.tables) >= offloading.rules_max ? REASON_RULES_FULL
                                                                            : REASON_MASKS_FULL;
    }
    if (*code)
        return REASON_NONE;
    number = number_of(flow_tables_find(offloading.tables, spec->id));
    entry = managed(number);
    *entry = (struct managed_rule){.pinned = pinned};
    offloading.n_managed++;
    offloading.slices[offloading.ports[spec->in_port].slice].n_rules++;
    enroll(number, spec->id);
    offload_policy_enter(number);
    return REASON_NONE;
}

int offload_rule_add(const struct wire_rule *wire, struct rule_spec *spec, struct error *error)
{
    struct slice *slice = &offloading.slices[offloading.ports[spec->in_port].slice];
    enum offload_reason reason;
    int code = check_id(spec->id, error);

    if (!code && !spec->n_actions)
        code = error_set(error, EINVAL, "A managed rule needs an action; the action drop drops packets.");
    if (code)
        return code;
    /* Whatever becomes of it, also if it is refused. */
    offload_publish_none(message_managed_slot(spec->id));
    spec->onload = true;
    if (offloading.n_managed > offloading.n_current && take_orphan(spec))
        return 0;
    reason = offload_take_operation(slice) ? offload_quota(slice, spec) : REASON_QUOTA_OPERATIONS;
    if (!reason)
        reason = offload_enter(spec, false, &code, error);
    if (reason)
        code = offload_queue_add(wire, offloading.ports[spec->in_port].slice, reason, error);
    return code;
}

bool offload_rules_added(void)
{
    offload_table_run();
    return offloading.removed;
}

/* A rule is about to leave the rule table, whoever wants it. */
void offload_rule_leaves(struct rule *rule)
{
    uint32_t number = number_of(rule);
    struct managed_rule *entry = managed(number);

    if (!entry->generation) {
        move_cancel(rule);
        return;
    }
    offload_policy_leave(number);
    offloading.n_managed--;
    offloading.slices[offloading.ports[rule->in_port].slice].n_rules--;
    if (!is_orphan(entry)) {
        offloading.n_current--;
        offloading.slot_rules[entry->slot] = 0;
        offload_publish_rule(rule, entry);
        if (finals.n < OFFLOAD_REMOVALS_MAX) {
            finals.removals[finals.n].rule = rule;
            finals.removals[finals.n++].entry = *entry;
        }
    }
    entry->generation = 0;
}

void offload_rule_remove(uint64_t id)
{
    struct queued_rule *queued = offloading.slot_queued[message_managed_slot(id)];

    if (queued && queued->id == id) {
        offload_take_operation(&offloading.slices[queued->slice]);
        offload_queue_drop(queued);
    } else {
        const struct rule *rule = flow_tables_find(offloading.tables, id);

        if (rule)
            offload_take_operation(&offloading.slices[offloading.ports[rule->in_port].slice]);
        flow_tables_remove(offloading.tables, id, NULL);
    }
}

void offload_rules_removed(void)
{
    for (uint32_t i = 0; offloading.attached && i < finals.n; i++)
        if (!offloading.slot_rules[finals.removals[i].entry.slot])
            offload_publish_rule(finals.removals[i].rule, &finals.removals[i].entry);
    finals.n = 0;
    offloading.removed = false;
}

int offload_pin(uint64_t id, bool pinned, struct error *error)
{
    struct rule *rule = flow_tables_find(offloading.tables, id);
    struct queued_rule *queued = offload_owns(id) ? offloading.slot_queued[message_managed_slot(id)] : NULL;

    if (rule && offload_is_managed(rule)) {
        managed(number_of(rule))->pinned = pinned;
        offload_decide(number_of(rule));
        offload_table_run();
    } else if (queued && queued->id == id) {
        queued->pinned = pinned;
    } else {
        return error_set(error, ENOENT,
                         "The vSwitch has no rule with the id %" PRIu64 "; 'vnode flows' shows its rules.", id);
    }
    return 0;
}

/* Removes 'rule' if it is an orphan. */
static bool purge(const struct rule *rule)
{
    const struct managed_rule *entry = managed(number_of(rule));

    if (!entry->generation || !is_orphan(entry))
        return false;
    flow_tables_remove(offloading.tables, rule->id, NULL);
    return true;
}

void offload_purge_share(void)
{
    uint32_t n = 0;

    if (offloading.n_managed == offloading.n_current) {
        offloading.purging = false;
        return;
    }
    if (!offloading.purging) {
        if (ms_since(offloading.orphaned_ms) < offloading.orphans_hold_ms)
            return;
        log_info("%" PRIu32 " rules that no vSwitch has claimed are removed",
                 offloading.n_managed - offloading.n_current);
        offloading.purging = true;
        offloading.kept = 0;
    }
    for (unsigned i = 0; n < PURGED_AT_ONCE && i < 10 * PURGED_AT_ONCE; i++) {
        const struct rule *rule = flow_tables_next(offloading.tables, &offloading.kept);

        if (!rule) {
            offloading.purging = false;
            break;
        }
        n += purge(rule);
    }
    if (n)
        control_finish_removal();
    control_rule_event(EVENT_RULES_REMOVED, MESSAGE_ALL_PORTS, n);
}
