/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_STORE_H
#define MANAGER_STORE_H

/*
 * The rows of table Slice that are this machine's (schema/vnode.md): what shall be. The store mirrors them, so that reading
 * costs nothing and works while the database is away; whoever writes a row waits for the database, and sees it in the mirror then.
 *
 *     store_open(&store, "unix:/run/vnode/db.sock", "host", &error);
 *     store_connect(store, &error);
 *     store_insert(store, &row, &error);
 *     ...
 *     store_sync(store, &error);       // when store_fd() is readable
 *
 * One thread writes and synchronizes: the keeper's. Others may read, between store_lock() and store_unlock(); the writer
 * locks for itself when it changes the mirror, never while it waits for the database.
 */

#include <jansson.h>

#include "lib/error.h"
#include "manager/admission.h"
#include "slice/slice.h"

enum store_state {
    STORE_PENDING,    /* is being made, or changed */
    STORE_RUNNING,    /* as it shall be */
    STORE_RESERVED,   /* has its resources, and nothing runs */
    STORE_FAILED,     /* shall run, and does not; it is tried again */
    STORE_DESTROYING, /* is being removed */
};

struct store_row {
    char name[SLICE_NAME_SIZE];
    char *spec;     /* the slice file's text */
    char *previous; /* what ran before a change that is under way; "": nothing */
    bool reserved;
    unsigned n_stopped;
    char (*stopped)[NODE_NAME_SIZE];
    int64_t created, expires; /* milliseconds since 1970; expires 0: never */
    enum store_state state;
    char reason[256];
    json_t *status; /* node to text, as in the database */

    /* of the mirror alone */
    char uuid[40];
    struct slice *slice; /* 'spec' parsed; NULL: it has mistakes */
    char mistake[256];   /* the first of them */
    unsigned version;    /* changes with 'spec', 'stopped', 'reserved', 'state', whoever writes them */
    json_t *live;        /* what the keeper saw last: node to {state, why, cpu_time_ns}; NULL: nothing yet */
};

struct store;

const char *store_state_name(enum store_state state);

/* 'host': this machine's name; rows without one are ours, too. */
int store_open(struct store **store, const char *remote, const char *host, struct error *error);
void store_close(struct store *store);

/* Connects, again if it was before, and reads all rows. 0, or an errno value; the mirror stays as it was then. */
int store_connect(struct store *store, struct error *error);
bool store_connected(const struct store *store);

/* To be polled for reading; -1: not connected. */
int store_fd(const struct store *store);

/* Takes in what has changed. An error ends the connection. */
int store_sync(struct store *store, struct error *error);

void store_lock(struct store *store);
void store_unlock(struct store *store);

unsigned store_count(const struct store *store);
const struct store_row *store_row(const struct store *store, unsigned i);
const struct store_row *store_find(const struct store *store, const char *name); /* NULL: there is none */

bool store_is_stopped(const struct store_row *row, const char *node);

/* What all slices together are promised: one claim for each row. Returns their number. */
unsigned store_claims(const struct store *store, struct admission_claim claims[SLICES_MAX]);

/* Writes a new row: name, spec, reserved, created, expires, state. EEXIST: there is one of that name. */
int store_insert(struct store *store, const struct store_row *row, struct error *error);

/* Writes columns of a row; 'columns', as in RFC 7047, is taken over. ENOENT: there is no such row any more. */
int store_update(struct store *store, const char *name, json_t *columns, struct error *error);

int store_delete(struct store *store, const char *name, struct error *error);

/* Writes our row of table Host, and when it was written. */
int store_write_host(struct store *store, const struct admission_capacity *capacity, struct error *error);

/* Notes what is seen of a slice's nodes; taken over. */
void store_set_live(struct store *store, const char *name, json_t *live);

#endif
