/* SPDX-License-Identifier: Apache-2.0 */
/* vnode events: what happens to slices and daemons, as the manager tells it, and to ports and rules, as the fast path does. */
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/manager.h"
#include "lib/socket.h"

#define RECONNECT_MS 500

static void print_time(uint64_t nanoseconds, char text[40])
{
    time_t seconds = (time_t)(nanoseconds / 1000000000);
    struct tm broken_down;
    size_t used;

    gmtime_r(&seconds, &broken_down);
    used = strftime(text, 40, "%Y-%m-%dT%H:%M:%S", &broken_down);
    snprintf(text + used, 40 - used, ".%03uZ", (unsigned)(nanoseconds / 1000000 % 1000));
}

static void print_line(json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

/* The fast path's. */

static void print_port_event(const struct cli *cli, const struct message_event *event)
{
    char when[40], rule[24];

    /* As ids are written elsewhere. */
    snprintf(rule, sizeof rule, event->count >> 63 ? "0x%" PRIx64 : "%" PRIu64, event->count);
    print_time(event->time, when);
    if (cli->json) {
        json_t *object =
            json_pack("{s:s, s:s, s:s, s:I, s:s}", "time", when, "event", event_kind_name(event->kind),
                      "port", event->name, "count", (json_int_t)event->count, "text", event->text);

        if (event->kind == EVENT_RULE_MOVED) {
            json_object_set_new(object, "count", json_integer(1));
            json_object_set_new(object, "rule", json_string(rule));
        }
        print_line(object);
    } else {
        printf("%s %s", when, event_kind_name(event->kind));
        if (*event->name)
            printf(" %s", event->name);
        if (event->kind == EVENT_RULE_MOVED)
            printf(" %s", rule);
        else if (event->count)
            printf(" %" PRIu64, event->count);
        printf(*event->text ? ": %s\n" : "\n", event->text);
    }
    fflush(stdout);
}

/* Connects, without a word when nobody answers. */
static bool join_fastpath(struct cli *cli)
{
    struct error error;

    cli->client = client_connect(cli->socket_path, "vnode " VNODE_VERSION, &error);
    if (!cli->client)
        return false;
    wire_put_u32(client_begin(cli->client, MESSAGE_SUBSCRIBE), EVENT_MASK_ALL);
    if (!client_call(cli->client, NULL, &error))
        return true;
    client_close(cli->client);
    cli->client = NULL;
    return false;
}

/* Prints the event that has come; false: the fast path has gone. */
static bool take_port_event(struct cli *cli)
{
    struct message message;
    struct message_event event;
    struct error error;

    if (client_receive(cli->client, &message, &error)) {
        client_close(cli->client);
        cli->client = NULL;
        return false;
    }
    message_close_fds(&message);
    if (message.header.type == MESSAGE_EVENT && message_get_event(&message.body, &event))
        print_port_event(cli, &event);
    return true;
}

/* The manager's. */

static void print_slice_event(const json_t *message, void *argument)
{
    const struct cli *cli = argument;
    const json_t *event = json_object_get(message, "event");
    char when[40];

    print_time((uint64_t)json_integer_value(json_object_get(event, "time")) * 1000000, when);
    if (cli->json) {
        json_t *object = json_deep_copy(event);

        json_object_set_new(object, "time", json_string(when));
        print_line(object);
    } else {
        const char *node = cli_text(event, "node"), *text = cli_text(event, "text");

        printf("%s %s %s%s%s%s%s%s\n", when, cli_text(event, "event"), cli_text(event, "slice"),
               cli_text(event, "daemon"), *node ? ":" : "", node, *text ? ": " : "", text);
    }
    fflush(stdout);
}

/* Prints what the manager has sent; EXIT_OK, or it has gone, and that has been told. */
static int take_slice_events(struct cli *cli)
{
    int code = EXIT_OK;

    do {
        json_t *message = manager_receive(cli, &code);

        if (message)
            print_slice_event(message, cli);
        json_decref(message);
    } while (!code && manager_has_message(cli));
    return code;
}

static json_t *parameters(const char *slice, bool follow)
{
    json_t *params = json_pack("{s:b}", "follow", follow);

    if (slice)
        json_object_set_new(params, "slice", json_string(slice));
    return params;
}

/* Follows whoever is there; of a slice only the manager tells. */
static int follow(struct cli *cli, const char *slice)
{
    bool has_manager = socket_answers(cli->manager_path) && !manager_connect(cli);
    int code = EXIT_OK;

    if (has_manager)
        code = manager_send(cli, "events", parameters(slice, true));
    if (!slice && !join_fastpath(cli) && !has_manager)
        return cli_connect(cli); /* which tells why not */
    if (slice && !has_manager)
        return manager_connect(cli);
    while (!code && !ferror(stdout)) {
        struct pollfd fds[2];
        nfds_t n = 0;

        if (cli->client)
            fds[n++] = (struct pollfd){.fd = client_fd(cli->client), .events = POLLIN};
        if (has_manager)
            fds[n++] = (struct pollfd){.fd = manager_fd(cli), .events = POLLIN};
        if (poll(fds, n, slice || cli->client ? -1 : RECONNECT_MS) < 0)
            continue;
        if (cli->client && fds[0].revents && !take_port_event(cli) && !has_manager)
            return cli_fail(EXIT_NO_SERVER, "The fast path has ended.");
        if (has_manager && fds[n - 1].revents)
            code = take_slice_events(cli);
        if (!cli->client && !slice)
            join_fastpath(cli);
    }
    return code;
}

int command_events(struct cli *cli, int argc, char **argv)
{
    bool follows = cli_take_flag(&argc, argv, "--follow") || cli_take_flag(&argc, argv, "-f");
    const char *slice = NULL;
    json_t *result;
    int code;

    if (cli_take_option(&argc, argv, "--slice", &slice) < 0 || argc)
        return cli_usage(cli);
    if (follows)
        return follow(cli, slice);
    result = manager_call(cli, "events", parameters(slice, false), print_slice_event, cli, &code);
    json_decref(result);
    return code;
}
