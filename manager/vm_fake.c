/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines that nobody runs: what the manager does with them can be seen without any. Each is a file in the driver's folder,
 * so that it outlives us like a real one; it says how the machine was started.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manager/vm.h"

#define PATH_SIZE (SLICE_PATH_SIZE + VM_NAME_SIZE)

struct vms {
    char folder[SLICE_PATH_SIZE];
};

static void spell(char path[PATH_SIZE], const struct vms *vms, const char *name)
{
    snprintf(path, PATH_SIZE, "%s/%s", vms->folder, name);
}

static int fake_open(struct vms **vms, const char *folder, struct error *error)
{
    *vms = calloc(1, sizeof **vms);
    if (!*vms)
        return error_set(error, ENOMEM, "There is no memory for machines in %s.", folder);
    snprintf((*vms)->folder, sizeof(*vms)->folder, "%s", folder);
    return 0;
}

static void fake_close(struct vms *vms)
{
    free(vms);
}

static bool runs(const struct vms *vms, const char *name)
{
    char path[PATH_SIZE];

    spell(path, vms, name);
    return access(path, F_OK) == 0;
}

static int fake_start(struct vms *vms, const struct vm_spec *spec, struct error *error)
{
    char path[PATH_SIZE];
    FILE *file;

    if (runs(vms, spec->name))
        return error_set(error, EEXIST, "Machine %s runs already.", spec->name);
    spell(path, vms, spec->name);
    file = fopen(path, "we");
    if (!file)
        return error_set(error, errno, "Machine %s cannot be started: %s.", spec->name, strerror(errno));
    fprintf(file, "%s\n", spec->command_line);
    for (unsigned i = 0; i < spec->n_nics; i++)
        fprintf(file, "%s %s\n", spec->nics[i].mac, spec->nics[i].socket);
    fclose(file);
    return 0;
}

static int fake_stop(struct vms *vms, const char *name, struct error *error)
{
    char path[PATH_SIZE];

    spell(path, vms, name);
    unlink(path);
    return 0;
}

static enum vm_state fake_state(struct vms *vms, const char *name)
{
    return runs(vms, name) ? VM_RUNNING : VM_ABSENT;
}

/* A machine's name has a dot in it, but not in front. */
static int is_machine(const struct dirent *entry)
{
    return strchr(entry->d_name, '.') > entry->d_name;
}

static int fake_list(struct vms *vms, void (*found)(const char *name, void *argument), void *argument,
                     struct error *error)
{
    struct dirent **entries;
    int n = scandir(vms->folder, &entries, is_machine, alphasort);

    if (n < 0)
        return error_set(error, errno, "The folder %s cannot be read: %s.", vms->folder, strerror(errno));
    for (int i = 0; i < n; i++) {
        found(entries[i]->d_name, argument);
        free(entries[i]);
    }
    free(entries);
    return 0;
}

static uint64_t fake_cpu_time(struct vms *vms, const char *name)
{
    return runs(vms, name);
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
