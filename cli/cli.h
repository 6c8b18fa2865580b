/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

/*
 * What the commands of `vnode` share. A command is a row of the table in
 * commands.c and a function; it prints its result to standard output and returns
 * an exit code. Sentences about failures go to standard error, by cli_fail().
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "lib/error.h"
#include "proto/client.h"
#include "proto/rule_text.h"

enum exit_code {
    EXIT_OK = 0,
    EXIT_REFUSED = 1,   /* the fast path, the manager, or the system, said no */
    EXIT_USAGE = 2,     /* the command line or an input file is wrong */
    EXIT_NO_SERVER = 3, /* the fast path, or the manager, is not there, or not ready */
    EXIT_LACKING = 4,   /* what is needed is not there: room for a slice, a capability of the machine */
};

struct cli {
    const char *socket_path;        /* the fast path's */
    const char *manager_path;       /* the manager's */
    bool json;                      /* --format json */
    struct client *client;          /* connected by cli_connect() */
    struct manager_client *manager; /* connected by manager_connect() */
    struct port_list *ports;        /* fetched by cli_ports() */
    const struct command *command;  /* the one that runs */
};

struct command {
    const char *name;                                   /* one or two words */
    const char *usage;                                  /* what stands behind the name */
    const char *summary;                                /* for the list of commands */
    const char *help;                                   /* paragraphs */
    int (*run)(struct cli *cli, int argc, char **argv); /* arguments behind the name */
};

/* All commands, ended by a row without a name. */
extern const struct command commands[];

int command_port_add(struct cli *cli, int argc, char **argv);
int command_port_del(struct cli *cli, int argc, char **argv);
int command_port_list(struct cli *cli, int argc, char **argv);
int command_port_set(struct cli *cli, int argc, char **argv);
int command_port_show(struct cli *cli, int argc, char **argv);
int command_rule_add(struct cli *cli, int argc, char **argv);
int command_rule_del(struct cli *cli, int argc, char **argv);
int command_rule_list(struct cli *cli, int argc, char **argv);
int command_flows(struct cli *cli, int argc, char **argv);
int command_offload_show(struct cli *cli, int argc, char **argv);
int command_offload_mode(struct cli *cli, int argc, char **argv);
int command_offload_set(struct cli *cli, int argc, char **argv);
int command_offload_pin(struct cli *cli, int argc, char **argv);
int command_offload_why(struct cli *cli, int argc, char **argv);
int command_slice_list(struct cli *cli, int argc, char **argv);
int command_slice_set(struct cli *cli, int argc, char **argv);
int command_moves(struct cli *cli, int argc, char **argv);
int command_stats(struct cli *cli, int argc, char **argv);
int command_perf(struct cli *cli, int argc, char **argv);
int command_drops(struct cli *cli, int argc, char **argv);
int command_events(struct cli *cli, int argc, char **argv);
int command_version(struct cli *cli, int argc, char **argv);
int command_capture(struct cli *cli, int argc, char **argv);
int command_trace(struct cli *cli, int argc, char **argv);
int command_stop(struct cli *cli, int argc, char **argv);
int command_doctor(struct cli *cli, int argc, char **argv);
int command_validate(struct cli *cli, int argc, char **argv);
int command_graph(struct cli *cli, int argc, char **argv);
int command_plan(struct cli *cli, int argc, char **argv);
int command_deploy(struct cli *cli, int argc, char **argv);
int command_destroy(struct cli *cli, int argc, char **argv);
int command_list(struct cli *cli, int argc, char **argv);
int command_inspect(struct cli *cli, int argc, char **argv);
int command_node(struct cli *cli, int argc, char **argv);
int command_exec(struct cli *cli, int argc, char **argv);
int command_console(struct cli *cli, int argc, char **argv);
int command_usage(struct cli *cli, int argc, char **argv);
int command_eval(struct cli *cli, int argc, char **argv);
int command_completion(struct cli *cli, int argc, char **argv);

/* Parses the command line and runs the command: main(). */
int cli_run(int argc, char **argv);

/* Prints "vnode: SENTENCE" to standard error and returns 'code'. */
int cli_fail(enum exit_code code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for an error of the client library: EXIT_NO_SERVER when the connection is what failed. */
int cli_fail_error(const struct error *error);

/* Tells how the command is used, on standard error; returns EXIT_USAGE. */
int cli_usage(const struct cli *cli);

/* Connects, once. EXIT_OK, or the failure has been told. */
int cli_connect(struct cli *cli);

/*
 * Asks a question with at most one argument ('name' NULL: none); NULL: the failure has been told, '*code'
 * says how.
 */
json_t *cli_query(struct cli *cli, const char *question, const char *name, const char *value, int *code);

/* Sends the message begun in cli->client and expects OK. */
int cli_call_ok(struct cli *cli, struct message_ok *ok);

/* The text that the member 'name' of 'object' is; empty when it is no text. */
const char *cli_text(const json_t *object, const char *name);

/* Prints JSON for programs. */
void cli_print_json(const json_t *json);

/*
 * The fast path's ports, for rules' texts: names to ids. NULL: the failure has been told, '*code' says how.
 */
const struct rule_text_ports *cli_ports(struct cli *cli, int *code);

/*
 * The name of the fast path's port that 'text' means: a port that is called so, or else, for SLICE:NODE:INTERFACE, the one called
 * SLICE.NODE.INTERFACE. 'text' itself when there is none. NULL: the failure has been told, '*code' says how.
 */
const char *cli_port_name(struct cli *cli, const char *text, int *code);

/*
 * Takes the option 'name' with its value out of the arguments. 1: found, 0: not there, -1: its value is
 * missing.
 */
int cli_take_option(int *argc, char **argv, const char *name, const char **value);

/* Takes the flag 'name' out of the arguments; whether it was there. */
bool cli_take_flag(int *argc, char **argv, const char *name);

#endif
