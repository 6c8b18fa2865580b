/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fastpath/offload_internal.h"
#include "fastpath/port.h"
#include "lib/log.h"

static const struct offload_settings inherit_all = {
    .mode = OFFLOAD_INHERIT, .promote = SETTING_INHERIT, .demote = SETTING_INHERIT, .hold_ms = SETTING_INHERIT};

static bool is_used(const struct slice *slice)
{
    return slice->n_ports || slice->n_queued || slice->rules_max || slice->masks_max ||
           slice->operations_max || memcmp(&slice->settings, &inherit_all, sizeof inherit_all);
}

struct slice *offload_slice(const char *name, bool make)
{
    struct slice *unused = NULL;

    if (!name[0])
        return &offloading.slices[SLICE_NONE];
    for (unsigned i = 1; i < SLICES_MAX; i++) {
        struct slice *slice = &offloading.slices[i];

        if (!strcmp(slice->name, name))
            return slice;
        if (!unused && (!slice->name[0] || !is_used(slice)))
            unused = slice;
    }
    if (!make || !unused)
        return NULL;
    *unused = (struct slice){.settings = inherit_all, .tokens_ms = offloading.now_ms};
    snprintf(unused->name, sizeof unused->name, "%s", name);
    return unused;
}

/* 'upper' where 'lower' inherits. */
static struct offload_settings overlay(const struct offload_settings *upper,
                                       const struct offload_settings *lower)
{
    return (struct offload_settings){
        .mode = lower->mode != OFFLOAD_INHERIT ? lower->mode : upper->mode,
        .promote = lower->promote != SETTING_INHERIT ? lower->promote : upper->promote,
        .demote = lower->demote != SETTING_INHERIT ? lower->demote : upper->demote,
        .hold_ms = lower->hold_ms != SETTING_INHERIT ? lower->hold_ms : upper->hold_ms};
}

static void settle_port(struct offload_port *port)
{
    struct offload_settings slice = overlay(&offloading.node, &offloading.slices[port->slice].settings);

    port->effective = overlay(&slice, &port->settings);
    /* Each level is sound by itself; two that are put together need not be. */
    if (port->effective.demote >= port->effective.promote)
        port->effective.demote = port->effective.promote / 2;
}

void offload_settle(void)
{
    for (uint16_t port = 0; port < PORTS_MAX; port++)
        settle_port(&offloading.ports[port]);
    offload_sweep();
    offload_sweep_share();
    offload_table_run();
}

static void count_rules_again(void)
{
    uint32_t cursor = 0;
    struct rule *rule;

    for (unsigned i = 0; i < SLICES_MAX; i++)
        offloading.slices[i].n_rules = 0;
    while (offloading.n_managed && (rule = flow_tables_next(offloading.tables, &cursor)))
        if (managed(number_of(rule))->generation)
            offloading.slices[offloading.ports[rule->in_port].slice].n_rules++;
}

static void give_to(uint16_t port, struct slice *slice)
{
    struct offload_port *entry = &offloading.ports[port];
    uint16_t old = entry->slice;

    offloading.slices[old].n_ports--;
    entry->slice = (uint16_t)(slice - offloading.slices);
    slice->n_ports++;
    if (old != entry->slice && offloading.n_managed)
        count_rules_again();
    settle_port(entry);
}

void offload_port_changed(uint16_t port)
{
    const char *name = port_get_spec(port)->slice;
    struct slice *slice = offload_slice(name, true);
    struct port_status status;

    if (!slice) {
        log_info("there are too many slices for one called %s; port %s counts to none", name,
                 port_get_spec(port)->name);
        slice = &offloading.slices[SLICE_NONE];
    }
    port_get_status(port, &status);
    offloading.ports[port].up = status.up;
    give_to(port, slice);
    offload_sweep();
}

void offload_port_removed(uint16_t port)
{
    struct offload_port *entry = &offloading.ports[port];

    offload_queue_drop_port(port);
    entry->settings = inherit_all;
    entry->up = false;
    give_to(port, &offloading.slices[SLICE_NONE]);
}

static void set_number(uint32_t *number, uint32_t value)
{
    if (value != OFFLOAD_KEEP)
        *number = value;
}

