/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One slice's way from state to state. What is to be done follows from its row alone, so it does not matter who has written
 * the row, nor who was killed in between:
 *
 *     pending     reconcile. All nodes run: running. It fails, and something ran before (column 'previous'): that becomes
 *                 the spec again, and the state failed. Nothing ran before: destroying.
 *     running     reconcile when something has changed or ended. It fails: failed.
 *     failed      reconcile, again and again, more and more seldom. All nodes run: running.
 *     destroying  remove. Nothing is left: the row is deleted. It fails: again, later.
 *     no row      remove.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "manager/keeper_internal.h"

#define INTERRUPTIONS_MAX 5

/* The whole of 'stopped' and the parsed slice of a row, as the reconciler wants them. */
struct wish {
    struct slice_wish wish;
    const char *stopped[SLICE_NODES_MAX + 1];
};

static void make_wish(struct wish *wish, const struct store_row *row, const char *also_stopped)
{
    *wish = (struct wish){.wish = {.slice = row->slice, .stopped = wish->stopped}};
    for (unsigned i = 0; i < row->n_stopped && wish->wish.n_stopped < SLICE_NODES_MAX; i++)
        wish->stopped[wish->wish.n_stopped++] = row->stopped[i];
    if (also_stopped)
        wish->stopped[wish->wish.n_stopped++] = also_stopped;
}

static void later(struct entry *entry)
{
    entry->pause_ms = !entry->pause_ms                            ? KEEPER_PAUSE_MIN_MS
                      : entry->pause_ms * 2 < KEEPER_PAUSE_MAX_MS ? entry->pause_ms * 2
                                                                  : KEEPER_PAUSE_MAX_MS;
    keeper_due(entry, entry->pause_ms);
}

static void end_job(struct keeper *keeper, struct entry *entry, const struct error *error, json_t *result)
{
    struct error told = error ? *error : (struct error){0}; /* it may be the entry's own */
    uint64_t job = entry->job;

    entry->job = 0;
    entry->failure.code = 0;
    entry->restart_pending = false;
    keeper_done(keeper, job, &told, result);
}

static void set_state(struct keeper *keeper, struct entry *entry, enum store_state state, const char *reason)
{
    const struct store_row *row = store_find(keeper->store, entry->name);
    struct error error;

    if (!row || (row->state == state && !strcmp(row->reason, reason)))
        return;
    if (keeper_write(keeper, entry,
                     json_pack("{s:s, s:s}", "state", store_state_name(state), "reason", reason), &error))
        log_warning("%s: %s", entry->name, error.text);
}

/* What a job took. */

struct stopwatch {
    int64_t begin_ms, machines_ms;
};

static struct stopwatch begin_time(struct keeper *keeper)
{
    return (struct stopwatch){clock_ms(), reconciler_machines_ms(keeper->reconciler)};
}

static void add_time(struct keeper *keeper, struct entry *entry, const struct stopwatch *begin)
{
    int64_t machines_ms = reconciler_machines_ms(keeper->reconciler) - begin->machines_ms;

    entry->made_ms = clock_ms();
    entry->machines_ms += machines_ms;
    entry->manager_ms += entry->made_ms - begin->begin_ms - machines_ms;
}

static json_t *seconds(const struct entry *entry, int64_t boot_ms)
{
    return json_pack("{s:f, s:f, s:f}", "manager", (double)entry->manager_ms / 1000, "machines",
                     (double)entry->machines_ms / 1000, "boot", (double)boot_ms / 1000);
}

/* Failures. */

/* A new slice cannot be made: all of it goes, and its row at the end. */
static void undo_new(struct keeper *keeper, struct entry *entry, const struct error *error)
{
    entry->failure = *error;
    keeper_event(keeper, "deploy-failed", entry->name, NULL, error->text);
    set_state(keeper, entry, STORE_DESTROYING, error->text);
    keeper_due(entry, 0);
}

