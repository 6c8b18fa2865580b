/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connectors' devices. A mark NODE.device, "DEVICE VLAN", claims one before it is used: other slices can see it there. A VLAN's
 * interface is the connector's own, and goes with it; the device stays as it is, but for being up.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "manager/command.h"
#include "manager/reconcile_internal.h"

#define KIND "device"

static void spell_claim(char mark[MARK_NAME_SIZE], char text[MARK_TEXT_SIZE], const struct slice_node *node)
{
    snprintf(mark, MARK_NAME_SIZE, "%s." KIND, node->name);
    snprintf(text, MARK_TEXT_SIZE, "%s %u", node->device, node->vlan);
}

static bool is_up(const char *interface)
{
    struct ifreq question = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool up;

    snprintf(question.ifr_name, sizeof question.ifr_name, "%.15s", interface);
    up = fd >= 0 && !ioctl(fd, SIOCGIFFLAGS, &question) && question.ifr_flags & IFF_UP;
    if (fd >= 0)
        close(fd);
    return up;
}

/* Who has claimed what a connector wants. */
struct search {
    const struct job *job;
    const struct slice_node *node;
    const char *slice; /* whose folder is looked at */
    char folder[SLICE_FOLDER_SIZE];
    char owner[SLICE_NAME_SIZE + NODE_NAME_SIZE + 1]; /* "": nobody */
};

static void look_at_claim(const char *name, void *argument)
{
    struct search *search = argument;
    char stem[MARK_NAME_SIZE], text[MARK_TEXT_SIZE], *space;
    unsigned vlan;

    if (!mark_stem(name, KIND, stem) || !mark_read(search->folder, name, text) || !(space = strchr(text, ' ')))
        return;
    *space = '\0';
    vlan = (unsigned)strtoul(space + 1, NULL, 10);
    if (!strcmp(text, search->node->device) && (!vlan || !search->node->vlan || vlan == search->node->vlan))
        snprintf(search->owner, sizeof search->owner, "%.31s.%.31s", search->slice, stem);
}

static void look_at_slice(const char *name, void *argument)
{
    struct search *search = argument;

    if (!strcmp(name, search->job->plan->slice))
        return;
    search->slice = name;
    snprintf(search->folder, sizeof search->folder, "%.150s/" PLAN_FOLDER "/%.31s",
             search->job->reconciler->settings->run_folder, name);
    marks_each(search->folder, look_at_claim, search);
}

static int check_claims(const struct job *job, const struct slice_node *node, struct error *error)
{
    struct search search = {.job = job, .node = node};
    char folder[SLICE_FOLDER_SIZE];

    snprintf(folder, sizeof folder, "%.200s/" PLAN_FOLDER, job->reconciler->settings->run_folder);
    marks_each(folder, look_at_slice, &search);
    if (!search.owner[0])
        return 0;
    if (node->vlan)
        return error_set(error, EEXIST,
                         "Connector %s cannot have VLAN %u of %.60s: %s has it; take another one.",
                         node->name, node->vlan, node->device, search.owner);
    return error_set(
        error, EEXIST,
        "Connector %s cannot have all of %.60s: %s has it, or a VLAN of it; take a VLAN that is free.",
        node->name, node->device, search.owner);
}

int devices_look(struct job *job, struct error *error)
{
    for (unsigned i = 0; i < job->plan->n_devices; i++) {
        const struct plan_device *device = &job->plan->devices[i];
        char mark[MARK_NAME_SIZE], claim[MARK_TEXT_SIZE], text[MARK_TEXT_SIZE];
        bool claimed, there = device->interface[0] && if_nametoindex(device->interface);
        int code = check_claims(job, device->node, error);

        if (code)
            return code;
        spell_claim(mark, claim, device->node);
        claimed = mark_read(job->run, mark, text);
        if (!claimed && there && device->node->vlan)
            return error_set(error, EEXIST,
                             "Connector %s needs the name %s for an interface of this machine, which has one "
                             "already that is not ours; rename it.",
                             device->node->name, device->interface);
        job->ports[device->port].renew =
            !claimed || strcmp(text, claim) != 0 || (device->interface[0] && !is_up(device->interface));
    }
    return 0;
}

static const struct plan_device *find_device(const struct plan *plan, const char *node)
{
    for (unsigned i = 0; i < plan->n_devices; i++)
        if (!strcmp(plan->devices[i].node->name, node))
            return &plan->devices[i];
    return NULL;
}

struct clearing {
    const struct job *job;
    struct error *error;
    int code;
};

static void clear(const char *name, void *argument)
{
    struct clearing *clearing = argument;
    const struct job *job = clearing->job;
    char stem[MARK_NAME_SIZE], interface[INTERFACE_NAME_SIZE];
    const struct plan_device *device;
    struct error error;
    int code = 0;

    if (!mark_stem(name, KIND, stem))
        return;
    device = find_device(job->plan, stem);
    if (device && !job->ports[device->port].renew)
        return;
    plan_short_name(interface, job->plan->slice, stem, PLAN_VLAN);
    if (if_nametoindex(interface)) {
        job_step(job, stem, "removing interface %s", interface);
        code = command_run((const char *const[]){"ip", "link", "del", interface, NULL}, &error);
    }
    if (!code)
        mark_remove(job->run, name);
    if (code && !clearing->code) {
        clearing->code = job_blame("Connector", stem, code, &error);
        if (clearing->error)
            *clearing->error = error;
    }
}

int devices_clear(struct job *job, struct error *error)
{
    struct clearing clearing = {.job = job, .error = error};

    marks_each(job->run, clear, &clearing);
    return clearing.code;
}

static int set_up(const struct slice_node *node, const char *interface, struct error *error)
{
    char id[8];
    int code = 0;

    if (!is_up(node->device))
        code = command_run((const char *const[]){"ip", "link", "set", node->device, "up", NULL}, error);
    if (code || !node->vlan)
        return code;
    snprintf(id, sizeof id, "%u", node->vlan);
    code = command_run((const char *const[]){"ip", "link", "add", "link", node->device, "name", interface,
                                             "type", "vlan", "id", id, NULL},
                       error);
    if (code && error && strstr(error->text, "Unknown device type"))
        return error_set(error, ENOTSUP, "this kernel has no VLANs; 'modprobe 8021q' may bring them.");
    return code ? code : command_run((const char *const[]){"ip", "link", "set", interface, "up", NULL}, error);
}

int devices_make(struct job *job, struct error *error)
{
    int code = 0;

    for (unsigned i = 0; i < job->plan->n_devices && !code; i++) {
        const struct plan_device *device = &job->plan->devices[i];
        const struct slice_node *node = device->node;
        char mark[MARK_NAME_SIZE], claim[MARK_TEXT_SIZE];

        if (!job->ports[device->port].renew)
            continue;
        if (device->interface[0] && !if_nametoindex(node->device))
            return error_set(error, ENODEV, "Connector %s: this machine has no interface %s.", node->name,
                             node->device);
        job_step(job, node->name, "taking device %s", node->device);
        spell_claim(mark, claim, node);
        code = mark_write(job->run, mark, claim, error);
        if (!code && device->interface[0])
            code = job_blame("Connector", node->name, set_up(node, device->interface, error), error);
    }
    return code;
}
