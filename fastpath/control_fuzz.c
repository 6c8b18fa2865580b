/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that has said HELLO sends any messages: each is a u16 size (little-endian)
 * and that many bytes. The server handles them, on the fast path without packets, and
 * whatever rules it took have to come back from it as the same rules.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fastpath/control.h"
#include "fastpath/control_client.h"
#include "fastpath/control_fake.h"
#include "fastpath/move_fake.h"
#include "fastpath/offload_internal.h"
#include "fastpath/port.h"
#include "lib/log.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[64];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    snprintf(path, sizeof path, "/tmp/vnode-control-fuzz-%d", (int)getpid());
    log_set_level(LOG_LEVEL_ERROR);
    fake_create(path);
    atexit(control_destroy);
    return 0;
}

/* Takes what the server sends off the socket. */
static void drain(int fd)
{
    static uint8_t message[MESSAGE_SIZE_MAX];

    while (recv(fd, message, sizeof message, MSG_DONTWAIT) > 0)
        ;
}

static void exchange(struct control_client *client, int fd, const void *message, size_t size)
{
    if (size == 0 || send(fd, message, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return;
    for (int i = 0; i < 100 && !client->dead; i++) {
        uint32_t interest = control_client_interest(client);

        control_client_serve(client, interest);
        drain(fd);
        if (!client->first && !client->answer)
            break;
    }
}

static void say_hello(struct control_client *client, int fd)
{
    uint8_t message[64];
    struct wire_writer writer = wire_writer(message, sizeof message);

    message_put_header(&writer, &(struct message_header){.type = MESSAGE_HELLO});
    message_put_hello(&writer, &(struct message_hello){1, 1, "fuzz"});
    exchange(client, fd, message, wire_size(&writer));
}

/* The rule, as the protocol would carry it, makes the same rule again. */
static void check_rule(const struct rule *rule)
{
    static struct wire_rule wire;
    struct rule_spec spec;
    struct flow_key key;
    struct error error;

    rule_key(rule, &key);
    rule_key_to_wire(&key, rule_mask(rule), &wire);
    wire.id = rule->id;
    wire.flags = atomic_load(&rule->state) != RULE_OFFLOADED ? WIRE_RULE_ONLOAD : 0;
    wire.n_actions = rule->n_actions;
    for (unsigned i = 0; i < rule->n_actions; i++)
        action_to_wire(&rule->actions[i], &wire.actions[i]);
    if (rule_from_wire(&wire, &spec, &error) || memcmp(&spec.key, &key, sizeof spec.key) ||
        memcmp(&spec.mask, rule_mask(rule), sizeof spec.mask))
        abort();
    for (unsigned i = 0; i < rule->n_actions; i++)
        if (spec.actions[i].type != rule->actions[i].type || spec.actions[i].port != rule->actions[i].port ||
            spec.actions[i].be16 != rule->actions[i].be16 || spec.actions[i].byte != rule->actions[i].byte)
            abort();
}

static void check_and_clear(void)
{
    uint32_t cursor = 0;
    struct rule *rule;

    while ((rule = flow_tables_next(control_tables(), &cursor)))
        check_rule(rule);
    for (uint16_t port = port_next(0); port != PORT_NONE; port = port_next(port + 1)) {
        port_remove(port, NULL);
        offload_rules_removed();
        offload_port_removed(port);
    }
    if (flow_tables_count(control_tables()) || offloading.n_managed || offloading.n_inside ||
        offloading.n_queued || offloading.n_waiting || offloading.n_delayed)
        abort();
    /* Settings, slices and generations of the next input are its own. */
    fake_moves_reset();
    fake_restart_offload();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_reader reader = wire_reader(data, size);
    struct control_client *client;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends))
        abort();
    client = control_client_create(ends[0]);
    say_hello(client, ends[1]);
    while (reader.left && !reader.bad && !client->dead) {
        size_t message_size = wire_get_u16(&reader);

        if (message_size > reader.left)
            message_size = reader.left;
        exchange(client, ends[1], wire_get_bytes(&reader, message_size), message_size);
        /* A second in steps: what is due happens. */
        for (unsigned i = 0; i < 5; i++)
            offload_tick(offloading.now_ns + 200000000);
    }
    control_client_destroy(client);
    close(ends[1]);
    check_and_clear();
    return 0;
}
