/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/offload_testbed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fastpath/control.h"
#include "fastpath/control_fake.h"
#include "fastpath/control_internal.h"
#include "fastpath/offload_rule.h"
#include "fastpath/port.h"
#include "proto/rule_text.h"

struct bed bed;

static const struct {
    const char *name, *slice;
} bed_ports[] = {{"a", "red"}, {"b", "red"}, {"c", "blue"}, {"d", "blue"}};

static void must(bool right, const char *what)
{
    if (!right) {
        fprintf(stderr, "offload_testbed: %s\n", what);
        abort();
    }
}

void bed_start(void)
{
    char path[64];

    memset(&bed, 0, sizeof bed);
    bed.now_ns = 5000000000u;
    fake_moves_reset();
    snprintf(path, sizeof path, "/tmp/vnode-offload-test-%d", (int)getpid());
    fake_create(path);
    offload_clock(bed.now_ns);
    for (unsigned i = 0; i < sizeof bed_ports / sizeof bed_ports[0]; i++) {
        struct port_spec spec = {.kind = PORT_VHOST};
        uint16_t id;

        strcpy(spec.name, bed_ports[i].name);
        strcpy(spec.slice, bed_ports[i].slice);
        must(!port_add(&spec, &id, NULL) && id == i, "no port");
        offload_port_changed(id);
    }
    bed_attach();
}

void bed_stop(void)
{
    bed_detach();
    fake_destroy();
}

void bed_attach(void)
{
    struct error error = {.text = ""};

    must(!offload_attach(BED_SLOTS, "test", &bed.session, &error), error.text);
    must(!shared_counters_map(&bed.counters, bed.session.counters_fd, &error), error.text);
}

void bed_detach(void)
{
    shared_counters_close(&bed.counters);
    offload_detach();
}

uint64_t bed_id(uint32_t slot)
{
    return message_managed_id(bed.session.generation, 0, slot);
}

static int find_port(const char *name, void *argument)
{
    return atoi(name);
}

static int add(const struct wire_rule *wire)
{
    struct rule_spec spec;
    struct error error = {.text = ""};
    int code;

    must(!rule_from_wire(wire, &spec, &error), error.text);
    code = offload_rule_add(wire, &spec, &error);
    if (offload_rules_added())
        control_finish_removal();
    return code;
}

int bed_add(uint32_t slot, const char *text)
{
    static const struct rule_text_ports ports = {find_port, NULL};
    static struct wire_rule wire;
    struct error error = {.text = ""};
    char whole[512];

    snprintf(whole, sizeof whole, "%s%s", strncmp(text, "in=", 3) ? "in=0 " : "", text);
    must(!rule_parse(whole, RULE_TEXT_WHOLE, &ports, &wire, &error), error.text);
    wire.id = bed_id(slot);
    wire.flags = WIRE_RULE_MANAGED;
    return add(&wire);
}

int bed_add_numbered(uint32_t slot, uint32_t number)
{
    char text[128];

    snprintf(text, sizeof text, "ip_dst=10.%u.%u.%u actions=output:2", number >> 16 & 255, number >> 8 & 255,
             number & 255);
    return bed_add(slot, text);
}

void bed_remove(uint32_t slot)
{
    offload_rule_remove(bed_id(slot));
    control_finish_removal();
}

struct rule *bed_rule(uint32_t slot)
{
    return flow_tables_find(control_tables(), bed_id(slot));
}

bool bed_is_offloaded(uint32_t slot)
{
    const struct rule *rule = bed_rule(slot);

    return rule && state_of(rule) == RULE_OFFLOADED;
}

const char *bed_reason(uint32_t slot)
{
    const struct rule *rule = bed_rule(slot);

    if (rule)
        return offload_reason_code(offload_reason_of(rule, managed(number_of(rule))));
    must(offloading.slot_queued[slot], "there is no such rule");
    return offload_reason_code(offloading.slot_queued[slot]->reason);
}

void bed_hit(uint32_t slot, uint64_t n)
{
    struct rule *rule = bed_rule(slot);

    if (rule && state_of(rule) == RULE_OFFLOADED) {
        atomic_fetch_add(&rule->n_packets, n);
        atomic_fetch_add(&rule->n_bytes, 100 * n);
    } else if (rule) {
        atomic_fetch_add(&rule_offload(rule)->n_packets, n);
    }
}

/* The packets of 20 ms. */
static void hit_all(void)
{
    for (uint32_t slot = 0; slot < BED_SLOTS; slot++) {
        int64_t rate = bed.rates[slot];

        if (!rate)
            continue;
        if (bed.noise)
            rate += rate * (rand() % (2 * (int)bed.noise + 1) - (int)bed.noise) / 100;
        bed.rests[slot] += (uint64_t)rate * 20;
        bed_hit(slot, bed.rests[slot] / 1000);
        bed.rests[slot] %= 1000;
    }
}

void bed_run(uint32_t ms)
{
    for (uint32_t i = 0; i < ms; i++) {
        bed.now_ns += 1000000;
        if (i % 20 == 0)
            hit_all();
        if (bed.now_ns >= offload_due_ns())
            offload_tick(bed.now_ns);
    }
}

static struct offload_change change_of(const char *scope)
{
    struct offload_change change = {.promote = OFFLOAD_KEEP, .demote = OFFLOAD_KEEP, .hold_ms = OFFLOAD_KEEP};

    if (!strncmp(scope, "slice:", 6)) {
        change.scope = SCOPE_SLICE;
        strcpy(change.slice, scope + 6);
    } else if (!strncmp(scope, "port:", 5)) {
        change.scope = SCOPE_PORT;
        change.port = port_find(scope + 5);
    }
    return change;
}

void bed_set(const char *scope, enum offload_mode mode)
{
    struct offload_change change = change_of(scope);
    struct error error = {.text = ""};

    change.set_mode = true;
    change.mode = mode;
    must(!offload_set(&change, &error), error.text);
}

void bed_set_rates(const char *scope, uint32_t promote, uint32_t demote, uint32_t hold_ms)
{
    struct offload_change change = change_of(scope);
    struct error error = {.text = ""};

    change.promote = promote;
    change.demote = demote;
    change.hold_ms = hold_ms;
    must(!offload_set(&change, &error), error.text);
}

unsigned bed_moves(void)
{
    return fake_moves.n_begun + fake_moves.n_back;
}
