/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_OFFLOAD_TESTBED_H
#define FASTPATH_OFFLOAD_TESTBED_H

/*
 * A vSwitch's rules with a clock and moves of the test's own, on the fast path without packets. Ports 0 and 2 have a link,
 * ports 1 and 3 have none. Packets come in by port 0 unless a rule says otherwise.
 *
 *     bed_start();
 *     bed_add(7, "ip_dst=10.0.0.7 actions=output:2");    the rule in slot 7
 *     bed.rates[7] = 2000;
 *     bed_run(1000);                                     a second passes
 *     bed_rule(7)->state
 *     bed_stop();
 */

#include "fastpath/move_fake.h"
#include "fastpath/offload_internal.h"

#define BED_SLOTS 4096

struct bed {
    uint64_t now_ns;
    struct offload_session session;
    struct shared_counters counters; /* as the vSwitch sees them */
    uint32_t rates[BED_SLOTS];       /* packets per second that hit the rule in a slot */
    uint32_t noise;                  /* each 20 ms more or less than that by at most so many percent */
    uint64_t rests[BED_SLOTS];       /* thousandths of packets */
};

extern struct bed bed;

/* A fast path, with its ports, and a session. */
void bed_start(void);
void bed_stop(void);

void bed_attach(void);
void bed_detach(void);

/* The id of the rule in 'slot'. */
uint64_t bed_id(uint32_t slot);

/* Adds a rule given as text, without its end (one message with one rule). The code of offload_rule_add(). */
int bed_add(uint32_t slot, const char *text);

/* The same with a rule for address 10.x.y.z of 'number', to port 2. */
int bed_add_numbered(uint32_t slot, uint32_t number);

/* As RULE_REMOVE does. */
void bed_remove(uint32_t slot);

/* The rule in 'slot', or NULL when it is not in the table. */
struct rule *bed_rule(uint32_t slot);
bool bed_is_offloaded(uint32_t slot);

/* The code of why it is not offloaded: "none" when it is. */
const char *bed_reason(uint32_t slot);

/* 'n' packets hit the rule. */
void bed_hit(uint32_t slot, uint64_t n);

/* Time passes, packets come, and ticks happen when they are due. */
void bed_run(uint32_t ms);

/* Sets modes and parameters: a scope as "node", "slice:red", "port:a"; OFFLOAD_KEEP. */
void bed_set(const char *scope, enum offload_mode mode);
void bed_set_rates(const char *scope, uint32_t promote, uint32_t demote, uint32_t hold_ms);

/* Moves begun and taken back so far. */
unsigned bed_moves(void);

#endif
