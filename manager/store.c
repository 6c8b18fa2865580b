/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server tells of a change before it answers the transaction that made it (ovsdb-server(7), "monitor"), so a store that
 * takes in what has come behind each of its own writes sees them.
 */
#include "manager/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "manager/ovsdb.h"

struct store {
    char remote[SLICE_PATH_SIZE];
    char host[64];
    struct ovsdb *db; /* NULL: not connected */
    pthread_mutex_t lock;

    /* the mirror, changed by the writer under the lock */
    unsigned n_rows;
    struct store_row *rows[SLICES_MAX];
};

static const char *const state_names[] = {"pending", "running", "reserved", "failed", "destroying"};
static const char *const columns[] = {"name",    "host",    "spec",  "previous", "reserved", "stopped",
                                      "created", "expires", "state", "reason",   "status"};

const char *store_state_name(enum store_state state)
{
    return state_names[state];
}

int store_open(struct store **result, const char *remote, const char *host, struct error *error)
{
    struct store *store = calloc(1, sizeof *store);

    *result = store;
    if (!store)
        return error_set(error, ENOMEM, "There is no memory for the slices' rows.");
    snprintf(store->remote, sizeof store->remote, "%s", remote);
    snprintf(store->host, sizeof store->host, "%s", host);
    pthread_mutex_init(&store->lock, NULL);
    return 0;
}

static void free_row(struct store_row *row)
{
    if (!row)
        return;
    free(row->spec);
    free(row->previous);
    free(row->stopped);
    json_decref(row->status);
    json_decref(row->live);
    slice_free(row->slice);
    free(row);
}

