/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's thread: what wakes it, and in which order it deals with what there is to do. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "manager/keeper_internal.h"

#define CONNECT_PAUSE_MS 20
#define LOOK_MS 2000         /* machines without a port in the fast path end without an event */
#define LOOK_SETTLING_MS 250 /* likewise while somebody waits */
#define HOST_MS 60000

int64_t keeper_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* Telling. */

void keeper_event(struct keeper *keeper, const char *event, const char *slice, const char *node,
                  const char *text)
{
    json_t *json = json_pack("{s:I, s:s, s:s, s:s, s:s}", "time", (json_int_t)keeper_now_ms(), "event", event,
                             "slice", slice, "node", node ? node : "", "text", text ? text : "");

    log_info("%s %s%s%s%s%s", event, slice, node ? "." : "", node ? node : "", text && *text ? ": " : "",
             text ? text : "");
    keeper->settings.tell(&(struct keeper_message){.kind = KEEPER_EVENT, .json = json},
                          keeper->settings.argument);
}

void keeper_done(struct keeper *keeper, uint64_t job, const struct error *error, json_t *result)
{
    struct keeper_message message = {.kind = KEEPER_DONE, .job = job, .json = result};

    if (error && error->code) {
        json_decref(result);
        message.code = error->code;
        message.json = json_pack("{s:s}", "text", error->text);
    }
    if (job)
        keeper->settings.tell(&message, keeper->settings.argument);
    else
        json_decref(message.json);
}

/* Entries. */

struct entry *keeper_find(struct keeper *keeper, const char *name)
{
    for (unsigned i = 0; i < keeper->n_entries; i++)
        if (!strcmp(keeper->entries[i]->name, name))
            return keeper->entries[i];
    return NULL;
}

struct entry *keeper_entry(struct keeper *keeper, const char *name)
{
    struct entry *entry = keeper_find(keeper, name);

    if (entry || keeper->n_entries == SLICES_MAX * 2)
        return entry;
    entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    snprintf(entry->name, sizeof entry->name, "%s", name);
    keeper->entries[keeper->n_entries++] = entry;
    return entry;
}

void keeper_forget(struct keeper *keeper, struct entry *entry)
{
    for (unsigned i = 0; i < keeper->n_entries; i++)
        if (keeper->entries[i] == entry)
            keeper->entries[i] = keeper->entries[--keeper->n_entries];
    free(entry);
}

void keeper_due(struct entry *entry, int64_t in_ms)
{
    entry->due = true;
    entry->due_ms = in_ms ? clock_ms() + in_ms : 0;
}

int keeper_write(struct keeper *keeper, struct entry *entry, json_t *columns, struct error *error)
{
    int code = store_update(keeper->store, entry->name, columns, error);
    const struct store_row *row = store_find(keeper->store, entry->name);

    if (row)
        entry->version = row->version + 1;
    return code;
}

static void all_due(struct keeper *keeper)
{
    for (unsigned i = 0; i < keeper->n_entries; i++) {
        keeper->entries[i]->pause_ms = 0;
        keeper_due(keeper->entries[i], 0);
    }
}

/* Makes those due whose rows have changed, or have gone. */
static void compare_rows(struct keeper *keeper)
{
    for (unsigned i = 0; i < store_count(keeper->store); i++) {
        const struct store_row *row = store_row(keeper->store, i);
        struct entry *entry = keeper_entry(keeper, row->name);

        if (entry && entry->version != row->version + 1) {
            entry->version = row->version + 1;
            keeper_due(entry, 0);
        }
    }
    for (unsigned i = 0; i < keeper->n_entries; i++)
        if (keeper->entries[i]->version && !store_find(keeper->store, keeper->entries[i]->name)) {
            keeper->entries[i]->version = 0;
            keeper_due(keeper->entries[i], 0);
        }
}

static void found_slice(const char *slice, void *argument)
{
    struct keeper *keeper = argument;
    struct entry *entry = store_find(keeper->store, slice) ? NULL : keeper_entry(keeper, slice);

    if (entry)
        keeper_due(entry, 0);
}

