/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_OVSDB_FIXTURE_H
#define MANAGER_OVSDB_FIXTURE_H

/* For tests: a real ovsdb-server with an empty database, and if wanted a real ovs-vswitchd with dummy interfaces. */

#include <sys/types.h>

#include "manager/ovsdb.h"

struct ovsdb_fixture {
    char folder[32];
    char remote[64]; /* for ovsdb_open() */
    pid_t server, vswitchd;
};

/* Starts a server for the schema in the file 'schema'. Returns whether it answers, as 'name' is called in the schema. */
bool ovsdb_fixture_start(struct ovsdb_fixture *fixture, const char *schema, const char *name);

/* Starts ovs-vswitchd on it. Interfaces and datapaths of type "dummy" work, and no other. */
bool ovsdb_fixture_start_vswitchd(struct ovsdb_fixture *fixture);

/* Ends both, and removes their files. Returns whether nothing else was left. */
bool ovsdb_fixture_stop(struct ovsdb_fixture *fixture);

#endif
