/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Lists of items and actions put together from the input, both ended by END: whatever they say, they are refused with a
 * sentence, or become a rule that can be sent and is well-formed when it arrives. Values and
 * configurations are allocations of exactly the sizes that rte_flow.h gives them.
 */

#include <stdlib.h>
#include <string.h>

#include "pmd/flow_translate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LIST_MAX 40

struct input {
    const uint8_t *next;
    size_t left;
};

static uint8_t take(struct input *input)
{
    if (!input->left)
        return 0;
    input->left--;
    return *input->next++;
}

/* 'size' bytes of the input, as far as it goes, then zeros. */
static void *take_copy(struct input *input, size_t size)
{
    size_t n = size < input->left ? size : input->left;
    uint8_t *copy = calloc(1, size ? size : 1);

    if (!copy)
        abort();
    if (n)
        memcpy(copy, input->next, n);
    input->next += n;
    input->left -= n;
    return copy;
}

static const struct {
    enum rte_flow_item_type type;
    size_t size;
} items[] = {
    {RTE_FLOW_ITEM_TYPE_VOID, 0},
    {RTE_FLOW_ITEM_TYPE_ETH, sizeof(struct rte_flow_item_eth)},
    {RTE_FLOW_ITEM_TYPE_VLAN, sizeof(struct rte_flow_item_vlan)},
    {RTE_FLOW_ITEM_TYPE_IPV4, sizeof(struct rte_flow_item_ipv4)},
    {RTE_FLOW_ITEM_TYPE_IPV6, sizeof(struct rte_flow_item_ipv6)},
    {RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT, sizeof(struct rte_flow_item_ipv6_frag_ext)},
    {RTE_FLOW_ITEM_TYPE_TCP, sizeof(struct rte_flow_item_tcp)},
    {RTE_FLOW_ITEM_TYPE_UDP, sizeof(struct rte_flow_item_udp)},
    {RTE_FLOW_ITEM_TYPE_SCTP, sizeof(struct rte_flow_item_sctp)},
    {RTE_FLOW_ITEM_TYPE_ICMP, sizeof(struct rte_flow_item_icmp)},
    {RTE_FLOW_ITEM_TYPE_ICMP6, sizeof(struct rte_flow_item_icmp6)},
    {RTE_FLOW_ITEM_TYPE_VXLAN, sizeof(struct rte_flow_item_vxlan)},
    {RTE_FLOW_ITEM_TYPE_GRE, sizeof(struct rte_flow_item_gre)},
};

static const struct {
    enum rte_flow_action_type type;
    size_t size;
} actions[] = {
    {RTE_FLOW_ACTION_TYPE_VOID, 0},
    {RTE_FLOW_ACTION_TYPE_COUNT, sizeof(struct rte_flow_action_count)},
    {RTE_FLOW_ACTION_TYPE_DROP, 0},
    {RTE_FLOW_ACTION_TYPE_PORT_ID, sizeof(struct rte_flow_action_port_id)},
    {RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, sizeof(struct rte_flow_action_ethdev)},
    {RTE_FLOW_ACTION_TYPE_SET_MAC_SRC, sizeof(struct rte_flow_action_set_mac)},
    {RTE_FLOW_ACTION_TYPE_SET_MAC_DST, sizeof(struct rte_flow_action_set_mac)},
    {RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC, sizeof(struct rte_flow_action_set_ipv4)},
    {RTE_FLOW_ACTION_TYPE_SET_IPV4_DST, sizeof(struct rte_flow_action_set_ipv4)},
    {RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC, sizeof(struct rte_flow_action_set_ipv6)},
    {RTE_FLOW_ACTION_TYPE_SET_IPV6_DST, sizeof(struct rte_flow_action_set_ipv6)},
    {RTE_FLOW_ACTION_TYPE_SET_TTL, sizeof(struct rte_flow_action_set_ttl)},
    {RTE_FLOW_ACTION_TYPE_SET_IPV4_DSCP, sizeof(struct rte_flow_action_set_dscp)},
    {RTE_FLOW_ACTION_TYPE_SET_IPV6_DSCP, sizeof(struct rte_flow_action_set_dscp)},
    {RTE_FLOW_ACTION_TYPE_SET_TP_SRC, sizeof(struct rte_flow_action_set_tp)},
    {RTE_FLOW_ACTION_TYPE_SET_TP_DST, sizeof(struct rte_flow_action_set_tp)},
    {RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN, sizeof(struct rte_flow_action_of_push_vlan)},
    {RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID, sizeof(struct rte_flow_action_of_set_vlan_vid)},
    {RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP, sizeof(struct rte_flow_action_of_set_vlan_pcp)},
    {RTE_FLOW_ACTION_TYPE_OF_POP_VLAN, 0},
    {RTE_FLOW_ACTION_TYPE_VXLAN_DECAP, 0},
    {RTE_FLOW_ACTION_TYPE_MARK, sizeof(struct rte_flow_action_mark)},
    {RTE_FLOW_ACTION_TYPE_JUMP, sizeof(struct rte_flow_action_jump)},
    {RTE_FLOW_ACTION_TYPE_RAW_ENCAP, sizeof(struct rte_flow_action_raw_encap)},
    {RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP, sizeof(struct rte_flow_action_vxlan_encap)},
};

