/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/manager.h"

int cli_fail(enum exit_code code, const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fputs("vnode: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return code;
}

int cli_fail_error(const struct error *error)
{
    bool connection = error->code == EPIPE || error->code == ETIMEDOUT;

    return cli_fail(connection ? EXIT_NO_SERVER : EXIT_REFUSED, "%s", error->text);
}

int cli_usage(const struct cli *cli)
{
    fprintf(stderr, "Usage: vnode %s %s\n'vnode %s --help' says more.\n", cli->command->name,
            cli->command->usage, cli->command->name);
    return EXIT_USAGE;
}

int cli_connect(struct cli *cli)
{
    struct error error;

    if (cli->client)
        return EXIT_OK;
    cli->client = client_connect(cli->socket_path, "vnode " VNODE_VERSION, &error);
    if (!cli->client)
        return cli_fail(EXIT_NO_SERVER, "%s", error.text);
    return EXIT_OK;
}

json_t *cli_query(struct cli *cli, const char *question, const char *name, const char *value, int *code)
{
    struct message_argument argument = {0};
    json_error_t json_error;
    struct error error;
    json_t *json;
    char *text;

    *code = cli_connect(cli);
    if (*code)
        return NULL;
    if (name) {
        strcpy(argument.name, name);
        argument.value = value;
        argument.size = strlen(value) < UINT16_MAX ? strlen(value) : UINT16_MAX;
    }
    text = client_query(cli->client, question, &argument, name ? 1 : 0, 64 << 20, &error);
    if (!text) {
        *code = cli_fail_error(&error);
        return NULL;
    }
    json = json_loads(text, 0, &json_error);
    free(text);
    if (!json)
        *code =
            cli_fail(EXIT_REFUSED, "The fast path's answer to %s is no JSON: %s.", question, json_error.text);
    return json;
}

int cli_call_ok(struct cli *cli, struct message_ok *ok)
{
    struct message reply;
    struct error error;

    if (client_call(cli->client, &reply, &error))
        return cli_fail_error(&error);
    message_close_fds(&reply);
    if (reply.header.type != MESSAGE_OK || !message_get_ok(&reply.body, ok))
        return cli_fail(EXIT_REFUSED, "The fast path's reply is malformed; are the versions of both the same?");
    return EXIT_OK;
}

const char *cli_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

void cli_print_json(const json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
}

struct port_list {
    struct rule_text_ports text_ports;
    size_t n;
    struct port_entry {
        char name[PORT_NAME_SIZE];
        int id;
    } entries[];
};

static int compare_entries(const void *one, const void *other)
{
    return strcmp(((const struct port_entry *)one)->name, ((const struct port_entry *)other)->name);
}

static const struct port_entry *find_entry(const struct port_list *list, const char *name)
{
    const struct port_entry *found;
    struct port_entry wanted;
    char *first, *second;

    if (strlen(name) >= sizeof wanted.name)
        return NULL;
    strcpy(wanted.name, name);
    found = bsearch(&wanted, list->entries, list->n, sizeof wanted, compare_entries);
    first = strchr(wanted.name, ':');
    second = first ? strchr(first + 1, ':') : NULL;
    if (found || !second || strchr(second + 1, ':'))
        return found;
    *first = *second = '.';
    return bsearch(&wanted, list->entries, list->n, sizeof wanted, compare_entries);
}

static int find_port(const char *name, void *argument)
{
    const struct port_entry *found = find_entry(argument, name);

    return found ? found->id : -1;
}

const struct rule_text_ports *cli_ports(struct cli *cli, int *code)
{
    struct port_list *list;
    json_t *array, *port;
    size_t i;

    if (cli->ports)
        return &cli->ports->text_ports;
    array = cli_query(cli, "port/list", NULL, NULL, code);
    if (!array)
        return NULL;
    list = calloc(1, sizeof *list + json_array_size(array) * sizeof *list->entries);
    if (!list) {
        *code = cli_fail(EXIT_REFUSED, "No memory for the list of ports.");
        json_decref(array);
        return NULL;
    }
    json_array_foreach(array, i, port)
    {
        const char *name = json_string_value(json_object_get(port, "name"));

        if (!name || strlen(name) >= PORT_NAME_SIZE)
            continue;
        strcpy(list->entries[list->n].name, name);
        list->entries[list->n++].id = json_integer_value(json_object_get(port, "id"));
    }
    json_decref(array);
    qsort(list->entries, list->n, sizeof *list->entries, compare_entries);
    list->text_ports = (struct rule_text_ports){find_port, list};
    cli->ports = list;
    return &list->text_ports;
}

const char *cli_port_name(struct cli *cli, const char *text, int *code)
{
    const struct port_entry *found;

    *code = EXIT_OK;
    if (!strchr(text, ':'))
        return text;
    if (!cli_ports(cli, code))
        return NULL;
    found = find_entry(cli->ports, text);
    return found ? found->name : text;
}

static void remove_arguments(int *argc, char **argv, int first, int n)
{
    memmove(argv + first, argv + first + n, (*argc - first - n + 1) * sizeof *argv);
    *argc -= n;
}

int cli_take_option(int *argc, char **argv, const char *name, const char **value)
{
    size_t size = strlen(name);

    for (int i = 0; i < *argc && strcmp(argv[i], "--"); i++) {
        if (!strncmp(argv[i], name, size) && argv[i][size] == '=') {
            *value = argv[i] + size + 1;
            remove_arguments(argc, argv, i, 1);
            return 1;
        }
        if (strcmp(argv[i], name))
            continue;
        if (i + 1 >= *argc)
            return -1;
        *value = argv[i + 1];
        remove_arguments(argc, argv, i, 2);
        return 1;
    }
    return 0;
}

bool cli_take_flag(int *argc, char **argv, const char *name)
{
    for (int i = 0; i < *argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], name)) {
            remove_arguments(argc, argv, i, 1);
            return true;
        }
    return false;
}

