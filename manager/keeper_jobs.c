/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs: each checks what is asked for, and writes it into the row. What follows is keeper_work.c's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "manager/keeper_internal.h"
#include "manager/overview.h"

static void refuse(struct keeper *keeper, const struct keeper_job *job, const struct error *error)
{
    keeper_done(keeper, job->id, error, NULL);
}

/* Notes who waits for the slice, and sets to work. */
static void attach(struct keeper *keeper, const struct keeper_job *job, const char *name)
{
    struct entry *entry = keeper_entry(keeper, name);
    const struct store_row *row = store_find(keeper->store, name);

    if (!entry) {
        refuse(keeper, job, &(struct error){ENOMEM, "There is no memory for one more slice."});
        return;
    }
    if (row)
        entry->version = row->version + 1;
    entry->job = job->id;
    entry->job_kind = job->kind;
    strcpy(entry->job_node, job->node);
    entry->restart_pending = job->kind == JOB_RESTART;
    entry->failure.code = 0;
    entry->manager_ms = clock_ms() - job->begin_ms;
    entry->machines_ms = 0;
    entry->pause_ms = 0;
    entry->n_interrupted = 0;
    keeper_due(entry, 0);
}

/* Whether somebody else's job on the slice is under way. */
static int check_free(struct keeper *keeper, const char *name, struct error *error)
{
    const struct entry *entry = keeper_find(keeper, name);

    return entry && entry->job
               ? error_set(error, EBUSY, "Slice %s is being changed; try again when that is done.", name)
               : 0;
}

static int write_new(struct keeper *keeper, const struct keeper_job *job, const struct slice *slice,
                     struct error *error)
{
    struct store_row row = {.spec = job->spec, .reserved = job->reserve, .state = STORE_PENDING};

    strcpy(row.name, slice->name);
    row.created = keeper_now_ms();
    row.expires = slice->lease_ms ? row.created + (int64_t)slice->lease_ms : 0;
    return store_insert(keeper->store, &row, error);
}

/*
 * What runs now is what a failure leads back to; while a change is under way that is what ran before it. A slice that is only
 * reserved has nothing that runs, but is not to vanish either.
 */
static int write_change(struct keeper *keeper, const struct keeper_job *job, const struct store_row *row,
                        const struct slice *slice, struct error *error)
{
    bool new = row->state == STORE_PENDING && !*row->previous;
    const char *previous = row->state == STORE_PENDING ? row->previous : row->spec;
    int64_t expires = slice->lease_ms ? keeper_now_ms() + (int64_t)slice->lease_ms : 0;

    return store_update(
        keeper->store, slice->name,
        json_pack("{s:s, s:s, s:b, s:s, s:s, s:I}", "spec", job->spec, "previous", new ? "" : previous,
                  "reserved", job->reserve, "state", store_state_name(STORE_PENDING), "reason", "", "expires",
                  (json_int_t)expires),
        error);
}

static int deploy(struct keeper *keeper, const struct keeper_job *job, const struct slice *slice,
                  struct error *error)
{
    const struct store_row *row = store_find(keeper->store, slice->name);
    struct admission_claim claims[SLICES_MAX], claim = admission_claim_of(slice);
    unsigned n = store_claims(keeper->store, claims);
    int code = check_free(keeper, slice->name, error);

    if (!code && row && row->state == STORE_DESTROYING)
        code = error_set(error, EBUSY, "Slice %s is being destroyed; try again when that is done.", row->name);
    if (!code)
        code = admission_check(&keeper->settings.capacity, claims, n, &claim, error);
    if (code)
        return code;
    return row ? write_change(keeper, job, row, slice, error) : write_new(keeper, job, slice, error);
}

static void begin_deploy(struct keeper *keeper, struct keeper_job *job)
{
    struct error error = {0};
    struct slice *slice = slice_of_request(job->spec, &error);

    if (!slice || deploy(keeper, job, slice, &error))
        refuse(keeper, job, &error);
    else
        attach(keeper, job, slice->name);
    slice_free(slice);
}

static void begin_destroy(struct keeper *keeper, const struct keeper_job *job)
{
    struct error error = {0};
    struct entry *entry = keeper_find(keeper, job->slice);
    int code = 0;

    if (!store_find(keeper->store, job->slice))
        code = error_set(&error, ENOENT, "There is no slice %s.", job->slice);
    if (!code)
        code = store_update(keeper->store, job->slice,
                            json_pack("{s:s, s:s}", "state", store_state_name(STORE_DESTROYING), "reason", ""),
                            &error);
    if (code) {
        refuse(keeper, job, &error);
        return;
    }
    /* Whoever waits for it to come up waits in vain. */
    if (entry && entry->job)
        keeper_done(keeper, entry->job, &(struct error){ECANCELED, "The slice is being destroyed."}, NULL);
    attach(keeper, job, job->slice);
}

