/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_SERVER_H
#define MANAGER_SERVER_H

/*
 * The manager's socket: lines of JSON from peers, and to them (docs/manager-protocol.md). A peer is anybody who may open the socket,
 * and is not trusted beyond that: what it sends is bounded in size and in time, and one that does not read what it gets is dropped.
 *
 *     server_open(&server, loop, "/run/vnode/manager.sock", "vnode", on_request, argument, &error);
 *     ...
 *     server_send(server, peer, json_pack(...));     // in on_request() or at any time later
 *     server_close(server);                          // and run the loop until it is done
 *
 * Everything happens on the loop's thread.
 */

#include <jansson.h>
#include <uv.h>

#include "lib/error.h"
#include "manager/request.h"

#define SERVER_PEERS_MAX 32
#define SERVER_LINE_MS 10000        /* for a line to be complete */
#define SERVER_OUTPUT_MAX (8 << 20) /* bytes that a peer may leave unread */

struct server;

/*
 * A request from a peer; what it points to is the server's. The peer is a number that is never used again: an answer to one that has
 * gone is dropped.
 */
typedef void (*server_request)(uint64_t peer, const struct request *request, void *argument);

/* Listens at 'path'; members of 'group' ("": nobody but root) may connect. EADDRINUSE: somebody else answers there. */
int server_open(struct server **server, uv_loop_t *loop, const char *path, const char *group,
                server_request on_request, void *argument, struct error *error);

/* Sends a message, and frees it. Returns whether the peer is still there. */
bool server_send(struct server *server, uint64_t peer, json_t *message);

/* The answer to a request that failed; its code, an errno value, becomes a word of the protocol. */
json_t *server_error(uint64_t request, const struct error *error);

/* Ends all connections, when what was sent has gone out, and frees 'server' in the loop. NULL: nothing. */
void server_close(struct server *server);

#endif
