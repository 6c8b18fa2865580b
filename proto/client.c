/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

struct client {
    int fd;
    unsigned timeout_ms;
    uint32_t last_request;
    struct message_header header; /* of the message begun */
    struct wire_writer writer;
    char path[108];
    char software[64];
    uint8_t out[MESSAGE_SIZE_MAX];
    uint8_t in[MESSAGE_SIZE_MAX];
};

static int open_socket(const char *path, unsigned timeout_ms, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = timeout_ms / 1000, .tv_usec = (suseconds_t)timeout_ms % 1000 * 1000};
    int fd, code;

    if (strlen(path) >= sizeof address.sun_path) {
        error_set(error, ENAMETOOLONG,
                  "The socket path '%.100s' is longer than %zu bytes; choose a shorter one.", path,
                  sizeof address.sun_path - 1);
        return -1;
    }
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        error_set(error, errno, "Cannot open a socket: %s.", strerror(errno));
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (!connect(fd, (struct sockaddr *)&address, sizeof address))
        return fd;
    code = errno;
    close(fd);
    if (code == ENOENT || code == ECONNREFUSED)
        error_set(error, code,
                  "No fast path answers at %.120s: start vnode-fastpath, or name its socket with --socket.",
                  path);
    else if (code == EACCES)
        error_set(error, code,
                  "No permission for %.120s: become root, or a member of the group that the fast path "
                  "was started with (--group).",
                  path);
    else
        error_set(error, code, "Cannot connect to %.120s: %s.", path, strerror(code));
    return -1;
}

static int say_hello(struct client *client, const char *software, struct error *error)
{
    struct message_hello hello = {.version_min = PROTOCOL_VERSION_MIN, .version_max = PROTOCOL_VERSION_MAX};
    struct message reply;
    int result;

    snprintf(hello.software, sizeof hello.software, "%s", software);
    message_put_hello(client_begin(client, MESSAGE_HELLO), &hello);
    result = client_call(client, &reply, error);
    if (result)
        return result;
    message_close_fds(&reply);
    if (reply.header.type != MESSAGE_HELLO || !message_get_hello(&reply.body, &hello))
        return error_set(error, EPROTO,
                         "What listens at %.100s does not speak the fast path's control protocol.",
                         client->path);
    strcpy(client->software, hello.software);
    return 0;
}

struct client *client_connect(const char *path, const char *software, struct error *error)
{
    return client_connect_within(path, software, CLIENT_TIMEOUT_S * 1000, error);
}

struct client *client_connect_within(const char *path, const char *software, unsigned timeout_ms,
                                     struct error *error)
{
    struct client *client = calloc(1, sizeof *client);

    if (!client) {
        error_set(error, ENOMEM, "No memory for a connection to the fast path.");
        return NULL;
    }
    client->timeout_ms = timeout_ms;
    client->fd = open_socket(path, timeout_ms, error);
    if (client->fd < 0) {
        free(client);
        return NULL;
    }
    strcpy(client->path, path);
    if (say_hello(client, software, error)) {
        client_close(client);
        return NULL;
    }
    return client;
}

void client_close(struct client *client)
{
    if (!client)
        return;
    close(client->fd);
    free(client);
}

int client_fd(const struct client *client)
{
    return client->fd;
}

const char *client_server_software(const struct client *client)
{
    return client->software;
}

struct wire_writer *client_begin(struct client *client, enum message_type type)
{
    /* 0 is the request id of events. */
    if (!++client->last_request)
        client->last_request = 1;
    client->writer = wire_writer(client->out, sizeof client->out);
    message_put_header(&client->writer,
                       &(struct message_header){.type = type, .request = client->last_request});
    return &client->writer;
}

int client_send(struct client *client, uint32_t *request, struct error *error)
{
    ssize_t sent;

    if (client->writer.bad)
        return error_set(error, E2BIG, "The request is larger than a message of %d bytes.", MESSAGE_SIZE_MAX);
    if (request)
        *request = client->last_request;
    do
        sent = send(client->fd, client->out, wire_size(&client->writer), MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno == EAGAIN)
        return error_set(error, ETIMEDOUT, "The fast path at %.100s has taken no request for %.1f seconds.",
                         client->path, client->timeout_ms / 1000.0);
    if (sent < 0)
        return error_set(error, EPIPE, "The connection to the fast path at %.100s broke: %s.", client->path,
                         strerror(errno));
    return 0;
}

static void take_fds(struct msghdr *header, struct message *message)
{
    for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control)) {
        unsigned n = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
            continue;
        for (unsigned i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(control) + i * sizeof fd, sizeof fd);
            if (message->n_fds < MESSAGE_FDS_MAX)
                message->fds[message->n_fds++] = fd;
            else
                close(fd);
        }
    }
}

