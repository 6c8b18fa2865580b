/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_vswitch SOCKET: attaches to a fast path as its vSwitch does, for tests of the command line. It has no ports and sees no
 * packets; it adds and removes rules as its standard input says, and answers each line with one:
 *
 *     add SLOT in=PORT ... actions=...    "ok ID", or "error CODE SENTENCE"
 *     remove SLOT                         "ok", or "error CODE SENTENCE"
 *     counters SLOT                       "PACKETS BYTES"
 *
 * Its end is its detaching.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/client.h"
#include "proto/rule_text.h"
#include "proto/shared_counters.h"

static struct client *client;
static struct message_attached session;
static struct shared_counters counters;

static int attach(const char *path, struct error *error)
{
    struct message reply;
    int code;

    client = client_connect(path, "fake_vswitch", error);
    if (!client)
        return error->code;
    message_put_attach(client_begin(client, MESSAGE_ATTACH), &(struct message_attach){65536, "fake"});
    code = client_call(client, &reply, error);
    if (code)
        return code;
    if (!message_get_attached(&reply.body, &session) || reply.n_fds != 1)
        return error_set(error, EPROTO, "The reply to ATTACH is malformed.");
    code = shared_counters_map(&counters, reply.fds[0], error);
    message_close_fds(&reply);
    return code;
}

static int find_port(const char *name, void *argument)
{
    struct message_port_add port = {.kind = MESSAGE_PORT_EXISTING};
    struct message reply;
    struct message_ok ok;
    struct error error;

    snprintf(port.name, sizeof port.name, "%s", name);
    message_put_port_add(client_begin(client, MESSAGE_PORT_ADD), &port);
    if (client_call(client, &reply, &error) || !message_get_ok(&reply.body, &ok))
        return -1;
    return (int)ok.value;
}

static int add(uint32_t slot, const char *text, struct error *error)
{
    static const struct rule_text_ports ports = {find_port, NULL};
    static struct wire_rule rule;
    struct wire_writer *body;
    uint8_t *place;
    int code = rule_parse(text, RULE_TEXT_WHOLE, &ports, &rule, error);

    if (code)
        return code;
    rule.id = message_managed_id(session.generation, 0, slot);
    rule.flags |= WIRE_RULE_MANAGED;
    body = client_begin(client, MESSAGE_RULE_ADD);
    place = message_begin_items(body);
    wire_put_rule(body, &rule);
    message_end_items(place, 1);
    return client_call(client, NULL, error);
}

static int remove_rule(uint32_t slot, struct error *error)
{
    struct wire_writer *body = client_begin(client, MESSAGE_RULE_REMOVE);
    uint8_t *place = message_begin_items(body);

    wire_put_u64(body, message_managed_id(session.generation, 0, slot));
    message_end_items(place, 1);
    return client_call(client, NULL, error);
}

static void handle(char *line)
{
    struct error error = {0};
    char word[16] = "";
    unsigned slot = 0;
    int size = 0, code = 0;

    line[strcspn(line, "\n")] = '\0';
    if (sscanf(line, "%15s %u %n", word, &slot, &size) < 2 || slot >= counters.n_slots)
        code = error_set(&error, EINVAL, "'%s' is not understood.", word);
    else if (!strcmp(word, "add"))
        code = add(slot, line + size, &error);
    else if (!strcmp(word, "remove"))
        code = remove_rule(slot, &error);
    if (code)
        printf("error %d %s\n", code, error.text);
    else if (!strcmp(word, "counters"))
        printf("%" PRIu64 " %" PRIu64 "\n", atomic_load(&counters.slots[slot].packets),
               atomic_load(&counters.slots[slot].bytes));
    else if (!strcmp(word, "add"))
        printf("ok 0x%" PRIx64 "\n", message_managed_id(session.generation, 0, slot));
    else
        printf("ok\n");
}

int main(int argc, char **argv)
{
    struct error error = {0};
    char line[4096];

    if (argc != 2) {
        fprintf(stderr, "Usage: fake_vswitch SOCKET\n");
        return 2;
    }
    if (attach(argv[1], &error)) {
        fprintf(stderr, "fake_vswitch: %s\n", error.text);
        return 1;
    }
    printf("attached %u\n", session.generation);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        handle(line);
        fflush(stdout);
    }
    shared_counters_close(&counters);
    client_close(client);
    return 0;
}
