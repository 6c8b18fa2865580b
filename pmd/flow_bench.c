/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How fast rules come and go through the driver: rte_flow called directly, as Open vSwitch's offload thread does, on the
 * first two devices net_vnode_*. A fast path must be running.
 *
 *     flow_bench --no-huge --vdev=net_vnode_a,fastpath=... --vdev=net_vnode_b,fastpath=... -- RULES DESTROYED
 *
 * Creates RULES rules of 5-tuples, waits until the fast path has them all, queries each, destroys DESTROYED of them one by
 * one (each waits for the fast path) and flushes the rest. Prints one JSON object, rates per second.
 */

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_S 60
#define ATTACH_S 10

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "flow_bench: %s: %s\n", what, why ? why : strerror(rte_errno));
    exit(1);
}

static const struct rte_flow_attr transfer = {.transfer = 1};

/* The rule of flow 'i', with all that Open vSwitch matches of such a packet. */
static struct rte_flow *create(uint32_t i, uint16_t output, struct rte_flow_error *error)
{
    const struct rte_flow_item_eth eth = {.hdr.dst_addr.addr_bytes = {2, 0, 0, 0, 0, 2},
                                          .hdr.src_addr.addr_bytes = {2, 0, 0, 0, 0, 1},
                                          .hdr.ether_type = RTE_BE16(0x0800)};
    const struct rte_flow_item_ipv4 ipv4 = {.hdr.src_addr = RTE_BE32(0x0a000001),
                                            .hdr.dst_addr = htonl(0x0a000000 | i >> 16),
                                            .hdr.next_proto_id = IPPROTO_UDP};
    const struct rte_flow_item_udp udp = {.hdr.src_port = htons((uint16_t)i), .hdr.dst_port = RTE_BE16(53)};
    struct rte_flow_item_eth eth_mask;
    struct rte_flow_item_ipv4 ipv4_mask = {.hdr.src_addr = UINT32_MAX,
                                           .hdr.dst_addr = UINT32_MAX,
                                           .hdr.next_proto_id = UINT8_MAX,
                                           .hdr.fragment_offset = RTE_BE16(0x3fff)};
    const struct rte_flow_action_port_id port = {.id = output};
    const struct rte_flow_action_count count = {0};
    const struct rte_flow_item items[] = {
        {.type = RTE_FLOW_ITEM_TYPE_ETH, .spec = &eth, .mask = &eth_mask},
        {.type = RTE_FLOW_ITEM_TYPE_IPV4, .spec = &ipv4, .mask = &ipv4_mask},
        {.type = RTE_FLOW_ITEM_TYPE_UDP, .spec = &udp, .mask = &rte_flow_item_udp_mask},
        {.type = RTE_FLOW_ITEM_TYPE_END},
    };
    const struct rte_flow_action actions[] = {
        {.type = RTE_FLOW_ACTION_TYPE_COUNT, .conf = &count},
        {.type = RTE_FLOW_ACTION_TYPE_PORT_ID, .conf = &port},
        {.type = RTE_FLOW_ACTION_TYPE_END},
    };

    memset(&eth_mask, 0, sizeof eth_mask);
    memset(&eth_mask.hdr, 0xff, sizeof eth_mask.hdr);
    eth_mask.has_vlan = 1;
    return rte_flow_create(0, &transfer, items, actions, error);
}

/* Until the driver has found the fast path no rule can be made. */
static void wait_for_fast_path(uint16_t output)
{
    double deadline = now() + ATTACH_S;
    struct rte_flow_error error;
    struct rte_flow *flow;

    while (!(flow = create(UINT32_MAX, output, &error))) {
        if (rte_errno != ENOTCONN || now() > deadline)
            fail("create", error.message);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    rte_flow_destroy(0, flow, &error);
}

static uint64_t counter(const char *name)
{
    uint64_t id, value = 0;

    if (rte_eth_xstats_get_id_by_name(0, name, &id) || rte_eth_xstats_get_by_id(0, &id, &value, 1) != 1)
        fail("xstats", name);
    return value;
}

static void wait_for_rules(uint32_t n)
{
    double deadline = now() + WAIT_S;

    while (counter("rules_in_fastpath") < n) {
        if (now() > deadline || counter("rules_failed_in_fastpath"))
            fail("create", "the fast path does not take all rules");
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
}

static void query(struct rte_flow *flow)
{
    const struct rte_flow_action actions[] = {{.type = RTE_FLOW_ACTION_TYPE_COUNT},
                                              {.type = RTE_FLOW_ACTION_TYPE_END}};
    struct rte_flow_query_count count = {.reset = 1};
    struct rte_flow_error error;

    if (rte_flow_query(0, flow, actions, &count, &error) || !count.hits_set)
        fail("query", error.message);
}

static void run(uint32_t n, uint32_t n_destroyed, uint16_t output)
{
    struct rte_flow **flows = calloc(n, sizeof *flows);
    double start, created, installed, queried, destroyed, flushed;
    struct rte_flow_error error;

    if (!flows)
        fail("rules", "no memory");
    start = now();
    for (uint32_t i = 0; i < n; i++)
        if (!(flows[i] = create(i, output, &error)))
            fail("create", error.message);
    created = now();
    wait_for_rules(n);
    installed = now();
    for (uint32_t i = 0; i < n; i++)
        query(flows[i]);
    queried = now();
    for (uint32_t i = 0; i < n_destroyed; i++)
        if (rte_flow_destroy(0, flows[i], &error))
            fail("destroy", error.message);
    destroyed = now();
    if (rte_flow_flush(0, &error))
        fail("flush", error.message);
    flushed = now();
    printf("{\"bench\": \"flow-ops\", \"rules\": %" PRIu32 ", \"create_per_s\": %.0f, \"installed_per_s\": %.0f, "
           "\"query_per_s\": %.0f, \"destroyed\": %" PRIu32 ", \"destroy_per_s\": %.0f, \"flush_ms\": %.1f, "
           "\"late_removals\": %" PRIu64 "}\n",
           n, n / (created - start), n / (installed - start), n / (queried - installed), n_destroyed,
           n_destroyed / (destroyed - queried), 1000 * (flushed - destroyed), counter("rules_removed_late"));
    free(flows);
}

int main(int argc, char *argv[])
{
    int n_taken = rte_eal_init(argc, argv);
    uint32_t n, n_destroyed;

    if (n_taken < 0)
        fail("rte_eal_init", NULL);
    argc -= n_taken;
    argv += n_taken;
    if (argc != 3 || rte_eth_dev_count_avail() < 2)
        fail("usage", "flow_bench EAL-ARGUMENT... (with two devices) -- RULES DESTROYED");
    n = (uint32_t)strtoul(argv[1], NULL, 10);
    n_destroyed = (uint32_t)strtoul(argv[2], NULL, 10);
    if (!n || n_destroyed > n)
        fail("usage", "destroy at most as many rules as there are");
    wait_for_fast_path(1);
    run(n, n_destroyed, 1);
    rte_eth_dev_close(0);
    rte_eth_dev_close(1);
    rte_eal_cleanup();
    return 0;
}
