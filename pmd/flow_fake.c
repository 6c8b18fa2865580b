/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/flow_fake.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ethdev_driver.h>
#include <rte_ethdev.h>
#include <rte_flow_driver.h>

#include "pmd/flow_testbed.h"

struct connection fake;
struct representor *fake_representors[FAKE_DEVICES];
static struct rte_eth_dev_data device_data[FAKE_DEVICES];
char fake_last_warning[512];

void connection_wake(struct connection *to)
{
    pthread_mutex_lock(&to->lock);
    to->woken = true;
    pthread_cond_broadcast(&to->changed);
    pthread_mutex_unlock(&to->lock);
}

struct flows *connection_flows(const struct connection *of)
{
    return of->flows;
}

bool connection_rule_counters(struct connection *of, uint32_t slot, uint64_t *packets, uint64_t *bytes)
{
    if (!atomic_load(&of->has_counters))
        return false;
    *packets = atomic_load(&of->packets[slot]);
    *bytes = atomic_load(&of->bytes[slot]);
    return true;
}

struct representor *representor_by_ethdev(uint16_t ethdev_id)
{
    return ethdev_id < FAKE_DEVICES ? fake_representors[ethdev_id] : NULL;
}

void driver_log_warning(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(fake_last_warning, sizeof fake_last_warning, format, arguments);
    va_end(arguments);
}

struct wire_writer *client_begin(struct client *client, enum message_type type)
{
    client->writer = wire_writer(client->bytes, sizeof client->bytes);
    message_put_header(&client->writer, &(struct message_header){.type = type, .request = 1});
    return &client->writer;
}

/* The fast path. */

struct known *fake_find_known(uint64_t id)
{
    for (unsigned i = 0; i < fake.n_known; i++)
        if (fake.known[i].id == id)
            return &fake.known[i];
    return NULL;
}

static uint32_t add_rules(struct wire_reader *body, uint32_t n, struct message_error *error)
{
    uint32_t done = 0;

    for (uint32_t i = 0; i < n; i++) {
        struct wire_rule *rule = malloc(sizeof *rule);
        uint32_t slot;

        assert(!wire_get_rule(body, rule));
        slot = message_managed_slot(rule->id);
        if (fake_find_known(rule->id) || (i >= fake.fail_first && i < fake.fail_first + fake.fail_n)) {
            if (!error->code)
                *error = (struct message_error){
                    .code = fake_find_known(rule->id) ? EEXIST : fake.fail_code, .index = i, .text = "No."};
            free(rule);
            continue;
        }
        done++;
        fake.known[fake.n_known++] = (struct known){rule->id, rule};
        if (slot < FAKE_SLOTS) {
            atomic_store(&fake.packets[slot], 0);
            atomic_store(&fake.bytes[slot], 0);
        }
    }
    return done;
}

static void remove_rules(struct wire_reader *body, uint32_t n, struct message_error *error)
{
    for (uint32_t i = 0; i < n; i++) {
        struct known *known = fake_find_known(wire_get_u64(body));

        if (!known) {
            *error = (struct message_error){.code = ENOENT, .text = "No such rule."};
            continue;
        }
        free(known->rule);
        *known = fake.known[--fake.n_known];
    }
}

void fake_forget_rules(void)
{
    while (fake.n_known)
        free(fake.known[--fake.n_known].rule);
}

bool fake_take_request(void)
{
    fake.has_request = flows_next_request(fake.flows, &fake.client, &fake.cookie);
    return fake.has_request;
}

void fake_answer_request(void)
{
    struct wire_reader reader = wire_reader(fake.client.bytes, wire_size(&fake.client.writer));
    struct message_error error = {0};
    struct message_header header;
    struct message reply;
    uint8_t bytes[600];
    struct wire_writer writer = wire_writer(bytes, sizeof bytes);
    uint32_t n, done = 0;

    assert(fake.has_request);
    fake.has_request = false;
    assert(!message_get_header(&reader, &header));
    fake.n_last = n = wire_get_u32(&reader);
    fake.n_requests++;
    if (header.type == MESSAGE_RULE_ADD)
        done = add_rules(&reader, n, &error);
    else
        remove_rules(&reader, n, &error);
    assert(!reader.bad && !reader.left);
    error.done = done;
    if (error.code)
        message_put_error(&writer, &error);
    else
        message_put_ok(&writer, &(struct message_ok){.count = n});
    reply = (struct message){.header.type = error.code ? MESSAGE_ERROR : MESSAGE_OK,
                             .body = wire_reader(bytes, wire_size(&writer))};
    flows_reply(fake.flows, fake.cookie, &reply);
}

void fake_serve(void)
{
    if (fake.has_request)
        fake_answer_request();
    while (fake_take_request())
        fake_answer_request();
}

static void *serve_requests(void *argument)
{
    pthread_mutex_lock(&fake.lock);
    while (!fake.ends) {
        bool work = fake.woken && fake.automatic;

        if (!work) {
            pthread_cond_wait(&fake.changed, &fake.lock);
            continue;
        }
        fake.woken = false;
        fake.busy = true;
        pthread_mutex_unlock(&fake.lock);
        fake_serve();
        pthread_mutex_lock(&fake.lock);
        fake.busy = false;
        pthread_cond_broadcast(&fake.changed);
    }
    pthread_mutex_unlock(&fake.lock);
    return NULL;
}

