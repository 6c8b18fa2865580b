/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "pmd/flow_match.h"

/* What the packet has become by the actions read so far. */
struct rewriting {
    const struct flow_place *place;
    const struct flow_match *match;
    struct wire_rule *rule;
    struct flow_refusal *refusal;
    const struct rte_flow_action *action; /* the one that is read */
    bool tagged;                          /* there is a VLAN tag, for certain */
    bool headers_known;                   /* its headers are those of 'match' (but for tags) */
    bool encapsulated, drops;
    unsigned n_outputs;
};

/* The action is always blamed as a whole: Open vSwitch warns of any other type of error. */
static int refuse(struct rewriting *rewriting, const char *sentence)
{
    return flow_refuse(rewriting->refusal, FLOW_REFUSED_ACTION, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION,
                       rewriting->action, sentence);
}

static int put(struct rewriting *rewriting, enum wire_action_type type, const void *operand, uint8_t size)
{
    struct wire_action *wire = &rewriting->rule->actions[rewriting->rule->n_actions];

    if (rewriting->rule->n_actions == RULE_ACTIONS_MAX)
        return refuse(rewriting, "A rule has at most 16 actions");
    wire->type = type;
    wire->size = size;
    if (size)
        memcpy(wire->operand, operand, size);
    rewriting->rule->n_actions++;
    return 0;
}

static int put_output(struct rewriting *rewriting, uint32_t port)
{
    struct wire_action output = {.type = WIRE_ACTION_OUTPUT};

    if (port > UINT16_MAX || !rewriting->place->is_ours((uint16_t)port, rewriting->place->context))
        return flow_refuse(rewriting->refusal, FLOW_REFUSED_OUTPUT_ELSEWHERE, ENOTSUP,
                           RTE_FLOW_ERROR_TYPE_ACTION, rewriting->action,
                           "The output is not a port of the same fast path");
    wire_action_set_port(&output, (uint16_t)port);
    rewriting->n_outputs++;
    return put(rewriting, output.type, output.operand, output.size);
}

static int read_port_id(struct rewriting *rewriting, const void *configuration)
{
    const struct rte_flow_action_port_id *port = configuration;

    return put_output(rewriting, port->original ? rewriting->place->in_port : port->id);
}

static int read_represented_port(struct rewriting *rewriting, const void *configuration)
{
    const struct rte_flow_action_ethdev *port = configuration;

    return put_output(rewriting, port->port_id);
}

static int read_drop(struct rewriting *rewriting, const void *configuration)
{
    rewriting->drops = true;
    return put(rewriting, WIRE_ACTION_DROP, NULL, 0);
}

static int read_nothing(struct rewriting *rewriting, const void *configuration)
{
    return 0;
}

/* Whether the packet, as it is now, has an IP header of that version. */
static bool is_ip(const struct rewriting *rewriting, unsigned version)
{
    return rewriting->headers_known && rewriting->match->ip_version == version;
}

static int read_set_mac(struct rewriting *rewriting, const void *configuration)
{
    const struct rte_flow_action_set_mac *set = configuration;
    bool src = rewriting->action->type == RTE_FLOW_ACTION_TYPE_SET_MAC_SRC;

    return put(rewriting, src ? WIRE_ACTION_SET_ETH_SRC : WIRE_ACTION_SET_ETH_DST, set->mac_addr, 6);
}

static int read_set_ipv4(struct rewriting *rewriting, const void *configuration)
{
    const struct rte_flow_action_set_ipv4 *set = configuration;
    bool src = rewriting->action->type == RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC;

    if (!is_ip(rewriting, 4))
        return refuse(rewriting, "To set an IPv4 address the rule has to match IPv4");
    return put(rewriting, src ? WIRE_ACTION_SET_IP_SRC : WIRE_ACTION_SET_IP_DST, &set->ipv4_addr, 4);
}

static int read_set_ipv6(struct rewriting *rewriting, const void *configuration)
{
    const struct rte_flow_action_set_ipv6 *set = configuration;
    bool src = rewriting->action->type == RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC;

    if (!is_ip(rewriting, 6))
        return refuse(rewriting, "To set an IPv6 address the rule has to match IPv6");
    return put(rewriting, src ? WIRE_ACTION_SET_IP_SRC : WIRE_ACTION_SET_IP_DST, &set->ipv6_addr, 16);
}

static int read_set_ttl(struct rewriting *rewriting, const void *configuration)
{
    const struct rte_flow_action_set_ttl *set = configuration;

    if (!is_ip(rewriting, 4) && !is_ip(rewriting, 6))
        return refuse(rewriting, "To set the TTL the rule has to match IPv4 or IPv6");
    return put(rewriting, WIRE_ACTION_SET_TTL, &set->ttl_value, 1);
}

