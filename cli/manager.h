/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_MANAGER_H
#define CLI_MANAGER_H

/*
 * Talks to vnode-manager (docs/manager-protocol.md): one connection for a command, opened when it is needed.
 *
 *     json_t *result = manager_call(cli, "inspect", json_pack("{s:s}", "slice", name), NULL, NULL, &code);
 */

#include "cli/cli.h"

#define MANAGER_SOCKET_PATH "/run/vnode/manager.sock"

/* Connects. EXIT_OK, or the failure has been told. */
int manager_connect(struct cli *cli);

/* Sends a request; 'params' (may be NULL) is taken over. EXIT_OK, or the failure has been told. */
int manager_send(struct cli *cli, const char *method, json_t *params);

/*
 * Waits for the next message; NULL: the connection has ended, which has been told, and '*code' says how. It takes what has been
 * read already before it waits.
 */
json_t *manager_receive(struct cli *cli, int *code);

/* Whether manager_receive() has a message without waiting, in what has been read already. */
bool manager_has_message(const struct cli *cli);
int manager_fd(const struct cli *cli);

/*
 * Asks, and waits for the answer; what comes before it (progress, events) is given to 'seen' (may be NULL). Returns the result, to
 * be freed; NULL: the failure has been told, '*code' is how to exit.
 */
json_t *manager_call(struct cli *cli, const char *method, json_t *params,
                     void (*seen)(const json_t *message, void *argument), void *argument, int *code);

void manager_close(struct cli *cli);

#endif
