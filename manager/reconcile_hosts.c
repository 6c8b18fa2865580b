/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespaces. A mark NODE.netns says that the namespace is ours, and "ready" that it is whole; NODE.INTERFACE.veth that the
 * interface's other end is, and with which fingerprint it was made.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "manager/command.h"
#include "manager/reconcile_internal.h"

#define NETNS_READY "ready"

static void spell_mark(char mark[MARK_NAME_SIZE], const char *node, const char *interface, const char *kind)
{
    snprintf(mark, MARK_NAME_SIZE, "%s%s%s.%s", node, interface ? "." : "", interface ? interface : "", kind);
}

static bool is_whole(const struct job *job, const struct plan_netns *netns)
{
    char mark[MARK_NAME_SIZE];

    spell_mark(mark, netns->node->name, NULL, "netns");
    return netns_exists(netns->name) && mark_says(job->run, mark, NETNS_READY);
}

static int look_at_veth(const struct job *job, const struct plan_netns *netns, const struct plan_veth *veth,
                        bool whole, struct error *error)
{
    char mark[MARK_NAME_SIZE], text[MARK_TEXT_SIZE] = "";
    bool there = if_nametoindex(veth->host) != 0;

    spell_mark(mark, netns->node->name, veth->interface.name, "veth");
    if (!mark_read(job->run, mark, text) && there)
        return error_set(error, EEXIST,
                         "Node %s needs the name %s for an interface of this machine, which has one already that "
                         "is not ours; rename it.",
                         netns->node->name, veth->host);
    job->ports[veth->port].renew = !whole || !there || strcmp(text, veth->fingerprint) != 0;
    return 0;
}

int hosts_look(struct job *job, struct error *error)
{
    for (unsigned i = 0; i < job->plan->n_namespaces; i++) {
        const struct plan_netns *netns = &job->plan->namespaces[i];
        char mark[MARK_NAME_SIZE], text[MARK_TEXT_SIZE];

        spell_mark(mark, netns->node->name, NULL, "netns");
        if (netns_exists(netns->name) && !mark_read(job->run, mark, text))
            return error_set(error, EEXIST,
                             "The network namespace %s is there already and is not ours; remove it with "
                             "'ip netns del %s', or rename node %s.",
                             netns->name, netns->name, netns->node->name);
        for (unsigned j = 0; j < netns->n_veths; j++) {
            int code = look_at_veth(job, netns, &netns->veths[j], is_whole(job, netns), error);

            if (code)
                return code;
        }
    }
    return 0;
}

static const struct plan_netns *find_netns(const struct plan *plan, const char *node)
{
    for (unsigned i = 0; i < plan->n_namespaces; i++)
        if (!strcmp(plan->namespaces[i].node->name, node))
            return &plan->namespaces[i];
    return NULL;
}

static bool has_veth(const struct plan_netns *netns, const char *interface)
{
    for (unsigned i = 0; netns && i < netns->n_veths; i++)
        if (!strcmp(netns->veths[i].interface.name, interface))
            return true;
    return false;
}

struct clearing {
    struct job *job;
    struct error *error; /* the first */
    int code;
};

static void note(struct clearing *clearing, int code, const struct error *error)
{
    if (!code || clearing->code)
        return;
    clearing->code = code;
    if (clearing->error)
        *clearing->error = *error;
}

/* The kernel would take it with its namespace, but later. */
static void clear_veth(const char *name, void *argument)
{
    struct clearing *clearing = argument;
    const struct job *job = clearing->job;
    char stem[MARK_NAME_SIZE], host[INTERFACE_NAME_SIZE], *interface;
    struct error error;
    int code = 0;

    if (!mark_stem(name, "veth", stem) || !(interface = strchr(stem, '.')))
        return;
    *interface++ = '\0';
    if (has_veth(find_netns(job->plan, stem), interface))
        return;
    plan_short_name(host, job->plan->slice, stem, interface);
    if (if_nametoindex(host)) {
        job_step(job, stem, "removing interface %s", interface);
        code = command_run((const char *const[]){"ip", "link", "del", host, NULL}, &error);
        job_blame("Node", stem, code, &error);
    }
    if (!code)
        mark_remove(job->run, name);
    note(clearing, code, &error);
}

/* Away with those that are not wanted, or were never finished. */
static void clear_netns(const char *name, void *argument)
{
    struct clearing *clearing = argument;
    const struct job *job = clearing->job;
    char stem[MARK_NAME_SIZE], full[NETNS_NAME_SIZE];
    const struct plan_netns *netns;
    struct error error;
    int code;

    if (!mark_stem(name, "netns", stem))
        return;
    netns = find_netns(job->plan, stem);
    if (netns && is_whole(job, netns))
        return;
    snprintf(full, sizeof full, "%s.%.31s", job->plan->slice, stem);
    if (netns_exists(full))
        job_step(job, stem, "removing namespace");
    code = netns_remove(full, &error);
    if (!code)
        mark_remove(job->run, name);
    note(clearing, job_blame("Node", stem, code, &error), &error);
}

int hosts_clear(struct job *job, struct error *error)
{
    struct clearing clearing = {.job = job, .error = error};

    marks_each(job->run, clear_veth, &clearing);
    marks_each(job->run, clear_netns, &clearing);
    return clearing.code;
}

static int make_veth(const struct job *job, const struct plan_netns *netns, const struct plan_veth *veth,
                     struct error *error)
{
    char mark[MARK_NAME_SIZE];
    int code;

    spell_mark(mark, netns->node->name, veth->interface.name, "veth");
    job_step(job, netns->node->name, "making interface %s", veth->interface.name);
    code = mark_write(job->run, mark, "", error);
    if (!code)
        code = netns_add_interface(netns->name, &veth->interface, veth->host, error);
    return code ? code : mark_write(job->run, mark, veth->fingerprint, error);
}

static int make_netns(const struct job *job, const struct plan_netns *netns, struct error *error)
{
    char mark[MARK_NAME_SIZE];
    int code = 0;

    if (!is_whole(job, netns)) {
        spell_mark(mark, netns->node->name, NULL, "netns");
        job_step(job, netns->node->name, "making namespace");
        code = mark_write(job->run, mark, "", error);
        if (!code)
            code = netns_add(netns->name, error);
        if (!code)
            code = mark_write(job->run, mark, NETNS_READY, error);
    }
    for (unsigned i = 0; i < netns->n_veths && !code; i++)
        if (job->ports[netns->veths[i].port].renew)
            code = make_veth(job, netns, &netns->veths[i], error);
    return job_blame("Node", netns->node->name, code, error);
}

int hosts_make(struct job *job, struct error *error)
{
    int code = 0;

    for (unsigned i = 0; i < job->plan->n_namespaces && !code; i++)
        code = make_netns(job, &job->plan->namespaces[i], error);
    return code;
}
