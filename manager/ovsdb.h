/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_OVSDB_H
#define MANAGER_OVSDB_H

/*
 * A client of an OVSDB server (RFC 7047): our own database and Open vSwitch's.
 *
 *     struct ovsdb *db;
 *
 *     ovsdb_open(&db, "unix:/run/openvswitch/db.sock", "Open_vSwitch", &error);
 *     ovsdb_transact(db, json_pack("[{s:s, s:s, s:[], s:[s]}]", "op", "select", "table", "Bridge", "where",
 *                    "columns", "name"), &results, &error);
 *     ...
 *     ovsdb_close(db);
 *
 * A call waits for its answer, for OVSDB_WAIT_MS at most. What the server tells in between, of tables that are
 * watched, is kept for ovsdb_take_change(); whoever waits for it polls ovsdb_fd(). One thread at a time.
 *
 * Every failure leaves a sentence that names the server. After ECONNRESET, ETIMEDOUT or EPROTO the connection is of no
 * use any more: close it, and open another.
 */

#include <jansson.h>
#include <stdbool.h>

#include "lib/error.h"

#define OVSDB_WAIT_MS 10000

struct ovsdb;

/*
 * Connects to 'remote', "unix:PATH" or "tcp:ADDRESS:PORT", for the database 'name'. Returns 0 and '*db', or a positive
 * errno value.
 */
int ovsdb_open(struct ovsdb **db, const char *remote, const char *name, struct error *error);

/* NULL: nothing. */
void ovsdb_close(struct ovsdb *db);

/* To be polled for reading. */
int ovsdb_fd(const struct ovsdb *db);

/*
 * Executes 'operations', an array as in RFC 7047, 5.2, in one transaction; takes it over. Returns 0 and, unless 'results'
 * is NULL, the array of their results, which the caller frees. EINVAL: the server refused one of them, and
 * nothing was changed.
 */
int ovsdb_transact(struct ovsdb *db, json_t *operations, json_t **results, struct error *error);

/*
 * Watches columns of tables: 'tables' is an object of RFC 7047's <monitor-requests>, taken over. '*initial' is what is in
 * them now, <table-updates>, which the caller frees.
 */
int ovsdb_watch(struct ovsdb *db, json_t *tables, json_t **initial, struct error *error);

/*
 * Reads what has come, without waiting. Returns 0 and the next <table-updates> in '*change', to be freed, or NULL when
 * there is no more.
 */
int ovsdb_take_change(struct ovsdb *db, json_t **change, struct error *error);

/* The member 'column' of a row: of a set of at most one its element, or NULL. Borrowed. */
const json_t *ovsdb_column(const json_t *row, const char *column);

/* The value for 'key' in a map column of a row, or NULL. Borrowed. */
const char *ovsdb_map_get(const json_t *row, const char *column, const char *key);

/* The rows that a select has found: the member "rows" of result 'i'. Borrowed; an empty array when there is none. */
const json_t *ovsdb_rows(const json_t *results, size_t i);

#endif
