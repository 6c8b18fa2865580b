/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about slices that run, or shall run: plan, deploy, destroy, list, inspect, usage. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/manager.h"
#include "cli/slice_file.h"
#include "cli/table.h"

static uint64_t number_of(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

/* The slice that the arguments of a command mean that has no others: SLICE, or the options. */
static int choose_argument(const struct cli *cli, int argc, char **argv, char name[SLICE_NAME_SIZE])
{
    struct slice_choice choice;

    if (!slice_choice_take(&choice, &argc, argv) || argc > 1 || (argc && (choice.slice || choice.file)))
        return cli_usage(cli);
    if (argc)
        choice.slice = argv[0];
    return slice_choose(cli, &choice, name);
}

/* plan, deploy, destroy */

static void print_plan(const json_t *plan)
{
    const json_t *changes = json_object_get(plan, "changes"), *change;
    struct table *table;
    size_t i;

    if (!json_array_size(changes)) {
        printf("Slice %s is as the file says; nothing would change.\n", cli_text(plan, "slice"));
        return;
    }
    table = table_create("ACTION|KIND|ITEM|DETAILS");
    json_array_foreach(changes, i, change)
    {
        table_text(table, cli_text(change, "action"));
        table_text(table, cli_text(change, "kind"));
        table_text(table, cli_text(change, "item"));
        table_text(table, cli_text(change, "details"));
    }
    table_print(table, stdout);
}

void slice_print_done(const json_t *result)
{
    const char *starting = cli_text(result, "starting");

    printf("Slice %s: %s.\n", cli_text(result, "slice"), cli_text(result, "state"));
    if (*starting)
        printf("Node %s has not come up yet; 'vnode inspect %s' tells when it has.\n", starting,
               cli_text(result, "slice"));
}

/* The arguments are those of both commands: -t FILE. */
static int deploy(struct cli *cli, int argc, char **argv, bool dry_run, bool reserve)
{
    char path[SLICE_PATH_SIZE], name[SLICE_NAME_SIZE], *spec;
    const char *file = NULL;
    int code;

    if (cli_take_option(&argc, argv, "-t", &file) < 0 || argc)
        return cli_usage(cli);
    code = slice_file_choose(file, path);
    if (code)
        return code;
    spec = slice_file_text(cli, path, name);
    if (!spec)
        return EXIT_USAGE;
    if (dry_run)
        code = manager_show(cli, "deploy", json_pack("{s:s, s:b}", "spec", spec, "dry_run", 1), print_plan);
    else
        code = manager_show(cli, "deploy", json_pack("{s:s, s:b}", "spec", spec, "reserve", reserve),
                            slice_print_done);
    free(spec);
    return code;
}

int command_plan(struct cli *cli, int argc, char **argv)
{
    return deploy(cli, argc, argv, true, false);
}

int command_deploy(struct cli *cli, int argc, char **argv)
{
    bool dry_run = cli_take_flag(&argc, argv, "--dry-run"), reserve = cli_take_flag(&argc, argv, "--reserve");

    return dry_run && reserve ? cli_usage(cli) : deploy(cli, argc, argv, dry_run, reserve);
}

int command_destroy(struct cli *cli, int argc, char **argv)
{
    char name[SLICE_NAME_SIZE];
    int code = choose_argument(cli, argc, argv, name);

    return code ? code : manager_show(cli, "destroy", json_pack("{s:s}", "slice", name), slice_print_done);
}

/* list, inspect, usage */

/* "2026-11-28 18:00", or "-" for never. */
static const char *when(uint64_t milliseconds, char text[32])
{
    time_t seconds = (time_t)(milliseconds / 1000);
    struct tm broken_down;

    strcpy(text, "-");
    if (milliseconds && localtime_r(&seconds, &broken_down))
        strftime(text, 32, "%Y-%m-%d %H:%M", &broken_down);
    return text;
}

static void print_list(const json_t *list)
{
    struct table *table = table_create("SLICE|STATE|>NODES|>CPU|>MEMORY|EXPIRES|REASON");
    json_t *slice;
    size_t i;

    json_array_foreach(list, i, slice)
    {
        const json_t *promised = json_object_get(slice, "promised");
        char text[32];

        table_text(table, cli_text(slice, "slice"));
        table_text(table, cli_text(slice, "state"));
        table_count(table, number_of(slice, "nodes"));
        table_count(table, number_of(promised, "cpu"));
        table_format(table, "%" PRIu64 " MiB", number_of(promised, "memory") >> 20);
        table_text(table, when(number_of(slice, "expires"), text));
        table_text(table, cli_text(slice, "reason"));
    }
    table_print(table, stdout);
}

int command_list(struct cli *cli, int argc, char **argv)
{
    return argc ? cli_usage(cli) : manager_show(cli, "list", NULL, print_list);
}

static void print_nodes(const json_t *nodes)
{
    struct table *table = table_create("NODE|KIND|STATE|INTERFACE|LINK|ADDRESSES");
    json_t *node, *interface;
    size_t i, j;

    json_array_foreach(nodes, i, node)
    {
        const json_t *interfaces = json_object_get(node, "interfaces");
        const char *why = cli_text(node, "why");

        for (j = 0; !j || j < json_array_size(interfaces); j++) {
            const json_t *addresses;

            interface = json_array_get(interfaces, j);
            addresses = json_object_get(interface, "addresses");
            table_text(table, j ? "" : cli_text(node, "name"));
            table_text(table, j ? "" : cli_text(node, "kind"));
            table_format(table, "%s%s%s", j ? "" : cli_text(node, "state"), j || !*why ? "" : ": ",
                         j ? "" : why);
            table_text(table, cli_text(interface, "name"));
            table_text(table, cli_text(interface, "link"));
            table_format(table, "%s%s",
                         json_array_size(addresses) ? json_string_value(json_array_get(addresses, 0)) : "",
                         json_array_size(addresses) > 1 ? " ..." : "");
        }
    }
    table_print(table, stdout);
}

static void print_slice(const json_t *slice)
{
    char created[32], expires[32];

    printf("Slice %s: %s%s%s\nCreated %s, expires %s.\n\n", cli_text(slice, "slice"),
           cli_text(slice, "state"), *cli_text(slice, "reason") ? ": " : "", cli_text(slice, "reason"),
           when(number_of(slice, "created"), created), when(number_of(slice, "expires"), expires));
    print_nodes(json_object_get(slice, "nodes"));
}

int command_inspect(struct cli *cli, int argc, char **argv)
{
    char name[SLICE_NAME_SIZE];
    int code = choose_argument(cli, argc, argv, name);

    return code ? code : manager_show(cli, "inspect", json_pack("{s:s}", "slice", name), print_slice);
}

static void put_amounts(struct table *table, const json_t *amounts)
{
    table_count(table, number_of(amounts, "cpu"));
    table_format(table, "%" PRIu64 " MiB", number_of(amounts, "memory") >> 20);
    table_format(table, "%" PRIu64 " Mbit/s", number_of(amounts, "rate") / 1000000);
    table_count(table, number_of(amounts, "rules"));
    table_count(table, number_of(amounts, "ports"));
}

static void print_usage(const json_t *usage)
{
    struct table *table = table_create("SLICE|>CPU|>MEMORY|>GUARANTEED|>RULES|>PORTS|>CPU TIME");
    json_t *item;
    size_t i;

    json_array_foreach(json_object_get(usage, "slices"), i, item)
    {
        table_text(table, cli_text(item, "slice"));
        put_amounts(table, json_object_get(item, "promised"));
        table_format(table, "%.1f s", (double)number_of(item, "cpu_time_ns") / 1e9);
    }
    table_text(table, "all slices");
    put_amounts(table, json_object_get(usage, "promised"));
    table_text(table, "");
    table_text(table, "the machine has");
    put_amounts(table, json_object_get(usage, "capacity"));
    table_text(table, "");
    table_print(table, stdout);
    putchar('\n');
    table = table_create("DAEMON|>PROCESS|>STARTED|>MEMORY|>CPU TIME");
    json_array_foreach(json_object_get(usage, "daemons"), i, item)
    {
        table_text(table, cli_text(item, "name"));
        table_format(table, "%" PRIu64, number_of(item, "pid"));
        table_count(table, number_of(item, "starts"));
        table_format(table, "%" PRIu64 " MiB", number_of(item, "memory") >> 20);
        table_format(table, "%.1f s", (double)number_of(item, "cpu_time_ns") / 1e9);
    }
    table_print(table, stdout);
}

int command_usage(struct cli *cli, int argc, char **argv)
{
    return argc ? cli_usage(cli) : manager_show(cli, "usage", NULL, print_usage);
}
