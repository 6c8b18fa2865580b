/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual machines. A mark NODE.machine has the fingerprint with which the machine was started; it is empty until it was. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manager/disk.h"
#include "manager/reconcile_internal.h"
#include "manager/seed.h"

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

struct condemned {
    const struct job *job;
    unsigned n;
    char (*names)[VM_NAME_SIZE];
};

static void condemn(const char *name, void *argument)
{
    struct condemned *condemned = argument;
    char(*names)[VM_NAME_SIZE];

    if (!node_of(condemned->job, name) || is_to_stay(condemned->job, name) || strlen(name) >= VM_NAME_SIZE)
        return;
    names = realloc(condemned->names, (condemned->n + 1) * sizeof *names);
    if (!names)
        return;
    condemned->names = names;
    strcpy(names[condemned->n++], name);
}

int machines_clear(struct job *job, struct error *error)
{
    struct condemned condemned = {.job = job};
    int code = driver_of(job)->list(job->reconciler->vms, condemn, &condemned, error);

    for (unsigned i = 0; i < condemned.n; i++) {
        const char *node = node_of(job, condemned.names[i]);
        char mark[MARK_NAME_SIZE];
        struct error failure;
        int result;

        job_step(job, node, "stopping machine");
        result = driver_of(job)->stop(job->reconciler->vms, condemned.names[i], &failure);
        spell_mark(mark, node);
        if (!result)
            mark_remove(job->run, mark);
        if (result && !code)
            code = error_set(error, result, "%s", failure.text);
    }
    free(condemned.names);
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

static int start(struct job *job, struct plan_machine *machine, struct error *error)
{
    char mark[MARK_NAME_SIZE];
    int code;

    job_step(job, machine->node->name, "starting machine");
    spell_mark(mark, machine->node->name);
    vm_numa_node(machine->spec.cpu_pin, machine->spec.numa_node);
    code = make_disks(machine, error);
    if (!code)
        code = mark_write(job->run, mark, "", error);
    if (!code)
        code = driver_of(job)->start(job->reconciler->vms, &machine->spec, error);
    if (!code)
        code = mark_write(job->run, mark, machine->fingerprint, error);
    return job_blame("Node", machine->node->name, code, error);
}

int machines_make(struct job *job, struct error *error)
{
    int code = 0;

    for (unsigned i = 0; i < job->plan->n_machines && !code; i++)
        if (!is_right(job, &job->plan->machines[i]))
            code = start(job, &job->plan->machines[i], error);
    return code;
}
