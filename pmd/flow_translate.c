/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/flow_translate.h"

#include <errno.h>

#include "pmd/flow_match.h"
#include "proto/rule_text.h"

int flow_refuse(struct flow_refusal *refusal, enum flow_reason reason, int code,
                enum rte_flow_error_type type, const void *cause, const char *sentence)
{
    *refusal = (struct flow_refusal){reason, code, type, cause, sentence};
    return code;
}

/*
 * What is not a rule for the switch is Open vSwitch's second try, MARK and RSS: the NIC is to mark the packets that it hands
 * over. The action is blamed, which Open vSwitch logs for debugging only.
 */
static int refuse_not_transfer(const struct rte_flow_attr *attributes, const struct rte_flow_action actions[],
                               struct flow_refusal *refusal)
{
    for (const struct rte_flow_action *action = actions; action->type != RTE_FLOW_ACTION_TYPE_END; action++)
        if (action->type == RTE_FLOW_ACTION_TYPE_MARK || action->type == RTE_FLOW_ACTION_TYPE_RSS)
            return flow_refuse(refusal, FLOW_REFUSED_NOT_TRANSFER, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION,
                               action, "Packets are not marked on their way to the vSwitch");
    return flow_refuse(refusal, FLOW_REFUSED_NOT_TRANSFER, ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER,
                       attributes, "Only transfer rules can be offloaded");
}

static int read_attributes(const struct rte_flow_attr *attributes, const struct rte_flow_action actions[],
                           struct wire_rule *rule, struct flow_refusal *refusal)
{
    if (!attributes->transfer)
        return refuse_not_transfer(attributes, actions, refusal);
    if (attributes->egress)
        return flow_refuse(refusal, FLOW_REFUSED_ATTRIBUTE, ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_EGRESS,
                           attributes, "Rules are for packets that come in by the port");
    if (attributes->group)
        return flow_refuse(refusal, FLOW_REFUSED_ATTRIBUTE, ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_GROUP,
                           attributes, "There is group 0 only");
    if (attributes->priority > RULE_PRIORITY_DEFAULT)
        return flow_refuse(refusal, FLOW_REFUSED_ATTRIBUTE, ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_PRIORITY,
                           attributes, "Priorities go from 0 to 32768");
    /* With rte_flow 0 is the highest, here the highest number is. */
    rule->priority = (uint16_t)(RULE_PRIORITY_DEFAULT - attributes->priority);
    return 0;
}

int flow_translate(const struct flow_place *place, const struct rte_flow_attr *attributes,
                   const struct rte_flow_item items[], const struct rte_flow_action actions[],
                   struct wire_rule *rule, struct flow_refusal *refusal)
{
    struct flow_match match;
    int result;

    rule->id = 0;
    rule->in_port = place->in_port;
    rule->flags = WIRE_RULE_MANAGED;
    rule->n_matches = 0;
    rule->n_actions = 0;
    result = read_attributes(attributes, actions, rule, refusal);
    if (!result)
        result = flow_match_read(items, &match, refusal);
    if (!result)
        result = flow_actions_read(place, &match, actions, rule, refusal);
    if (!result)
        flow_match_write(&match, rule);
    return result;
}
