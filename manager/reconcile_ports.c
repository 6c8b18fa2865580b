/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports of the fast path. Ours are those that belong to the slice and have its name in front of theirs. A port outlives the
 * connection that made it, so that the vSwitch's connection does not mind ours.
 */
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "manager/pipeline.h"
#include "manager/reconcile_internal.h"

#define RATE_MAX UINT64_C(1000000000000) /* bit/s that the fast path takes as a limit */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static json_int_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* The MTU of an interface of the machine, which bounds that of a port; 0: there is none. */
static json_int_t device_mtu(const char *device)
{
    struct ifreq question = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(question.ifr_name, sizeof question.ifr_name, "%s", device);
    if (fd < 0 || ioctl(fd, SIOCGIFMTU, &question))
        question.ifr_mtu = 0;
    if (fd >= 0)
        close(fd);
    return question.ifr_mtu;
}

static bool has_mtu(const struct plan_port *port, const json_t *present)
{
    json_int_t mtu = number_of(present, "mtu"), most = port->device[0] ? device_mtu(port->device) : 0;

    if (port->vhost)
        return mtu == port->mtu;
    return mtu <= port->mtu && (!most || mtu == (most < port->mtu ? most : port->mtu));
}

static bool is_as_wanted(const struct plan_port *port, const json_t *present)
{
    return !strcmp(text_of(present, "kind"), port->vhost ? "vhost" : "ethdev") &&
           !strcmp(text_of(present, port->vhost ? "path" : "devargs"), port->target) &&
           number_of(present, "queues_max") == port->queues && has_mtu(port, present);
}

static bool is_ours(const struct job *job, const json_t *present)
{
    const char *name = text_of(present, "name");
    size_t size = strlen(job->plan->slice);

    return !strcmp(text_of(present, "slice"), job->plan->slice) && !strncmp(name, job->plan->slice, size) &&
           name[size] == '.';
}

/* A fast path that is not there has nothing that could be removed. */
int ports_look(struct job *job, struct error *error)
{
    struct error failure;
    json_t *present;
    char *answer;
    size_t i;

    job->client =
        client_connect(job->reconciler->settings->fastpath_socket, "vnode-manager " VNODE_VERSION, &failure);
    if (!job->client) {
        if (!job->slice && (failure.code == ECONNREFUSED || failure.code == ENOENT))
            return 0;
        return error_set(error, failure.code, "%s", failure.text);
    }
    answer = client_query(job->client, "port/list", NULL, 0, 0, error);
    job->present_ports = answer ? json_loads(answer, 0, NULL) : NULL;
    free(answer);
    if (!job->present_ports)
        return answer ? error_set(error, EPROTO, "The fast path's list of ports cannot be read.") : error->code;
    json_array_foreach(job->present_ports, i, present)
    {
        const struct plan_port *port = plan_find_port(job->plan, text_of(present, "name"));
        struct port_state *state = port ? &job->ports[port - job->plan->ports] : NULL;

        if (!port)
            continue;
        if (!is_ours(job, present))
            return error_set(error, EEXIST,
                             "The fast path has a port %s already that is not slice %s's; remove it with "
                             "'vnode port del', or rename node %s.",
                             port->name, job->plan->slice, port->node);
        state->there = !state->renew && is_as_wanted(port, present);
        state->id = (uint16_t)number_of(present, "id");
        state->rate = state->there ? (uint64_t)number_of(present, "rate") : 0;
        state->rate_out = state->there ? (uint64_t)number_of(present, "rate_out") : 0;
    }
    return 0;
}

/* Requests about ports, by name. */
struct names {
    unsigned n;
    const char *names[PORTS_MAX];
    struct error failure; /* the first */
};

static void write_remove(struct client *client, unsigned i, void *argument)
{
    const struct names *names = argument;
    struct message_port_name message = {0};

    snprintf(message.name, sizeof message.name, "%s", names->names[i]);
    message_put_port_name(client_begin(client, MESSAGE_PORT_REMOVE), &message);
}

static void read_remove(unsigned i, struct message *reply, const struct error *failure, void *argument)
{
    struct names *names = argument;

    if (failure && failure->code != ENOENT && !names->failure.code)
        names->failure = *failure;
}

int ports_clear(struct job *job, struct error *error)
{
    struct names names = {0};
    json_t *present;
    size_t i;
    int code;

    json_array_foreach(job->present_ports, i, present)
    {
        const struct plan_port *port = plan_find_port(job->plan, text_of(present, "name"));

        if (is_ours(job, present) && names.n < PORTS_MAX && !(port && job->ports[port - job->plan->ports].there))
            names.names[names.n++] = text_of(present, "name");
    }
    if (!names.n)
        return 0;
    job_step(job, "", "removing %u ports of the fast path", names.n);
    code = pipeline_run(job->client, &(struct pipeline){write_remove, read_remove, &names}, names.n, error);
    return code                 ? code
           : names.failure.code ? error_set(error, names.failure.code, "%s", names.failure.text)
                                : 0;
}

