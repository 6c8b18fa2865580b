/* SPDX-License-Identifier: Apache-2.0 */
/* A slice's two folders. Each file is called NODE.REST; node names have no dots. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "manager/reconcile_internal.h"

int files_make(struct job *job, struct error *error)
{
    int code = marks_make_folder(job->run, error);

    return code ? code : marks_make_folder(job->state, error);
}

/* Splits NODE.REST. */
static const char *split(const char *name, char node[MARK_NAME_SIZE])
{
    const char *dot = strchr(name, '.');

    snprintf(node, MARK_NAME_SIZE, "%.*s", dot ? (int)(dot - name) : 0, name);
    return dot ? dot + 1 : name;
}

/* The folder of sockets and marks: the latter remove those who made them. */
static bool is_for_now(const struct job *job, const char *name)
{
    char node[MARK_NAME_SIZE], stem[MARK_NAME_SIZE];
    const char *rest = split(name, node);

    for (unsigned i = 0; i < job->plan->n_ports; i++) {
        const char *base = strrchr(job->plan->ports[i].target, '/');

        if (base && !strcmp(base + 1, name))
            return true;
    }
    for (unsigned i = 0; i < job->plan->n_machines; i++)
        if (!strcmp(job->plan->machines[i].node->name, node) &&
            (!strcmp(rest, "agent") || !strcmp(rest, "console") || !strcmp(rest, "machine")))
            return true;
    return mark_stem(name, "netns", stem) || mark_stem(name, "veth", stem) || mark_stem(name, "device", stem);
}

/* The folder of what stays when a machine stops. */
static bool is_to_last(const struct job *job, const char *name)
{
    char node[MARK_NAME_SIZE], disk[MARK_NAME_SIZE];
    const char *rest = split(name, node);
    int number = job->slice ? slice_find_node(job->slice, node) : -1;

    if (number < 0 || job->slice->nodes[number].kind != NODE_VM)
        return false;
    plan_disk_name(disk, sizeof disk, &job->slice->nodes[number]);
    return !strcmp(rest, "console") || !strcmp(rest, "console.1") ||
           (job->slice->nodes[number].image[0] && !strcmp(rest, "seed")) ||
           (job->slice->nodes[number].image[0] && !strcmp(name, disk));
}

static void clear_now(const char *name, void *argument)
{
    const struct job *job = argument;

    if (!is_for_now(job, name))
        mark_remove(job->run, name);
}

static void clear_lasting(const char *name, void *argument)
{
    const struct job *job = argument;

    if (!is_to_last(job, name))
        mark_remove(job->state, name);
}

/* A folder that is not empty is one whose marks say what could not be removed. */
int files_clear(struct job *job, struct error *error)
{
    marks_each(job->run, clear_now, job);
    marks_each(job->state, clear_lasting, job);
    if (job->slice)
        return 0;
    if (rmdir(job->run) && errno != ENOENT && errno != ENOTEMPTY)
        return error_set(error, errno, "The folder %.180s cannot be removed: %s.", job->run, strerror(errno));
    if (rmdir(job->state) && errno != ENOENT)
        return error_set(error, errno, "The folder %.180s cannot be removed: %s.", job->state, strerror(errno));
    return 0;
}