/* The names of stopped nodes with one more, or one less; as OVSDB wants them. */
static json_t *change_stopped(const struct store_row *row, const char *node, bool stop)
{
    json_t *names = json_array();

    for (unsigned i = 0; i < row->n_stopped; i++)
        if (strcmp(row->stopped[i], node) != 0)
            json_array_append_new(names, json_string(row->stopped[i]));
    if (stop)
        json_array_append_new(names, json_string(node));
    return json_pack("{s:[s, o]}", "stopped", "set", names);
}

static int check_node(struct keeper *keeper, const struct keeper_job *job, struct error *error)
{
    const struct store_row *row = store_find(keeper->store, job->slice);
    const struct slice_node *node;
    int number;

    if (!row)
        return error_set(error, ENOENT, "There is no slice %s.", job->slice);
    if (!row->slice)
        return error_set(error, EINVAL, "Slice %s cannot run: %.200s", job->slice, row->mistake);
    if (row->state == STORE_DESTROYING || row->reserved)
        return error_set(error, EINVAL, "Slice %s does not run: it is %s.", job->slice,
                         store_state_name(row->state));
    number = slice_find_node(row->slice, job->node);
    if (number < 0)
        return error_set(error, ENOENT, "Slice %s has no node %s.", job->slice, job->node);
    node = &row->slice->nodes[number];
    if (node->kind != NODE_VM && node->kind != NODE_NETNS)
        return error_set(error, EINVAL, "Node %s is a %s; only machines and namespaces can be stopped.",
                         job->node, slice_node_kind_name(node->kind));
    if (job->kind == JOB_RESTART && store_is_stopped(row, job->node))
        return error_set(error, EINVAL, "Node %s is stopped; start it.", job->node);
    return check_free(keeper, job->slice, error);
}

static void begin_node(struct keeper *keeper, const struct keeper_job *job)
{
    struct error error = {0};
    int code = check_node(keeper, job, &error);

    if (!code && job->kind != JOB_RESTART)
        code = store_update(
            keeper->store, job->slice,
            change_stopped(store_find(keeper->store, job->slice), job->node, job->kind == JOB_STOP), &error);
    if (code)
        refuse(keeper, job, &error);
    else
        attach(keeper, job, job->slice);
}

static void remove_found(const char *slice, void *argument)
{
    keeper_entry(argument, slice);
}

/* Everything goes, the rows stay; with the next start of the manager the slices are there again. */
static void take_down(struct keeper *keeper, const struct keeper_job *job)
{
    struct error error = {0}, first = {0};
    json_t *names = json_array();

    reconcile_list(keeper->reconciler, remove_found, keeper, &first);
    for (unsigned i = 0; i < keeper->n_entries; i++) {
        struct entry *entry = keeper->entries[i];
        const struct store_row *row = store_find(keeper->store, entry->name);

        if (reconcile_remove(keeper->reconciler, entry->name, &error) && !first.code)
            first = error;
        json_array_append_new(names, json_string(entry->name));
        if (row && (row->state == STORE_RUNNING || row->state == STORE_FAILED))
            keeper_write(keeper, entry,
                         json_pack("{s:s, s:s, s:[s, []]}", "state", store_state_name(STORE_FAILED), "reason",
                                   "The node has been taken down.", "status", "map"),
                         &error);
        if (entry->job)
            keeper_done(keeper, entry->job, &(struct error){ECANCELED, "The node is being taken down."}, NULL);
        entry->job = 0;
    }
    keeper->is_down = true;
    keeper_done(keeper, job->id, &first, json_pack("{s:o}", "slices", names));
}

void keeper_begin_job(struct keeper *keeper, struct keeper_job *job)
{
    job->begin_ms = clock_ms();
    if (job->kind == JOB_DEPLOY)
        begin_deploy(keeper, job);
    else if (job->kind == JOB_DESTROY)
        begin_destroy(keeper, job);
    else if (job->kind == JOB_DOWN)
        take_down(keeper, job);
    else
        begin_node(keeper, job);
    free(job->spec);
}