/* The fast path sets the whole octet: the two bits behind the DSCP, for congestion, have to be known. */
static int read_set_dscp(struct rewriting *rewriting, const void *configuration)
{
    const struct rte_flow_action_set_dscp *set = configuration;
    const struct flow_match *match = rewriting->match;
    unsigned version = rewriting->action->type == RTE_FLOW_ACTION_TYPE_SET_IPV4_DSCP ? 4 : 6;
    uint8_t tos = (uint8_t)(set->dscp << 2 | (match->tos & 3));

    if (!is_ip(rewriting, version))
        return refuse(rewriting, "To set the DSCP the rule has to match IP of that version");
    if ((match->tos_mask & 3) != 3)
        return refuse(rewriting, "To set the DSCP the rule has to match the ECN bits");
    return put(rewriting, WIRE_ACTION_SET_TOS, &tos, 1);
}

static int read_set_port(struct rewriting *rewriting, const void *configuration)
{
    const struct rte_flow_action_set_tp *set = configuration;
    bool src = rewriting->action->type == RTE_FLOW_ACTION_TYPE_SET_TP_SRC;
    int protocol = rewriting->headers_known ? flow_match_protocol(rewriting->match) : -1;

    if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_SCTP)
        return refuse(rewriting, "To set a port the rule has to match TCP, UDP or SCTP");
    return put(rewriting, src ? WIRE_ACTION_SET_L4_SRC : WIRE_ACTION_SET_L4_DST, &set->port, 2);
}

static int read_push_vlan(struct rewriting *rewriting, const void *configuration)
{
    const struct rte_flow_action_of_push_vlan *push = configuration;

    if (push->ethertype != htons(0x8100) && push->ethertype != htons(0x88a8))
        return refuse(rewriting, "VLAN tags are those of types 0x8100 and 0x88a8");
    rewriting->tagged = true;
    return put(rewriting, WIRE_ACTION_PUSH_VLAN, &push->ethertype, 2);
}

static int read_set_vlan_vid(struct rewriting *rewriting, const void *configuration)
{
    const struct rte_flow_action_of_set_vlan_vid *set = configuration;
    rte_be16_t vid = set->vlan_vid & htons(0xfff);

    if (!rewriting->tagged)
        return refuse(rewriting, "To set the VLAN identifier the rule has to match or push a VLAN tag");
    return put(rewriting, WIRE_ACTION_SET_VLAN_VID, &vid, 2);
}

static int read_set_vlan_pcp(struct rewriting *rewriting, const void *configuration)
{
    const struct rte_flow_action_of_set_vlan_pcp *set = configuration;
    uint8_t pcp = set->vlan_pcp & 7;

    if (!rewriting->tagged)
        return refuse(rewriting, "To set the VLAN priority the rule has to match or push a VLAN tag");
    return put(rewriting, WIRE_ACTION_SET_VLAN_PCP, &pcp, 1);
}

/* Whether there is another tag behind it is not looked at: one pop is all that Open vSwitch asks for. */
static int read_pop_vlan(struct rewriting *rewriting, const void *configuration)
{
    if (!rewriting->tagged)
        return refuse(rewriting, "To pop a VLAN tag the rule has to match or push one");
    rewriting->tagged = false;
    return put(rewriting, WIRE_ACTION_POP_VLAN, NULL, 0);
}

static int read_encapsulation(struct rewriting *rewriting, const void *configuration)
{
    struct wire_action wire;
    int result = flow_encapsulation_read(rewriting->action, &wire, rewriting->refusal);

    if (result)
        return result;
    rewriting->encapsulated = true;
    return put(rewriting, wire.type, wire.operand, wire.size);
}

/* The packet is then what was inside the tunnel, of which the rule knows nothing. */
static int read_vxlan_decap(struct rewriting *rewriting, const void *configuration)
{
    if (!rewriting->match->has_tunnel || !rewriting->headers_known)
        return refuse(rewriting, "To take a VXLAN header off the rule has to match it");
    rewriting->headers_known = false;
    rewriting->tagged = false;
    return put(rewriting, WIRE_ACTION_DECAP_VXLAN, NULL, 0);
}

enum action_class {
    CLASS_ANY,    /* may come anywhere */
    CLASS_OUTPUT, /* not together with a drop */
    CLASS_CHANGE, /* not behind an encapsulation: it would be meant for the inner headers */
};

