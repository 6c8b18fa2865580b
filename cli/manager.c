/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/manager.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_SIZE_MAX (64u << 20)
#define READ_SIZE 65536u
#define REQUEST_ID 1

struct manager_client {
    int fd;
    char *buffer;
    size_t size, capacity;
};

int manager_connect(struct cli *cli)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct manager_client *client;

    if (cli->manager)
        return EXIT_OK;
    if (strlen(cli->manager_path) >= sizeof address.sun_path)
        return cli_fail(EXIT_USAGE, "The manager's socket '%.60s...' has a name that is too long.",
                        cli->manager_path);
    client = calloc(1, sizeof *client);
    if (!client)
        return cli_fail(EXIT_REFUSED, "No memory for the connection to the manager.");
    strcpy(address.sun_path, cli->manager_path);
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof address)) {
        int code = errno;

        if (client->fd >= 0)
            close(client->fd);
        free(client);
        if (code == ENOENT || code == ECONNREFUSED)
            return cli_fail(EXIT_NO_SERVER,
                            "No manager answers at %s: start vnode-manager, or name its socket with --manager.",
                            cli->manager_path);
        return cli_fail(EXIT_NO_SERVER, "The manager at %s cannot be reached: %s.%s", cli->manager_path,
                        strerror(code), code == EACCES ? " Become root, or a member of its group." : "");
    }
    cli->manager = client;
    return EXIT_OK;
}

void manager_close(struct cli *cli)
{
    if (!cli->manager)
        return;
    close(cli->manager->fd);
    free(cli->manager->buffer);
    free(cli->manager);
    cli->manager = NULL;
}

int manager_fd(const struct cli *cli)
{
    return cli->manager->fd;
}

int manager_send(struct cli *cli, const char *method, json_t *params)
{
    int code = manager_connect(cli);
    json_t *request = params
                          ? json_pack("{s:i, s:s, s:o}", "id", REQUEST_ID, "method", method, "params", params)
                          : json_pack("{s:i, s:s}", "id", REQUEST_ID, "method", method);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    size_t size = text ? strlen(text) : 0;

    json_decref(request);
    if (!text && !code)
        code = cli_fail(EXIT_USAGE, "The request cannot be written as JSON: is all of it UTF-8?");
    if (!code)
        text[size++] = '\n'; /* in place of the NUL */
    for (size_t done = 0; done < size && !code;) {
        ssize_t sent = send(cli->manager->fd, text + done, size - done, MSG_NOSIGNAL);

        if (sent >= 0)
            done += (size_t)sent;
        else if (errno != EINTR)
            code = cli_fail(EXIT_NO_SERVER, "The manager has closed the connection: %s.", strerror(errno));
    }
    free(text);
    return code;
}

bool manager_has_message(const struct cli *cli)
{
    return cli->manager->size && memchr(cli->manager->buffer, '\n', cli->manager->size);
}

/* Reads more of a line; EXIT_OK, or the failure has been told. */
static int read_more(struct manager_client *client)
{
    ssize_t got;

    if (client->capacity - client->size < READ_SIZE) {
        size_t capacity = 2 * client->capacity + READ_SIZE;
        char *grown = capacity <= LINE_SIZE_MAX ? realloc(client->buffer, capacity) : NULL;

        if (!grown)
            return cli_fail(EXIT_REFUSED, "The manager's answer is too long.");
        client->buffer = grown;
        client->capacity = capacity;
    }
    do
        got = recv(client->fd, client->buffer + client->size, READ_SIZE, 0);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return cli_fail(EXIT_NO_SERVER, "The manager has closed the connection%s%s.", got ? ": " : "",
                        got ? strerror(errno) : "");
    client->size += (size_t)got;
    return EXIT_OK;
}

json_t *manager_receive(struct cli *cli, int *code)
{
    struct manager_client *client = cli->manager;
    json_t *message;
    size_t size;

    *code = EXIT_OK;
    while (!manager_has_message(cli)) {
        *code = read_more(client);
        if (*code)
            return NULL;
    }
    size = (size_t)((char *)memchr(client->buffer, '\n', client->size) - client->buffer);
    message = json_loadb(client->buffer, size, 0, NULL);
    client->size -= size + 1;
    memmove(client->buffer, client->buffer + size + 1, client->size);
    if (!message)
        *code = cli_fail(EXIT_REFUSED, "The manager's answer is no JSON; are the versions of both the same?");
    return message;
}

/* Tells a failure, and how to exit. */
static int tell(const struct cli *cli, const json_t *error)
{
    const char *word = cli_text(error, "code");
    enum exit_code code = !strcmp(word, "no-room")     ? EXIT_LACKING
                          : !strcmp(word, "invalid")   ? EXIT_USAGE
                          : !strcmp(word, "not-ready") ? EXIT_NO_SERVER
                                                       : EXIT_REFUSED;

    if (cli->json)
        cli_print_json(error);
    return cli_fail(code, "%s", cli_text(error, "text"));
}

json_t *manager_call(struct cli *cli, const char *method, json_t *params,
                     void (*seen)(const json_t *message, void *argument), void *argument, int *code)
{
    json_t *message, *result = NULL;

    *code = manager_send(cli, method, params);
    while (!*code && !result) {
        message = manager_receive(cli, code);
        if (!message)
            break;
        result = json_incref(json_object_get(message, "result"));
        if (json_object_get(message, "error"))
            *code = tell(cli, json_object_get(message, "error"));
        else if (!result && seen)
            seen(message, argument);
        json_decref(message);
    }
    return result;
}
