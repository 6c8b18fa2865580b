/* SPDX-License-Identifier: Apache-2.0 */
/* Machines that nobody runs: what the manager does with them can be seen without any. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/vm.h"

#define MACHINES_MAX 64

struct vms {
    unsigned n;
    char names[MACHINES_MAX][VM_NAME_SIZE];
};

static int fake_open(struct vms **vms, const char *folder, struct error *error)
{
    *vms = calloc(1, sizeof **vms);
    return *vms ? 0 : error_set(error, ENOMEM, "There is no memory for machines in %s.", folder);
}

static void fake_close(struct vms *vms)
{
    free(vms);
}

static unsigned find(const struct vms *vms, const char *name)
{
    unsigned i = 0;

    while (i < vms->n && strcmp(vms->names[i], name) != 0)
        i++;
    return i;
}

static int fake_start(struct vms *vms, const struct vm_spec *spec, struct error *error)
{
    if (find(vms, spec->name) < vms->n)
        return error_set(error, EEXIST, "Machine %s runs already.", spec->name);
    if (vms->n == MACHINES_MAX)
        return error_set(error, ENOSPC, "Machine %s is one too many: there are %u.", spec->name, vms->n);
    strcpy(vms->names[vms->n++], spec->name);
    return 0;
}

static int fake_stop(struct vms *vms, const char *name, struct error *error)
{
    unsigned i = find(vms, name);

    if (i < vms->n && i != --vms->n)
        strcpy(vms->names[i], vms->names[vms->n]);
    return 0;
}

static enum vm_state fake_state(struct vms *vms, const char *name)
{
    return find(vms, name) < vms->n ? VM_RUNNING : VM_ABSENT;
}

static int fake_list(struct vms *vms, void (*found)(const char *name, void *argument), void *argument,
                     struct error *error)
{
    for (unsigned i = 0; i < vms->n; i++)
        found(vms->names[i], argument);
    return 0;
}

static uint64_t fake_cpu_time(struct vms *vms, const char *name)
{
    return find(vms, name) < vms->n;
}

const struct vm_driver vm_fake = {
    .name = "fake",
    .open = fake_open,
    .close = fake_close,
    .start = fake_start,
    .stop = fake_stop,
    .state = fake_state,
    .list = fake_list,
    .cpu_time = fake_cpu_time,
};