int client_receive(struct client *client, struct message *message, struct error *error)
{
    char control[CMSG_SPACE(MESSAGE_FDS_MAX * sizeof(int))] __attribute__((aligned(8)));
    struct iovec vector = {.iov_base = client->in, .iov_len = sizeof client->in};
    struct msghdr header = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    const char *problem;
    ssize_t size;

    message->n_fds = 0;
    do
        size = recvmsg(client->fd, &header, MSG_CMSG_CLOEXEC);
    while (size < 0 && errno == EINTR);
    if (size < 0 && errno == EAGAIN)
        return error_set(error, ETIMEDOUT, "The fast path at %.100s has not answered for %.1f seconds.",
                         client->path, client->timeout_ms / 1000.0);
    if (size <= 0)
        return error_set(error, EPIPE, "The fast path at %.100s closed the connection%s%s.", client->path,
                         size ? ": " : "", size ? strerror(errno) : "");
    take_fds(&header, message);
    message->body = wire_reader(client->in, size);
    problem = message_get_header(&message->body, &message->header);
    if (problem || header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        message_close_fds(message);
        return error_set(error, EPROTO, "The fast path at %.80s sent a message that is malformed: %s",
                         client->path, problem ? problem : "It is too long.");
    }
    return 0;
}

int message_to_error(struct message *message, uint32_t *index, uint32_t *done, struct error *error)
{
    struct message_error failure;

    if (!message_get_error(&message->body, &failure) || !failure.code || failure.code > INT32_MAX)
        return error_set(error, EPROTO, "The fast path sent an error that is malformed.");
    if (index)
        *index = failure.index;
    if (done)
        *done = failure.done;
    return error_set(error, failure.code, "%s", failure.text);
}

void message_close_fds(struct message *message)
{
    while (message->n_fds)
        close(message->fds[--message->n_fds]);
}

int client_call(struct client *client, struct message *reply, struct error *error)
{
    struct message unused;
    uint32_t request;
    int result = client_send(client, &request, error);

    if (!reply)
        reply = &unused;
    while (!result) {
        result = client_receive(client, reply, error);
        if (result || reply->header.request == request)
            break;
        message_close_fds(reply);
    }
    if (result)
        return result;
    if (reply == &unused)
        message_close_fds(reply);
    return reply->header.type == MESSAGE_ERROR ? message_to_error(reply, NULL, NULL, error) : 0;
}

int client_query_stream(struct client *client, const char *question, const struct message_argument arguments[],
                        unsigned n, client_sink sink, void *argument, struct error *error)
{
    struct message_query query = {.n_arguments = n};
    struct message reply;
    int result;

    if (n > MESSAGE_ARGUMENTS_MAX || strlen(question) >= sizeof query.question)
        return error_set(error, EINVAL, "The question '%.40s' is too long.", question);
    strcpy(query.question, question);
    for (unsigned i = 0; i < n; i++)
        query.arguments[i] = arguments[i];
    message_put_query(client_begin(client, MESSAGE_QUERY), &query);
    result = client_call(client, &reply, error);
    while (!result) {
        message_close_fds(&reply);
        if (reply.header.type == MESSAGE_ERROR)
            return message_to_error(&reply, NULL, NULL, error);
        if (reply.header.type == MESSAGE_ANSWER) {
            if (!sink(reply.body.next, reply.body.left, argument))
                return error_set(error, ECANCELED, "The answer to %s was not taken.", question);
            if (!(reply.header.flags & MESSAGE_MORE))
                break;
        } else if (reply.header.type != MESSAGE_EVENT) {
            return error_set(error, EPROTO, "The fast path answered %s with something else.", question);
        }
        result = client_receive(client, &reply, error);
    }
    return result;
}

struct collected {
    char *text;
    size_t size, room, most;
};

static bool collect(const void *piece, size_t size, void *argument)
{
    struct collected *collected = argument;

    if (collected->most && collected->size + size > collected->most)
        return false;
    if (collected->size + size + 1 > collected->room) {
        size_t room = 2 * (collected->size + size + 1);
        char *text = realloc(collected->text, room);

        if (!text)
            return false;
        collected->text = text;
        collected->room = room;
    }
    memcpy(collected->text + collected->size, piece, size);
    collected->size += size;
    collected->text[collected->size] = '\0';
    return true;
}

char *client_query(struct client *client, const char *question, const struct message_argument arguments[],
                   unsigned n, size_t most, struct error *error)
{
    struct collected collected = {.most = most};
    int result = client_query_stream(client, question, arguments, n, collect, &collected, error);

    if (result) {
        free(collected.text);
        if (result == ECANCELED)
            error_set(error, EMSGSIZE, "The answer to %s does not fit into memory.", question);
        return NULL;
    }
    return collected.text;
}
