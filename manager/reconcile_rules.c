/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct links: a rule of the fast path each way, whose id says which port it is of; and what a slice may have of the rule
 * table, and when its flows are offloaded.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "manager/pipeline.h"
#include "manager/reconcile_internal.h"

#define OFFLOAD_RATE_MAX INT32_MAX /* what the fast path takes */
#define OFFLOAD_HOLD_MAX (24 * 3600 * 1000)

struct ids {
    struct job *job;
    unsigned n;
    uint64_t ids[PORTS_MAX];
    unsigned ports[PORTS_MAX];
    bool wrong[PORTS_MAX];
};

static void write_show(struct client *client, unsigned i, void *argument)
{
    const struct ids *ids = argument;
    struct message_query query = {.question = "rule/show", .n_arguments = 1};
    char id[24];

    snprintf(id, sizeof id, "%" PRIu64, ids->ids[i]);
    query.arguments[0] = pipeline_argument("id", id);
    message_put_query(client_begin(client, MESSAGE_QUERY), &query);
}

static bool comes_in_by(const struct plan_port *port, const json_t *rule)
{
    const char *in = json_string_value(json_object_get(rule, "in"));

    return in && !strcmp(in, port->name);
}

/* Whether a port's rule leads to its peer, unconditionally. */
static bool leads_to_peer(const struct plan *plan, const struct plan_port *port, const json_t *rule)
{
    const json_t *actions = json_object_get(rule, "actions");
    const char *action = json_string_value(json_array_get(actions, 0));
    char wanted[PORT_NAME_SIZE + 8];

    if (port->peer < 0 || !action)
        return false;
    snprintf(wanted, sizeof wanted, "output:%s", plan->ports[port->peer].name);
    return !strcmp(action, wanted) && json_array_size(actions) == 1 &&
           !json_object_size(json_object_get(rule, "match"));
}

/* Should two ports have the same id, the rule stays that of the one it is of. */
static void read_show(unsigned i, struct message *reply, const struct error *failure, void *argument)
{
    struct ids *ids = argument;
    struct job *job = ids->job;
    const struct plan_port *port = &job->plan->ports[ids->ports[i]];
    json_t *rule;

    if (failure)
        return;
    rule = json_loadb((const char *)reply->body.next, reply->body.left, 0, NULL);
    if (comes_in_by(port, rule)) {
        job->ports[ids->ports[i]].rule_there = leads_to_peer(job->plan, port, rule);
        ids->wrong[i] = !job->ports[ids->ports[i]].rule_there;
    }
    json_decref(rule);
}

static int remove_wrong(struct job *job, const struct ids *ids, struct error *error)
{
    struct wire_writer *body = client_begin(job->client, MESSAGE_RULE_REMOVE);
    uint8_t *place = message_begin_items(body);
    uint32_t n = 0;

    for (unsigned i = 0; i < ids->n; i++)
        if (ids->wrong[i]) {
            wire_put_u64(body, ids->ids[i]);
            n++;
        }
    message_end_items(place, n);
    if (!n)
        return 0;
    job_step(job, "", "removing %u rules of direct links", n);
    return client_call(job->client, NULL, error);
}

/* Ports that stay may have rules that lead elsewhere by now; others have lost theirs with them. */
int rules_clear(struct job *job, struct error *error)
{
    struct ids ids = {.job = job};
    int code;

    if (!job->client)
        return 0;
    for (unsigned i = 0; i < job->plan->n_ports && ids.n < PORTS_MAX; i++)
        if (job->ports[i].there) {
            ids.ports[ids.n] = i;
            ids.ids[ids.n++] = job->plan->ports[i].rule_id;
        }
    code = pipeline_run(job->client, &(struct pipeline){write_show, read_show, &ids}, ids.n, error);
    return code ? code : remove_wrong(job, &ids, error);
}

int rules_make(struct job *job, struct error *error)
{
    struct wire_writer *body = client_begin(job->client, MESSAGE_RULE_ADD);
    uint8_t *place = message_begin_items(body);
    uint32_t n = 0;

    for (unsigned i = 0; i < job->plan->n_ports; i++) {
        const struct plan_port *port = &job->plan->ports[i];
        struct wire_rule rule = {.id = port->rule_id, .in_port = job->ports[i].id, .n_actions = 1};
        struct wire_writer operand = wire_writer(rule.actions[0].operand, 2);

        if (port->peer < 0 || job->ports[i].rule_there)
            continue;
        rule.actions[0].type = WIRE_ACTION_OUTPUT;
        rule.actions[0].size = 2;
        wire_put_u16(&operand, job->ports[port->peer].id);
        wire_put_rule(body, &rule);
        n++;
    }
    message_end_items(place, n);
    if (!n)
        return 0;
    job_step(job, "", "making %u rules of direct links", n);
    return client_call(job->client, NULL, error);
}

/* A change of numbers, each "inherit" when the slice is to be no more. */
static int change(struct job *job, const char *what, struct message_argument arguments[], uint16_t n,
                  struct error *error)
{
    struct message_query query = {.n_arguments = n};

    snprintf(query.question, sizeof query.question, "%s", what);
    memcpy(query.arguments, arguments, n * sizeof *arguments);
    message_put_query(client_begin(job->client, MESSAGE_CHANGE), &query);
    return client_call(job->client, NULL, error);
}

static void spell_number(char text[24], const struct job *job, uint64_t number, uint64_t most)
{
    if (job->slice)
        snprintf(text, 24, "%" PRIu64, number < most ? number : most);
    else
        strcpy(text, "inherit");
}

/* Of a slice without any setting the fast path forgets that there was one. */
int offload_make(struct job *job, struct error *error)
{
    const struct plan *plan = job->plan;
    char scope[SLICE_NAME_SIZE + 8], promote[24], demote[24], hold[24], rules[24];
    int code;

    if (!job->client)
        return 0;
    snprintf(scope, sizeof scope, "slice:%s", plan->slice);
    spell_number(promote, job, plan->promote, OFFLOAD_RATE_MAX);
    spell_number(demote, job, plan->demote, OFFLOAD_RATE_MAX);
    spell_number(hold, job, plan->hold_ms, OFFLOAD_HOLD_MAX);
    snprintf(rules, sizeof rules, "%" PRIu64, plan->rules < RULES_MAX ? plan->rules : RULES_MAX);
    code = change(job, "offload/set",
                  (struct message_argument[]){
                      pipeline_argument("scope", scope),
                      pipeline_argument("mode", job->slice ? slice_offload_mode_name(plan->mode) : "inherit"),
                      pipeline_argument("promote", promote), pipeline_argument("demote", demote),
                      pipeline_argument("hold", hold)},
                  5, error);
    return code ? code
                : change(job, "slice/set",
                         (struct message_argument[]){pipeline_argument("slice", plan->slice),
                                                     pipeline_argument("rules", rules)},
                         2, error);
}