/* The planned ports about which something is to be asked for. */
struct requests {
    struct job *job;
    unsigned n;
    unsigned ports[PORTS_MAX];
};

static void write_add(struct client *client, unsigned i, void *argument)
{
    const struct requests *requests = argument;
    const struct plan_port *port = &requests->job->plan->ports[requests->ports[i]];
    struct message_port_add message = {.kind = port->vhost ? MESSAGE_PORT_VHOST : MESSAGE_PORT_ETHDEV,
                                       .n_queues = port->queues,
                                       .mtu = port->mtu};

    strcpy(message.name, port->name);
    strcpy(message.target, port->target);
    snprintf(message.slice, sizeof message.slice, "%s", requests->job->plan->slice);
    message_put_port_add(client_begin(client, MESSAGE_PORT_ADD), &message);
}

static void read_add(unsigned i, struct message *reply, const struct error *failure, void *argument)
{
    struct requests *requests = argument;
    struct port_state *state = &requests->job->ports[requests->ports[i]];
    struct message_ok ok;

    if (failure)
        state->failure = *failure;
    else if (reply->header.type != MESSAGE_OK || !message_get_ok(&reply->body, &ok))
        error_set(&state->failure, EPROTO, "The fast path's reply cannot be read.");
    else
        state->id = (uint16_t)ok.value;
    state->there = !state->failure.code;
}

/* Why the first of the requests failed, if any did. */
static int first_failure(const struct requests *requests, struct error *error)
{
    for (unsigned i = 0; i < requests->n; i++) {
        const struct plan_port *port = &requests->job->plan->ports[requests->ports[i]];
        const struct error *failure = &requests->job->ports[requests->ports[i]].failure;

        if (failure->code)
            return job_blame("Node", port->node, error_set(error, failure->code, "%s", failure->text), error);
    }
    return 0;
}

int ports_make(struct job *job, struct error *error)
{
    struct requests requests = {.job = job};
    int code;

    for (unsigned i = 0; i < job->plan->n_ports && requests.n < PORTS_MAX; i++)
        if (!job->ports[i].there)
            requests.ports[requests.n++] = i;
    if (!requests.n)
        return 0;
    job_step(job, "", "making %u ports of the fast path", requests.n);
    code = pipeline_run(job->client, &(struct pipeline){write_add, read_add, &requests}, requests.n, error);
    return code ? code : first_failure(&requests, error);
}

/* What is not a rate for the fast path is as good as none. */
static uint64_t rate_for(uint64_t rate)
{
    return rate < RATE_MAX ? rate : RATE_MAX;
}

static void write_rate(struct client *client, unsigned i, void *argument)
{
    const struct requests *requests = argument;
    const struct plan_port *port = &requests->job->plan->ports[requests->ports[i]];
    struct message_query query = {.question = "port/set", .n_arguments = 3};
    char in[24], out[24];

    snprintf(in, sizeof in, "%" PRIu64, rate_for(port->rate));
    snprintf(out, sizeof out, "%" PRIu64, rate_for(port->rate_out));
    query.arguments[0] = pipeline_argument("port", port->name);
    query.arguments[1] = pipeline_argument("rate", in);
    query.arguments[2] = pipeline_argument("rate_out", out);
    message_put_query(client_begin(client, MESSAGE_CHANGE), &query);
}

static void read_rate(unsigned i, struct message *reply, const struct error *failure, void *argument)
{
    const struct requests *requests = argument;

    if (failure)
        requests->job->ports[requests->ports[i]].failure = *failure;
}

/* Rates change while packets flow. */
int rates_make(struct job *job, struct error *error)
{
    struct requests requests = {.job = job};
    int code;

    for (unsigned i = 0; i < job->plan->n_ports && requests.n < PORTS_MAX; i++)
        if (job->ports[i].rate != rate_for(job->plan->ports[i].rate) ||
            job->ports[i].rate_out != rate_for(job->plan->ports[i].rate_out))
            requests.ports[requests.n++] = i;
    if (!requests.n)
        return 0;
    job_step(job, "", "limiting %u ports of the fast path", requests.n);
    code = pipeline_run(job->client, &(struct pipeline){write_rate, read_rate, &requests}, requests.n, error);
    return code ? code : first_failure(&requests, error);
}
