/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/server.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/socket.h"

#define READ_SIZE 65536u
#define BACKLOG 16

struct peer {
    uv_pipe_t pipe;
    uv_timer_t timer; /* runs while a line is incomplete */
    struct server *server;
    uint64_t id;
    unsigned n_handles; /* that are open */
    bool closing;
    char *buffer;
    size_t size, capacity;
    size_t scanned; /* of it: there is no newline */
};

struct server {
    uv_pipe_t listener;
    uv_loop_t *loop;
    char path[108];
    server_request on_request;
    void *argument;
    uint64_t last_id;
    unsigned n_peers;
    struct peer *peers[SERVER_PEERS_MAX];
    bool closing;
    unsigned n_open; /* the listener, and peers that are not freed yet */
};

static void release(struct server *server)
{
    if (!--server->n_open)
        free(server);
}

static void on_peer_handle_closed(uv_handle_t *handle)
{
    struct peer *peer = handle->data;

    if (--peer->n_handles)
        return;
    release(peer->server);
    free(peer->buffer);
    free(peer);
}

static void drop(struct peer *peer)
{
    struct server *server = peer->server;

    if (peer->closing)
        return;
    peer->closing = true;
    for (unsigned i = 0; i < server->n_peers; i++)
        if (server->peers[i] == peer)
            server->peers[i] = server->peers[--server->n_peers];
    uv_close((uv_handle_t *)&peer->timer, on_peer_handle_closed);
    uv_close((uv_handle_t *)&peer->pipe, on_peer_handle_closed);
}

/* Sending. */

static void on_written(uv_write_t *write, int status)
{
    free(write->data);
    free(write);
}

static void send_text(struct peer *peer, char *text, size_t size)
{
    uv_write_t *write = calloc(1, sizeof *write);
    uv_buf_t buffer = uv_buf_init(text, (unsigned)size);

    if (!write) {
        free(text);
        drop(peer);
        return;
    }
    write->data = text;
    if (uv_write(write, (uv_stream_t *)&peer->pipe, &buffer, 1, on_written)) {
        on_written(write, 0);
        drop(peer);
    } else if (uv_stream_get_write_queue_size((uv_stream_t *)&peer->pipe) > SERVER_OUTPUT_MAX) {
        log_warning("a peer does not read what it asked for; its connection is closed");
        drop(peer);
    }
}

static struct peer *find_peer(const struct server *server, uint64_t id)
{
    for (unsigned i = 0; i < server->n_peers; i++)
        if (server->peers[i]->id == id)
            return server->peers[i];
    return NULL;
}

bool server_send(struct server *server, uint64_t id, json_t *message)
{
    struct peer *peer = find_peer(server, id);
    char *text = peer ? json_dumps(message, JSON_COMPACT) : NULL;
    size_t size = text ? strlen(text) : 0;

    json_decref(message);
    if (!peer)
        return false;
    if (!text) {
        drop(peer);
        return false;
    }
    text[size] = '\n'; /* in place of the NUL */
    send_text(peer, text, size + 1);
    return !peer->closing;
}

/* Receiving. */

json_t *server_error(uint64_t request, const struct error *error)
{
    static const struct {
        int code;
        const char *word;
    } words[] = {{EINVAL, "invalid"},   {ENOENT, "not-found"}, {ENOSPC, "no-room"},     {EBUSY, "busy"},
                 {EAGAIN, "not-ready"}, {EMSGSIZE, "invalid"}, {ECANCELED, "cancelled"}};
    const char *word = "failed";

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i].code == error->code)
            word = words[i].word;
    return json_pack("{s:I, s:{s:s, s:s}}", "id", (json_int_t)request, "error", "code", word, "text",
                     error->text);
}

static void refuse(struct peer *peer, uint64_t request, const struct error *error)
{
    server_send(peer->server, peer->id, server_error(request, error));
}

static void take_line(struct peer *peer, const char *line, size_t size)
{
    struct request request;
    struct error error;

    if (request_parse(line, size, &request, &error)) {
        refuse(peer, request.id, &error);
        return;
    }
    peer->server->on_request(peer->id, &request, peer->server->argument);
    request_free(&request);
}

static void on_late(uv_timer_t *timer)
{
    log_warning("a peer has sent half a line and no more; its connection is closed");
    drop(timer->data);
}

