/* SPDX-License-Identifier: Apache-2.0 */
/*
 * offload_bench [RULES]: what many rules of a vSwitch cost the control thread, on the fast path without packets: how many are
 * added a second through the control socket and without it, and how long single ticks take.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fastpath/control.h"
#include "fastpath/control_fake.h"
#include "fastpath/control_internal.h"
#include "fastpath/move_fake.h"
#include "fastpath/offload_internal.h"
#include "fastpath/port.h"
#include "lib/log.h"
#include "proto/client.h"
#include "proto/rule_text.h"

#define WINDOW 32
#define RULES_OF_MESSAGE 400

static char path[64];

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* What this thread has used of its core: others may be there, too. */
static double busy(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void must(int code, const struct error *error)
{
    if (code) {
        fprintf(stderr, "offload_bench: %s\n", error->text);
        exit(1);
    }
}

static int find_port(const char *name, void *argument)
{
    return atoi(name);
}

static void prepare(struct wire_rule *rule)
{
    static const struct rule_text_ports ports = {find_port, NULL};
    struct error error;

    must(rule_parse("in=0 eth_src=02:00:00:00:00:01 eth_dst=02:00:00:00:00:02 tcp ip_frag=no ip_src=10.0.0.0 ip_dst=10.0.0.1 "
                    "l4_src=1 l4_dst=80 actions=output:2",
                    RULE_TEXT_WHOLE, &ports, rule, &error),
         &error);
    rule->flags = WIRE_RULE_MANAGED;
}

/* Makes 'rule' the one of number 'i'. */
static void vary(struct wire_rule *rule, uint16_t generation, uint32_t i)
{
    rule->id = message_managed_id(generation, 0, i);
    for (unsigned m = 0; m < rule->n_matches; m++)
        if (rule->matches[m].field == FIELD_IP_SRC)
            for (unsigned byte = 1; byte < 4; byte++)
                rule->matches[m].value[byte] = (uint8_t)(i >> (24 - 8 * byte));
}

static void add_ports(void)
{
    for (uint16_t i = 0; i < 4; i++) {
        struct port_spec spec = {.kind = PORT_VHOST};
        uint16_t id;

        snprintf(spec.name, sizeof spec.name, "p%u", i);
        port_add(&spec, &id, NULL);
        offload_port_changed(id);
    }
}

static void add_port_by_socket(struct client *client, const char *name)
{
    struct message_port_add port = {.kind = MESSAGE_PORT_VHOST, .target = "/x"};
    struct error error;

    strcpy(port.name, name);
    message_put_port_add(client_begin(client, MESSAGE_PORT_ADD), &port);
    must(client_call(client, NULL, &error), &error);
}

static void receive(struct client *client)
{
    struct message message;
    struct error error;

    must(client_receive(client, &message, &error), &error);
    if (message.header.type == MESSAGE_ERROR)
        must(message_to_error(&message, NULL, NULL, &error), &error);
}

static void bench_socket(uint32_t n)
{
    static struct wire_rule rule;
    struct message_attached session;
    struct message reply;
    struct error error;
    struct client *client;
    unsigned in_flight = 0;
    double begun;

    fake_start(path);
    client = client_connect(path, "bench", &error);
    must(!client, &error);
    add_port_by_socket(client, "p0");
    add_port_by_socket(client, "p1");
    add_port_by_socket(client, "p2");
    message_put_attach(client_begin(client, MESSAGE_ATTACH), &(struct message_attach){n, "bench"});
    must(client_call(client, &reply, &error), &error);
    message_get_attached(&reply.body, &session);
    message_close_fds(&reply);
    prepare(&rule);
    begun = now();
    for (uint32_t i = 0; i < n;) {
        struct wire_writer *body = client_begin(client, MESSAGE_RULE_ADD);
        uint8_t *place = message_begin_items(body);
        uint32_t of_message = 0;

        for (; of_message < RULES_OF_MESSAGE && i < n; of_message++) {
            vary(&rule, session.generation, i++);
            wire_put_rule(body, &rule);
        }
        message_end_items(place, of_message);
        must(client_send(client, NULL, &error), &error);
        if (++in_flight == WINDOW) {
            receive(client);
            in_flight--;
        }
    }
    for (; in_flight; in_flight--)
        receive(client);
    printf("%u rules through the control socket: %.0f a second\n", n, n / (now() - begun));
    client_begin(client, MESSAGE_STOP);
    must(client_call(client, NULL, &error), &error);
    client_close(client);
    fake_finish();
}

static uint64_t clock_ns = 1000000000u;

/* Ticks for 'ms'; tells the longest and what all of them took. */
static void tick(const char *what, uint32_t ms)
{
    double longest = 0, sum = 0;

    for (uint32_t i = 0; i < ms; i++) {
        double begun;

        clock_ns += 1000000;
        if (clock_ns < offload_due_ns())
            continue;
        begun = busy();
        offload_tick(clock_ns);
        begun = busy() - begun;
        sum += begun;
        longest = begun > longest ? begun : longest;
    }
    printf("%-42s longest tick %6.2f ms, %5.1f%% of a core\n", what, longest * 1e3, sum * 1e5 / ms);
}

static void timed(const char *what, double begun)
{
    printf("%-42s %6.2f ms\n", what, (now() - begun) * 1e3);
}

static void bench_ticks(uint32_t n)
{
    static struct wire_rule rule;
    struct offload_session session;
    struct rule_spec spec;
    struct error error;
    double begun;

    fake_create(path);
    add_ports();
    offload_clock(clock_ns);
    must(offload_attach(n, "bench", &session, &error), &error);
    prepare(&rule);
    begun = now();
    for (uint32_t i = 0; i < n; i++) {
        vary(&rule, session.generation, i);
        must(rule_from_wire(&rule, &spec, &error), &error);
        must(offload_rule_add(&rule, &spec, &error), &error);
        if (i % RULES_OF_MESSAGE == 0)
            offload_rules_added();
    }
    printf("%u rules without the socket: %.0f a second\n", n, n / (now() - begun));
    tick("all waiting, 10,000 moves a second", 1000);
    offload_set_table(0, 1000000);
    tick("all moving, as fast as may be", 3000);
    tick("all offloaded", 3000);
    begun = now();
    offload_set(&(struct offload_change){.scope = SCOPE_NODE,
                                         .set_mode = true,
                                         .mode = OFFLOAD_OFF,
                                         .promote = OFFLOAD_KEEP,
                                         .demote = OFFLOAD_KEEP,
                                         .hold_ms = OFFLOAD_KEEP},
                &error);
    timed("mode off: the first of them", begun);
    tick("... and the others", 200);
    begun = now();
    offload_detach();
    timed("the vSwitch goes", begun);
    offload_set_hold(0);
    tick("its rules are removed", 2000);
    printf("%u rules are left\n", offloading.n_managed);
    fake_destroy();
}

int main(int argc, char **argv)
{
    uint32_t n = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;

    log_set_level(LOG_LEVEL_ERROR);
    fake_rules_max = n;
    snprintf(path, sizeof path, "/tmp/vnode-offload-bench-%d", (int)getpid());
    fake_moves_reset();
    bench_ticks(n);
    bench_socket(n);
    return 0;
}