/* What has to be there before anything can be done. Returns whether it is. */
static bool is_able(struct keeper *keeper)
{
    const char *missing = vitals_missing(keeper->vitals);
    struct error error = {0};

    if (!missing && !keeper->reconciler &&
        reconciler_open(&keeper->reconciler, &keeper->settings.reconcile, &error))
        missing = error.text;
    if (!missing && !keeper->orphans_found) {
        if (reconcile_list(keeper->reconciler, found_slice, keeper, &error))
            missing = error.text;
        else
            keeper->orphans_found = true;
    }
    if (missing && strcmp(keeper->missing, missing) != 0) {
        snprintf(keeper->missing, sizeof keeper->missing, "%s", missing);
        log_info("waiting: %s", missing);
    }
    return !missing;
}

static void expire_leases(struct keeper *keeper)
{
    int64_t now = keeper_now_ms();
    struct error error;

    for (unsigned i = 0; i < store_count(keeper->store); i++) {
        const struct store_row *row = store_row(keeper->store, i);
        char name[SLICE_NAME_SIZE];

        if (!row->expires || row->expires > now || row->state == STORE_DESTROYING)
            continue;
        strcpy(name, row->name);
        if (store_update(keeper->store, name,
                         json_pack("{s:s, s:s}", "state", store_state_name(STORE_DESTROYING), "reason",
                                   "Its lease has ended."),
                         &error))
            return;
        keeper_event(keeper, "lease-ended", name, NULL, NULL);
    }
}

static void connect_store(struct keeper *keeper)
{
    struct error error;

    if (clock_ms() < keeper->connect_at_ms)
        return;
    if (store_connect(keeper->store, &error)) {
        keeper->connect_at_ms = clock_ms() + CONNECT_PAUSE_MS;
        snprintf(keeper->missing, sizeof keeper->missing, "%s", error.text);
        return;
    }
    keeper->host_at_ms = 0;
    all_due(keeper);
}

static bool take_job(struct keeper *keeper, struct keeper_job *job)
{
    bool any;

    pthread_mutex_lock(&keeper->lock);
    any = keeper->n_jobs > 0;
    if (any) {
        *job = keeper->jobs[0];
        memmove(keeper->jobs, keeper->jobs + 1, --keeper->n_jobs * sizeof *keeper->jobs);
    }
    pthread_mutex_unlock(&keeper->lock);
    return any;
}

/* Jobs wait for what is missing, but not for ever. */
static void refuse_late_jobs(struct keeper *keeper)
{
    struct keeper_job job;

    pthread_mutex_lock(&keeper->lock);
    if (!keeper->n_jobs)
        keeper->jobs_wait_since_ms = 0;
    else if (!keeper->jobs_wait_since_ms)
        keeper->jobs_wait_since_ms = clock_ms();
    pthread_mutex_unlock(&keeper->lock);
    if (!keeper->jobs_wait_since_ms || clock_ms() - keeper->jobs_wait_since_ms < KEEPER_WAIT_MS)
        return;
    while (take_job(keeper, &job)) {
        struct error error;

        error_set(&error, EAGAIN, "%s", keeper->missing);
        free(job.spec);
        keeper_done(keeper, job.id, &error, NULL);
    }
}

