/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Moves a vSwitch's rules to and fro by their offload mode, as fast as the fast path says that they have moved.
 * bench/bench-moves starts it. Each line of standard input is a command:
 *
 *     run SECONDS MOVES     until that time is over, or so many moves in each direction are done altogether
 *
 * and is answered by one line of JSON, about all commands so far. How long a move took is the time from the order until the
 * event that says so; the fast path's own figure (vnode moves) begins when it began to move the rule.
 */

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/loadgen/histogram.h"
#include "proto/client.h"

#define SCOPES_MAX 16

enum direction { TO_OFFLOAD, TO_ONLOAD, DIRECTIONS };

static const char *const modes[] = {[TO_OFFLOAD] = "on", [TO_ONLOAD] = "off"};
static const char *const arrivals[] = {[TO_OFFLOAD] = "offloaded", [TO_ONLOAD] = "onload: mode-off"};

/* Rules whose mode is set together. */
struct scope {
    const char *name; /* as offload/set has it: "node", "port:vm0" */
    uint32_t n_rules;
};

static struct client *client;
static struct scope scopes[SCOPES_MAX];
static unsigned n_scopes;
static struct histogram durations[DIRECTIONS]; /* ns */
static uint64_t n_moves[DIRECTIONS];
static uint64_t n_fallbacks; /* moves that ended where they had begun; the fast path tries again */

/* The events' clock. */
static uint64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void order(const struct scope *scope, enum direction direction)
{
    struct error error;
    struct message_query query = {
        .question = "offload/set",
        .n_arguments = 2,
        .arguments = {{.name = "scope", .value = scope->name, .size = (uint16_t)strlen(scope->name)},
                      {.name = "mode", .value = modes[direction], .size = (uint16_t)strlen(modes[direction])}}};

    message_put_query(client_begin(client, MESSAGE_CHANGE), &query);
    if (client_send(client, NULL, &error))
        errx(1, "%s", error.text);
}

/* Whether the event tells that a rule has arrived. */
static bool has_arrived(struct message *message, enum direction direction, uint64_t ordered)
{
    struct message_event event;

    if (!message_get_event(&message->body, &event))
        errx(1, "the fast path has sent an event that is none");
    if (event.kind == EVENT_EVENTS_LOST)
        errx(1, "the fast path has lost %" PRIu64 " events: more rules have moved at once than it can tell of",
             event.count);
    if (event.kind != EVENT_RULE_MOVED)
        return false;
    if (strcmp(event.text, arrivals[direction]) != 0) {
        n_fallbacks++;
        return false;
    }
    histogram_add(&durations[direction], event.time > ordered ? event.time - ordered : 0);
    return true;
}

/* Moves all rules of the scope in one direction; returns when they are there. */
static void move(const struct scope *scope, enum direction direction)
{
    uint64_t ordered = now_ns();
    bool answered = false;
    struct message message;
    struct error error;

    order(scope, direction);
    for (uint32_t n = 0; n < scope->n_rules || !answered;) {
        if (client_receive(client, &message, &error))
            errx(1, "%" PRIu32 " of %" PRIu32 " rules have moved: %s", n, scope->n_rules, error.text);
        if (message.header.type == MESSAGE_ERROR) {
            message_to_error(&message, NULL, NULL, &error);
            errx(1, "%s", error.text);
        }
        if (message.header.type == MESSAGE_OK)
            answered = true;
        else if (message.header.type == MESSAGE_EVENT)
            n += has_arrived(&message, direction, ordered);
    }
    n_moves[direction] += scope->n_rules;
}

static void print_direction(const char *name, enum direction direction)
{
    const struct histogram *histogram = &durations[direction];

    printf("\"%s\": {\"moves\": %" PRIu64 ", \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}", name,
           n_moves[direction], (double)histogram_quantile(histogram, 0.5) / 1000,
           (double)histogram_quantile(histogram, 0.99) / 1000, (double)histogram->max / 1000);
}

static void run(double seconds, uint64_t moves)
{
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);

    while (now_ns() < end && n_moves[TO_ONLOAD] < moves) {
        for (unsigned i = 0; i < n_scopes; i++)
            move(&scopes[i], TO_OFFLOAD);
        for (unsigned i = 0; i < n_scopes; i++)
            move(&scopes[i], TO_ONLOAD);
    }
    printf("{");
    print_direction("to_offload", TO_OFFLOAD);
    printf(", ");
    print_direction("to_onload", TO_ONLOAD);
    printf(", \"fallbacks\": %" PRIu64 "}\n", n_fallbacks);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct error error;
    char line[128];
    double seconds;
    uint64_t moves;

    n_scopes = (unsigned)(argc - 2) / 2;
    if (argc < 4 || argc % 2 || n_scopes > SCOPES_MAX)
        errx(2, "Usage: mover SOCKET SCOPE RULES [SCOPE RULES]...; SCOPE: node, port:NAME or slice:NAME");
    for (unsigned i = 0; i < n_scopes; i++)
        scopes[i] = (struct scope){argv[2 + 2 * i], (uint32_t)strtoul(argv[3 + 2 * i], NULL, 10)};
    client = client_connect(argv[1], "mover", &error);
    if (!client)
        errx(1, "%s", error.text);
    wire_put_u32(client_begin(client, MESSAGE_SUBSCRIBE), 1u << EVENT_RULE_MOVED);
    if (client_call(client, NULL, &error))
        errx(1, "%s", error.text);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "run %lf %" SCNu64, &seconds, &moves) != 2)
            errx(2, "there is no command '%s'", line);
        run(seconds, moves);
    }
    client_close(client);
    return 0;
}