void store_close(struct store *store)
{
    if (!store)
        return;
    ovsdb_close(store->db);
    for (unsigned i = 0; i < store->n_rows; i++)
        free_row(store->rows[i]);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

bool store_connected(const struct store *store)
{
    return store->db;
}

int store_fd(const struct store *store)
{
    return store->db ? ovsdb_fd(store->db) : -1;
}

void store_lock(struct store *store)
{
    pthread_mutex_lock(&store->lock);
}

void store_unlock(struct store *store)
{
    pthread_mutex_unlock(&store->lock);
}

unsigned store_count(const struct store *store)
{
    return store->n_rows;
}

const struct store_row *store_row(const struct store *store, unsigned i)
{
    return store->rows[i];
}

const struct store_row *store_find(const struct store *store, const char *name)
{
    for (unsigned i = 0; i < store->n_rows; i++)
        if (!strcmp(store->rows[i]->name, name))
            return store->rows[i];
    return NULL;
}

bool store_is_stopped(const struct store_row *row, const char *node)
{
    for (unsigned i = 0; i < row->n_stopped; i++)
        if (!strcmp(row->stopped[i], node))
            return true;
    return false;
}

unsigned store_claims(const struct store *store, struct admission_claim claims[SLICES_MAX])
{
    unsigned n = 0;

    for (unsigned i = 0; i < store->n_rows; i++)
        if (store->rows[i]->slice)
            claims[n++] = admission_claim_of(store->rows[i]->slice);
    return n;
}

/* Rows out of JSON. */

static const char *text_of(const json_t *row, const char *column)
{
    const char *text = json_string_value(ovsdb_column(row, column));

    return text ? text : "";
}

/* The elements of a set, or the pairs of a map; a set of one element is that element. New reference. */
static json_t *elements(const json_t *row, const char *column)
{
    json_t *value = json_object_get(row, column);

    if (json_is_array(value))
        return json_incref(json_array_get(value, 1));
    return value ? json_pack("[O]", value) : json_array();
}

static void read_stopped(struct store_row *row, const json_t *json)
{
    json_t *names = elements(json, "stopped"), *name;
    size_t i;

    row->stopped = calloc(json_array_size(names) + 1, sizeof *row->stopped);
    json_array_foreach(names, i, name)
    {
        const char *text = json_string_value(name);

        if (row->stopped && text && strlen(text) < NODE_NAME_SIZE)
            strcpy(row->stopped[row->n_stopped++], text);
    }
    json_decref(names);
}

static void read_status(struct store_row *row, const json_t *json)
{
    json_t *pairs = elements(json, "status"), *pair;
    size_t i;

    row->status = json_object();
    json_array_foreach(pairs, i, pair)
    {
        const char *node = json_string_value(json_array_get(pair, 0));

        if (node)
            json_object_set(row->status, node, json_array_get(pair, 1));
    }
    json_decref(pairs);
}

static void parse_spec(struct store_row *row)
{
    struct slice_errors *errors = calloc(1, sizeof *errors);

    if (!errors)
        return;
    row->slice = slice_parse(row->spec, strlen(row->spec), errors);
    if (!row->slice)
        snprintf(row->mistake, sizeof row->mistake, "Its slice file has a mistake in line %u: %.200s",
                 errors->list[0].at.line, errors->list[0].text);
    else if (strcmp(row->slice->name, row->name) != 0)
        snprintf(row->mistake, sizeof row->mistake, "Its slice file calls it '%s'.", row->slice->name);
    if (row->mistake[0]) {
        slice_free(row->slice);
        row->slice = NULL;
    }
    free(errors);
}

static enum store_state state_of(const char *name)
{
    for (enum store_state state = STORE_PENDING; state <= STORE_DESTROYING; state++)
        if (!strcmp(name, state_names[state]))
            return state;
    return STORE_PENDING;
}

/* NULL: the row is another machine's, or there is no memory. */
static struct store_row *read_row(const struct store *store, const char *uuid, const json_t *json)
{
    const char *host = text_of(json, "host");
    struct store_row *row = *host && strcmp(host, store->host) != 0 ? NULL : calloc(1, sizeof *row);

    if (!row)
        return NULL;
    snprintf(row->name, sizeof row->name, "%s", text_of(json, "name"));
    snprintf(row->uuid, sizeof row->uuid, "%s", uuid);
    snprintf(row->reason, sizeof row->reason, "%s", text_of(json, "reason"));
    row->spec = strdup(text_of(json, "spec"));
    row->previous = strdup(text_of(json, "previous"));
    row->reserved = json_is_true(ovsdb_column(json, "reserved"));
    row->created = json_integer_value(ovsdb_column(json, "created"));
    row->expires = json_integer_value(ovsdb_column(json, "expires"));
    row->state = state_of(text_of(json, "state"));
    read_stopped(row, json);
    read_status(row, json);
    if (!row->spec || !row->previous || !row->stopped || !row->status) {
        free_row(row);
        return NULL;
    }
    parse_spec(row);
    return row;
}

/* Whether the keeper has something to do because of what differs. */
static bool differs(const struct store_row *one, const struct store_row *other)
{
    return strcmp(one->spec, other->spec) != 0 || one->reserved != other->reserved ||
           one->state != other->state || one->n_stopped != other->n_stopped ||
           memcmp(one->stopped, other->stopped, one->n_stopped * sizeof *one->stopped) != 0;
}

/* Puts a row into the mirror, instead of the one with its uuid; 'row' NULL: takes that one out. Under the lock. */
static void replace(struct store *store, const char *uuid, struct store_row *row)
{
    unsigned i = 0;

    while (i < store->n_rows && strcmp(store->rows[i]->uuid, uuid) != 0)
        i++;
    if (i == store->n_rows) {
        if (row && i < SLICES_MAX)
            store->rows[store->n_rows++] = row;
        else
            free_row(row);
        return;
    }
    if (row) {
        row->version = store->rows[i]->version + differs(row, store->rows[i]);
        row->live = json_incref(store->rows[i]->live);
    }
    free_row(store->rows[i]);
    store->rows[i] = row ? row : store->rows[--store->n_rows];
}

static void apply(struct store *store, const json_t *updates)
{
    json_t *table = json_object_get(updates, "Slice"), *update;
    const char *uuid;

    json_object_foreach(table, uuid, update)
    {
        json_t *json = json_object_get(update, "new");
        struct store_row *row = json_is_object(json) ? read_row(store, uuid, json) : NULL;

        store_lock(store);
        replace(store, uuid, row);
        store_unlock(store);
    }
}

/* Takes rows out of the mirror that are not among those that the server has now. */
static void forget_others(struct store *store, const json_t *updates)
{
    const json_t *table = json_object_get(updates, "Slice");

    store_lock(store);
    for (unsigned i = 0; i < store->n_rows;) {
        const char *uuid = store->rows[i]->uuid;

        if (json_object_get(table, uuid))
            i++;
        else
            replace(store, uuid, NULL);
    }
    store_unlock(store);
}

static void disconnect(struct store *store)
{
    ovsdb_close(store->db);
    store->db = NULL;
}

int store_connect(struct store *store, struct error *error)
{
    json_t *names = json_array(), *initial = NULL;
    int code;

    disconnect(store);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        json_array_append_new(names, json_string(columns[i]));
    code = ovsdb_open(&store->db, store->remote, "vnode", error);
    if (!code)
        code = ovsdb_watch(store->db, json_pack("{s:{s:O}}", "Slice", "columns", names), &initial, error);
    if (!code) {
        forget_others(store, initial);
        apply(store, initial);
    } else {
        disconnect(store);
    }
    json_decref(initial);
    json_decref(names);
    return code;
}

int store_sync(struct store *store, struct error *error)
{
    json_t *change = NULL;
    int code;

    if (!store->db)
        return error_set(error, ENOTCONN, "The database at %s is away.", store->remote);
    do {
        json_decref(change);
        code = ovsdb_take_change(store->db, &change, error);
        if (change)
            apply(store, change);
    } while (!code && change);
    json_decref(change);
    if (code)
        disconnect(store);
    return code;
}

/* Runs a transaction; '*count' is how many rows its operation 'i' has changed. */
static int transact(struct store *store, json_t *operations, unsigned i, unsigned *count, struct error *error)
{
    json_t *results = NULL;
    int code;

    if (!store->db) {
        json_decref(operations);
        return error_set(error, ENOTCONN, "The database at %s is away.", store->remote);
    }
    code = ovsdb_transact(store->db, operations, &results, error);
    if (!code)
        *count = (unsigned)json_integer_value(json_object_get(json_array_get(results, i), "count"));
    json_decref(results);
    if (code && code != EINVAL)
        disconnect(store);
    return code ? code : store_sync(store, error);
}

int store_insert(struct store *store, const struct store_row *row, struct error *error)
{
    json_t *json;
    unsigned count;
    int code;

    if (store_find(store, row->name))
        return error_set(error, EEXIST, "There is a slice %s already.", row->name);
    if (store->n_rows == SLICES_MAX)
        return error_set(error, ENOSPC, "There are %u slices on this machine; more are not possible.",
                         SLICES_MAX);
    json = json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:s}", "name", row->name, "host", store->host, "spec",
                     row->spec, "reserved", row->reserved, "created", (json_int_t)row->created, "expires",
                     (json_int_t)row->expires, "state", state_names[row->state]);
    code = transact(store, json_pack("[{s:s, s:s, s:o}]", "op", "insert", "table", "Slice", "row", json), 0,
                    &count, error);
    if (!code && !store_find(store, row->name))
        code = error_set(error, EPROTO, "The database at %s has not told of the new slice %s.", store->remote,
                         row->name);
    return code;
}

