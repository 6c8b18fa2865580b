/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_PIPELINE_H
#define MANAGER_PIPELINE_H

/*
 * Many requests to the fast path at once: what takes a round trip each takes one for CLIENT_WINDOW of them.
 */

#include "proto/client.h"

struct pipeline {
    /* Begins and writes request 'i'. */
    void (*write)(struct client *client, unsigned i, void *argument);
    /* Takes its reply, or why it failed; one of the two is NULL. An answer's first piece is all there is. */
    void (*read)(unsigned i, struct message *reply, const struct error *failure, void *argument);
    void *argument;
};

/* Sends requests 0 to n - 1. An error is one of the connection; what becomes of each request 'read' learns. */
int pipeline_run(struct client *client, const struct pipeline *pipeline, unsigned n, struct error *error);

/* An argument of a question or change; 'value' has to stay until it is sent. */
struct message_argument pipeline_argument(const char *name, const char *value);

#endif
