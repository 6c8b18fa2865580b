/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON-RPC 1.0 as OVSDB uses it: objects one behind the other, with nothing between them. Where one ends is found by
 * counting braces outside of strings; jansson parses it then.
 */
#include "manager/ovsdb.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"

#define MESSAGE_SIZE_MAX (64u << 20)
#define READ_SIZE 65536u

struct ovsdb {
    int fd;
    char remote[128];
    char name[64];
    json_int_t last_id;
    json_t *changes; /* an array: <table-updates> that have come and were not taken */

    /* what has been read and is not parsed yet */
    char *buffer;
    size_t size, capacity;
    size_t scanned; /* of it */
    unsigned depth; /* of braces there */
    bool in_string, escaped;
};

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int connect_tcp(const char *address)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    const char *colon = strrchr(address, ':');
    struct addrinfo *found = NULL;
    char host[64];
    int fd = -1;

    errno = EINVAL;
    if (!colon || (size_t)(colon - address) >= sizeof host)
        return -1;
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    if (getaddrinfo(host, colon + 1, &hints, &found))
        return -1;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen)) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

int ovsdb_open(struct ovsdb **result, const char *remote, const char *name, struct error *error)
{
    struct ovsdb *db = calloc(1, sizeof *db);

    *result = NULL;
    if (!db)
        return error_set(error, ENOMEM, "There is no memory for a connection to %s.", remote);
    snprintf(db->remote, sizeof db->remote, "%s", remote);
    snprintf(db->name, sizeof db->name, "%s", name);
    db->changes = json_array();
    errno = EINVAL;
    db->fd = !strncmp(remote, "unix:", 5)  ? connect_unix(remote + 5)
             : !strncmp(remote, "tcp:", 4) ? connect_tcp(remote + 4)
                                           : -1;
    if (db->fd < 0) {
        error_set(error, errno, "The database server at %s cannot be reached: %s. Is ovsdb-server running?",
                  remote, strerror(errno));
        ovsdb_close(db);
        return error ? error->code : EIO;
    }
    *result = db;
    return 0;
}

void ovsdb_close(struct ovsdb *db)
{
    if (!db)
        return;
    if (db->fd >= 0)
        close(db->fd);
    json_decref(db->changes);
    free(db->buffer);
    free(db);
}

int ovsdb_fd(const struct ovsdb *db)
{
    return db->fd;
}

static int send_message(struct ovsdb *db, json_t *message, struct error *error)
{
    char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    size_t size = text ? strlen(text) : 0, done = 0;
    int code = 0;

    json_decref(message);
    if (!text)
        return error_set(error, ENOMEM, "A request to the database at %s could not be written as JSON.",
                         db->remote);
    while (done < size && !code) {
        ssize_t sent = send(db->fd, text + done, size - done, MSG_NOSIGNAL);

        if (sent > 0)
            done += (size_t)sent;
        else if (errno != EINTR)
            code = error_set(error, ECONNRESET, "The database server at %s has gone: %s.", db->remote,
                             strerror(errno));
    }
    free(text);
    return code;
}

/* Looks for the end of the first object in the buffer; its size, or 0 when it is not all there. */
static size_t find_end(struct ovsdb *db)
{
    for (; db->scanned < db->size; db->scanned++) {
        char c = db->buffer[db->scanned];

        if (db->in_string) {
            if (db->escaped)
                db->escaped = false;
            else if (c == '\\')
                db->escaped = true;
            else if (c == '"')
                db->in_string = false;
        } else if (c == '"') {
            db->in_string = true;
        } else if (c == '{') {
            db->depth++;
        } else if (c == '}' && db->depth && !--db->depth) {
            return ++db->scanned;
        }
    }
    return 0;
}

/* Takes the next message out of the buffer; NULL: not all of it is there yet. */
static int parse_message(struct ovsdb *db, json_t **message, struct error *error)
{
    size_t end = find_end(db);

    *message = NULL;
    if (!end)
        return 0;
    *message = json_loadb(db->buffer, end, 0, NULL);
    db->size -= end;
    memmove(db->buffer, db->buffer + end, db->size);
    db->scanned = 0;
    return *message ? 0
                    : error_set(error, EPROTO, "The database server at %s sent something that is no JSON.",
                                db->remote);
}