/* The settings of a scope, and what it inherits; NULL: too many slices. */
static struct offload_settings *settings_of(const struct offload_change *change, struct offload_settings *upper)
{
    struct slice *slice;

    *upper = offloading.node;
    switch (change->scope) {
    case SCOPE_NODE: return &offloading.node;
    case SCOPE_SLICE: slice = offload_slice(change->slice, true); return slice ? &slice->settings : NULL;
    default:
        *upper = overlay(&offloading.node, &offloading.slices[offloading.ports[change->port].slice].settings);
        return &offloading.ports[change->port].settings;
    }
}

int offload_set(const struct offload_change *change, struct error *error)
{
    struct offload_settings upper, new, whole, *settings = settings_of(change, &upper);

    if (!settings)
        return error_set(error, ENOSPC, "There are %d slices already, which is the limit.", SLICES_MAX - 1);
    new = *settings;
    if (change->set_mode)
        new.mode = change->mode;
    set_number(&new.promote, change->promote);
    set_number(&new.demote, change->demote);
    set_number(&new.hold_ms, change->hold_ms);
    if (change->scope == SCOPE_NODE && (new.mode == OFFLOAD_INHERIT || new.promote == SETTING_INHERIT ||
                                        new.demote == SETTING_INHERIT || new.hold_ms == SETTING_INHERIT))
        return error_set(error, EINVAL, "There is nothing above the node that it could inherit from.");
    whole = overlay(&upper, &new);
    if (whole.demote >= whole.promote)
        return error_set(error, EINVAL,
                         "Rules come back below %u packets/s (demote); that has to be less than the %u at "
                         "which they are offloaded (promote).",
                         whole.demote, whole.promote);
    *settings = new;
    offload_settle();
    return 0;
}

void offload_set_table(uint32_t size, uint32_t moves_max)
{
    set_number(&offloading.table_size, size);
    set_number(&offloading.moves_max, moves_max);
    offload_table_run();
    offload_hurry();
}

void offload_set_hold(uint32_t seconds)
{
    offloading.orphans_hold_ms = seconds * 1000;
    offload_hurry();
}

int offload_set_slice(const char *name, uint32_t rules_max, uint32_t masks_max, uint32_t operations_max,
                      struct error *error)
{
    struct slice *slice = offload_slice(name, true);

    if (!slice)
        return error_set(error, ENOSPC, "There are %d slices already, which is the limit.", SLICES_MAX - 1);
    set_number(&slice->rules_max, rules_max);
    set_number(&slice->masks_max, masks_max);
    set_number(&slice->operations_max, operations_max);
    if (operations_max != OFFLOAD_KEEP) {
        slice->tokens = (uint64_t)operations_max * 1000;
        slice->tokens_ms = offloading.now_ms;
    }
    return 0;
}

bool offload_take_operation(struct slice *slice)
{
    uint64_t most = (uint64_t)slice->operations_max * 1000; /* one second's worth */

    if (!slice->operations_max)
        return true;
    slice->tokens += (uint64_t)ms_since(slice->tokens_ms) * slice->operations_max;
    slice->tokens = slice->tokens < most ? slice->tokens : most;
    slice->tokens_ms = offloading.now_ms;
    if (slice->tokens < 1000)
        return false;
    slice->tokens -= 1000;
    return true;
}

static uint32_t masks_of(const struct slice *slice)
{
    uint32_t n = 0;

    for (uint16_t port = port_next(0); port != PORT_NONE; port = port_next(port + 1))
        if (&offloading.slices[offloading.ports[port].slice] == slice)
            n += flow_table_mask_count(flow_tables_get(offloading.tables, port));
    return n;
}

enum offload_reason offload_quota(struct slice *slice, const struct rule_spec *spec)
{
    if (slice->rules_max && slice->n_rules >= slice->rules_max)
        return REASON_QUOTA_RULES;
    if (slice->masks_max && !flow_tables_have_mask(offloading.tables, spec) &&
        masks_of(slice) >= slice->masks_max)
        return REASON_QUOTA_MASKS;
    return REASON_NONE;
}