#define N_ITEMS (sizeof items / sizeof *items)
#define N_ACTIONS (sizeof actions / sizeof *actions)

/* What has to be freed. */
static void *allocations[LIST_MAX * 40];
static unsigned n_allocations;

static void *keep(void *memory)
{
    allocations[n_allocations++] = memory;
    return memory;
}

/* A byte chooses the kind, another one which of value, mask and range are there. */
static unsigned make_items(struct input *input, struct rte_flow_item list[], unsigned most)
{
    unsigned n = 0;

    for (uint8_t kind; n < most && (kind = take(input)) != 0xff && input->left; n++) {
        size_t size = items[kind % N_ITEMS].size;
        uint8_t parts = take(input);

        list[n] = (struct rte_flow_item){.type = items[kind % N_ITEMS].type};
        if (!(parts & 1))
            list[n].spec = keep(take_copy(input, size));
        if (!(parts & 2))
            list[n].mask = keep(take_copy(input, size));
        if (parts & 4)
            list[n].last = keep(take_copy(input, size));
    }
    list[n] = (struct rte_flow_item){.type = RTE_FLOW_ITEM_TYPE_END};
    return n;
}

static void *make_configuration(struct input *input, enum rte_flow_action_type type, size_t size)
{
    struct rte_flow_action_raw_encap *raw;
    struct rte_flow_action_vxlan_encap *vxlan;
    struct rte_flow_item *list;

    if (type == RTE_FLOW_ACTION_TYPE_RAW_ENCAP) {
        raw = keep(calloc(1, sizeof *raw));
        raw->size = take(input);
        raw->data = keep(take_copy(input, raw->size));
        return raw;
    }
    if (type == RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP) {
        vxlan = keep(calloc(1, sizeof *vxlan));
        list = keep(calloc(9, sizeof *list));
        make_items(input, list, 8);
        vxlan->definition = list;
        return vxlan;
    }
    return keep(take_copy(input, size));
}

static void make_actions(struct input *input, struct rte_flow_action list[])
{
    unsigned n = 0;

    for (uint8_t kind; n < LIST_MAX && (kind = take(input)) != 0xff && input->left; n++) {
        enum rte_flow_action_type type = actions[kind % N_ACTIONS].type;

        list[n] = (struct rte_flow_action){.type = type};
        if (!(kind & 0x80))
            list[n].conf = make_configuration(input, type, actions[kind % N_ACTIONS].size);
    }
    list[n] = (struct rte_flow_action){.type = RTE_FLOW_ACTION_TYPE_END};
}

static bool is_even(uint16_t port, const void *context)
{
    return port % 2 == 0;
}

static void check(const struct wire_rule *rule)
{
    static struct wire_rule received;
    static uint8_t bytes[8192];
    struct wire_writer writer = wire_writer(bytes, sizeof bytes);
    struct wire_reader reader;

    if (!wire_put_rule(&writer, rule) || !rule->n_actions)
        abort();
    reader = wire_reader(bytes, wire_size(&writer));
    if (wire_get_rule(&reader, &received) || reader.left)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct flow_place place = {.in_port = 2, .is_ours = is_even};
    static struct rte_flow_item item_list[LIST_MAX + 1];
    static struct rte_flow_action action_list[LIST_MAX + 1];
    static struct wire_rule rule;
    struct input input = {data, size};
    uint8_t flags = take(&input);
    struct rte_flow_attr attributes = {
        .transfer = !(flags & 1), .ingress = flags >> 1 & 1, .egress = flags >> 2 & 1, .group = flags >> 3 & 1};
    struct flow_refusal refusal = {.code = 0};

    make_items(&input, item_list, LIST_MAX);
    make_actions(&input, action_list);
    if (!flow_translate(&place, &attributes, item_list, action_list, &rule, &refusal))
        check(&rule);
    else if (!refusal.code || !refusal.sentence || refusal.reason >= FLOW_REASONS_END)
        abort();
    while (n_allocations)
        free(allocations[--n_allocations]);
    return 0;
}
