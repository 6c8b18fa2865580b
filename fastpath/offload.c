/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/offload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fastpath/lazy_memory.h"
#include "fastpath/move.h"
#include "fastpath/offload_internal.h"
#include "lib/log.h"

#define STATUS_MS 100 /* between two looks at the ports' links */
#define NS_PER_MS 1000000u

struct offloading offloading = {.due_ns = UINT64_MAX, .counters = {.fd = -1}};

static uint64_t wall_clock(void)
{
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static size_t rules_size(void)
{
    return ((size_t)offloading.rules_max + 1) * sizeof *offloading.rules;
}

int offload_init(struct flow_tables *tables, const struct offload_options *options, uint64_t now_ns,
                 struct error *error)
{
    const struct offload_settings inherit_all = {
        .promote = SETTING_INHERIT, .demote = SETTING_INHERIT, .hold_ms = SETTING_INHERIT};

    memset(&offloading, 0, sizeof offloading);
    offloading.due_ns = UINT64_MAX;
    offloading.counters.fd = -1;
    offloading.rules_max = options->rules_max;
    offloading.started = wall_clock();
    offloading.node = (struct offload_settings){.mode = options->mode,
                                                .promote = OFFLOAD_PROMOTE_DEFAULT,
                                                .demote = OFFLOAD_DEMOTE_DEFAULT,
                                                .hold_ms = OFFLOAD_HOLD_MS_DEFAULT};
    offloading.table_size = options->table_size;
    offloading.moves_max = OFFLOAD_MOVES_DEFAULT;
    offloading.orphans_hold_ms = options->orphans_hold_s * 1000;
    offload_clock(now_ns);
    for (unsigned i = 0; i < SLICES_MAX; i++)
        offloading.slices[i].settings = inherit_all;
    offloading.slices[SLICE_NONE].n_ports = PORTS_MAX;
    for (unsigned i = 0; i < PORTS_MAX; i++)
        offloading.ports[i] = (struct offload_port){.settings = inherit_all, .effective = offloading.node};
    offloading.any_table = flow_tables_get(tables, 0);
    offloading.rules = lazy_memory_map(rules_size());
    if (!offloading.any_table || !offloading.rules) {
        lazy_memory_unmap(offloading.rules, rules_size());
        offloading.rules = NULL;
        return error_set(error, ENOMEM, "No memory to manage %u rules; allow fewer.", options->rules_max);
    }
    offloading.tables = tables;
    flow_tables_on_remove(tables, offload_rule_leaves);
    return 0;
}

void offload_finish(void)
{
    offload_detach();
    if (offloading.tables)
        flow_tables_on_remove(offloading.tables, NULL);
    lazy_memory_unmap(offloading.rules, rules_size());
    offloading.rules = NULL;
    offloading.tables = NULL;
    offloading.due_ns = UINT64_MAX;
}

void offload_clock(uint64_t now_ns)
{
    offloading.now_ns = now_ns;
    offloading.now_ms = (uint32_t)(now_ns / NS_PER_MS);
}

static void set_due(uint32_t us)
{
    uint64_t due = offloading.now_ns + us * 1000ull;

    offloading.due_ns = due < offloading.due_ns ? due : offloading.due_ns;
}

void offload_hurry(void)
{
    set_due(MOVE_TICK_US);
}

static void free_slots(uint32_t n)
{
    lazy_memory_unmap(offloading.slot_rules, n * sizeof *offloading.slot_rules);
    lazy_memory_unmap(offloading.slot_queued, n * sizeof(struct queued_rule *));
    offloading.slot_rules = NULL;
    offloading.slot_queued = NULL;
}

static int make_slots(uint32_t n, struct error *error)
{
    offloading.slot_rules = lazy_memory_map(n * sizeof *offloading.slot_rules);
    offloading.slot_queued = lazy_memory_map(n * sizeof(struct queued_rule *));
    if (!offloading.slot_rules || !offloading.slot_queued) {
        free_slots(n);
        return error_set(error, ENOMEM, "No memory to count %u rules.", n);
    }
    return 0;
}

int offload_attach(uint32_t n_slots, const char *software, struct offload_session *session, struct error *error)
{
    int code;

    n_slots = n_slots < offloading.rules_max ? n_slots : offloading.rules_max;
    n_slots = n_slots ? n_slots : 1;
    code = shared_counters_create(&offloading.counters, n_slots, error);
    if (code)
        return code;
    code = make_slots(n_slots, error);
    if (code) {
        shared_counters_close(&offloading.counters);
        return code;
    }
    offloading.attached = true;
    offloading.generation = offloading.generation % INT16_MAX + 1;
    /* Now it may claim its rules. */
    offloading.orphaned_ms = offloading.now_ms;
    offloading.purging = false;
    offloading.published = 0;
    snprintf(offloading.software, sizeof offloading.software, "%s", software);
    offload_look_at_ports();
    offload_publish_ports(true);
    offload_hurry();
    *session = (struct offload_session){.n_slots = n_slots,
                                        .generation = offloading.generation,
                                        .started = offloading.started,
                                        .counters_fd = offloading.counters.fd};
    log_info("a vSwitch is attached");
    return 0;
}

void offload_detach(void)
{
    if (!offloading.attached)
        return;
    offload_queue_drop_all();
    free_slots(offloading.counters.n_slots);
    shared_counters_close(&offloading.counters);
    offloading.attached = false;
    offloading.n_current = 0;
    offloading.orphaned_ms = offloading.now_ms;
    offload_hurry();
    log_info("the vSwitch is detached, and left %u rules", offloading.n_managed);
}

static void do_usual_work(void)
{
    bool look = ms_since(offloading.status_ms) >= STATUS_MS;

    offloading.ticked_ms = offloading.now_ms;
    if (look) {
        offloading.status_ms = offloading.now_ms;
        offload_look_at_ports();
    }
    if (offloading.attached) {
        offload_publish_ports(look);
        offload_publish_rules();
    }
    offload_measure_share();
    offload_queue_retry();
}

void offload_tick(uint64_t now_ns)
{
    offload_clock(now_ns);
    offloading.due_ns = UINT64_MAX;
    offload_table_reap();
    if (ms_since(offloading.shared_ms) >= OFFLOAD_TICK_SHORT_MS) {
        offloading.shared_ms = offloading.now_ms;
        offload_sweep_share();
        offload_purge_share();
    }
    if (ms_since(offloading.ticked_ms) >= OFFLOAD_TICK_MS)
        do_usual_work();
    offload_table_run();
    if (moves_under_way())
        set_due(MOVE_TICK_US);
    else if (offloading.sweeping || offloading.purging || (offloading.n_waiting && !offloading.full))
        set_due(OFFLOAD_TICK_SHORT_MS * 1000);
    else if (offloading.attached || offloading.n_managed)
        set_due(OFFLOAD_TICK_MS * 1000);
}

uint64_t offload_due_ns(void)
{
    return offloading.due_ns;
}
