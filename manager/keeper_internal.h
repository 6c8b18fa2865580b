/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_KEEPER_INTERNAL_H
#define MANAGER_KEEPER_INTERNAL_H

/* What the files of the keeper share. All of it belongs to the keeper's thread, but for what stands under 'lock'. */

#include <pthread.h>

#include "manager/keeper.h"

/*
 * What the keeper knows of a slice beyond its row. There is one for each row, and for each slice without a row of which something was
 * found running.
 */
struct entry {
    char name[SLICE_NAME_SIZE];
    unsigned version; /* of the row when it was last looked at; 0: never */
    bool due;         /* there is something to do ... */
    int64_t due_ms;   /* ... at this time; 0: at once */
    int pause_ms;     /* the next one after a failure */
    bool settling;    /* all is done; its nodes have to come up */
    int64_t boot_deadline_ms, settled_ms;
    unsigned n_interrupted; /* attempts that failed because a daemon went away */

    uint64_t job; /* that waits for the slice; 0: none */
    enum keeper_job_kind job_kind;
    char job_node[NODE_NAME_SIZE];
    bool restart_pending;            /* job_node has not been stopped yet */
    struct error failure;            /* of that job: what went wrong; told when it is undone */
    int64_t made_ms;                 /* when all was made, and nodes had to come up */
    int64_t manager_ms, machines_ms; /* what that took: machines' starts and ends, and all else */
};

struct keeper {
    struct keeper_settings settings;
    pthread_t thread;
    int wake; /* eventfd */

    pthread_mutex_t lock;
    unsigned n_jobs;
    struct keeper_job jobs[KEEPER_JOBS_MAX];
    bool ends, vswitch_started;

    struct store *store;
    struct vitals *vitals;
    struct reconciler *reconciler; /* NULL: not opened yet */
    unsigned news;                 /* of the vitals, that nobody has dealt with yet */
    unsigned n_entries;
    struct entry *entries[SLICES_MAX * 2];
    bool orphans_found, ready_told, is_down;
    int64_t jobs_wait_since_ms; /* 0: the first job does not wait */
    int64_t connect_at_ms;      /* the database, again */
    int64_t look_at_ms;         /* at all nodes' states */
    int64_t host_at_ms;         /* write our row of table Host */
    char missing[256];          /* why jobs cannot be done now */
};

/* keeper.c */
struct entry *keeper_entry(struct keeper *keeper, const char *name); /* made if need be; NULL: no memory */
struct entry *keeper_find(struct keeper *keeper, const char *name);  /* NULL: none */
void keeper_forget(struct keeper *keeper, struct entry *entry);
void keeper_due(struct entry *entry, int64_t in_ms);
void keeper_event(struct keeper *keeper, const char *event, const char *slice, const char *node,
                  const char *text);
void keeper_done(struct keeper *keeper, uint64_t job, const struct error *error, json_t *result);

/*
 * Writes columns of the slice's row; taken over. That does not make the entry due: whoever writes knows what is to be
 * done then. ENOENT: somebody has deleted the row.
 */
int keeper_write(struct keeper *keeper, struct entry *entry, json_t *columns, struct error *error);

/* keeper_jobs.c: does the first part of a job, up to writing its row; the rest is work on its entry. */
void keeper_begin_job(struct keeper *keeper, struct keeper_job *job);

/* keeper_work.c */
void keeper_work(struct keeper *keeper, struct entry *entry);
void keeper_look(struct keeper *keeper, struct entry *entry); /* at the states of its nodes */

#endif