/* A change cannot be made: what ran before is wanted again. */
static void undo_change(struct keeper *keeper, struct entry *entry, const struct store_row *row,
                        const struct error *error)
{
    struct error trouble;

    entry->failure = *error;
    keeper_event(keeper, "change-failed", entry->name, NULL, error->text);
    if (keeper_write(keeper, entry,
                     json_pack("{s:s, s:s, s:s, s:s}", "spec", row->previous, "previous", "", "state",
                               store_state_name(STORE_FAILED), "reason", error->text),
                     &trouble))
        log_warning("%s: %s", entry->name, trouble.text);
    keeper_due(entry, 0);
}

/* What shall run does not: told once, and tried again later. */
static void note_failure(struct keeper *keeper, struct entry *entry, const struct store_row *row,
                         const struct error *error)
{
    struct error told = *error;

    if (entry->failure.code)
        error_set(&told, entry->failure.code, "%.110s Going back failed, too: %.110s", entry->failure.text,
                  error->text);
    if (row->state != STORE_FAILED || strcmp(row->reason, error->text) != 0)
        keeper_event(keeper, "slice-failed", entry->name, NULL, error->text);
    set_state(keeper, entry, STORE_FAILED, error->text);
    end_job(keeper, entry, &told, NULL);
    later(entry);
}

static void fail(struct keeper *keeper, struct entry *entry, const struct error *error)
{
    const struct store_row *row = store_find(keeper->store, entry->name);

    unsigned news = vitals_check(keeper->vitals);

    keeper->news |= news; /* for the next look around */
    entry->settling = false;
    if ((vitals_missing(keeper->vitals) || news & VITALS_RETURNED) &&
        entry->n_interrupted++ < INTERRUPTIONS_MAX) {
        keeper_due(entry, 0); /* as soon as the daemon is back */
        return;
    }
    entry->n_interrupted = 0;
    if (!row || !store_connected(keeper->store))
        keeper_due(entry, 0);
    else if (row->state == STORE_PENDING && *row->previous)
        undo_change(keeper, entry, row, error);
    else if (row->state == STORE_PENDING)
        undo_new(keeper, entry, error);
    else
        note_failure(keeper, entry, row, error);
}

/* States of nodes. */

struct look {
    const struct store_row *row;
    json_t *live; /* for store_set_live() */
    struct error failed;
    const char *starting; /* a node that is not there yet; borrowed from the row */
};

static void found_state(const struct node_state *state, void *argument)
{
    struct look *look = argument;
    bool stopped = store_is_stopped(look->row, state->node);
    int node = slice_find_node(look->row->slice, state->node);

    json_object_set_new(look->live, state->node,
                        json_pack("{s:s, s:s, s:I}", "state", state->state, "why", state->why, "cpu_time_ns",
                                  (json_int_t)state->cpu_time_ns));
    if (stopped || node < 0 || look->failed.code)
        return;
    if (!strcmp(state->state, "failed"))
        error_set(&look->failed, EIO, "Node %s has failed: %.180s", state->node, state->why);
    else if (!strcmp(state->state, "stopped"))
        error_set(&look->failed, EIO, "Node %s has ended by itself.", state->node);
    else if (strcmp(state->state, "running") != 0)
        look->starting = look->row->slice->nodes[node].name;
}

/* Events for what has changed since the last look; the column 'status' follows. */
static void tell_changes(struct keeper *keeper, struct entry *entry, const struct store_row *row, json_t *live)
{
    json_t *pairs = json_array(), *state, *changed = json_array();
    const char *node;
    size_t i;

    json_object_foreach(live, node, state)
    {
        const char *now = json_string_value(json_object_get(state, "state"));
        const char *why = json_string_value(json_object_get(state, "why"));
        const char *text = *why ? why : now, *before = json_string_value(json_object_get(row->status, node));

        json_array_append_new(pairs, json_pack("[s, s]", node, text));
        if (!before || strcmp(before, text) != 0)
            json_array_append_new(changed, json_pack("[s, s, s]", node, now, why));
    }
    if (json_array_size(changed) || json_object_size(row->status) != json_object_size(live)) {
        struct error error;

        if (keeper_write(keeper, entry, json_pack("{s:[s, O]}", "status", "map", pairs), &error))
            log_warning("%s: %s", entry->name, error.text);
    }
    json_array_foreach(changed, i, state)
    {
        char event[64];

        snprintf(event, sizeof event, "node-%s", json_string_value(json_array_get(state, 1)));
        keeper_event(keeper, event, entry->name, json_string_value(json_array_get(state, 0)),
                     json_string_value(json_array_get(state, 2)));
    }
    json_decref(pairs);
    json_decref(changed);
}