/* The condition that a row is the one of that name in the mirror; NULL: there is none. */
static json_t *where(const struct store *store, const char *name)
{
    const struct store_row *row = store_find(store, name);

    return row ? json_pack("[[s, s, [s, s]]]", "_uuid", "==", "uuid", row->uuid) : NULL;
}

int store_update(struct store *store, const char *name, json_t *values, struct error *error)
{
    json_t *condition = where(store, name);
    unsigned count = 0;
    int code;

    if (!condition) {
        json_decref(values);
        return error_set(error, ENOENT, "There is no slice %s.", name);
    }
    code = transact(store,
                    json_pack("[{s:s, s:s, s:o, s:o}]", "op", "update", "table", "Slice", "where", condition,
                              "row", values),
                    0, &count, error);
    return code || count ? code : error_set(error, ENOENT, "There is no slice %s any more.", name);
}

int store_delete(struct store *store, const char *name, struct error *error)
{
    json_t *condition = where(store, name);
    unsigned count;

    if (!condition)
        return 0;
    return transact(store, json_pack("[{s:s, s:s, s:o}]", "op", "delete", "table", "Slice", "where", condition),
                    0, &count, error);
}

int store_write_host(struct store *store, const struct admission_capacity *capacity, struct error *error)
{
    struct timespec now;
    json_t *operations, *row, *condition;
    unsigned count;

    clock_gettime(CLOCK_REALTIME, &now);
    row = json_pack("{s:s, s:I, s:I, s:I, s:I, s:s, s:I}", "name", store->host, "cpus",
                    (json_int_t)capacity->amounts[RESOURCE_CPU], "memory",
                    (json_int_t)capacity->amounts[RESOURCE_MEMORY], "rate",
                    (json_int_t)capacity->amounts[RESOURCE_RATE], "rules",
                    (json_int_t)capacity->amounts[RESOURCE_RULES], "version", VNODE_VERSION, "seen",
                    (json_int_t)(now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000));
    condition = json_pack("[[s, s, s]]", "name", "==", store->host);
    /* In one transaction: away with the old one, here is the new one. */
    operations = json_pack("[{s:s, s:s, s:o}, {s:s, s:s, s:o}]", "op", "delete", "table", "Host", "where",
                           condition, "op", "insert", "table", "Host", "row", row);
    return transact(store, operations, 1, &count, error);
}

void store_set_live(struct store *store, const char *name, json_t *live)
{
    store_lock(store);
    for (unsigned i = 0; i < store->n_rows; i++)
        if (!strcmp(store->rows[i]->name, name)) {
            json_decref(store->rows[i]->live);
            store->rows[i]->live = json_incref(live);
        }
    store_unlock(store);
    json_decref(live);
}
