/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_KEEPER_H
#define MANAGER_KEEPER_H

/*
 * Keeps what runs and what the rows of the database say the same. It is a thread of its own, for its steps take long; jobs
 * (deploy, destroy, start ...) are rows that it changes, and then does what it would do had somebody else changed them.
 *
 *     keeper_start(&keeper, &settings, &error);
 *     keeper_submit(keeper, &(struct keeper_job){.id = 1, .kind = JOB_DEPLOY, .spec = text});
 *     // settings.tell() is called: progress of job 1, events, job 1 is done
 *     keeper_stop(keeper);                       // what runs goes on
 *
 * Whoever is killed in the middle finds in the row what to do next time: a slice that is 'pending' is finished or, when that
 * fails, undone; one that is 'destroying' is removed to the end. docs/architecture.md has the table of states.
 */

#include "manager/reconcile.h"
#include "manager/store.h"
#include "manager/vitals.h"

#define KEEPER_JOBS_MAX 64    /* that wait to be looked at */
#define KEEPER_BOOT_MS 120000 /* after which a deploy is done though a node has not come up */
#define KEEPER_WAIT_MS 60000  /* for which jobs wait for daemons that are not there */
#define KEEPER_PAUSE_MIN_MS 200
#define KEEPER_PAUSE_MAX_MS 30000 /* between attempts at what fails */
#define KEEPER_STABLE_MS 10000    /* what has lasted that long is tried again at once when it ends */

enum keeper_message_kind {
    KEEPER_PROGRESS,   /* of a job: {"node", "text"} */
    KEEPER_DONE,       /* a job: 'code' 0 and its result, or an errno value and {"text"} */
    KEEPER_EVENT,      /* {"time", "event", "slice", "node", "text"} */
    KEEPER_CONFIGURED, /* Open vSwitch can be started */
    KEEPER_READY, /* the fast path and Open vSwitch were there for the first time, and all rows have been looked at */
};

struct keeper_message {
    enum keeper_message_kind kind;
    uint64_t job;
    int code;
    json_t *json; /* the receiver's, to be freed */
};

struct keeper_settings {
    struct reconcile_settings reconcile;
    struct vitals_settings vitals;
    const char *db;   /* our database */
    const char *host; /* this machine's name */
    struct admission_capacity capacity;

    /* Called on the keeper's thread. */
    void (*tell)(const struct keeper_message *message, void *argument);
    void *argument;
};

enum keeper_job_kind {
    JOB_DEPLOY,
    JOB_DESTROY,
    JOB_START, /* a node */
    JOB_STOP,
    JOB_RESTART,
    JOB_DOWN, /* nothing of any slice is left; the rows stay, and the keeper does no more */
};

struct keeper_job {
    uint64_t id;
    enum keeper_job_kind kind;
    char slice[SLICE_NAME_SIZE];
    char node[NODE_NAME_SIZE];
    char *spec; /* of deploy, taken over */
    bool reserve;
    int64_t begin_ms; /* the keeper's: when its turn came */
};

struct keeper;

/* Settings, but not what they point to, are copied. */
int keeper_start(struct keeper **keeper, const struct keeper_settings *settings, struct error *error);

/* Ends the thread, after the step that it is at. */
void keeper_stop(struct keeper *keeper);

/* Hands a job over. EBUSY: too many wait. Any thread. */
int keeper_submit(struct keeper *keeper, const struct keeper_job *job, struct error *error);

/* Open vSwitch was started anew. Any thread. */
void keeper_vswitch_started(struct keeper *keeper);

/* Milliseconds since 1970. */
int64_t keeper_now_ms(void);

/* The rows, for reading under store_lock(). */
struct store *keeper_store(struct keeper *keeper);

#endif
