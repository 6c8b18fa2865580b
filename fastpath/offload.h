/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_OFFLOAD_H
#define FASTPATH_OFFLOAD_H

/*
 * The attached vSwitch, its rules, and which of them are offloaded (docs/offload.md). All of it
 * runs in the control thread, with the control lock held. Time is what its callers say it is:
 *
 *     offload_init(tables, &options, now_ns, &error);
 *     offload_attach(n_slots, "ovs", &session, &error);   the client sends ATTACH
 *     offload_clock(now_ns);                              before each request
 *     offload_rule_add(&wire, &spec, &error);             RULE_ADD with WIRE_RULE_MANAGED
 *     offload_rules_added();                              ... at the end of the message
 *     offload_tick(now_ns);                               no later than offload_due_ns()
 *     offload_detach();                                   the client's connection ended
 *     offload_finish();
 */

#include <stdbool.h>
#include <stdint.h>

#include "lib/error.h"
#include "lib/limits.h"

struct flow_tables;
struct rule;
struct rule_spec;
struct wire_rule;

enum offload_mode {
    OFFLOAD_INHERIT, /* what the next larger unit says: port, slice, node */
    OFFLOAD_OFF,     /* rules stay onload */
    OFFLOAD_ON,      /* rules move at once */
    OFFLOAD_AUTO,    /* rules move by their rate */
};

#define OFFLOAD_PROMOTE_DEFAULT 1000 /* packets per second */
#define OFFLOAD_DEMOTE_DEFAULT 100
#define OFFLOAD_HOLD_MS_DEFAULT 10000
#define OFFLOAD_MOVES_DEFAULT 10000 /* per second */
#define OFFLOAD_ORPHANS_HOLD_S_DEFAULT 30
#define OFFLOAD_ORPHANS_HOLD_MAX_S (24 * 3600)

/* "inherit", "off", "on", "auto". */
const char *offload_mode_name(enum offload_mode mode);

/* What the command line sets. */
struct offload_options {
    uint32_t rules_max; /* rules that the tables have room for */
    enum offload_mode mode;
    uint32_t table_size;     /* offloaded rules at most; 0: no limit of its own */
    uint32_t orphans_hold_s; /* seconds for which orphans are kept */
};

/* 'tables' are used until offload_finish(). ENOMEM. */
int offload_init(struct flow_tables *tables, const struct offload_options *options, uint64_t now_ns,
                 struct error *error);

/* Nobody may be attached any more. */
void offload_finish(void);

/* Says what time it is. */
void offload_clock(uint64_t now_ns);

/* What an attached vSwitch gets. The descriptor stays ours: duplicate it, it is closed with the session. */
struct offload_session {
    uint32_t n_slots;
    uint16_t generation; /* 15 bits, never 0 */
    uint64_t started;    /* nanoseconds since 1970: when the fast path started */
    int counters_fd;
};

/*
 * Begins a session with a vSwitch that says it is 'software' and wants shared counters of 'n_slots' rules
 * (it gets at most as many as the table has rules). ENOMEM and the like. Not while there is a session.
 */
int offload_attach(uint32_t n_slots, const char *software, struct offload_session *session,
                   struct error *error);

/* Ends the session: the vSwitch's rules are orphans now. Harmless without one. */
void offload_detach(void);

/* A port was added, has gone (with its rules), or belongs to another slice. */
void offload_port_changed(uint16_t port);
void offload_port_removed(uint16_t port);

/*
 * A rule of the attached vSwitch, in both its forms (offload_rule_add() uses 'spec' up). It is onload at first. A rule that
 * is over its slice's quota, or does not fit into the table, is kept outside of it and tried again. EINVAL: it has
 * no action, or the id is none of this session's; EEXIST: its slot is in use; EDQUOT: it is over quota, and too many wait already; ENOMEM.
 */
int offload_rule_add(const struct wire_rule *wire, struct rule_spec *spec, struct error *error);

/* To be called once after such additions: the moves that may begin, begin. True: orphans were replaced, see offload_rules_removed(). */
bool offload_rules_added(void);

/* Whether the id is that of a rule of the session, there or not. */
bool offload_owns(uint64_t id);

/*
 * Takes a rule of the session out; harmless when it is not there (it went with its port, or was refused).
 * Up to OFFLOAD_REMOVALS_MAX of them, then once offload_rules_removed().
 */
#define OFFLOAD_REMOVALS_MAX 8192
void offload_rule_remove(uint64_t id);

/* The workers have been synchronized since: writes the last counters. To be called before flow_tables_reclaim(). */
void offload_rules_removed(void);

/* Whether the rule is one of a vSwitch. */
bool offload_is_managed(const struct rule *rule);

/* A scope of settings: the node, a slice, a port, a rule. */
enum offload_scope { SCOPE_NODE, SCOPE_SLICE, SCOPE_PORT, SCOPE_RULE };

#define OFFLOAD_KEEP (UINT32_MAX - 1) /* leaves a number as it is */

/* A change of settings. */
struct offload_change {
    enum offload_scope scope;
    char slice[SLICE_NAME_SIZE];
    uint16_t port;
    bool set_mode;
    enum offload_mode mode;
    uint32_t promote, demote, hold_ms; /* UINT32_MAX: inherit; OFFLOAD_KEEP */
};

/*
 * EINVAL: demote would not be below promote, or the node would inherit; ENOSPC: too many slices. Few rules have been
 * looked at when this returns; of many, the others follow within some hundred milliseconds.
 */
int offload_set(const struct offload_change *change, struct error *error);

/* Pins a rule (it is offloaded whatever the modes say) or unpins it. ENOENT: the vSwitch has no such rule. */
int offload_pin(uint64_t id, bool pinned, struct error *error);

/* OFFLOAD_KEEP leaves a number as it is. */
void offload_set_table(uint32_t size, uint32_t moves_max);
void offload_set_hold(uint32_t seconds);
int offload_set_slice(const char *name, uint32_t rules_max, uint32_t masks_max, uint32_t operations_max,
                      struct error *error);

/* Makes the next tick come soon: something has changed. */
void offload_hurry(void);

/* Does what is due by now: counters, moves, quotas, orphans. Takes some milliseconds at most. */
void offload_tick(uint64_t now_ns);

/* When offload_tick() is to be called next; UINT64_MAX: there is nothing to do. */
uint64_t offload_due_ns(void);

#endif