/*
 * Looks at all nodes. 0: they are as they shall be; EAGAIN: '*starting' (NODE_NAME_SIZE bytes) is not there yet; else one is not,
 * and the error tells which.
 */
static int look_at(struct keeper *keeper, struct entry *entry, char starting[NODE_NAME_SIZE],
                   struct error *error)
{
    const struct store_row *row = store_find(keeper->store, entry->name);
    struct look look = {.row = row, .live = json_object()};
    struct wish wish;
    int code;

    make_wish(&wish, row, NULL);
    code = reconcile_states(keeper->reconciler, &wish.wish, found_state, &look, error);
    if (!code && look.failed.code)
        code = look.failed.code;
    if (!code && look.starting)
        code = EAGAIN;
    snprintf(starting, NODE_NAME_SIZE, "%s", look.starting ? look.starting : "");
    if (look.failed.code)
        *error = look.failed;
    if (json_object_size(look.live)) {
        json_incref(look.live);
        store_set_live(keeper->store, entry->name, look.live);
        tell_changes(keeper, entry, row, look.live);
    }
    json_decref(look.live);
    return code;
}

/* All is done that can be done: the slice runs, and whoever waits for it is told. */
static void settled(struct keeper *keeper, struct entry *entry, const char *starting)
{
    const struct store_row *row = store_find(keeper->store, entry->name);
    bool told = row->state == STORE_RUNNING, changed = *row->previous && strcmp(row->previous, row->spec) != 0;
    struct error error;

    entry->settling = false;
    entry->settled_ms = clock_ms();
    entry->n_interrupted = 0;
    if (!told && keeper_write(keeper, entry,
                              json_pack("{s:s, s:s, s:s}", "state", store_state_name(STORE_RUNNING), "reason",
                                        "", "previous", ""),
                              &error)) {
        fail(keeper, entry, &error);
        return;
    }
    if (!told)
        keeper_event(keeper, changed && !entry->failure.code ? "slice-changed" : "slice-running", entry->name,
                     NULL, NULL);
    end_job(keeper, entry, &entry->failure,
            json_pack("{s:s, s:s, s:s, s:o}", "slice", entry->name, "state", "running", "starting", starting,
                      "seconds", seconds(entry, clock_ms() - entry->made_ms)));
}

static void settle(struct keeper *keeper, struct entry *entry)
{
    char starting[NODE_NAME_SIZE];
    struct error error = {0};
    int code = look_at(keeper, entry, starting, &error);

    if (!store_find(keeper->store, entry->name))
        keeper_due(entry, 0);
    else if (!code || (code == EAGAIN && clock_ms() >= entry->boot_deadline_ms))
        settled(keeper, entry, starting);
    else if (code != EAGAIN)
        fail(keeper, entry, &error);
}

void keeper_look(struct keeper *keeper, struct entry *entry)
{
    const struct store_row *row = store_find(keeper->store, entry->name);
    char starting[NODE_NAME_SIZE];
    struct error error;
    int code;

    if (!row || !row->slice || row->reserved || row->state == STORE_DESTROYING)
        return;
    if (entry->settling) {
        settle(keeper, entry);
        return;
    }
    code = look_at(keeper, entry, starting, &error);
    if (code && code != EAGAIN)
        later(entry); /* a machine that ends as soon as it has started does not keep us busy */
    else if (!code && clock_ms() - entry->settled_ms >= KEEPER_STABLE_MS)
        entry->pause_ms = 0;
}

/* Work. */

struct progress {
    struct keeper *keeper;
    struct entry *entry;
};

static void step(const char *node, const char *text, void *argument)
{
    const struct progress *progress = argument;

    if (progress->entry->job)
        progress->keeper->settings.tell(
            &(struct keeper_message){.kind = KEEPER_PROGRESS,
                                     .job = progress->entry->job,
                                     .json = json_pack("{s:s, s:s}", "node", node ? node : "", "text", text)},
            progress->keeper->settings.argument);
}