static const struct action_kind {
    enum rte_flow_action_type type;
    enum action_class class;
    bool has_configuration;
    int (*read)(struct rewriting *rewriting, const void *configuration);
} action_kinds[] = {
    {RTE_FLOW_ACTION_TYPE_VOID, CLASS_ANY, false, read_nothing},
    {RTE_FLOW_ACTION_TYPE_COUNT, CLASS_ANY, false, read_nothing}, /* every rule counts */
    {RTE_FLOW_ACTION_TYPE_PORT_ID, CLASS_OUTPUT, true, read_port_id},
    {RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, CLASS_OUTPUT, true, read_represented_port},
    {RTE_FLOW_ACTION_TYPE_DROP, CLASS_ANY, false, read_drop},
    {RTE_FLOW_ACTION_TYPE_SET_MAC_SRC, CLASS_CHANGE, true, read_set_mac},
    {RTE_FLOW_ACTION_TYPE_SET_MAC_DST, CLASS_CHANGE, true, read_set_mac},
    {RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC, CLASS_CHANGE, true, read_set_ipv4},
    {RTE_FLOW_ACTION_TYPE_SET_IPV4_DST, CLASS_CHANGE, true, read_set_ipv4},
    {RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC, CLASS_CHANGE, true, read_set_ipv6},
    {RTE_FLOW_ACTION_TYPE_SET_IPV6_DST, CLASS_CHANGE, true, read_set_ipv6},
    {RTE_FLOW_ACTION_TYPE_SET_TTL, CLASS_CHANGE, true, read_set_ttl},
    {RTE_FLOW_ACTION_TYPE_SET_IPV4_DSCP, CLASS_CHANGE, true, read_set_dscp},
    {RTE_FLOW_ACTION_TYPE_SET_IPV6_DSCP, CLASS_CHANGE, true, read_set_dscp},
    {RTE_FLOW_ACTION_TYPE_SET_TP_SRC, CLASS_CHANGE, true, read_set_port},
    {RTE_FLOW_ACTION_TYPE_SET_TP_DST, CLASS_CHANGE, true, read_set_port},
    {RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN, CLASS_CHANGE, true, read_push_vlan},
    {RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID, CLASS_CHANGE, true, read_set_vlan_vid},
    {RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP, CLASS_CHANGE, true, read_set_vlan_pcp},
    {RTE_FLOW_ACTION_TYPE_OF_POP_VLAN, CLASS_CHANGE, false, read_pop_vlan},
    {RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP, CLASS_CHANGE, true, read_encapsulation},
    {RTE_FLOW_ACTION_TYPE_RAW_ENCAP, CLASS_CHANGE, true, read_encapsulation},
    {RTE_FLOW_ACTION_TYPE_VXLAN_DECAP, CLASS_CHANGE, false, read_vxlan_decap},
};

static const struct action_kind *find_kind(enum rte_flow_action_type type)
{
    for (unsigned i = 0; i < sizeof action_kinds / sizeof *action_kinds; i++)
        if (action_kinds[i].type == type)
            return &action_kinds[i];
    return NULL;
}

static int read_action(struct rewriting *rewriting)
{
    const struct rte_flow_action *action = rewriting->action;
    const struct action_kind *kind = find_kind(action->type);

    if (action->type == RTE_FLOW_ACTION_TYPE_JUMP)
        return refuse(rewriting, "There is group 0 only, so there is nothing to jump to");
    if (!kind)
        return refuse(rewriting, "The fast path has no such action");
    if (kind->has_configuration && !action->conf)
        return flow_refuse(rewriting->refusal, FLOW_REFUSED_ACTION, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION,
                           action, "The action needs a configuration");
    if (kind->class != CLASS_ANY && rewriting->drops)
        return refuse(rewriting, "The packet was dropped by an action before");
    if (kind->class == CLASS_CHANGE && rewriting->encapsulated)
        return refuse(rewriting, "An encapsulated packet can be output only");
    return kind->read(rewriting, action->conf);
}

int flow_actions_read(const struct flow_place *place, const struct flow_match *match,
                      const struct rte_flow_action actions[], struct wire_rule *rule,
                      struct flow_refusal *refusal)
{
    struct rewriting rewriting = {
        .place = place,
        .match = match,
        .rule = rule,
        .refusal = refusal,
        .tagged = match->tags[0].presence == FLOW_PRESENT,
        .headers_known = true,
    };
    int result = 0;

    for (rewriting.action = actions; !result && rewriting.action->type != RTE_FLOW_ACTION_TYPE_END;
         rewriting.action++)
        result = read_action(&rewriting);
    if (!result && !rewriting.n_outputs && !rewriting.drops)
        result = flow_refuse(refusal, FLOW_REFUSED_ACTION, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, actions,
                             "The rule neither outputs nor drops packets");
    return result;
}
