/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about one node of a slice: start, stop, restart, exec, console. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/console.h"
#include "cli/manager.h"
#include "cli/slice_file.h"
#include "guest-agent/guest_agent.h"

#define AGENT_WAIT_MS 10000
#define WORDS_MAX 256

/* The node that an argument means: NODE, or SLICE:NODE without options. EXIT_OK, or the failure has been told. */
static int choose_node(const struct cli *cli, const struct slice_choice *choice, const char *argument,
                       char slice[SLICE_NAME_SIZE], const char **node)
{
    const char *colon = strchr(argument, ':');
    char before[SLICE_NAME_SIZE + 1];

    *node = colon ? colon + 1 : argument;
    if (!colon)
        return slice_choose(cli, choice, slice);
    if (choice->slice || choice->file)
        return cli_usage(cli);
    snprintf(before, sizeof before, "%.*s", (int)(colon - argument), argument);
    return slice_choose(cli, &(struct slice_choice){.slice = before}, slice);
}

/* start, stop, restart: the command's name is the method's. */
int command_node(struct cli *cli, int argc, char **argv)
{
    char slice[SLICE_NAME_SIZE];
    struct slice_choice choice;
    const char *node;
    int code;

    if (!slice_choice_take(&choice, &argc, argv) || argc != 1)
        return cli_usage(cli);
    code = choose_node(cli, &choice, argv[0], slice, &node);
    return code ? code
                : manager_show(cli, cli->command->name, json_pack("{s:s, s:s}", "slice", slice, "node", node),
                               slice_print_done);
}

/* What the manager knows of a node, to be freed; NULL: the failure has been told, '*code' is how to exit. */
static json_t *look_up(struct cli *cli, const struct slice_choice *choice, const char *argument, int *code)
{
    char name[SLICE_NAME_SIZE];
    json_t *slice = NULL, *entry, *found = NULL;
    const char *node;
    size_t i;

    *code = choose_node(cli, choice, argument, name, &node);
    if (!*code)
        slice = manager_call(cli, "inspect", json_pack("{s:s}", "slice", name), NULL, NULL, code);
    if (!slice)
        return NULL;
    json_array_foreach(json_object_get(slice, "nodes"), i, entry)
    {
        if (!strcmp(cli_text(entry, "name"), node))
            found = json_incref(entry);
    }
    if (!found)
        *code = cli_fail(EXIT_REFUSED, "Slice %s has no node %s; 'vnode inspect %s' shows its nodes.", name,
                         node, name);
    json_decref(slice);
    return found;
}

/* A node has neither agent nor console nor namespace while it is stopped. EXIT_OK, or that has been told. */
static int check_runs(const char *argument, const json_t *node)
{
    const char *state = cli_text(node, "state");

    if (!strcmp(state, "stopped"))
        return cli_fail(EXIT_REFUSED, "Node %s is stopped; 'vnode start' starts it.", argument);
    if (!strcmp(state, "unknown"))
        return cli_fail(EXIT_REFUSED, "Node %s does not run yet; 'vnode inspect' tells more.", argument);
    return EXIT_OK;
}

/* The signals by which a user ends a command, unless they are ignored, for the one in the machine; -1: there is no descriptor. */
static int take_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    sigset_t signals;
    int fd;

    sigemptyset(&signals);
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction action;

        if (!sigaction(numbers[i], NULL, &action) && action.sa_handler != SIG_IGN)
            sigaddset(&signals, numbers[i]);
    }
    fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd >= 0)
        sigprocmask(SIG_BLOCK, &signals, NULL);
    return fd;
}