static void print_help(void)
{
    puts("Usage: vnode [--manager PATH] [--socket PATH] [--format table|json] COMMAND [ARGUMENT...]\n"
         "\n"
         "Describes, runs and looks into slices, by vnode-manager; looks into and controls vnode-fastpath.\n"
         "\n"
         "Commands:");
    for (const struct command *command = commands; command->name; command++)
        printf("  %-16s %s\n", command->name, command->summary);
    puts("\n"
         "Options:\n"
         "  --manager PATH   the manager's socket (default: $VNODE_MANAGER, or " MANAGER_SOCKET_PATH ")\n"
         "  --socket PATH    the fast path's (default: $VNODE_SOCKET, or " DEFAULT_SOCKET_PATH ")\n"
         "  --format FORMAT  table: for people (default); json: for programs\n"
         "  --help           help, also for each command\n"
         "\n"
         "Exit codes: 0 done, 1 refused, 2 wrong usage or a mistake in a file, 3 no connection to the manager or\n"
         "the fast path, 4 what is needed is not there: room for a slice, a capability of the machine.");
}

static void print_command_help(const struct command *command)
{
    printf("Usage: vnode %s %s\n\n%s.\n", command->name, command->usage, command->summary);
    if (command->help)
        printf("\n%s", command->help);
}

/* The command whose words the arguments begin with; '*n_words' is their number. */
static const struct command *find_command(int argc, char **argv, int *n_words)
{
    for (const struct command *command = commands; command->name; command++) {
        size_t first = strcspn(command->name, " ");
        bool two_words = command->name[first];

        if (argc < 1 + two_words || strlen(argv[0]) != first || strncmp(argv[0], command->name, first) ||
            (two_words && strcmp(argv[1], command->name + first + 1)))
            continue;
        *n_words = 1 + two_words;
        return command;
    }
    return NULL;
}

/* Lists the commands that begin with the word given, for one that was left incomplete. */
static int unknown_command(int argc, char **argv)
{
    size_t size = argc ? strlen(argv[0]) : 0;
    bool any = false;

    for (const struct command *command = commands; size && command->name; command++)
        if (!strncmp(command->name, argv[0], size) && command->name[size] == ' ') {
            fprintf(stderr, "%s vnode %s %s\n", any ? "      " : "Usage:", command->name, command->usage);
            any = true;
        }
    if (any)
        return EXIT_USAGE;
    if (!argc)
        return cli_fail(EXIT_USAGE, "A command is missing; 'vnode --help' lists the commands.");
    return cli_fail(EXIT_USAGE, "There is no command '%s'; 'vnode --help' lists the commands.", argv[0]);
}

/* Takes the options that every command has. */
static int take_global_options(struct cli *cli, int *argc, char **argv)
{
    const char *environment = getenv("VNODE_SOCKET"), *manager = getenv("VNODE_MANAGER"), *format = "table";
    int found;

    cli->socket_path = environment && *environment ? environment : DEFAULT_SOCKET_PATH;
    cli->manager_path = manager && *manager ? manager : MANAGER_SOCKET_PATH;
    /* Of an option that is there twice, the last counts. */
    while ((found = cli_take_option(argc, argv, "--socket", &cli->socket_path)) > 0)
        ;
    while (found >= 0 && (found = cli_take_option(argc, argv, "--manager", &cli->manager_path)) > 0)
        ;
    while (found >= 0 && (found = cli_take_option(argc, argv, "--format", &format)) > 0)
        ;
    if (found < 0)
        return cli_fail(EXIT_USAGE, "The last option lacks its value.");
    if (strcmp(format, "table") && strcmp(format, "json"))
        return cli_fail(EXIT_USAGE, "'%s' is no format; choose table or json.", format);
    cli->json = !strcmp(format, "json");
    return EXIT_OK;
}

static int run(struct cli *cli, int argc, char **argv)
{
    bool help = cli_take_flag(&argc, argv, "--help") || cli_take_flag(&argc, argv, "-h");
    int n_words = 0, code = take_global_options(cli, &argc, argv);

    if (code)
        return code;
    if (!argc && help) {
        print_help();
        return EXIT_OK;
    }
    if (argc && !strcmp(argv[0], "--version")) {
        puts("vnode " VNODE_VERSION);
        return EXIT_OK;
    }
    cli->command = find_command(argc, argv, &n_words);
    if (!cli->command)
        return unknown_command(argc, argv);
    if (help) {
        print_command_help(cli->command);
        return EXIT_OK;
    }
    return cli->command->run(cli, argc - n_words, argv + n_words);
}

int cli_run(int argc, char **argv)
{
    struct cli cli = {0};
    int code = argc > 0 ? run(&cli, argc - 1, argv + 1) : EXIT_USAGE;

    client_close(cli.client);
    manager_close(&cli);
    free(cli.ports);
    if ((fflush(stdout) || ferror(stdout)) && code == EXIT_OK)
        code = cli_fail(EXIT_REFUSED, "Cannot write the output: %s.", strerror(errno));
    return code;
}
