/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/change.h"
#include "cli/table.h"
#include "proto/value_text.h"
#include "slice/quantity.h"

static int parse_option(struct message_port_add *port, const char *word)
{
    uint64_t number;

    if (!strncmp(word, "queues=", 7)) {
        if (!number_parse(word + 7, QUEUES_MAX, &number) || !number)
            return cli_fail(EXIT_USAGE, "'%s': the number of queues is 1 to %d.", word, QUEUES_MAX);
        port->n_queues = number;
    } else if (!strncmp(word, "mtu=", 4)) {
        if (!number_parse(word + 4, UINT16_MAX, &number) || number < 68)
            return cli_fail(EXIT_USAGE, "'%s': the MTU is 68 to 65535 bytes.", word);
        port->mtu = number;
    } else if (!strncmp(word, "server=", 7) && port->kind == MESSAGE_PORT_VHOST) {
        if (!number_parse(word + 7, 1, &number))
            return cli_fail(EXIT_USAGE, "'%s': write server=1 or server=0.", word);
        port->flags = number ? MESSAGE_PORT_SERVER : 0;
    } else if (!strncmp(word, "slice=", 6)) {
        if (!word[6] || strlen(word + 6) >= sizeof port->slice)
            return cli_fail(EXIT_USAGE, "'%s': a slice's name has 1 to %zu bytes.", word,
                            sizeof port->slice - 1);
        strcpy(port->slice, word + 6);
    } else {
        return cli_fail(EXIT_USAGE, "'%s' is no option of a port; see 'vnode port add --help'.", word);
    }
    return EXIT_OK;
}

/* The fast path has another working directory than we: it gets an absolute path. */
static int set_path(struct message_port_add *port, const char *path)
{
    char directory[sizeof port->target] = "";
    int size;

    if (!*path)
        return cli_fail(EXIT_USAGE, "'vhost=' needs the path of a socket.");
    if (*path != '/' && !getcwd(directory, sizeof directory))
        return cli_fail(EXIT_REFUSED, "Cannot tell the working directory: %s.", strerror(errno));
    size = snprintf(port->target, sizeof port->target, "%s%s%s", directory, *directory ? "/" : "", path);
    if (size >= 108)
        return cli_fail(EXIT_USAGE, "The path '%s' is longer than 107 bytes.", path);
    return EXIT_OK;
}

static int parse_vhost(struct message_port_add *port, char *text)
{
    char *position = NULL, *path = strtok_r(text, ",", &position);
    int code = set_path(port, path ? path : "");

    port->kind = MESSAGE_PORT_VHOST;
    for (char *word = strtok_r(NULL, ",", &position); word && !code; word = strtok_r(NULL, ",", &position))
        code = parse_option(port, word);
    return code;
}

static int parse_dpdk(struct message_port_add *port, const char *devargs)
{
    if (!*devargs || strlen(devargs) >= sizeof port->target)
        return cli_fail(EXIT_USAGE, "'dpdk=' needs device arguments of 1 to %zu bytes.",
                        sizeof port->target - 1);
    port->kind = MESSAGE_PORT_ETHDEV;
    strcpy(port->target, devargs);
    return EXIT_OK;
}

int command_port_add(struct cli *cli, int argc, char **argv)
{
    struct message_port_add port = {0};
    struct message_ok ok;
    int code;

    if (argc < 2)
        return cli_usage(cli);
    if (!*argv[0] || strlen(argv[0]) >= sizeof port.name)
        return cli_fail(EXIT_USAGE, "A port's name has 1 to %zu bytes.", sizeof port.name - 1);
    strcpy(port.name, argv[0]);
    if (!strncmp(argv[1], "vhost=", 6))
        code = parse_vhost(&port, argv[1] + 6);
    else if (!strncmp(argv[1], "dpdk=", 5))
        code = parse_dpdk(&port, argv[1] + 5);
    else
        return cli_usage(cli);
    for (int i = 2; i < argc && !code; i++)
        code = parse_option(&port, argv[i]);
    if (!code)
        code = cli_connect(cli);
    if (code)
        return code;
    message_put_port_add(client_begin(cli->client, MESSAGE_PORT_ADD), &port);
    code = cli_call_ok(cli, &ok);
    if (!code && cli->json)
        printf("{\"id\": %llu}\n", (unsigned long long)ok.value);
    return code;
}

int command_port_del(struct cli *cli, int argc, char **argv)
{
    struct message_port_name port;
    struct message_ok ok;
    const char *name;
    int code;

    if (argc != 1)
        return cli_usage(cli);
    name = cli_port_name(cli, argv[0], &code);
    if (!name)
        return code;
    if (strlen(name) >= sizeof port.name)
        return cli_fail(EXIT_REFUSED, "There is no port '%s'; 'vnode port list' shows the ports.", name);
    strcpy(port.name, name);
    code = cli_connect(cli);
    if (code)
        return code;
    message_put_port_name(client_begin(cli->client, MESSAGE_PORT_REMOVE), &port);
    return cli_call_ok(cli, &ok);
}