/* In a machine, by its guest agent. The command's status is ours. */
static int exec_in_machine(const char *path, const char *const words[])
{
    struct guest_exec_result result;
    struct guest_agent *agent;
    struct error error;
    int code, signals;

    if (guest_agent_open(&agent, path, AGENT_WAIT_MS, &error))
        return cli_fail(EXIT_REFUSED, "%s", error.text);
    signals = take_signals();
    guest_agent_pass_signals(agent, signals);
    if (guest_agent_exec(agent, words, 0, &result, &error)) {
        code = cli_fail(EXIT_REFUSED, "%s", error.text);
    } else {
        fwrite(result.output, 1, result.output_size, stdout);
        fwrite(result.errors, 1, result.errors_size, stderr);
        code = result.truncated
                   ? cli_fail(EXIT_REFUSED, "It wrote more than the agent keeps; the end is missing.")
                   : result.status;
        guest_exec_result_free(&result);
    }
    guest_agent_close(agent);
    if (signals >= 0)
        close(signals);
    return code;
}

/* In a namespace we become the command. */
static int exec_in_namespace(const char *name, char **words, int n)
{
    const char *line[WORDS_MAX + 5] = {"ip", "netns", "exec", name};

    memcpy(line + 4, words, (size_t)n * sizeof *words);
    fflush(stdout);
    execvp(line[0], (char *const *)line);
    return cli_fail(EXIT_REFUSED, "ip(8) cannot be run: %s.", strerror(errno));
}

static int exec_in_node(const json_t *node, const char *argument, char **words, int n)
{
    int code = check_runs(argument, node);

    if (code)
        return code;
    if (*cli_text(node, "agent"))
        return exec_in_machine(cli_text(node, "agent"), (const char *const *)words);
    if (*cli_text(node, "namespace"))
        return exec_in_namespace(cli_text(node, "namespace"), words, n);
    return cli_fail(EXIT_REFUSED, "Node %s is a %s; commands run in machines and namespaces.", argument,
                    cli_text(node, "kind"));
}

int command_exec(struct cli *cli, int argc, char **argv)
{
    struct slice_choice choice;
    json_t *node;
    int code;

    if (!slice_choice_take(&choice, &argc, argv) || argc < 3 || strcmp(argv[1], "--") != 0)
        return cli_usage(cli);
    if (argc - 2 > WORDS_MAX)
        return cli_fail(EXIT_USAGE, "A command has at most %d words.", WORDS_MAX);
    node = look_up(cli, &choice, argv[0], &code);
    if (!node)
        return code;
    code = exec_in_node(node, argv[0], argv + 2, argc - 2);
    json_decref(node);
    return code;
}

static int print_log(const char *path)
{
    FILE *file = fopen(path, "re");
    char piece[4096];
    size_t size;

    if (!file)
        return cli_fail(EXIT_REFUSED, "The console's log %s cannot be read: %s.", path, strerror(errno));
    while ((size = fread(piece, 1, sizeof piece, file)) > 0)
        fwrite(piece, 1, size, stdout);
    fclose(file);
    return EXIT_OK;
}

int command_console(struct cli *cli, int argc, char **argv)
{
    bool log = cli_take_flag(&argc, argv, "--log");
    struct slice_choice choice;
    struct error error;
    json_t *node;
    int code;

    if (!slice_choice_take(&choice, &argc, argv) || argc != 1)
        return cli_usage(cli);
    node = look_up(cli, &choice, argv[0], &code);
    if (!node)
        return code;
    if (!*cli_text(node, "console")) {
        code = cli_fail(EXIT_REFUSED, "Node %s is a %s; only machines have a console.", argv[0],
                        cli_text(node, "kind"));
    } else if (log) {
        code = print_log(cli_text(node, "console_log"));
    } else {
        code = check_runs(argv[0], node);
        if (!code && isatty(STDERR_FILENO))
            fprintf(stderr, "Console of %s; Ctrl-] leaves it.\n", cli_text(node, "machine"));
        if (!code && console_attach(cli_text(node, "console"), STDIN_FILENO, STDOUT_FILENO, &error))
            code = cli_fail(EXIT_REFUSED, "%s", error.text);
    }
    json_decref(node);
    return code;
}