/* Takes all that has happened in; returns whether entries can be worked on. */
static bool look_around(struct keeper *keeper)
{
    struct keeper_job job;
    struct error error;
    uint64_t count;
    unsigned news;

    if (read(keeper->wake, &count, sizeof count) < 0 && errno != EAGAIN)
        log_error("the keeper's eventfd cannot be read: %s", strerror(errno));
    pthread_mutex_lock(&keeper->lock);
    if (keeper->vswitch_started)
        vitals_vswitch_started(keeper->vitals);
    keeper->vswitch_started = false;
    pthread_mutex_unlock(&keeper->lock);

    news = vitals_check(keeper->vitals) | keeper->news;
    keeper->news = 0;
    if (news & VITALS_CONFIGURED)
        keeper->settings.tell(&(struct keeper_message){.kind = KEEPER_CONFIGURED}, keeper->settings.argument);
    if (news & VITALS_RETURNED)
        all_due(keeper);
    if (news)
        keeper->look_at_ms = 0;
    if (!store_connected(keeper->store))
        connect_store(keeper);
    if (store_connected(keeper->store) && store_sync(keeper->store, &error))
        log_warning("%s", error.text);
    if (!store_connected(keeper->store) || keeper->is_down || !is_able(keeper)) {
        refuse_late_jobs(keeper);
        return false;
    }
    compare_rows(keeper);
    expire_leases(keeper);
    while (!keeper->is_down && take_job(keeper, &job))
        keeper_begin_job(keeper, &job);
    if (clock_ms() >= keeper->host_at_ms && !store_write_host(keeper->store, &keeper->settings.capacity, &error))
        keeper->host_at_ms = clock_ms() + HOST_MS;
    return store_connected(keeper->store) && !keeper->is_down;
}

/* The next entry that is due; NULL: none is. */
static struct entry *next_due(struct keeper *keeper)
{
    struct entry *found = NULL;

    for (unsigned i = 0; i < keeper->n_entries; i++) {
        struct entry *entry = keeper->entries[i];

        if (entry->due && entry->due_ms <= clock_ms() && (!found || entry->due_ms < found->due_ms))
            found = entry;
    }
    return found;
}

static bool is_settling(const struct keeper *keeper)
{
    for (unsigned i = 0; i < keeper->n_entries; i++)
        if (keeper->entries[i]->settling)
            return true;
    return false;
}

static void look_at_nodes(struct keeper *keeper)
{
    for (unsigned i = keeper->n_entries; i-- > 0;)
        if (!keeper->entries[i]->due)
            keeper_look(keeper, keeper->entries[i]);
    keeper->look_at_ms = clock_ms() + (is_settling(keeper) ? LOOK_SETTLING_MS : LOOK_MS);
}

static void sooner(int64_t *wait, int64_t other)
{
    if (other >= 0 && (*wait < 0 || other < *wait))
        *wait = other;
}

/* For how long there is nothing to do but to wait for events. */
static int patience_ms(const struct keeper *keeper, bool able)
{
    int64_t now = clock_ms(), wait = vitals_patience_ms(keeper->vitals);
    int64_t real_now = keeper_now_ms();

    if (!store_connected(keeper->store))
        sooner(&wait, keeper->connect_at_ms > now ? keeper->connect_at_ms - now : 0);
    if (keeper->jobs_wait_since_ms)
        sooner(&wait, CONNECT_PAUSE_MS);
    for (unsigned i = 0; able && i < keeper->n_entries; i++)
        if (keeper->entries[i]->due)
            sooner(&wait, keeper->entries[i]->due_ms > now ? keeper->entries[i]->due_ms - now : 0);
    for (unsigned i = 0; able && i < store_count(keeper->store); i++) {
        int64_t expires = store_row(keeper->store, i)->expires;

        if (expires)
            sooner(&wait, expires > real_now ? expires - real_now : 0);
    }
    if (able && keeper->n_entries)
        sooner(&wait, keeper->look_at_ms > now ? keeper->look_at_ms - now : 0);
    if (!able && !keeper->is_down && !keeper->reconciler)
        sooner(&wait, LOOK_MS);
    sooner(&wait, HOST_MS);
    return (int)wait;
}

static void await_event(struct keeper *keeper, bool able)
{
    struct pollfd fds[VITALS_FDS + 2];
    unsigned n = vitals_fds(keeper->vitals, fds);

    fds[n++] = (struct pollfd){.fd = keeper->wake, .events = POLLIN};
    if (store_connected(keeper->store))
        fds[n++] = (struct pollfd){.fd = store_fd(keeper->store), .events = POLLIN};
    poll(fds, n, patience_ms(keeper, able));
}

