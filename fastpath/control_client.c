/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/control_client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/socket.h"

#define SOFTWARE "vnode-fastpath " VNODE_VERSION

/* The message coming in, and the one being written: one of each at a time, by the control thread. */
static uint8_t in[MESSAGE_SIZE_MAX];
static uint8_t out[MESSAGE_SIZE_MAX];
static struct wire_writer writer;

struct control_client *control_client_create(int fd)
{
    static uint64_t n_created;
    struct control_client *client = calloc(1, sizeof *client);

    if (!client)
        return NULL;
    client->fd = fd;
    client->since = n_created++;
    client->last = &client->first;
    return client;
}

static void drop_output(struct control_client *client)
{
    struct control_output *output = client->first;

    client->first = output->next;
    if (!client->first)
        client->last = &client->first;
    client->queued -= output->size;
    for (unsigned i = 0; i < output->n_fds; i++)
        close(output->fds[i]);
    free(output);
}

void control_client_destroy(struct control_client *client)
{
    while (client->first)
        drop_output(client);
    control_answer_destroy(client->answer);
    control_release_holdings(&client->holdings);
    close(client->fd);
    free(client);
}

struct control_holding **control_holdings(struct control_client *client)
{
    return &client->holdings;
}

/* Sends one message; EAGAIN: the client has to take others first. */
static int transmit(int fd, const void *data, size_t size, const int fds[], unsigned n_fds)
{
    char control[CMSG_SPACE(MESSAGE_FDS_MAX * sizeof(int))] __attribute__((aligned(8)));
    struct iovec vector = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    ssize_t sent;

    if (n_fds)
        socket_attach_fds(&header, control, fds, n_fds);
    do
        sent = sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? errno : 0;
}

struct wire_writer *control_begin(struct control_client *client, enum message_type type, uint16_t flags,
                                  uint32_t request)
{
    writer = wire_writer(out, sizeof out);
    message_put_header(&writer, &(struct message_header){.type = type, .flags = flags, .request = request});
    return &writer;
}

static void enqueue(struct control_client *client, const int fds[], unsigned n_fds)
{
    size_t size = wire_size(&writer);
    struct control_output *output = malloc(sizeof *output + size);

    if (!output) {
        client->dead = true;
        return;
    }
    output->next = NULL;
    output->size = size;
    output->n_fds = 0;
    memcpy(output->data, out, size);
    for (unsigned i = 0; i < n_fds; i++) {
        int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

        if (copy < 0) {
            client->dead = true;
            break;
        }
        output->fds[output->n_fds++] = copy;
    }
    *client->last = output;
    client->last = &output->next;
    client->queued += size;
}

void control_send(struct control_client *client, const int fds[], unsigned n_fds)
{
    int result = EAGAIN;

    assert(!writer.bad && n_fds <= MESSAGE_FDS_MAX);
    if (client->dead)
        return;
    if (!client->first)
        result = transmit(client->fd, out, wire_size(&writer), fds, n_fds);
    if (result == EAGAIN)
        enqueue(client, fds, n_fds);
    else if (result)
        client->dead = true;
}

void control_reply_ok(struct control_client *client, uint32_t request, uint32_t count, uint64_t value)
{
    message_put_ok(control_begin(client, MESSAGE_OK, 0, request),
                   &(struct message_ok){.count = count, .value = value});
    control_send(client, NULL, 0);
}

static void reply_error(struct control_client *client, uint32_t request, const struct error *error,
                        uint32_t index, uint32_t done)
{
    struct message_error reply = {.code = error->code, .index = index, .done = done};

    snprintf(reply.text, sizeof reply.text, "%s", error->text);
    message_put_error(control_begin(client, MESSAGE_ERROR, 0, request), &reply);
    control_send(client, NULL, 0);
}

void control_reply_items(struct control_client *client, uint32_t request, uint32_t done, uint32_t index,
                         const struct error *first, uint64_t value)
{
    if (first->code)
        reply_error(client, request, first, index, done);
    else
        control_reply_ok(client, request, done, value);
}

void control_client_refuse(struct control_client *client, uint32_t request, int code, const char *sentence)
{
    struct error error;

    error_set(&error, code, "%s", sentence);
    reply_error(client, request, &error, 0, 0);
    client->closing = true;
}

void control_client_event(struct control_client *client, const struct message_event *event)
{
    if (client->dead || client->closing)
        return;
    message_put_event(control_begin(client, MESSAGE_EVENT, 0, 0), event);
    control_send(client, NULL, 0);
    if (client->queued > CLIENT_QUEUE_MAX) {
        log_warning("A client of the control socket does not take its events; it is disconnected.");
        client->dead = true;
    }
}

void control_answer(struct control_client *client, struct control_answer *answer)
{
    client->answer = answer;
}

/* Sends the next piece of the answer under way. */
static void send_piece(struct control_client *client)
{
    struct control_answer *answer = client->answer;
    size_t size;
    bool last;

    if (answer->size < ANSWER_PIECE_SIZE && !answer->finished)
        answer->finished = !answer->refill(answer);
    if (answer->failed) {
        client->answer = NULL;
        reply_error(client, answer->request,
                    &(struct error){.code = ENOMEM, .text = "No memory for the whole answer."}, 0, 0);
        control_answer_destroy(answer);
        return;
    }
    size = answer->size < ANSWER_PIECE_SIZE ? answer->size : ANSWER_PIECE_SIZE;
    last = answer->finished && size == answer->size;
    wire_put_bytes(control_begin(client, MESSAGE_ANSWER, last ? 0 : MESSAGE_MORE, answer->request),
                   answer->text, size);
    control_send(client, NULL, 0);
    answer->size -= size;
    if (answer->size)
        memmove(answer->text, answer->text + size, answer->size);
    if (last) {
        client->answer = NULL;
        control_answer_destroy(answer);
    }
}

