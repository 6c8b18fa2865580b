/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_FLOW_FAKE_H
#define PMD_FLOW_FAKE_H

/*
 * For tests of the driver's rules: a connection to a fast path of the test's own, which takes requests when it is told
 * to, or by a thread, and has shared counters; and DPDK's devices that go with it. The test's program defines by
 * this what the rest of the driver would.
 *
 *     flow = fake_create(FAKE_MATCH, "port_id=1 / end");
 *     fake_serve();                                          the fast path takes what was sent
 *     fake_destroy(flow);                                    the thread answers meanwhile
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_flow.h>

#include "pmd/flow.h"

#define FAKE_DEVICES 4
#define FAKE_SLOTS 64
#define FAKE_RULES 8192

struct client {
    struct wire_writer writer;
    uint8_t bytes[MESSAGE_SIZE_MAX];
};

/* What the fast path knows of a rule. */
struct known {
    uint64_t id;
    struct wire_rule *rule;
};

struct connection {
    struct flows *flows;
    _Atomic uint64_t packets[FAKE_SLOTS], bytes[FAKE_SLOTS];
    _Atomic bool has_counters;
    /* the fast path */
    struct known known[FAKE_RULES];
    unsigned n_known, n_requests, n_last; /* rules of the last request */
    uint32_t fail_first, fail_n;          /* additions, counted in each request, that fail ... */
    uint32_t fail_code;
    struct client client;
    uint64_t cookie;
    bool has_request;
    /* the thread */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool woken, automatic, busy, ends;
};

extern struct connection fake;
extern struct representor *fake_representors[FAKE_DEVICES];
extern char fake_last_warning[512];
extern struct rte_flow_error fake_last_error;
extern const struct rte_flow_attr fake_transfer;

/* Three devices, 0 to 2, whose ports are 100 to 102, attached. For cmocka. */
int fake_set_up(void **state);
int fake_tear_down(void **state);

void fake_add_device(unsigned i, int32_t port_id);
void fake_remove_device(unsigned i);

/* The fast path is there; without the counters it had, gone. */
void fake_attach(uint64_t started, uint16_t generation);
void fake_detach(void);

/* Takes the next request, if there is one; answers it; does both until there is none. */
bool fake_take_request(void);
void fake_answer_request(void);
void fake_serve(void);

/* Whether the thread takes requests; else the test does. */
void fake_set_automatic(bool automatic);

/* What the fast path knows; the rule that it took last, and its slot. */
struct known *fake_find_known(uint64_t id);
void fake_forget_rules(void);
const struct wire_rule *fake_last_rule(void);
uint32_t fake_last_slot(void);

/* The fast path forwards packets of 100 bytes. */
void fake_count(uint32_t slot, uint64_t packets);

/* Two matches, as text of flow_testbed.h. */
#define FAKE_MATCH "eth type=0806 has_vlan=0 / end"
#define FAKE_OTHER_MATCH "eth type=88cc has_vlan=0 / end"

/* A flow of a device, or NULL with fake_last_error; of device 0; one that the fast path has. */
struct rte_flow *fake_create_on(unsigned device, const char *items, const char *actions);
struct rte_flow *fake_create(const char *items, const char *actions);
struct rte_flow *fake_create_active(const char *items, const char *actions);

/* The thread answers meanwhile. */
void fake_destroy_on(unsigned device, struct rte_flow *flow);
void fake_destroy(struct rte_flow *flow);

struct rte_flow_query_count fake_query(struct rte_flow *flow, bool reset);

/* A counter of device 0, by name. */
uint64_t fake_counter(const char *name);

uint64_t fake_milliseconds(void);

#endif