static bool shall_end(struct keeper *keeper)
{
    bool ends;

    pthread_mutex_lock(&keeper->lock);
    ends = keeper->ends;
    pthread_mutex_unlock(&keeper->lock);
    return ends;
}

static void *run(void *argument)
{
    struct keeper *keeper = argument;

    while (!shall_end(keeper)) {
        bool able = look_around(keeper);
        struct entry *entry = able ? next_due(keeper) : NULL;

        if (entry) {
            keeper_work(keeper, entry);
            continue;
        }
        if (able && !keeper->ready_told) {
            keeper->ready_told = true;
            keeper->settings.tell(&(struct keeper_message){.kind = KEEPER_READY}, keeper->settings.argument);
        }
        if (able && clock_ms() >= keeper->look_at_ms)
            look_at_nodes(keeper);
        /* Our own writes take in whatever the server has told meanwhile, and nothing wakes us for that again. */
        if (able)
            compare_rows(keeper);
        if (able && next_due(keeper))
            continue;
        await_event(keeper, able);
    }
    return NULL;
}

/* Starting, ending, and what others may call. */

static void destroy(struct keeper *keeper)
{
    struct keeper_job job;

    while (take_job(keeper, &job))
        free(job.spec);
    while (keeper->n_entries)
        keeper_forget(keeper, keeper->entries[0]);
    reconciler_close(keeper->reconciler);
    vitals_close(keeper->vitals);
    store_close(keeper->store);
    if (keeper->wake >= 0)
        close(keeper->wake);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}

int keeper_start(struct keeper **result, const struct keeper_settings *settings, struct error *error)
{
    struct keeper *keeper = calloc(1, sizeof *keeper);
    int code;

    *result = NULL;
    if (!keeper)
        return error_set(error, ENOMEM, "There is no memory for the keeper.");
    keeper->settings = *settings;
    pthread_mutex_init(&keeper->lock, NULL);
    keeper->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    code = keeper->wake < 0
               ? error_set(error, errno, "There is no eventfd for the keeper: %s.", strerror(errno))
               : store_open(&keeper->store, settings->db, settings->host, error);
    if (!code)
        code = vitals_open(&keeper->vitals, &settings->vitals, error);
    if (!code) {
        code = pthread_create(&keeper->thread, NULL, run, keeper);
        if (code)
            error_set(error, code, "There is no thread for the keeper: %s.", strerror(code));
    }
    if (code)
        destroy(keeper);
    else
        *result = keeper;
    return code;
}

static void wake(struct keeper *keeper)
{
    const uint64_t one = 1;

    if (write(keeper->wake, &one, sizeof one) < 0)
        log_error("the keeper cannot be woken: %s", strerror(errno));
}

void keeper_stop(struct keeper *keeper)
{
    if (!keeper)
        return;
    pthread_mutex_lock(&keeper->lock);
    keeper->ends = true;
    pthread_mutex_unlock(&keeper->lock);
    wake(keeper);
    pthread_join(keeper->thread, NULL);
    destroy(keeper);
}

int keeper_submit(struct keeper *keeper, const struct keeper_job *job, struct error *error)
{
    int code = 0;

    pthread_mutex_lock(&keeper->lock);
    if (keeper->n_jobs == KEEPER_JOBS_MAX)
        code = error_set(error, EBUSY, "%u changes are waiting to be made; try again later.", KEEPER_JOBS_MAX);
    else
        keeper->jobs[keeper->n_jobs++] = *job;
    pthread_mutex_unlock(&keeper->lock);
    if (code)
        free(job->spec);
    else
        wake(keeper);
    return code;
}

void keeper_vswitch_started(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    keeper->vswitch_started = true;
    pthread_mutex_unlock(&keeper->lock);
    wake(keeper);
}

struct store *keeper_store(struct keeper *keeper)
{
    return keeper->store;
}
