/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "proto/value_text.h"

#define BULK_WINDOW 8       /* messages in flight */
#define BULK_RULES_MAX 1024 /* rules in one message */
#define REFUSALS_SHOWN_MAX 10

/* Many rules on their way to the fast path. */
struct bulk {
    struct cli *cli;
    const char *file;
    struct wire_writer *writer;  /* of the message begun, or NULL */
    uint8_t *place;              /* for its number of rules */
    unsigned n_rules;            /* in it */
    unsigned n_sent, n_answered; /* messages */
    uint64_t n_added;
    unsigned n_refusals;
    time_t started, reported;
    uint64_t lines[BULK_WINDOW][BULK_RULES_MAX]; /* where each rule of a message stands */
};

static int receive_reply(struct bulk *bulk)
{
    uint64_t *lines = bulk->lines[bulk->n_answered++ % BULK_WINDOW];
    struct message message;
    struct message_ok ok;
    uint32_t index = 0, done = 0;
    struct error error;

    if (client_receive(bulk->cli->client, &message, &error))
        return cli_fail_error(&error);
    message_close_fds(&message);
    if (message.header.type == MESSAGE_OK && message_get_ok(&message.body, &ok)) {
        bulk->n_added += ok.count;
        return EXIT_OK;
    }
    if (message.header.type != MESSAGE_ERROR)
        return cli_fail(EXIT_REFUSED, "The fast path's reply is malformed; are the versions of both the same?");
    message_to_error(&message, &index, &done, &error);
    bulk->n_added += done;
    if (index < BULK_RULES_MAX && bulk->n_refusals++ < REFUSALS_SHOWN_MAX)
        cli_fail(EXIT_REFUSED, "%s:%" PRIu64 ": %s", bulk->file, lines[index], error.text);
    return EXIT_OK;
}