/* rate=, burst=, rate_out=, burst_out= */
static int put_limit(struct cli *cli, struct change *change, const char *word)
{
    static const struct {
        const char *name;
        enum quantity quantity;
    } limits[] = {{"rate", QUANTITY_RATE},
                  {"burst", QUANTITY_BYTES},
                  {"rate_out", QUANTITY_RATE},
                  {"burst_out", QUANTITY_BYTES}};
    const char *value = strchr(word, '=');
    unsigned i = 0;
    uint64_t number = 0;

    while (i < 4 && (!value || strlen(limits[i].name) != (size_t)(value - word) ||
                     strncmp(limits[i].name, word, (size_t)(value - word)) != 0))
        i++;
    if (i == 4 || change->n > 4)
        return cli_usage(cli);
    value++;
    if (strcmp(value, "none") != 0 && strcmp(value, "0") != 0 &&
        (quantity_parse(limits[i].quantity, value, &number) || !number))
        return cli_fail(EXIT_USAGE, "'%s': write a value such as %s, or none.", word,
                        quantity_example(limits[i].quantity));
    change_put(change, limits[i].name, "%" PRIu64, number);
    return EXIT_OK;
}

int command_port_set(struct cli *cli, int argc, char **argv)
{
    struct change change = {0};
    const char *name;
    int code;

    if (argc < 2)
        return cli_usage(cli);
    name = cli_port_name(cli, argv[0], &code);
    if (!name)
        return code;
    if (strlen(name) >= PORT_NAME_SIZE)
        return cli_fail(EXIT_REFUSED, "There is no port '%s'; 'vnode port list' shows the ports.", name);
    change_put(&change, "port", "%s", name);
    for (int i = 1; i < argc && !code; i++)
        code = put_limit(cli, &change, argv[i]);
    return code ? code : change_send(cli, "port/set", &change);
}

static long long number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

/* "500 Mbit/s"; "-" for no limit. */
static void rate_cell(struct table *table, long long rate)
{
    static const char *const units[] = {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"};
    double scaled = (double)rate;
    unsigned unit = 0;

    for (; scaled >= 999.95 && unit < 4; unit++)
        scaled /= 1000;
    if (rate)
        table_format(table, "%.4g %s", scaled, units[unit]);
    else
        table_text(table, "-");
}

int command_port_list(struct cli *cli, int argc, char **argv)
{
    struct table *table;
    json_t *ports, *port;
    size_t i;
    int code;

    if (argc)
        return cli_usage(cli);
    ports = cli_query(cli, "port/list", NULL, NULL, &code);
    if (!ports)
        return code;
    if (cli->json) {
        cli_print_json(ports);
    } else {
        table = table_create("NAME|SLICE|KIND|STATE|>QUEUES|>MTU|>RATE IN|>RATE OUT|WHERE");
        json_array_foreach(ports, i, port)
        {
            table_text(table, cli_text(port, "name"));
            table_text(table, *cli_text(port, "slice") ? cli_text(port, "slice") : "-");
            table_text(table, cli_text(port, "kind"));
            table_text(table, json_is_true(json_object_get(port, "up")) ? "up" : "down");
            table_format(table, "%lld/%lld", number_of(port, "queues"), number_of(port, "queues_max"));
            table_format(table, "%lld", number_of(port, "mtu"));
            rate_cell(table, number_of(port, "rate"));
            rate_cell(table, number_of(port, "rate_out"));
            table_format(table, "%s%s%s", cli_text(port, "path"), cli_text(port, "devargs"),
                         json_is_true(json_object_get(port, "server")) ? " (server)" : "");
        }
        table_print(table, stdout);
    }
    json_decref(ports);
    return EXIT_OK;
}

/* One line for each value; objects inside follow, indented. */
static void print_object(const json_t *object, int indent)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        char text[32];

        if (json_is_object(value)) {
            printf("%*s%s:\n", indent, "", name);
            print_object(value, indent + 2);
        } else if (json_is_integer(value)) {
            printf("%*s%-*s %s\n", indent, "", 22 - indent, name,
                   format_count(json_integer_value(value), text));
        } else if (json_is_boolean(value)) {
            printf("%*s%-*s %s\n", indent, "", 22 - indent, name, json_is_true(value) ? "yes" : "no");
        } else if (json_string_length(value)) {
            printf("%*s%-*s %s\n", indent, "", 22 - indent, name, json_string_value(value));
        }
    }
}

int command_port_show(struct cli *cli, int argc, char **argv)
{
    const char *name;
    json_t *port;
    int code;

    if (argc != 1)
        return cli_usage(cli);
    name = cli_port_name(cli, argv[0], &code);
    if (!name)
        return code;
    port = cli_query(cli, "port/show", "port", name, &code);
    if (!port)
        return code;
    if (cli->json)
        cli_print_json(port);
    else
        print_object(port, 0);
    json_decref(port);
    return EXIT_OK;
}
