/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_RECONCILE_INTERNAL_H
#define MANAGER_RECONCILE_INTERNAL_H

/*
 * One call of reconcile_slice() or reconcile_remove() is a *job*. Each kind of thing that a slice consists of is in a file of its
 * own, with functions that
 *
 *     look    at what there is, and refuse to go on when it is somebody else's
 *     clear   away what should not be, or what differs in what cannot be changed
 *     make    what is missing
 *
 * reconcile.c says in which order. A job to remove a slice has an empty plan, and goes on after errors.
 */

#include <jansson.h>
#include <pthread.h>

#include "manager/marks.h"
#include "manager/ovsdb.h"
#include "manager/plan.h"
#include "manager/reconcile.h"
#include "proto/client.h"

#define SLICE_FOLDER_SIZE 256

struct reconciler {
    const struct reconcile_settings *settings;
    struct vms *vms;

    /* How long machines have been started and ended; shared by the threads that do it. */
    pthread_mutex_t lock;
    unsigned n_busy; /* now */
    int64_t busy_since_ms, busy_ms;
};

/* What is known of a planned port. */
struct port_state {
    bool renew;              /* what it uses is made anew, and so it must be, too */
    bool there;              /* and right */
    bool rule_there;         /* the rule of its direct link, and right */
    uint16_t id;             /* in the fast path */
    uint64_t rate, rate_out; /* that it has */
    struct error failure;
};

struct job {
    struct reconciler *reconciler;
    const struct plan *plan;
    const struct slice *slice; /* NULL: it is to be removed */
    const struct reconcile_progress *progress;
    char run[SLICE_FOLDER_SIZE], sockets[SLICE_FOLDER_SIZE], state[SLICE_FOLDER_SIZE]; /* the slice's folders */
    struct client *client;    /* of the fast path; NULL: not there */
    struct ovsdb *db;         /* Open vSwitch's; NULL: not there */
    struct port_state *ports; /* one for each of the plan's */
    json_t *present_ports;    /* those of the fast path */
    json_t *bridges;          /* names of the slice's bridges */
};

/* Tells what is done next. 'node' "": it is about several. */
void job_step(const struct job *job, const char *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Names the node that an error is about, unless its sentence does. Returns the error's code. */
int job_blame(const char *what, const char *node, int code, struct error *error);

int machines_look(struct job *job, struct error *error);
int machines_clear(struct job *job, struct error *error);
int machines_make(struct job *job, struct error *error);

int bridges_look(struct job *job, struct error *error);
int bridges_clear(struct job *job, struct error *error);
int bridges_make(struct job *job, struct error *error);

int hosts_look(struct job *job, struct error *error);
int hosts_clear(struct job *job, struct error *error);
int hosts_make(struct job *job, struct error *error);

int devices_look(struct job *job, struct error *error);
int devices_clear(struct job *job, struct error *error);
int devices_make(struct job *job, struct error *error);

int ports_look(struct job *job, struct error *error);
int ports_clear(struct job *job, struct error *error);
int ports_make(struct job *job, struct error *error);
int rates_make(struct job *job, struct error *error);
int rules_clear(struct job *job, struct error *error);
int rules_make(struct job *job, struct error *error);
int offload_make(struct job *job, struct error *error);

int files_make(struct job *job, struct error *error);
int files_clear(struct job *job, struct error *error);

#endif
