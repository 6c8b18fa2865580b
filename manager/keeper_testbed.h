/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_KEEPER_TESTBED_H
#define MANAGER_KEEPER_TESTBED_H

/* For tests of the keeper: one on a real database, whose nodes are files (reconcile_fake.h). What does not come fails the test. */

#include "manager/keeper.h"

extern char state_folder[64];

/* Set-up and tear-down of a test program: the database. */
int start_server(void **state);
int stop_server(void **state);

struct keeper *start_keeper(void);
void stop_keeper(struct keeper *keeper);

/* Does a job; its code, and in 'text' (may be NULL) its sentence if it failed. */
int job(struct keeper *keeper, enum keeper_job_kind kind, const char *slice, const char *node, char text[256]);
int deploy(struct keeper *keeper, const char *spec, char text[256]);

/* The two halves of deploy(); 'progress' (may be NULL) counts the job's steps. */
uint64_t begin_deploy(struct keeper *keeper, const char *spec);
int await_job(uint64_t job, char text[256], unsigned *progress);

/* Waits for an event of a slice, and passes over everything else. */
void await_event(const char *event, const char *slice);

/* Writes 'word' to a file in the state folder; NULL: removes it. */
void command(const char *name, const char *word);
void write_node(const char *slice, const char *node, const char *line);

/* What a node is, "" when it is not there. */
const char *node_of(const char *slice, const char *node);

/* Waits until it is that, for changes that no event tells of. */
void await_node(const char *slice, const char *node, const char *line);
bool slice_is_there(const char *slice);

/* A slice's row, as whoever else reads the database sees it. */
void assert_column(const char *slice, const char *name, const char *wanted);
void assert_no_row(const char *slice);

/* Executes an operation (RFC 7047, 5.2), as somebody else. */
void change_database(json_t *operation);

#endif