static void handle_hello(struct control_client *client, const struct message_header *header,
                         struct wire_reader *body)
{
    struct message_hello hello;
    char sentence[160];

    if (!message_get_hello(body, &hello)) {
        control_client_refuse(client, header->request, EPROTO, "The HELLO message is malformed.");
        return;
    }
    if (hello.version_max < PROTOCOL_VERSION_MIN || hello.version_min > PROTOCOL_VERSION_MAX) {
        snprintf(
            sentence, sizeof sentence,
            "This fast path speaks the protocol versions %d to %d, the client %u to %u; update the older one.",
            PROTOCOL_VERSION_MIN, PROTOCOL_VERSION_MAX, hello.version_min, hello.version_max);
        control_client_refuse(client, header->request, EPROTO, sentence);
        return;
    }
    client->greeted = true;
    if (hello.version_max > PROTOCOL_VERSION_MAX)
        hello.version_max = PROTOCOL_VERSION_MAX;
    hello.version_min = hello.version_max;
    strcpy(hello.software, SOFTWARE);
    message_put_hello(control_begin(client, MESSAGE_HELLO, 0, header->request), &hello);
    control_send(client, NULL, 0);
}

static int handle_subscribe(struct control_client *client, const struct message_header *header,
                            struct wire_reader *body, struct error *error)
{
    uint32_t mask = wire_get_u32(body);

    if (mask & ~EVENT_MASK_ALL)
        return error_set(error, EINVAL, "There are no such events; this version knows the first %d.",
                         EVENT_KIND_END);
    client->event_mask = mask;
    control_reply_ok(client, header->request, 0, 0);
    return 0;
}

static void handle_message(struct control_client *client, size_t size)
{
    struct wire_reader body = wire_reader(in, size);
    struct message_header header;
    struct error error = {0};
    const char *problem = message_get_header(&body, &header);
    control_handler *handler;
    int result;

    if (problem) {
        control_client_refuse(client, header.request, EPROTO, problem);
        return;
    }
    if (!client->greeted && header.type != MESSAGE_HELLO) {
        control_client_refuse(client, header.request, EPROTO, "The first message has to be HELLO.");
        return;
    }
    if (header.type == MESSAGE_HELLO) {
        handle_hello(client, &header, &body);
        return;
    }
    handler = header.type == MESSAGE_SUBSCRIBE ? handle_subscribe : control_handler_of(header.type);
    if (!handler) {
        control_client_refuse(client, header.request, EPROTO, "A client may not send this type of message.");
        return;
    }
    result = handler(client, &header, &body, &error);
    if (result) {
        error.code = result;
        reply_error(client, header.request, &error, 0, 0);
    }
}

/* No request carries file descriptors: whatever came is closed. Returns whether anything did. */
static bool close_received_fds(struct msghdr *header)
{
    bool any = header->msg_flags & MSG_CTRUNC;

    for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control)) {
        unsigned n = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
            continue;
        any = true;
        for (unsigned i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(control) + i * sizeof fd, sizeof fd);
            close(fd);
        }
    }
    return any;
}

/* Reads and handles one request. Returns whether there may be another. */
static bool receive(struct control_client *client)
{
    char control[CMSG_SPACE(MESSAGE_FDS_MAX * sizeof(int))] __attribute__((aligned(8)));
    struct iovec vector = {.iov_base = in, .iov_len = sizeof in};
    struct msghdr header = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(client->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    /* An empty datagram looks the same as the end of the connection; the protocol has no use for one. */
    if (size <= 0) {
        client->dead = true;
        return false;
    }
    if (close_received_fds(&header))
        control_client_refuse(client, 0, EPROTO, "No request carries file descriptors.");
    else if (header.msg_flags & MSG_TRUNC)
        control_client_refuse(client, 0, EMSGSIZE, "The message is longer than 65536 bytes.");
    else
        handle_message(client, size);
    return !client->dead && !client->closing;
}

static void send_queue(struct control_client *client)
{
    while (client->first && !client->dead) {
        struct control_output *output = client->first;
        int result = transmit(client->fd, output->data, output->size, output->fds, output->n_fds);

        if (result == EAGAIN)
            return;
        if (result)
            client->dead = true;
        else
            drop_output(client);
    }
    if (client->closing)
        client->dead = true;
}

static bool may_read(const struct control_client *client)
{
    return !client->dead && !client->closing && !client->answer && client->queued <= CLIENT_QUEUE_LOW;
}

uint32_t control_client_interest(const struct control_client *client)
{
    return (may_read(client) ? EPOLLIN : 0) |
           (client->first || client->answer || client->closing ? EPOLLOUT : 0);
}

void control_client_serve(struct control_client *client, uint32_t epoll_events)
{
    /* With reading suspended, a hang-up is all that is left to know. */
    if (epoll_events & (EPOLLERR | EPOLLHUP) && !(epoll_events & EPOLLIN)) {
        client->dead = true;
        return;
    }
    send_queue(client);
    for (int i = 0; i < CLIENT_ROUND_MAX && !client->dead; i++) {
        if (client->answer && client->queued <= CLIENT_QUEUE_LOW)
            send_piece(client);
        else if (!may_read(client) || !receive(client))
            break;
    }
}