static void remove_slice(struct keeper *keeper, struct entry *entry, bool has_row)
{
    struct error error = {0}, failure = entry->failure;
    struct stopwatch begin = begin_time(keeper);
    int code = reconcile_remove(keeper->reconciler, entry->name, &error);

    if (!code && has_row)
        code = store_delete(keeper->store, entry->name, &error);
    add_time(keeper, entry, &begin);
    if (code) {
        if (!entry->pause_ms)
            keeper_event(keeper, "destroy-failed", entry->name, NULL, error.text);
        if (failure.code)
            error_set(&error, failure.code, "%.110s Undoing it failed, too: %.110s", failure.text, error.text);
        end_job(keeper, entry, &error, NULL);
        later(entry);
        return;
    }
    keeper_event(keeper, "slice-destroyed", entry->name, NULL, NULL);
    end_job(keeper, entry, &failure,
            json_pack("{s:s, s:s, s:o}", "slice", entry->name, "state", "destroyed", "seconds",
                      seconds(entry, 0)));
    keeper_forget(keeper, entry);
}

static void reserve(struct keeper *keeper, struct entry *entry)
{
    struct error error = {0};
    int code = reconcile_remove(keeper->reconciler, entry->name, &error);

    if (!code)
        code = keeper_write(keeper, entry,
                            json_pack("{s:s, s:s, s:s, s:[s, []]}", "state", store_state_name(STORE_RESERVED),
                                      "reason", "", "previous", "", "status", "map"),
                            &error);
    if (code) {
        fail(keeper, entry, &error);
        return;
    }
    store_set_live(keeper->store, entry->name, NULL);
    keeper_event(keeper, "slice-reserved", entry->name, NULL, NULL);
    end_job(keeper, entry, NULL, json_pack("{s:s, s:s}", "slice", entry->name, "state", "reserved"));
}

/* Whether there is room; rows that others write have not been asked before. */
static int admit(struct keeper *keeper, const struct store_row *row, struct error *error)
{
    struct admission_claim claims[SLICES_MAX], claim = admission_claim_of(row->slice);
    unsigned n = store_claims(keeper->store, claims);

    return admission_check(&keeper->settings.capacity, claims, n, &claim, error);
}

static int make(struct keeper *keeper, struct entry *entry, const struct store_row *row, struct error *error)
{
    const struct reconcile_progress progress = {step, &(struct progress){keeper, entry}};
    struct stopwatch begin = begin_time(keeper);
    struct wish wish;
    int code = 0;

    if (entry->restart_pending) {
        make_wish(&wish, row, entry->job_node);
        code = reconcile_slice(keeper->reconciler, &wish.wish, &progress, error);
        entry->restart_pending = false;
    }
    if (!code) {
        make_wish(&wish, row, NULL);
        code = reconcile_slice(keeper->reconciler, &wish.wish, &progress, error);
    }
    add_time(keeper, entry, &begin);
    return code;
}

void keeper_work(struct keeper *keeper, struct entry *entry)
{
    const struct store_row *row = store_find(keeper->store, entry->name);
    struct error error = {0};
    int code;

    entry->due = false;
    entry->settling = false;
    if (!row || row->state == STORE_DESTROYING) {
        remove_slice(keeper, entry, row);
        return;
    }
    if (!row->slice) {
        error_set(&error, EINVAL, "%s", row->mistake);
        fail(keeper, entry, &error);
        return;
    }
    if (row->reserved && row->state == STORE_RESERVED) {
        end_job(keeper, entry, NULL, json_pack("{s:s, s:s}", "slice", entry->name, "state", "reserved"));
        return;
    }
    code = row->state == STORE_RUNNING ? 0 : admit(keeper, row, &error);
    if (!code && row->reserved) {
        reserve(keeper, entry);
        return;
    }
    if (!code)
        code = make(keeper, entry, row, &error);
    if (code) {
        fail(keeper, entry, &error);
        return;
    }
    entry->settling = true;
    entry->boot_deadline_ms = clock_ms() + KEEPER_BOOT_MS;
    settle(keeper, entry);
}
