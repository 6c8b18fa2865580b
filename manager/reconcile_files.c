/* SPDX-License-Identifier: Apache-2.0 */
/* A slice's folders. Each file is called NODE.REST; node names have no dots. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "manager/reconcile_internal.h"

int files_make(struct job *job, struct error *error)
{
    int code = marks_make_folder(job->run, error);

    if (!code)
        code = marks_make_folder(job->sockets, error);
    return code ? code : marks_make_folder(job->state, error);
}

/* Splits NODE.REST. */
static const char *split(const char *name, char node[MARK_NAME_SIZE])
{
    const char *dot = strchr(name, '.');

    snprintf(node, MARK_NAME_SIZE, "%.*s", dot ? (int)(dot - name) : 0, name);
    return dot ? dot + 1 : name;
}

static bool is_socket(const struct job *job, const char *name)
{
    for (unsigned i = 0; i < job->plan->n_ports; i++) {
        const char *base = strrchr(job->plan->ports[i].target, '/');

        if (base && !strcmp(base + 1, name))
            return true;
    }
    return false;
}

/* The folder of marks, which who made them remove, and of what libvirt makes. */
static bool is_for_now(const struct job *job, const char *name)
{
    char node[MARK_NAME_SIZE], stem[MARK_NAME_SIZE];
    const char *rest = split(name, node);

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

static void clear_socket(const char *name, void *argument)
{
    const struct job *job = argument;

    if (!is_socket(job, name))
        mark_remove(job->sockets, name);
}

static void clear_lasting(const char *name, void *argument)
{
    const struct job *job = argument;

    if (!is_to_last(job, name))
        mark_remove(job->state, name);
}

static int remove_folder(const char *folder, struct error *error)
{
    if (!rmdir(folder) || errno == ENOENT)
        return 0;
    return error_set(error, errno, "The folder %.180s cannot be removed: %s.", folder, strerror(errno));
}

/* A folder with marks says what could not be removed; whoever could not has told why. */
int files_clear(struct job *job, struct error *error)
{
    int code;

    marks_each(job->run, clear_now, job);
    marks_each(job->sockets, clear_socket, job);
    marks_each(job->state, clear_lasting, job);
    if (job->slice)
        return 0;
    code = remove_folder(job->sockets, error);
    if (!code)
        code = remove_folder(job->state, error);
    return code ? code : remove_folder(job->run, error);
}