/* Takes all complete lines out of the buffer. */
static void take_lines(struct peer *peer)
{
    size_t done = 0;

    while (!peer->closing) {
        char *end = memchr(peer->buffer + peer->scanned, '\n', peer->size - peer->scanned);

        if (!end)
            break;
        take_line(peer, peer->buffer + done, (size_t)(end - peer->buffer) - done);
        done = peer->scanned = (size_t)(end - peer->buffer) + 1;
    }
    if (peer->closing)
        return;
    peer->size -= done;
    memmove(peer->buffer, peer->buffer + done, peer->size);
    peer->scanned = peer->size;
    if (!peer->size) {
        uv_timer_stop(&peer->timer);
    } else if (peer->size > REQUEST_SIZE_MAX) {
        refuse(peer, 0, &(struct error){EMSGSIZE, "The request is too long."});
        drop(peer);
    } else if (done || !uv_is_active((uv_handle_t *)&peer->timer)) {
        uv_timer_start(&peer->timer, on_late, SERVER_LINE_MS, 0);
    }
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct peer *peer = handle->data;

    if (peer->capacity - peer->size < READ_SIZE) {
        size_t capacity = peer->capacity * 2 + READ_SIZE;
        char *grown = realloc(peer->buffer, capacity);

        if (!grown) {
            *buffer = uv_buf_init(NULL, 0); /* libuv calls on_read() with UV_ENOBUFS */
            return;
        }
        peer->buffer = grown;
        peer->capacity = capacity;
    }
    *buffer = uv_buf_init(peer->buffer + peer->size, READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    struct peer *peer = stream->data;

    if (got < 0) {
        drop(peer);
        return;
    }
    peer->size += (size_t)got;
    take_lines(peer);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct server *server = listener->data;
    struct peer *peer = status ? NULL : calloc(1, sizeof *peer);

    if (!peer)
        return;
    peer->server = server;
    peer->id = ++server->last_id;
    peer->n_handles = 2;
    server->n_open++;
    uv_pipe_init(server->loop, &peer->pipe, 0);
    uv_timer_init(server->loop, &peer->timer);
    peer->pipe.data = peer->timer.data = peer;
    if (uv_accept(listener, (uv_stream_t *)&peer->pipe) || server->n_peers == SERVER_PEERS_MAX) {
        log_warning("there are %u connections to the manager already; one more is refused", server->n_peers);
        drop(peer);
        return;
    }
    server->peers[server->n_peers++] = peer;
    if (uv_read_start((uv_stream_t *)&peer->pipe, give_room, on_read))
        drop(peer);
}

/* Opening, closing. */

static void on_listener_closed(uv_handle_t *handle)
{
    release(handle->data);
}

static int listen_at(struct server *server, const char *group, struct error *error)
{
    const struct group *entry = *group ? getgrnam(group) : NULL;
    mode_t mask;
    int code;

    if (*group && !entry)
        return error_set(error, ENOENT,
                         "There is no group '%s' for the manager's socket; add it: groupadd -r %s", group,
                         group);
    if (socket_answers(server->path))
        return error_set(error, EADDRINUSE, "Another manager answers at %s.", server->path);
    unlink(server->path);
    mask = umask(0177);
    code = -uv_pipe_bind(&server->listener, server->path);
    umask(mask);
    if (!code && entry && chown(server->path, (uid_t)-1, entry->gr_gid))
        code = errno;
    if (!code && chmod(server->path, entry ? 0660 : 0600))
        code = errno;
    if (!code)
        code = -uv_listen((uv_stream_t *)&server->listener, BACKLOG, on_connection);
    return code ? error_set(error, code, "The manager cannot listen at %s: %s.", server->path, strerror(code))
                : 0;
}

int server_open(struct server **result, uv_loop_t *loop, const char *path, const char *group,
                server_request on_request, void *argument, struct error *error)
{
    struct server *server = calloc(1, sizeof *server);
    int code;

    *result = NULL;
    if (!server || strlen(path) >= sizeof server->path) {
        free(server);
        return error_set(error, ENAMETOOLONG, "The name of the manager's socket, %s, is too long.", path);
    }
    strcpy(server->path, path);
    server->loop = loop;
    server->on_request = on_request;
    server->argument = argument;
    server->n_open = 1;
    uv_pipe_init(loop, &server->listener, 0);
    server->listener.data = server;
    code = listen_at(server, group, error);
    if (code)
        uv_close((uv_handle_t *)&server->listener, on_listener_closed);
    else
        *result = server;
    return code;
}

static void on_shut_down(uv_shutdown_t *shutdown, int status)
{
    struct peer *peer = shutdown->data;

    free(shutdown);
    drop(peer);
}

void server_close(struct server *server)
{
    if (!server || server->closing)
        return;
    server->closing = true;
    for (unsigned i = server->n_peers; i-- > 0;) {
        struct peer *peer = server->peers[i];
        uv_shutdown_t *shutdown = calloc(1, sizeof *shutdown);

        uv_read_stop((uv_stream_t *)&peer->pipe);
        if (shutdown)
            shutdown->data = peer;
        if (!shutdown || uv_shutdown(shutdown, (uv_stream_t *)&peer->pipe, on_shut_down)) {
            free(shutdown);
            drop(peer);
        } else {
            uv_timer_start(&peer->timer, on_late, SERVER_LINE_MS, 0);
        }
    }
    uv_close((uv_handle_t *)&server->listener, on_listener_closed); /* removes its file, too */
}