/* Reads what there is, and waits for it until 'deadline_ms' (0: not at all). EAGAIN: nothing came. */
static int read_more(struct ovsdb *db, int64_t deadline_ms, struct error *error)
{
    struct pollfd ready = {.fd = db->fd, .events = POLLIN};
    int64_t left = deadline_ms ? deadline_ms - clock_ms() : 0;
    ssize_t got;

    if (poll(&ready, 1, left > 0 ? (int)left : 0) <= 0)
        return EAGAIN;
    if (db->capacity - db->size < READ_SIZE) {
        size_t capacity = db->capacity * 2 + READ_SIZE;
        char *grown = capacity <= MESSAGE_SIZE_MAX ? realloc(db->buffer, capacity) : NULL;

        if (!grown)
            return error_set(error, EPROTO, "The database server at %s sent a message that is too large.",
                             db->remote);
        db->buffer = grown;
        db->capacity = capacity;
    }
    got = recv(db->fd, db->buffer + db->size, db->capacity - db->size, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (got <= 0)
        return error_set(error, ECONNRESET, "The database server at %s has closed the connection.", db->remote);
    db->size += (size_t)got;
    return 0;
}

/* Deals with what is no answer to us: "echo" is answered, "update" kept. Takes 'message' over. */
static int handle_request(struct ovsdb *db, json_t *message, struct error *error)
{
    const char *method = json_string_value(json_object_get(message, "method"));
    json_t *parameters = json_object_get(message, "params"), *id = json_object_get(message, "id");
    int code = 0;

    if (method && !strcmp(method, "echo"))
        code = send_message(db, json_pack("{s:O, s:n, s:O}", "result", parameters, "error", "id", id), error);
    else if (method && !strcmp(method, "update"))
        json_array_append(db->changes, json_array_get(parameters, 1));
    json_decref(message);
    return code;
}

/* Waits for the answer to request 'id': '*result', to be freed. */
static int await_answer(struct ovsdb *db, json_int_t id, json_t **result, struct error *error)
{
    int64_t deadline_ms = clock_ms() + OVSDB_WAIT_MS;
    json_t *message;
    int code;

    for (;;) {
        code = parse_message(db, &message, error);
        if (code)
            return code;
        if (!message) {
            code = read_more(db, deadline_ms, error);
            if (code == EAGAIN && clock_ms() >= deadline_ms)
                return error_set(error, ETIMEDOUT, "The database server at %s has not answered within %d s.",
                                 db->remote, OVSDB_WAIT_MS / 1000);
            if (code && code != EAGAIN)
                return code;
            continue;
        }
        if (json_is_string(json_object_get(message, "method"))) {
            code = handle_request(db, message, error);
            if (code)
                return code;
            continue;
        }
        if (json_integer_value(json_object_get(message, "id")) == id)
            break;
        json_decref(message); /* of a request that somebody has given up */
    }
    *result = json_incref(json_object_get(message, "result"));
    if (!json_is_null(json_object_get(message, "error"))) {
        char *text = json_dumps(json_object_get(message, "error"), JSON_ENCODE_ANY | JSON_COMPACT);

        code = error_set(error, EINVAL, "The database at %s refuses a request: %.150s.", db->remote,
                         text ? text : "?");
        free(text);
        json_decref(*result);
        *result = NULL;
    }
    json_decref(message);
    return code;
}

/* Sends a request and waits for its result; 'parameters' is taken over. */
static int call(struct ovsdb *db, const char *method, json_t *parameters, json_t **result, struct error *error)
{
    json_int_t id = ++db->last_id;
    int code = send_message(
        db, json_pack("{s:s, s:o, s:I}", "method", method, "params", parameters, "id", id), error);

    return code ? code : await_answer(db, id, result, error);
}

/* The first operation that failed, as a sentence. RFC 7047, 4.1.3: it may be one more than there were operations. */
static int check_results(const struct ovsdb *db, const json_t *results, struct error *error)
{
    const json_t *result;
    size_t i;

    json_array_foreach(results, i, result)
    {
        const char *what = json_string_value(json_object_get(result, "error"));
        const char *details = json_string_value(json_object_get(result, "details"));

        if (what &&
            !strcmp(what, "I/O error")) /* RFC 7047, 4.1.3 and 5.1: of the server, when it writes its file */
            return error_set(error, EIO,
                             "The database at %s cannot be written: %.120s. Is there room on its disk?",
                             db->remote, details ? details : what);
        if (what)
            return error_set(error, EINVAL, "The database at %s refuses a transaction: %.60s (%.120s).",
                             db->remote, what, details ? details : "no details");
    }
    return json_is_array(results)
               ? 0
               : error_set(error, EPROTO, "The database server at %s sent no results.", db->remote);
}

int ovsdb_transact(struct ovsdb *db, json_t *operations, json_t **results, struct error *error)
{
    json_t *answer = NULL;
    int code;

    json_array_insert_new(operations, 0, json_string(db->name));
    code = call(db, "transact", operations, &answer, error);
    if (!code)
        code = check_results(db, answer, error);
    if (!code && results)
        *results = json_incref(answer);
    json_decref(answer);
    return code;
}

int ovsdb_watch(struct ovsdb *db, json_t *tables, json_t **initial, struct error *error)
{
    return call(db, "monitor", json_pack("[s, n, o]", db->name, tables), initial, error);
}

int ovsdb_take_change(struct ovsdb *db, json_t **change, struct error *error)
{
    int code = 0;

    *change = NULL;
    while (!json_array_size(db->changes) && !code) {
        json_t *message;

        code = parse_message(db, &message, error);
        if (!code && message)
            code = handle_request(db, message, error);
        else if (!code)
            code = read_more(db, 0, error);
    }
    if (json_array_size(db->changes)) {
        *change = json_incref(json_array_get(db->changes, 0));
        json_array_remove(db->changes, 0);
        return 0;
    }
    return code == EAGAIN ? 0 : code;
}

/* RFC 7047, 5.1: ["set", [...]] and ["map", [[key, value], ...]]. */
static const json_t *container(const json_t *value, const char *kind)
{
    const char *name = json_string_value(json_array_get(value, 0));

    return name && !strcmp(name, kind) ? json_array_get(value, 1) : NULL;
}

const json_t *ovsdb_column(const json_t *row, const char *column)
{
    const json_t *value = json_object_get(row, column);
    const json_t *set = container(value, "set");

    return set ? json_array_get(set, 0) : value;
}

const char *ovsdb_map_get(const json_t *row, const char *column, const char *key)
{
    const json_t *pairs = container(json_object_get(row, column), "map"), *pair;
    size_t i;

    json_array_foreach(pairs, i, pair)
    {
        const char *name = json_string_value(json_array_get(pair, 0));

        if (name && !strcmp(name, key))
            return json_string_value(json_array_get(pair, 1));
    }
    return NULL;
}

const json_t *ovsdb_rows(const json_t *results, size_t i)
{
    static json_t *nothing;
    const json_t *rows = json_object_get(json_array_get(results, i), "rows");

    if (!nothing)
        nothing = json_array();
    return rows ? rows : nothing;
}
