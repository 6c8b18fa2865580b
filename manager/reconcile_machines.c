/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual machines. A mark NODE.machine has the fingerprint with which the machine was started; it is empty until it was.
 *
 * Machines end at the same time, and start at the same time: each in a thread of a batch. A thread has its own machine, and its
 * own mark, disk and seed; of the job it only reads. The plan's order, and progress, are the keeper's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "manager/batch.h"
#include "manager/disk.h"
#include "manager/reconcile_internal.h"
#include "manager/seed.h"

#define AT_ONCE_MAX 8 /* docs/performance.md says what that gains, also where there are fewer CPUs */

static const struct vm_driver *driver_of(const struct job *job)
{
    return job->reconciler->settings->vm_driver;
}

static void spell_mark(char mark[MARK_NAME_SIZE], const char *node)
{
    snprintf(mark, MARK_NAME_SIZE, "%.31s.machine", node);
}

/* Whether a machine runs, and as it is wished. */
static bool is_right(const struct job *job, const struct plan_machine *machine)
{
    char mark[MARK_NAME_SIZE];

    spell_mark(mark, machine->node->name);
    return driver_of(job)->state(job->reconciler->vms, machine->spec.name) == VM_RUNNING &&
           mark_says(job->run, mark, machine->fingerprint);
}

/* The node that a machine of the slice is; NULL: it is another slice's. */
static const char *node_of(const struct job *job, const char *name)
{
    size_t size = strlen(job->plan->slice);

    return !strncmp(name, job->plan->slice, size) && name[size] == '.' ? name + size + 1 : NULL;
}

static bool is_to_stay(const struct job *job, const char *name)
{
    for (unsigned i = 0; i < job->plan->n_machines; i++)
        if (!strcmp(job->plan->machines[i].spec.name, name))
            return is_right(job, &job->plan->machines[i]);
    return false;
}

/* A machine's part of a batch. */
struct task {
    const struct job *job;
    struct plan_machine *machine; /* to be started ... */
    char name[VM_NAME_SIZE];      /* ... or to be ended */
    int code;
    struct error error;
};

/* The first failure in the order of the tasks, as a batch leaves it. */
static int first_failure(const struct task *tasks, unsigned n, struct error *error)
{
    for (unsigned i = 0; i < n; i++)
        if (tasks[i].code)
            return error_set(error, tasks[i].code, "%s", tasks[i].error.text);
    return 0;
}

/* From here on a machine starts or ends, and to there. */
static void begin_busy(struct reconciler *reconciler)
{
    pthread_mutex_lock(&reconciler->lock);
    if (!reconciler->n_busy++)
        reconciler->busy_since_ms = clock_ms();
    pthread_mutex_unlock(&reconciler->lock);
}

static void end_busy(struct reconciler *reconciler)
{
    pthread_mutex_lock(&reconciler->lock);
    if (!--reconciler->n_busy)
        reconciler->busy_ms += clock_ms() - reconciler->busy_since_ms;
    pthread_mutex_unlock(&reconciler->lock);
}

int64_t reconciler_machines_ms(struct reconciler *reconciler)
{
    int64_t ms;

    pthread_mutex_lock(&reconciler->lock);
    ms = reconciler->busy_ms + (reconciler->n_busy ? clock_ms() - reconciler->busy_since_ms : 0);
    pthread_mutex_unlock(&reconciler->lock);
    return ms;
}

struct condemned {
    const struct job *job;
    unsigned n;
    struct task *tasks;
};

static void condemn(const char *name, void *argument)
{
    struct condemned *condemned = argument;
    struct task *tasks;

    if (!node_of(condemned->job, name) || is_to_stay(condemned->job, name) || strlen(name) >= VM_NAME_SIZE)
        return;
    tasks = realloc(condemned->tasks, (condemned->n + 1) * sizeof *tasks);
    if (!tasks)
        return;
    condemned->tasks = tasks;
    tasks[condemned->n] = (struct task){.job = condemned->job};
    strcpy(tasks[condemned->n++].name, name);
}

static int stop(void *argument)
{
    struct task *task = argument;
    const struct job *job = task->job;
    char mark[MARK_NAME_SIZE];

    begin_busy(job->reconciler);
    task->code = driver_of(job)->stop(job->reconciler->vms, task->name, &task->error);
    end_busy(job->reconciler);
    spell_mark(mark, node_of(job, task->name));
    if (!task->code)
        mark_remove(job->run, mark);
    return task->code;
}

int machines_clear(struct job *job, struct error *error)
{
    struct condemned condemned = {.job = job};
    int code = driver_of(job)->list(job->reconciler->vms, condemn, &condemned, error);
    struct batch batch;

    batch_begin(&batch, AT_ONCE_MAX);
    for (unsigned i = 0; i < condemned.n; i++) {
        batch_await_room(&batch);
        job_step(job, node_of(job, condemned.tasks[i].name), "stopping machine");
        batch_run(&batch, stop, &condemned.tasks[i]);
    }
    batch_end(&batch);
    code = code ? code : first_failure(condemned.tasks, condemned.n, error);
    free(condemned.tasks);
    return code;
}

/* Its disk, which stays when the machine stops, and its seed. */
static int make_disks(const struct plan_machine *machine, struct error *error)
{
    const struct slice_node *node = machine->node;
    char macs[SLICE_INTERFACES_MAX][18];
    int code = 0;

    if (!machine->spec.disk[0])
        return 0;
    for (unsigned i = 0; i < machine->spec.n_nics; i++)
        strcpy(macs[i], machine->spec.nics[i].mac);
    if (access(machine->spec.disk, F_OK))
        code = disk_create_overlay(machine->spec.disk, node->image, node->disk, error);
    return code ? code : seed_write(machine->spec.seed, node, macs, error);
}

static int start(void *argument)
{
    struct task *task = argument;
    const struct job *job = task->job;
    struct plan_machine *machine = task->machine;
    char mark[MARK_NAME_SIZE];
    int code;

    spell_mark(mark, machine->node->name);
    code = make_disks(machine, &task->error);
    if (!code)
        code = mark_write(job->run, mark, "", &task->error);
    if (!code) {
        begin_busy(job->reconciler);
        code = driver_of(job)->start(job->reconciler->vms, &machine->spec, &task->error);
        end_busy(job->reconciler);
    }
    if (!code)
        code = mark_write(job->run, mark, machine->fingerprint, &task->error);
    task->code = job_blame("Node", machine->node->name, code, &task->error);
    return task->code;
}

int machines_make(struct job *job, struct error *error)
{
    struct task *tasks = calloc(job->plan->n_machines + 1, sizeof *tasks);
    unsigned n = 0;
    struct batch batch;
    int code;

    if (!tasks)
        return error_set(error, ENOMEM, "There is no memory to start machines.");
    batch_begin(&batch, AT_ONCE_MAX);
    for (unsigned i = 0; i < job->plan->n_machines && !batch_await_room(&batch); i++) {
        struct plan_machine *machine = &job->plan->machines[i];

        if (is_right(job, machine))
            continue;
        job_step(job, machine->node->name, "starting machine");
        vm_numa_node(machine->spec.cpu_pin, machine->spec.numa_node);
        tasks[n] = (struct task){.job = job, .machine = machine};
        batch_run(&batch, start, &tasks[n++]);
    }
    batch_end(&batch);
    code = first_failure(tasks, n, error);
    free(tasks);
    return code;
}
