/* SPDX-License-Identifier: Apache-2.0 */
/* vnode flows: the rules of the vSwitch, the busiest first. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/ovs_text.h"
#include "cli/table.h"

#define WATCH_S 1 /* seconds between two looks */

struct flow_line {
    long long rate;
    json_t *flow;
};

/* The answer, which has a flow on each line, as it comes. */
struct flows {
    struct flow_line *lines;
    size_t n, room;
    char text[65536]; /* of the line that has not ended */
    size_t size;
    bool failed;
};

struct view {
    struct message_argument arguments[3];
    unsigned n_arguments;
    bool ovs, watch;
};

static volatile sig_atomic_t interrupted;

static void add_flow(struct flows *flows, const char *text, size_t size)
{
    json_t *flow = json_loadb(text, size, 0, NULL);

    if (flow && flows->n == flows->room) {
        size_t room = flows->room ? 2 * flows->room : 64;
        struct flow_line *lines = realloc(flows->lines, room * sizeof *lines);

        flows->failed |= !lines;
        if (lines) {
            flows->lines = lines;
            flows->room = room;
        }
    }
    if (!flow || flows->failed) {
        json_decref(flow);
        return;
    }
    flows->lines[flows->n++] = (struct flow_line){json_integer_value(json_object_get(flow, "rate")), flow};
}

static bool take_piece(const void *piece, size_t size, void *argument)
{
    struct flows *flows = argument;
    const char *text = piece;

    for (size_t i = 0; i < size; i++) {
        if (text[i] != '\n') {
            if (flows->size == sizeof flows->text)
                return false;
            flows->text[flows->size++] = text[i];
            continue;
        }
        if (flows->size && flows->text[flows->size - 1] == ',')
            flows->size--;
        if (flows->size && flows->text[0] == '{')
            add_flow(flows, flows->text, flows->size);
        flows->size = 0;
    }
    return !flows->failed;
}

/* The highest rate first; those of equal rates as they came. */
static int compare(const void *one, const void *other)
{
    const struct flow_line *a = one, *b = other;

    if (a->rate != b->rate)
        return a->rate < b->rate ? 1 : -1;
    return 0;
}

/* Merge sort, by glibc: it keeps the order of equals as long as there is memory. */
static int fetch(struct cli *cli, const struct view *view, struct flows *flows)
{
    struct error error;

    flows->n = 0;
    flows->size = 0;
    if (client_query_stream(cli->client, "flows/list", view->arguments, view->n_arguments, take_piece, flows,
                            &error))
        return cli_fail_error(&error);
    if (flows->n)
        qsort(flows->lines, flows->n, sizeof *flows->lines, compare);
    return EXIT_OK;
}

static void release(struct flows *flows)
{
    for (size_t i = 0; i < flows->n; i++)
        json_decref(flows->lines[i].flow);
    flows->n = 0;
}

static void print_json(const struct flows *flows)
{
    fputs("[", stdout);
    for (size_t i = 0; i < flows->n; i++) {
        fputs(i ? ",\n" : "\n", stdout);
        json_dumpf(flows->lines[i].flow, stdout, JSON_COMPACT);
    }
    fputs("\n]\n", stdout);
}

/* "ip_dst=10.0.0.1 actions=output:vm2". */
static void rule_cell(struct table *table, const json_t *flow)
{
    char text[4096];
    size_t used = 0;
    const char *name;
    json_t *value;
    size_t i;

    json_object_foreach(json_object_get(flow, "match"), name, value) if (used < sizeof text) used +=
        (size_t)snprintf(text + used, sizeof text - used, "%s=%s ", name, json_string_value(value));
    if (used < sizeof text)
        used += (size_t)snprintf(text + used, sizeof text - used, "actions=");
    json_array_foreach(json_object_get(flow, "actions"), i, value) if (used < sizeof text) used +=
        (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? "," : "", json_string_value(value));
    table_text(table, text);
}

static void state_cell(struct table *table, const json_t *flow)
{
    const char *reason = cli_text(flow, "reason"), *state = cli_text(flow, "state");
    bool pinned = json_is_true(json_object_get(flow, "pinned")),
         orphan = json_is_true(json_object_get(flow, "orphan"));

    table_format(table, "%s%s%s%s%s", state, *reason && strcmp(reason, state) != 0 ? " " : "",
                 *reason && strcmp(reason, state) != 0 ? reason : "", pinned ? " pinned" : "",
                 orphan ? " orphan" : "");
}