static void show_progress(struct bulk *bulk)
{
    time_t now = time(NULL);
    char text[32];

    if (now - bulk->started < 2 || now == bulk->reported || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r%s rules added", format_count(bulk->n_added, text));
    bulk->reported = now;
}

static int send_bulk(struct bulk *bulk)
{
    struct error error;

    message_end_items(bulk->place, bulk->n_rules);
    bulk->writer = NULL;
    if (client_send(bulk->cli->client, NULL, &error))
        return cli_fail_error(&error);
    bulk->n_sent++;
    show_progress(bulk);
    return bulk->n_sent - bulk->n_answered < BULK_WINDOW ? EXIT_OK : receive_reply(bulk);
}

static void begin_bulk(struct bulk *bulk)
{
    bulk->writer = client_begin(bulk->cli->client, MESSAGE_RULE_ADD);
    bulk->place = message_begin_items(bulk->writer);
    bulk->n_rules = 0;
}

static int put_rule(struct bulk *bulk, const struct wire_rule *rule, uint64_t line)
{
    int code;

    if (bulk->writer && (bulk->n_rules == BULK_RULES_MAX || !wire_put_rule(bulk->writer, rule))) {
        code = send_bulk(bulk);
        if (code)
            return code;
    } else if (bulk->writer) {
        bulk->lines[bulk->n_sent % BULK_WINDOW][bulk->n_rules++] = line;
        return EXIT_OK;
    }
    begin_bulk(bulk);
    wire_put_rule(bulk->writer, rule);
    bulk->lines[bulk->n_sent % BULK_WINDOW][bulk->n_rules++] = line;
    return EXIT_OK;
}

static int add_lines(struct bulk *bulk, FILE *stream, const struct rule_text_ports *ports)
{
    static struct wire_rule rule;
    size_t room = 0;
    char *text = NULL;
    uint64_t line = 0;
    int code = EXIT_OK;

    while (!code && getline(&text, &room, stream) >= 0) {
        struct error error;

        line++;
        text[strcspn(text, "#")] = '\0';
        if (!text[strspn(text, " \t\r\n")])
            continue;
        if (rule_parse(text, RULE_TEXT_WHOLE, ports, &rule, &error))
            code = cli_fail(EXIT_USAGE, "%s:%" PRIu64 ": %s", bulk->file, line, error.text);
        else
            code = put_rule(bulk, &rule, line);
    }
    if (ferror(stream))
        code = cli_fail(EXIT_REFUSED, "Cannot read %s: %s.", bulk->file, strerror(errno));
    free(text);
    return code;
}

/* What can be added is added; what cannot is told with its line. */
static int add_file(struct cli *cli, const char *file)
{
    bool standard_input = !strcmp(file, "-");
    FILE *stream = standard_input ? stdin : fopen(file, "re");
    const struct rule_text_ports *ports;
    struct bulk *bulk;
    int code = EXIT_OK, end_code = EXIT_OK;

    if (!stream)
        return cli_fail(EXIT_USAGE, "Cannot open %s: %s.", file, strerror(errno));
    ports = cli_ports(cli, &code);
    bulk = ports ? calloc(1, sizeof *bulk) : NULL;
    if (bulk) {
        bulk->cli = cli;
        bulk->file = standard_input ? "standard input" : file;
        bulk->started = time(NULL);
        code = add_lines(bulk, stream, ports);
        /* The rules before a faulty line are added, as those would be that a person types. */
        if (bulk->writer && code != EXIT_NO_SERVER)
            end_code = send_bulk(bulk);
        while (bulk->n_answered < bulk->n_sent && !end_code && code != EXIT_NO_SERVER)
            end_code = receive_reply(bulk);
        if (bulk->reported)
            fputc('\r', stderr);
        if (code || end_code || bulk->n_refusals)
            cli_fail(EXIT_REFUSED, "%" PRIu64 " rules were added.", bulk->n_added);
        else if (cli->json)
            printf("{\"added\": %" PRIu64 "}\n", bulk->n_added);
        if (!code)
            code = end_code ? end_code : bulk->n_refusals ? EXIT_REFUSED : EXIT_OK;
        free(bulk);
    }
    if (!standard_input)
        fclose(stream);
    return code;
}

static int add_one(struct cli *cli, int argc, char **argv)
{
    static struct wire_rule rule;
    const struct rule_text_ports *ports;
    char text[RULE_TEXT_SIZE] = "";
    struct wire_writer *writer;
    struct message_ok ok;
    struct error error;
    uint8_t *place;
    size_t used = 0;
    int code;

    for (int i = 0; i < argc && used < sizeof text; i++)
        used += snprintf(text + used, sizeof text - used, "%s%s", i ? " " : "", argv[i]);
    if (used >= sizeof text)
        return cli_fail(EXIT_USAGE, "The rule is longer than %d bytes.", RULE_TEXT_SIZE - 1);
    ports = cli_ports(cli, &code);
    if (!ports)
        return code;
    code = rule_parse(text, RULE_TEXT_WHOLE, ports, &rule, &error);
    if (code)
        return cli_fail(code == ENOENT ? EXIT_REFUSED : EXIT_USAGE, "%s", error.text);
    writer = client_begin(cli->client, MESSAGE_RULE_ADD);
    place = message_begin_items(writer);
    wire_put_rule(writer, &rule);
    message_end_items(place, 1);
    code = cli_call_ok(cli, &ok);
    if (!code)
        printf(cli->json ? "{\"id\": %" PRIu64 "}\n" : "%" PRIu64 "\n", rule.id ? rule.id : ok.value);
    return code;
}

int command_rule_add(struct cli *cli, int argc, char **argv)
{
    const char *file = NULL;
    int found = cli_take_option(&argc, argv, "-f", &file);

    if (found < 0 || (found && argc) || (!found && !argc))
        return cli_usage(cli);
    return found ? add_file(cli, file) : add_one(cli, argc, argv);
}

static int flush(struct cli *cli, const char *port_name)
{
    uint16_t port = MESSAGE_ALL_PORTS;
    struct message_ok ok;
    int code;

    if (port_name) {
        const struct rule_text_ports *ports = cli_ports(cli, &code);
        int id = ports ? ports->find(port_name, ports->argument) : -1;

        if (!ports)
            return code;
        if (id < 0)
            return cli_fail(EXIT_REFUSED, "There is no port '%s'; 'vnode port list' shows the ports.",
                            port_name);
        port = id;
    }
    code = cli_connect(cli);
    if (code)
        return code;
    wire_put_u16(client_begin(cli->client, MESSAGE_RULE_FLUSH), port);
    code = cli_call_ok(cli, &ok);
    if (!code)
        printf(cli->json ? "{\"removed\": %u}\n" : "%u rules removed\n", ok.count);
    return code;
}

int command_rule_del(struct cli *cli, int argc, char **argv)
{
    const char *port = NULL;
    bool all = cli_take_flag(&argc, argv, "--all");
    int found = cli_take_option(&argc, argv, "--port", &port), code;
    struct wire_writer *writer;
    struct message_ok ok;
    uint8_t *place;
    uint64_t id;

    if (found < 0 || (all || found) == (argc > 0) || (all && found))
        return cli_usage(cli);
    if (all || found)
        return flush(cli, port);
    code = cli_connect(cli);
    if (code)
        return code;
    writer = client_begin(cli->client, MESSAGE_RULE_REMOVE);
    place = message_begin_items(writer);
    for (int i = 0; i < argc; i++) {
        if (!number_parse(argv[i], UINT64_MAX, &id) || !id)
            return cli_fail(EXIT_USAGE, "'%s' is no rule id; an id is a number from 1 on.", argv[i]);
        wire_put_u64(writer, id);
    }
    if (writer->bad)
        return cli_fail(EXIT_USAGE, "Too many ids for one command.");
    message_end_items(place, argc);
    return cli_call_ok(cli, &ok);
}

/* Prints the rules, each of which is a line of the answer, as they come. */
struct listing {
    char line[65536];
    size_t size;
};

static void print_rule(const json_t *rule)
{
    char packets[32], bytes[32];
    const char *name;
    json_t *value = json_object_get(rule, "id");
    size_t i;

    /* The ids of a vSwitch's rules are no integers in JSON, but text. */
    if (json_is_string(value))
        printf("%10s", json_string_value(value));
    else
        printf("%10lld", (long long)json_integer_value(value));
    printf("  %-12s %5lld %15s %10s  ", json_string_value(json_object_get(rule, "in")),
           (long long)json_integer_value(json_object_get(rule, "priority")),
           format_count(json_integer_value(json_object_get(rule, "packets")), packets),
           format_bytes(json_integer_value(json_object_get(rule, "bytes")), bytes));
    if (json_is_true(json_object_get(rule, "onload")))
        printf("onload ");
    json_object_foreach(json_object_get(rule, "match"), name, value)
        printf("%s=%s ", name, json_string_value(value));
    printf("actions=");
    json_array_foreach(json_object_get(rule, "actions"), i, value)
        printf("%s%s", i ? "," : "", json_string_value(value));
    putchar('\n');
}

static bool print_lines(const void *piece, size_t size, void *argument)
{
    struct listing *listing = argument;
    const char *text = piece;

    for (size_t i = 0; i < size; i++) {
        json_t *rule;

        if (text[i] != '\n') {
            if (listing->size + 1 == sizeof listing->line)
                return false;
            listing->line[listing->size++] = text[i];
            continue;
        }
        if (listing->size && listing->line[listing->size - 1] == ',')
            listing->size--;
        rule =
            listing->size && *listing->line == '{' ? json_loadb(listing->line, listing->size, 0, NULL) : NULL;
        listing->size = 0;
        if (rule)
            print_rule(rule);
        json_decref(rule);
    }
    return true;
}

static bool print_piece(const void *piece, size_t size, void *argument)
{
    return fwrite(piece, 1, size, stdout) == size;
}

int command_rule_list(struct cli *cli, int argc, char **argv)
{
    static struct listing listing;
    struct message_argument argument = {.name = "port"};
    int found = cli_take_option(&argc, argv, "--port", &argument.value), code;
    struct error error;

    if (found < 0 || argc)
        return cli_usage(cli);
    code = cli_connect(cli);
    if (!code && found)
        argument.value = cli_port_name(cli, argument.value, &code);
    if (code)
        return code;
    argument.size = found ? strlen(argument.value) : 0;
    if (!cli->json)
        printf("%10s  %-12s %5s %15s %10s  %s\n", "ID", "IN", "PRIO", "PACKETS", "BYTES", "MATCH AND ACTIONS");
    if (client_query_stream(cli->client, "rule/list", &argument, found, cli->json ? print_piece : print_lines,
                            &listing, &error))
        return cli_fail_error(&error);
    return EXIT_OK;
}
