/* SPDX-License-Identifier: Apache-2.0 */
/* vnode offload, slice, moves: what is offloaded by which rules of the game. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/change.h"
#include "cli/table.h"
#include "proto/value_text.h"

/* A number with a unit: the factor of the one that 'text' ends with, 0 if it is none of 'units'. */
static double factor_of(const char *end, const char *const units[], const double factors[])
{
    for (unsigned i = 0; units[i]; i++)
        if (!strcmp(end, units[i]))
            return factors[i];
    return 0;
}

static bool parse_scaled(const char *text, const char *const units[], const double factors[], double most,
                         uint64_t *value)
{
    char *end;
    double number = strtod(text, &end), factor = factor_of(end, units, factors);

    if (end == text || !(number >= 0) || factor == 0 || number * factor > most)
        return false;
    *value = (uint64_t)(number * factor + 0.5);
    return true;
}

/* "1000", "1kpps", "1.5Mpps". */
static bool parse_rate(const char *text, uint64_t *packets_per_second)
{
    static const char *const units[] = {"", "pps", "k", "kpps", "M", "Mpps", NULL};
    static const double factors[] = {1, 1, 1e3, 1e3, 1e6, 1e6};

    return parse_scaled(text, units, factors, INT32_MAX, packets_per_second);
}

/* "10", "10s", "500ms". */
static bool parse_time(const char *text, uint64_t *milliseconds)
{
    static const char *const units[] = {"", "s", "ms", "min", NULL};
    static const double factors[] = {1000, 1000, 1, 60000};

    return parse_scaled(text, units, factors, 24 * 3600 * 1000.0, milliseconds);
}

/* promote=, demote=, hold=: 0 when 'word' is none of them. */
static int put_parameter(struct change *change, const char *word, bool *found)
{
    const char *value = strchr(word, '=');
    size_t size = value ? (size_t)(value++ - word) : 0;
    uint64_t number;

    *found = true;
    if (size == 4 && !strncmp(word, "hold", 4)) {
        if (!strcmp(value, "inherit"))
            change_put(change, "hold", "inherit");
        else if (parse_time(value, &number))
            change_put(change, "hold", "%" PRIu64, number);
        else
            return cli_fail(EXIT_USAGE, "'%s': write a time such as 10s or 500ms, or inherit.", word);
    } else if ((size == 7 && !strncmp(word, "promote", 7)) || (size == 6 && !strncmp(word, "demote", 6))) {
        const char *name = size == 7 ? "promote" : "demote";

        if (!strcmp(value, "inherit"))
            change_put(change, name, "inherit");
        else if (parse_rate(value, &number))
            change_put(change, name, "%" PRIu64, number);
        else
            return cli_fail(EXIT_USAGE, "'%s': write packets per second such as 1000 or 1kpps, or inherit.",
                            word);
    } else {
        *found = false;
    }
    return EXIT_OK;
}

/* Takes --slice, --port, --rule: one at most. 'rules' says whether --rule may be. */
static int put_scope(struct cli *cli, struct change *change, int *argc, char **argv, bool rules)
{
    static const char *const names[] = {"--slice", "--port", "--rule"};
    const char *value = NULL, *scope = NULL;

    for (unsigned i = 0; i < 3; i++) {
        int found = cli_take_option(argc, argv, names[i], &value);

        if (found < 0 || (found && scope) || (found && i == 2 && !rules))
            return cli_usage(cli);
        if (found) {
            int code = EXIT_OK;

            scope = names[i] + 2;
            if (!strcmp(scope, "port"))
                value = cli_port_name(cli, value, &code);
            if (code)
                return code;
            change_put(change, "scope", "%s:%s", scope, value);
            if (strlen(value) > 80)
                return cli_fail(EXIT_USAGE, "The %s '%.80s...' cannot be: that is too long.", scope, value);
        }
    }
    if (!scope)
        change_put(change, "scope", "node");
    return EXIT_OK;
}

/* offload on, off, auto, inherit. */
int command_offload_mode(struct cli *cli, int argc, char **argv)
{
    const char *mode = strchr(cli->command->name, ' ') + 1;
    bool inherit = !strcmp(mode, "inherit");
    struct change change = {0};
    int code = put_scope(cli, &change, &argc, argv, !strcmp(mode, "on") || !strcmp(mode, "off"));

    change_put(&change, "mode", "%s", mode);
    for (int i = 0; i < argc && !code; i++) {
        bool found;

        code = put_parameter(&change, argv[i], &found);
        if (!code && (!found || change.n > 5))
            return cli_usage(cli);
    }
    if (!code && inherit && !strcmp(change.texts[0], "node"))
        return cli_fail(EXIT_USAGE, "There is nothing above the node; name a slice or a port.");
    return code ? code : change_send(cli, "offload/set", &change);
}

