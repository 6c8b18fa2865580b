/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of a job: what is behind something goes after it and comes before it. A machine waits for its ports of the fast path,
 * Open vSwitch for those of its bridges, a port for the interface that it uses. Rules of direct links come after Open vSwitch has
 * let go of the ports, machines last. All that somebody else's things could prevent is found out before anything is touched.
 */
#include "manager/reconcile.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/reconcile_internal.h"

typedef int (*job_part)(struct job *job, struct error *error);

static const job_part look[] = {hosts_look, devices_look, ports_look, bridges_look};
static const job_part clear[] = {machines_clear, rules_clear,   bridges_clear, ports_clear,
                                 hosts_clear,    devices_clear, files_clear};
static const job_part make[] = {files_make,   devices_make, hosts_make, ports_make,   rates_make,
                                offload_make, bridges_make, rules_make, machines_make};

void job_step(const struct job *job, const char *node, const char *format, ...)
{
    char text[120];
    va_list arguments;

    if (!job->progress || !job->progress->step)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    job->progress->step(node, text, job->progress->argument);
}

int job_blame(const char *what, const char *node, int code, struct error *error)
{
    char text[sizeof error->text];

    if (!code || !error)
        return code;
    memcpy(text, error->text, sizeof text);
    return error_set(error, code, "%s %s: %.200s", what, node, text);
}

int reconciler_open(struct reconciler **result, const struct reconcile_settings *settings, struct error *error)
{
    struct reconciler *reconciler = calloc(1, sizeof *reconciler);
    char folder[SLICE_FOLDER_SIZE];
    int code;

    *result = NULL;
    if (!reconciler)
        return error_set(error, ENOMEM, "There is no memory to look after slices.");
    reconciler->settings = settings;
    pthread_mutex_init(&reconciler->lock, NULL);
    snprintf(folder, sizeof folder, "%s/%s", settings->run_folder, settings->vm_driver->name);
    code = marks_make_folder(folder, error);
    if (!code)
        code = settings->vm_driver->open(&reconciler->vms, folder, error);
    if (code) {
        pthread_mutex_destroy(&reconciler->lock);
        free(reconciler);
    } else {
        *result = reconciler;
    }
    return code;
}

void reconciler_close(struct reconciler *reconciler)
{
    if (!reconciler)
        return;
    reconciler->settings->vm_driver->close(reconciler->vms);
    pthread_mutex_destroy(&reconciler->lock);
    free(reconciler);
}

static int run_parts(struct job *job, const job_part parts[], size_t n, struct error *error)
{
    int first = 0;

    for (size_t i = 0; i < n; i++) {
        struct error failure = {0};
        int code = parts[i](job, &failure);

        if (code && !first) {
            first = code;
            if (error)
                *error = failure;
        }
        if (code && job->slice)
            break;
    }
    return first;
}

#define RUN_PARTS(job, parts, error) run_parts(job, parts, sizeof parts / sizeof parts[0], error)

static int run(struct job *job, struct error *error)
{
    const struct reconcile_settings *settings = job->reconciler->settings;
    int code, failed;

    snprintf(job->run, sizeof job->run, "%.200s/" PLAN_FOLDER "/%s", settings->run_folder, job->plan->slice);
    snprintf(job->sockets, sizeof job->sockets, "%.200s/" PLAN_SOCKETS "/%s", settings->run_folder,
             job->plan->slice);
    snprintf(job->state, sizeof job->state, "%.200s/" PLAN_FOLDER "/%s", settings->state_folder,
             job->plan->slice);
    job->ports = calloc(job->plan->n_ports + 1, sizeof *job->ports);
    if (!job->ports)
        return error_set(error, ENOMEM, "There is no memory for slice %s.", job->plan->slice);
    code = RUN_PARTS(job, look, error);
    if (!code || !job->slice) {
        failed = RUN_PARTS(job, clear, code ? NULL : error);
        code = code ? code : failed;
    }
    if (!job->slice) {
        failed = offload_make(job, code ? NULL : error);
        code = code ? code : failed;
    } else if (!code) {
        code = RUN_PARTS(job, make, error);
    }
    client_close(job->client);
    ovsdb_close(job->db);
    json_decref(job->present_ports);
    json_decref(job->bridges);
    free(job->ports);
    return code;
}

int reconcile_slice(struct reconciler *reconciler, const struct slice_wish *wish,
                    const struct reconcile_progress *progress, struct error *error)
{
    struct error failure = {0};
    struct plan *plan = plan_make(wish, reconciler->settings, &failure);
    struct job job = {.reconciler = reconciler, .plan = plan, .slice = wish->slice, .progress = progress};
    int code = plan ? run(&job, error) : error_set(error, failure.code, "%s", failure.text);

    plan_free(plan);
    return code;
}

int reconcile_remove(struct reconciler *reconciler, const char *slice, struct error *error)
{
    struct job job = {.reconciler = reconciler};
    struct plan *plan;
    int code;

    /* It becomes part of files' names. */
    if (!slice[0] || slice[0] == '.' || strchr(slice, '/') || strlen(slice) >= SLICE_NAME_SIZE)
        return error_set(error, EINVAL, "'%.60s' is no slice's name.", slice);
    plan = plan_nothing(slice, error);
    if (!plan)
        return ENOMEM;
    job.plan = plan;
    code = run(&job, error);
    plan_free(plan);
    return code;
}