/* Whether the thread takes requests; else the test does. */
void fake_set_automatic(bool automatic)
{
    pthread_mutex_lock(&fake.lock);
    fake.automatic = automatic;
    pthread_cond_broadcast(&fake.changed);
    while (!automatic && fake.busy)
        pthread_cond_wait(&fake.changed, &fake.lock);
    pthread_mutex_unlock(&fake.lock);
}

/* The test's end of DPDK. */

const struct rte_flow_attr fake_transfer = {.transfer = 1};
struct rte_flow_error fake_last_error;

struct rte_flow *fake_create_on(unsigned device, const char *items, const char *actions)
{
    static struct flow_text text;

    flow_text_parse_items(&text, items);
    flow_text_parse_actions(&text, actions);
    return vnode_flow_ops.create(&rte_eth_devices[device], &fake_transfer, text.items, text.actions,
                                 &fake_last_error);
}

struct rte_flow *fake_create(const char *items, const char *actions)
{
    struct rte_flow *flow = fake_create_on(0, items, actions);

    assert(flow);
    return flow;
}

/* A flow that the fast path has. */
struct rte_flow *fake_create_active(const char *items, const char *actions)
{
    struct rte_flow *flow = fake_create(items, actions);

    fake_serve();
    return flow;
}

void fake_destroy_on(unsigned device, struct rte_flow *flow)
{
    fake_set_automatic(true);
    assert((vnode_flow_ops.destroy(&rte_eth_devices[device], flow, &fake_last_error)) == 0);
    fake_set_automatic(false);
}

void fake_destroy(struct rte_flow *flow)
{
    fake_destroy_on(0, flow);
}

struct rte_flow_query_count fake_query(struct rte_flow *flow, bool reset)
{
    const struct rte_flow_action action = {.type = RTE_FLOW_ACTION_TYPE_COUNT};
    struct rte_flow_query_count count = {.reset = reset};

    assert((vnode_flow_ops.query(&rte_eth_devices[0], flow, &action, &count, &fake_last_error)) == 0);
    assert(count.hits_set && count.bytes_set);
    return count;
}

/* The slot of the rule that the fast path took last. */
uint32_t fake_last_slot(void)
{
    return message_managed_slot(fake.known[fake.n_known - 1].id);
}

void fake_count(uint32_t slot, uint64_t packets)
{
    atomic_fetch_add(&fake.packets[slot], packets);
    atomic_fetch_add(&fake.bytes[slot], packets * 100);
}

uint64_t fake_counter(const char *name)
{
    for (unsigned i = 0; i < flows_n_counters(); i++)
        if (!strcmp(flows_counter_name(i), name))
            return flows_counter(fake_representors[0], i);
    assert(!"no such counter");
    return 0;
}

const struct wire_rule *fake_last_rule(void)
{
    return fake.known[fake.n_known - 1].rule;
}

void fake_attach(uint64_t started, uint16_t generation)
{
    struct message_attached attached = {.n_slots = FAKE_SLOTS, .generation = generation, .started = started};

    atomic_store(&fake.has_counters, true);
    flows_attached(fake.flows, &attached);
}

void fake_detach(void)
{
    fake.has_request = false;
    flows_detached(fake.flows);
    atomic_store(&fake.has_counters, false);
    for (unsigned i = 0; i < FAKE_SLOTS; i++) {
        atomic_store(&fake.packets[i], 0);
        atomic_store(&fake.bytes[i], 0);
    }
}

void fake_add_device(unsigned i, int32_t port_id)
{
    device_data[i].port_id = (uint16_t)i;
    rte_eth_devices[i].data = &device_data[i];
    fake_representors[i] = calloc(1, sizeof *fake_representors[i]);
    fake_representors[i]->connection = &fake;
    fake_representors[i]->ethdev_id = (uint16_t)i;
    atomic_store(&fake_representors[i]->port_id, port_id);
    assert((flows_add_representor(fake.flows, fake_representors[i])) == 0);
}

void fake_remove_device(unsigned i)
{
    fake_set_automatic(true);
    flows_remove_representor(fake.flows, fake_representors[i]);
    fake_set_automatic(false);
    free(fake_representors[i]);
    fake_representors[i] = NULL;
}

int fake_set_up(void **state)
{
    memset(&fake, 0, sizeof fake);
    fake_last_warning[0] = '\0';
    pthread_mutex_init(&fake.lock, NULL);
    pthread_cond_init(&fake.changed, NULL);
    fake.flows = flows_create(&fake);
    assert(fake.flows);
    /* The fast path's ids are 100 more. */
    for (unsigned i = 0; i < 3; i++)
        fake_add_device(i, 100 + (int32_t)i);
    fake_attach(1, 5);
    return pthread_create(&fake.thread, NULL, serve_requests, NULL);
}

int fake_tear_down(void **state)
{
    for (unsigned i = 0; i < FAKE_DEVICES; i++)
        if (fake_representors[i])
            fake_remove_device(i);
    pthread_mutex_lock(&fake.lock);
    fake.ends = true;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
    pthread_join(fake.thread, NULL);
    flows_destroy(fake.flows);
    fake_forget_rules();
    pthread_cond_destroy(&fake.changed);
    pthread_mutex_destroy(&fake.lock);
    return 0;
}
uint64_t fake_milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