/* offload set: parameters without the mode, and those that only the node has. */
int command_offload_set(struct cli *cli, int argc, char **argv)
{
    struct change change = {0}, table = {0}, hold = {0};
    int code = put_scope(cli, &change, &argc, argv, false);

    if (!code && !argc)
        return cli_usage(cli);
    for (int i = 0; i < argc && !code; i++) {
        const char *word = argv[i];
        uint64_t number;
        bool found;

        code = put_parameter(&change, word, &found);
        if (code || found)
            continue;
        if (change.n > 4 || table.n > 2 || hold.n > 1)
            return cli_usage(cli);
        if (!strncmp(word, "table=", 6) && number_parse(word + 6, RULES_MAX, &number))
            change_put(&table, "size", "%" PRIu64, number);
        else if (!strncmp(word, "moves=", 6) && number_parse(word + 6, 1000000, &number))
            change_put(&table, "moves", "%" PRIu64, number);
        else if (!strncmp(word, "orphans=", 8) && parse_time(word + 8, &number))
            change_put(&hold, "seconds", "%" PRIu64, (number + 999) / 1000);
        else
            return cli_fail(EXIT_USAGE, "'%s' is not understood; see 'vnode offload set --help'.", word);
        if (strcmp(change.texts[0], "node") != 0)
            return cli_fail(EXIT_USAGE, "'%s' is a parameter of the node only; leave out --slice and --port.",
                            word);
    }
    if (!code && change.n > 1)
        code = change_send(cli, "offload/set", &change);
    if (!code && table.n)
        code = change_send(cli, "offload/table", &table);
    if (!code && hold.n)
        code = change_send(cli, "offload/hold", &hold);
    return code;
}

/* offload pin, unpin. */
int command_offload_pin(struct cli *cli, int argc, char **argv)
{
    int code = argc ? EXIT_OK : cli_usage(cli);

    for (int i = 0; i < argc && !code; i++) {
        struct change change = {0};
        uint64_t id;

        if (!number_parse(argv[i], UINT64_MAX, &id))
            return cli_fail(EXIT_USAGE, "'%s' is no rule id; 'vnode flows' shows them.", argv[i]);
        change_put(&change, "scope", "rule:%s", argv[i]);
        change_put(&change, "mode", "%s", strchr(cli->command->name, ' ') + 1);
        code = change_send(cli, "offload/set", &change);
    }
    return code;
}

static long long number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

int command_offload_why(struct cli *cli, int argc, char **argv)
{
    json_t *why;
    uint64_t id;
    int code;

    if (argc != 1)
        return cli_usage(cli);
    if (!number_parse(argv[0], UINT64_MAX, &id))
        return cli_fail(EXIT_USAGE, "'%s' is no rule id; 'vnode flows' shows them.", argv[0]);
    why = cli_query(cli, "offload/why", "id", argv[0], &code);
    if (!why)
        return code;
    if (cli->json) {
        cli_print_json(why);
    } else {
        const char *reason = cli_text(why, "reason");

        printf("%s is %s%s%s: %s.\n", cli_text(why, "id"), cli_text(why, "state"), *reason ? ", " : "",
               reason, cli_text(why, "explanation"));
        printf("in %s, mode %s (of the %s), %lld packets/s now; promote %lld, demote %lld, hold %lld ms\n",
               cli_text(why, "in"), cli_text(why, "mode"), cli_text(why, "mode_of"), number_of(why, "rate"),
               number_of(why, "promote"), number_of(why, "demote"), number_of(why, "hold_ms"));
    }
    json_decref(why);
    return EXIT_OK;
}

