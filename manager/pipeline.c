/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/pipeline.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The next reply. Only its first message counts. */
static int receive(struct client *client, const struct pipeline *pipeline, unsigned i, struct error *error)
{
    struct message message;
    bool first = true, more;

    do {
        int code = client_receive(client, &message, error);

        if (code)
            return code;
        message_close_fds(&message);
        more = message.header.type == MESSAGE_EVENT || message.header.flags & MESSAGE_MORE;
        if (message.header.type == MESSAGE_EVENT || !first)
            continue;
        first = false;
        if (message.header.type == MESSAGE_ERROR) {
            struct error failure;

            message_to_error(&message, NULL, NULL, &failure);
            pipeline->read(i, NULL, &failure, pipeline->argument);
        } else {
            pipeline->read(i, &message, NULL, pipeline->argument);
        }
    } while (more);
    return 0;
}

int pipeline_run(struct client *client, const struct pipeline *pipeline, unsigned n, struct error *error)
{
    unsigned n_read = 0;
    int code = 0;

    for (unsigned i = 0; i < n && !code; i++) {
        if (i - n_read == CLIENT_WINDOW)
            code = receive(client, pipeline, n_read++, error);
        if (!code) {
            pipeline->write(client, i, pipeline->argument);
            code = client_send(client, NULL, error);
        }
    }
    while (n_read < n && !code)
        code = receive(client, pipeline, n_read++, error);
    return code;
}

struct message_argument pipeline_argument(const char *name, const char *value)
{
    struct message_argument argument = {.value = value, .size = (uint16_t)strlen(value)};

    snprintf(argument.name, sizeof argument.name, "%s", name);
    return argument;
}