static void print_table(const struct flows *flows, size_t n, FILE *stream)
{
    struct table *table = table_create("ID|STATE|>RATE|>PACKETS|>BYTES|>ONLOAD|SLICE|IN|MATCH AND ACTIONS");

    for (size_t i = 0; i < n; i++) {
        const json_t *flow = flows->lines[i].flow;

        table_text(table, cli_text(flow, "id"));
        state_cell(table, flow);
        table_count(table, (uint64_t)flows->lines[i].rate);
        table_count(table, (uint64_t)json_integer_value(json_object_get(flow, "packets")));
        table_bytes(table, (uint64_t)json_integer_value(json_object_get(flow, "bytes")));
        table_count(table, (uint64_t)json_integer_value(json_object_get(flow, "onload_packets")));
        table_text(table, *cli_text(flow, "slice") ? cli_text(flow, "slice") : "-");
        table_text(table, cli_text(flow, "in"));
        rule_cell(table, flow);
    }
    table_print(table, stream);
}

static void print_flows(const struct view *view, const struct flows *flows, size_t n, FILE *stream)
{
    if (!view->ovs) {
        print_table(flows, n, stream);
        return;
    }
    for (size_t i = 0; i < n; i++)
        ovs_text_print(flows->lines[i].flow, stream);
}

/*
 * Writes the lines of 'text' over those of the last screen: each is cleared behind its end, and then the rest, so that nothing
 * is empty in between. Lines longer than the screen are cut.
 */
static void draw(const char *text, const struct winsize *screen)
{
    fputs("\033[H", stdout);
    for (unsigned row = 0; *text && row + 1 < screen->ws_row; row++) {
        size_t size = strcspn(text, "\n");

        fwrite(text, 1, size < screen->ws_col ? size : screen->ws_col, stdout);
        fputs("\033[K\r\n", stdout);
        text += size + (text[size] == '\n');
    }
    fputs("\033[J", stdout);
}

static void print_frame(struct cli *cli, const struct view *view, const struct flows *flows)
{
    struct winsize screen = {0};
    size_t size, n = flows->n;
    char *text = NULL;
    FILE *memory;

    if (cli->json) {
        print_json(flows);
    } else if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &screen) || !screen.ws_row) {
        print_flows(view, flows, n, stdout);
        putchar('\n');
    } else {
        memory = open_memstream(&text, &size);
        if (!memory)
            return;
        n = n < screen.ws_row ? n : screen.ws_row;
        fprintf(memory, "%zu flows, the busiest first; Ctrl-C ends\n", flows->n);
        print_flows(view, flows, n, memory);
        fclose(memory);
        draw(text, &screen);
        free(text);
    }
    fflush(stdout);
}

static void interrupt(int signal_number)
{
    interrupted = 1;
}

/* Looks again and again. Signals come in while it waits only, so that no exchange with the fast path is cut short. */
static int watch(struct cli *cli, const struct view *view, struct flows *flows)
{
    const struct timespec pause = {.tv_sec = WATCH_S};
    struct sigaction action = {.sa_handler = interrupt};
    bool screen = isatty(STDOUT_FILENO) && !cli->json;
    sigset_t signals, before;
    int code = EXIT_OK;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, &before);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (screen)
        fputs("\033[?1049h\033[?25l", stdout); /* another screen, no cursor */
    while (!interrupted && !code && !ferror(stdout)) {
        code = fetch(cli, view, flows);
        if (!code)
            print_frame(cli, view, flows);
        release(flows);
        if (!code)
            ppoll(NULL, 0, &pause, &before);
    }
    if (screen)
        fputs("\033[?25h\033[?1049l", stdout);
    return code;
}

static void add_argument(struct view *view, const char *name, const char *value)
{
    struct message_argument *argument = &view->arguments[view->n_arguments++];

    strcpy(argument->name, name);
    argument->value = value;
    argument->size = (uint16_t)(strlen(value) < UINT16_MAX ? strlen(value) : UINT16_MAX);
}

int command_flows(struct cli *cli, int argc, char **argv)
{
    static struct flows flows;
    bool offloaded = cli_take_flag(&argc, argv, "--offloaded"), onload = cli_take_flag(&argc, argv, "--onload");
    const char *slice = NULL, *port = NULL;
    int slices = cli_take_option(&argc, argv, "--slice", &slice),
        ports = cli_take_option(&argc, argv, "--port", &port), code;
    struct view view = {.ovs = cli_take_flag(&argc, argv, "--ovs"),
                        .watch = cli_take_flag(&argc, argv, "--watch")};

    if (argc || slices < 0 || ports < 0 || (offloaded && onload))
        return cli_usage(cli);
    if (ports) {
        port = cli_port_name(cli, port, &code);
        if (!port)
            return code;
    }
    if (offloaded || onload)
        add_argument(&view, "state", offloaded ? "offloaded" : "onload");
    if (slices)
        add_argument(&view, "slice", slice);
    if (ports)
        add_argument(&view, "port", port);
    code = cli_connect(cli);
    if (code)
        return code;
    if (view.watch) {
        code = watch(cli, &view, &flows);
    } else {
        code = fetch(cli, &view, &flows);
        if (!code && cli->json)
            print_json(&flows);
        else if (!code)
            print_flows(&view, &flows, flows.n, stdout);
        release(&flows);
    }
    free(flows.lines);
    return code;
}
