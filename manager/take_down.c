/* SPDX-License-Identifier: Apache-2.0 */
/* The other side of taking a node down: asks the manager that runs, and waits until it has ended. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/socket.h"
#include "manager/manager.h"

/* Reads the one line of the reply; its error's text, to be freed, or NULL. */
static char *read_refusal(FILE *connection)
{
    char *line = NULL, *refusal = NULL;
    const char *text;
    size_t size = 0;
    json_t *reply;

    if (getline(&line, &size, connection) < 0) {
        free(line);
        return strdup("It has ended before it was done.");
    }
    reply = json_loads(line, 0, NULL);
    text = json_string_value(json_object_get(json_object_get(reply, "error"), "text"));
    if (text)
        refusal = strdup(text);
    json_decref(reply);
    free(line);
    return refusal;
}

static int ask(const char *path, struct error *error)
{
    static const char request[] = "{\"id\":1,\"method\":\"down\"}\n";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FILE *connection;
    char *refusal, byte;
    int code = 0;

    strcpy(address.sun_path, path);
    connection = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (!connection || connect(fd, (struct sockaddr *)&address, sizeof address) ||
        send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
        code = error_set(error, errno, "The manager at %s cannot be asked: %s.", path, strerror(errno));
    if (!code) {
        refusal = read_refusal(connection);
        if (refusal)
            code = error_set(error, EIO, "The node cannot be taken down wholly: %.180s", refusal);
        free(refusal);
        while (read(fd, &byte, 1) > 0) /* it closes the connection as the last thing it does */
            ;
    }
    if (connection)
        fclose(connection);
    else if (fd >= 0)
        close(fd);
    return code;
}

int manager_take_down(const struct config *config, struct error *error)
{
    char path[CONFIG_RUN_SIZE + 32];

    snprintf(path, sizeof path, "%s/manager.sock", config->run);
    return socket_answers(path) ? ask(path, error) : manager_run(config, true, error);
}
