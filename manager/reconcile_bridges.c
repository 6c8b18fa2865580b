/* SPDX-License-Identifier: Apache-2.0 */
/* Bridges: what is ours bears the slice's and the node's name. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "manager/reconcile_internal.h"

static const struct bridge *find_bridge(const struct plan *plan, const char *name)
{
    for (unsigned i = 0; i < plan->n_bridges; i++)
        if (!strcmp(plan->bridges[i].name, name))
            return &plan->bridges[i];
    return NULL;
}

struct look {
    struct job *job;
    char other[SLICE_NAME_SIZE + NODE_NAME_SIZE + 1]; /* whose bridge has a name of ours; "": nobody's */
};

static void found(const char *name, const char *slice, const char *node, void *argument)
{
    struct look *look = argument;
    const struct bridge *bridge = find_bridge(look->job->plan, name);

    if (!strcmp(slice, look->job->plan->slice))
        json_object_set_new(look->job->bridges, name, json_string(node));
    else if (bridge)
        snprintf(look->other, sizeof look->other, "%s.%s", slice, node);
}

/* Who has no switch can do without Open vSwitch, unless one may be left. */
int bridges_look(struct job *job, struct error *error)
{
    struct look look = {.job = job};
    int code = ovsdb_open(&job->db, job->reconciler->settings->vswitch_db, "Open_vSwitch", error);

    job->bridges = json_object();
    if (code) {
        job->db = NULL;
        return job->slice && !job->plan->n_bridges ? 0 : code;
    }
    code = bridges_list(job->db, found, &look, error);
    if (!code && look.other[0])
        code = error_set(error, EEXIST,
                         "A bridge of slice %s has the name of one that %s has already; rename its node.",
                         job->plan->slice, look.other);
    return code;
}

int bridges_clear(struct job *job, struct error *error)
{
    const char *name;
    json_t *node;
    int first = 0;

    json_object_foreach(job->bridges, name, node)
    {
        struct error failure;
        int code;

        if (find_bridge(job->plan, name))
            continue;
        job_step(job, json_string_value(node), "removing bridge %s", name);
        code = bridge_remove(job->db, name, &failure);
        if (code && !first) {
            first = job_blame("Switch", json_string_value(node), code, &failure);
            if (error)
                *error = failure;
        }
    }
    return first;
}

int bridges_make(struct job *job, struct error *error)
{
    if (!job->plan->n_bridges)
        return 0;
    job_step(job, "", "setting up %u bridges", job->plan->n_bridges);
    return bridges_apply(job->db, job->plan->bridges, job->plan->n_bridges, error);
}
