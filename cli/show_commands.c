/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/table.h"

static uint64_t number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static uint64_t all_drops(const json_t *stats)
{
    const char *name;
    json_t *value;
    uint64_t sum = 0;

    json_object_foreach(json_object_get(stats, "drops"), name, value) sum += json_integer_value(value);
    return sum;
}

static void print_stats(const json_t *ports)
{
    struct table *table =
        table_create("PORT|>RX PACKETS|>RX BYTES|>TX PACKETS|>TX BYTES|>TO VSWITCH|>FROM VSWITCH|>DROPPED");
    json_t *port;
    size_t i;

    json_array_foreach(ports, i, port)
    {
        table_text(table, cli_text(port, "name"));
        table_count(table, number_of(port, "rx_packets"));
        table_bytes(table, number_of(port, "rx_bytes"));
        table_count(table, number_of(port, "tx_packets"));
        table_bytes(table, number_of(port, "tx_bytes"));
        table_count(table, number_of(port, "to_vswitch"));
        table_count(table, number_of(port, "from_vswitch"));
        table_count(table, all_drops(port));
    }
    table_print(table, stdout);
}

/* Where the busy cycles go: each stage's share, and what that is per packet. */
static void print_stages(const json_t *workers)
{
    struct table *table = table_create("WORKER|STAGE|>SHARE|>CYCLES/PACKET");
    json_t *worker, *share;
    const char *stage;
    size_t i;

    json_array_foreach(workers, i, worker)
    {
        double cycles = json_number_value(json_object_get(worker, "cycles_per_packet"));

        json_object_foreach(json_object_get(worker, "stages"), stage, share)
        {
            table_format(table, "%" PRIu64, number_of(worker, "worker"));
            table_format(table, "%s", stage);
            table_format(table, "%.1f %%", 100 * json_number_value(share));
            table_format(table, "%.1f", cycles * json_number_value(share));
        }
    }
    printf("\n");
    table_print(table, stdout);
}

static void print_perf(const json_t *perf)
{
    struct table *table = table_create(
        "WORKER|>CPU|>QUEUES|>PACKETS|>CYCLES/PACKET|>PACKETS/BURST|>BUSY|>IDLE|>ASLEEP|>SLEEPS|>CACHE HITS|>UNMATCHED");
    json_t *worker;
    size_t i;

    json_array_foreach(json_object_get(perf, "workers"), i, worker)
    {
        uint64_t hits = number_of(worker, "cache_hits"), looked_up = hits + number_of(worker, "cache_misses");

        table_format(table, "%" PRIu64, number_of(worker, "worker"));
        table_format(table, "%" PRIu64, number_of(worker, "cpu"));
        table_format(table, "%" PRIu64, number_of(worker, "queues"));
        table_count(table, number_of(worker, "packets"));
        table_format(table, "%.1f", json_number_value(json_object_get(worker, "cycles_per_packet")));
        table_format(table, "%.1f", json_number_value(json_object_get(worker, "packets_per_burst")));
        table_format(table, "%.1f %%", 100 * json_number_value(json_object_get(worker, "busy_share")));
        table_format(table, "%.1f %%", 100 * json_number_value(json_object_get(worker, "idle_share")));
        table_format(table, "%.1f %%", 100 * json_number_value(json_object_get(worker, "sleep_share")));
        table_count(table, number_of(worker, "sleeps"));
        table_format(table, "%.1f %%", looked_up ? 100.0 * hits / looked_up : 0);
        table_count(table, number_of(worker, "unmatched_packets"));
    }
    table_print(table, stdout);
    print_stages(json_object_get(perf, "workers"));
    printf("\nThe cycle counter runs at %.3f GHz.\n", number_of(perf, "cycles_per_second") / 1e9);
}

static void print_drops(const json_t *reasons)
{
    struct table *table = table_create("REASON|>PACKETS|PORTS|MEANING");
    json_t *reason, *count;
    const char *name;
    bool any = false;
    size_t i;

    json_array_foreach(reasons, i, reason)
    {
        char ports[120] = "";
        size_t used = 0;

        if (!number_of(reason, "packets"))
            continue;
        any = true;
        json_object_foreach(json_object_get(reason, "ports"), name, count) if (used < sizeof ports) used +=
            snprintf(ports + used, sizeof ports - used, "%s%s:%lld", used ? " " : "", name,
                     (long long)json_integer_value(count));
        table_text(table, cli_text(reason, "reason"));
        table_count(table, number_of(reason, "packets"));
        table_text(table, ports);
        table_text(table, cli_text(reason, "meaning"));
    }
    table_print(table, stdout);
    if (!any)
        puts("No packet has been dropped.");
}

static int show(struct cli *cli, const char *question, const char *name, const char *value,
                void (*print)(const json_t *))
{
    int code;
    json_t *json = cli_query(cli, question, name, value, &code);

    if (!json)
        return code;
    if (cli->json)
        cli_print_json(json);
    else
        print(json);
    json_decref(json);
    return EXIT_OK;
}

int command_stats(struct cli *cli, int argc, char **argv)
{
    const char *port = NULL;
    int code;

    if (argc > 1)
        return cli_usage(cli);
    if (argc) {
        port = cli_port_name(cli, argv[0], &code);
        if (!port)
            return code;
    }
    return show(cli, "stats/show", port ? "port" : NULL, port, print_stats);
}

int command_perf(struct cli *cli, int argc, char **argv)
{
    return argc ? cli_usage(cli) : show(cli, "perf/show", NULL, NULL, print_perf);
}

int command_drops(struct cli *cli, int argc, char **argv)
{
    return argc ? cli_usage(cli) : show(cli, "drops/show", NULL, NULL, print_drops);
}

static void print_version(const json_t *version)
{
    printf("vnode " VNODE_VERSION "\nvnode-fastpath %s (protocol %" PRIu64 ", %" PRIu64 " rules, %" PRIu64
           " workers)\n",
           cli_text(version, "version"), number_of(version, "protocol"), number_of(version, "rules"),
           number_of(version, "workers"));
}

int command_version(struct cli *cli, int argc, char **argv)
{
    return argc ? cli_usage(cli) : show(cli, "version/show", NULL, NULL, print_version);
}

int command_stop(struct cli *cli, int argc, char **argv)
{
    struct message_ok ok;
    int code = argc ? cli_usage(cli) : cli_connect(cli);

    if (code)
        return code;
    client_begin(cli->client, MESSAGE_STOP);
    return cli_call_ok(cli, &ok);
}
