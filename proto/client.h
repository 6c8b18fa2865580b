/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_CLIENT_H
#define PROTO_CLIENT_H

/*
 * A client of the control socket. One thread uses a client at a time. One
 * question and its answer:
 *
 *     struct wire_writer *body = client_begin(client, MESSAGE_PORT_REMOVE);
 *     message_put_port_name(body, &(struct message_port_name){.name = "vm1"});
 *     if (client_call(client, &reply, &error))
 *         puts(error.text);
 *
 * Pipelined: client_send() several requests, at most CLIENT_WINDOW of them
 * unanswered, and client_receive() the replies, which come in the order of the requests.
 */

#include "lib/error.h"
#include "proto/message.h"

#define CLIENT_WINDOW 64    /* requests in flight: their replies surely fit the server's queue */
#define CLIENT_TIMEOUT_S 30 /* longest wait for a reply */

struct client;

/* A message that has come in. It, and what 'body' points to, lasts until the next receive or call. */
struct message {
    struct message_header header;
    struct wire_reader body;
    unsigned n_fds;
    int fds[MESSAGE_FDS_MAX]; /* the caller's to close, see message_close_fds() */
};

/*
 * Connects to the socket 'path' and exchanges HELLO; 'software' says who we are. NULL with 'error':
 * ECONNREFUSED or ENOENT when nothing listens there, EPROTO when the versions do not fit.
 */
struct client *client_connect(const char *path, const char *software, struct error *error);

/*
 * The same, with another longest wait than CLIENT_TIMEOUT_S, for connecting and for each later send and reply. Who
 * waits with poll() may make client_fd() non-blocking then: client_send() fails with ETIMEDOUT when the socket takes nothing
 * (call it again; the message stays begun), client_receive() when nothing has come.
 */
struct client *client_connect_within(const char *path, const char *software, unsigned timeout_ms,
                                     struct error *error);
void client_close(struct client *client);

/* To wait for messages with poll(). */
int client_fd(const struct client *client);

/* What the server said about itself, such as "vnode-fastpath 0.1.0". */
const char *client_server_software(const struct client *client);

/*
 * Starts a message in the client's buffer, which has one message's room. The body is to be written behind
 * it.
 */
struct wire_writer *client_begin(struct client *client, enum message_type type);

/*
 * Sends the message begun, and leaves its request id in '*request' (may be NULL). E2BIG: the body did not
 * fit.
 */
int client_send(struct client *client, uint32_t *request, struct error *error);

/* Waits for a message of any kind. EPIPE: the server closed the connection; ETIMEDOUT. */
int client_receive(struct client *client, struct message *message, struct error *error);

/*
 * Sends the message begun and waits for the first message of its reply; events that come meanwhile are passed
 * over. An ERROR reply becomes a failure with its code and sentence. 'reply' may be NULL when OK is all
 * that is expected.
 */
int client_call(struct client *client, struct message *reply, struct error *error);

/* The failure that an ERROR message tells; 'index' and 'done' (may be NULL) as in struct message_error. */
int message_to_error(struct message *message, uint32_t *index, uint32_t *done, struct error *error);

void message_close_fds(struct message *message);

/*
 * Asks a question ("port/list") with 'n' arguments and collects the whole answer: a text that the caller
 * frees, with a final NUL, or NULL with 'error'. Answers of more than 'most' bytes fail with EMSGSIZE (0:
 * no limit).
 */
char *client_query(struct client *client, const char *question, const struct message_argument arguments[],
                   unsigned n, size_t most, struct error *error);

/*
 * The same, with each piece of the answer given to 'sink' as it comes; a sink that returns false ends it
 * with ECANCELED.
 */
typedef bool (*client_sink)(const void *piece, size_t size, void *argument);
int client_query_stream(struct client *client, const char *question, const struct message_argument arguments[],
                        unsigned n, client_sink sink, void *argument, struct error *error);

#endif