/* A setting; "-" for what is inherited. */
static void setting_cell(struct table *table, const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    if (json_is_integer(value))
        table_format(table, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        table_text(table, json_is_string(value) && strcmp(json_string_value(value), "inherit") != 0
                              ? json_string_value(value)
                              : "-");
}

static void settings_row(struct table *table, const char *kind, const char *name, const json_t *settings)
{
    table_format(table, "%s%s%s", kind, *name ? " " : "", name);
    setting_cell(table, settings, "mode");
    setting_cell(table, settings, "promote");
    setting_cell(table, settings, "demote");
    setting_cell(table, settings, "hold_ms");
}

static void print_limit(const char *what, long long value, const char *none)
{
    char text[32];

    printf("%-22s %s\n", what, value ? format_count((uint64_t)value, text) : none);
}

static void print_offload(const json_t *answer)
{
    static const char *const counts[] = {"rules",  "inside",  "moving",  "waiting", "delayed",
                                         "queued", "orphans", "swapped", "demoted"};
    struct table *table = table_create("SCOPE|MODE|>PROMOTE|>DEMOTE|>HOLD MS");
    json_t *item;
    size_t i;

    if (json_is_true(json_object_get(answer, "attached")))
        printf("%-22s %s\n", "vswitch", cli_text(answer, "vswitch"));
    else
        printf("%-22s %s\n", "vswitch", "none is attached");
    print_limit("table", number_of(answer, "table_size"), "no limit of its own");
    print_limit("moves a second", number_of(answer, "moves_max"), "0");
    printf("%-22s %lld s\n", "orphans are kept", number_of(answer, "orphans_hold_s"));
    for (i = 0; i < sizeof counts / sizeof *counts; i++)
        print_limit(counts[i], number_of(answer, counts[i]), "0");
    printf("\n");
    settings_row(table, "node", "", json_object_get(answer, "node"));
    json_array_foreach(json_object_get(answer, "slices"), i, item)
        settings_row(table, "slice", cli_text(item, "slice"), item);
    json_array_foreach(json_object_get(answer, "ports"), i, item)
        settings_row(table, "port", cli_text(item, "port"), item);
    table_print(table, stdout);
}

static int show(struct cli *cli, const char *question, void (*print)(const json_t *))
{
    int code;
    json_t *json = cli_query(cli, question, NULL, NULL, &code);

    if (!json)
        return code;
    if (cli->json)
        cli_print_json(json);
    else
        print(json);
    json_decref(json);
    return EXIT_OK;
}

int command_offload_show(struct cli *cli, int argc, char **argv)
{
    return argc ? cli_usage(cli) : show(cli, "offload/show", print_offload);
}

static void use_cell(struct table *table, const json_t *slice, const char *used, const char *most)
{
    if (number_of(slice, most))
        table_format(table, "%lld/%lld", number_of(slice, used), number_of(slice, most));
    else
        table_format(table, "%lld", number_of(slice, used));
}

static void print_slices(const json_t *slices)
{
    struct table *table = table_create("SLICE|>PORTS|>RULES|>MASKS|>OPERATIONS/S|>OVER QUOTA|MODE");
    json_t *slice;
    size_t i;

    json_array_foreach(slices, i, slice)
    {
        table_text(table, cli_text(slice, "slice"));
        table_format(table, "%lld", number_of(slice, "ports"));
        use_cell(table, slice, "rules", "rules_max");
        use_cell(table, slice, "masks", "masks_max");
        if (number_of(slice, "operations_max"))
            table_count(table, (uint64_t)number_of(slice, "operations_max"));
        else
            table_text(table, "-");
        table_count(table, (uint64_t)number_of(slice, "queued"));
        setting_cell(table, slice, "mode");
    }
    table_print(table, stdout);
}

int command_slice_list(struct cli *cli, int argc, char **argv)
{
    return argc ? cli_usage(cli) : show(cli, "slice/list", print_slices);
}

int command_slice_set(struct cli *cli, int argc, char **argv)
{
    static const char *const names[] = {"rules", "masks", "operations"};
    struct change change = {0};

    if (argc < 2)
        return cli_usage(cli);
    if (!*argv[0] || strlen(argv[0]) >= SLICE_NAME_SIZE)
        return cli_fail(EXIT_USAGE, "A slice's name has 1 to %d bytes.", SLICE_NAME_SIZE - 1);
    change_put(&change, "slice", "%s", argv[0]);
    for (int i = 1; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        unsigned name = 0;
        uint64_t number;

        while (name < 3 && (!value || strlen(names[name]) != (size_t)(value - argv[i]) ||
                            strncmp(argv[i], names[name], strlen(names[name])) != 0))
            name++;
        if (name == 3 || change.n > 3)
            return cli_usage(cli);
        if (!number_parse(value + 1, INT32_MAX, &number))
            return cli_fail(EXIT_USAGE, "'%s': write a number; 0: no limit.", argv[i]);
        change_put(&change, names[name], "%" PRIu64, number);
    }
    return change_send(cli, "slice/set", &change);
}

static void print_moves(const json_t *moves)
{
    static const char *const counts[] = {"begun",     "under_way", "done",  "deadline",
                                         "cancelled", "back",      "pauses"};

    for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++)
        print_limit(counts[i], number_of(moves, counts[i]), "0");
    printf("%-22s p50 %.0f us, p99 %.0f us, longest %.0f us\n", "durations",
           json_number_value(json_object_get(moves, "p50_us")),
           json_number_value(json_object_get(moves, "p99_us")),
           json_number_value(json_object_get(moves, "max_us")));
    printf("%-22s %.1f ms in all, longest %.1f us\n", "paused", (double)number_of(moves, "paused_ns") / 1e6,
           (double)number_of(moves, "paused_max_ns") / 1e3);
}

int command_moves(struct cli *cli, int argc, char **argv)
{
    return argc ? cli_usage(cli) : show(cli, "moves/show", print_moves);
}
