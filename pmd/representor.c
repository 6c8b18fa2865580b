/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/representor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <ethdev_driver.h>
#include <ethdev_vdev.h>
#include <rte_malloc.h>
#include <rte_version.h>

#include "pmd/burst.h"
#include "pmd/connection.h"
#include "pmd/flow.h"
#include "pmd/statistics.h"

#define DESCRIPTORS_MAX 4096 /* accepted, and without effect: the rings' size is the fast path's */
#define FRAME_OVERHEAD (RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN + 2 * RTE_VLAN_HLEN)

/* Link */

static struct rte_eth_link current_link(const struct rte_eth_dev *device)
{
    const struct representor *representor = device->data->dev_private;

    return (struct rte_eth_link){
        .link_speed = RTE_ETH_SPEED_NUM_10G,
        .link_duplex = RTE_ETH_LINK_FULL_DUPLEX,
        .link_autoneg = RTE_ETH_LINK_FIXED,
        .link_status = representor->started && connection_port_is_up(representor->connection, representor)};
}

static int link_update(struct rte_eth_dev *device, int wait_to_complete)
{
    struct rte_eth_link link = current_link(device);

    return rte_eth_linkstatus_set(device, &link);
}

void representor_link_changed(struct representor *representor)
{
    struct rte_eth_dev *device = &rte_eth_devices[representor->ethdev_id];

    if (link_update(device, 0) == 0 && device->data->dev_conf.intr_conf.lsc)
        rte_eth_dev_callback_process(device, RTE_ETH_EVENT_INTR_LSC, NULL);
}

/* Configuration */

static int configure(struct rte_eth_dev *device)
{
    return 0;
}

static int start(struct rte_eth_dev *device)
{
    struct representor *representor = device->data->dev_private;

    for (uint16_t i = 0; i < device->data->nb_rx_queues; i++) {
        struct receive_queue *queue = device->data->rx_queues[i];

        queue->n_queues = device->data->nb_rx_queues;
        queue->turn = queue->index;
        device->data->rx_queue_state[i] = RTE_ETH_QUEUE_STATE_STARTED;
    }
    for (uint16_t i = 0; i < device->data->nb_tx_queues; i++)
        device->data->tx_queue_state[i] = RTE_ETH_QUEUE_STATE_STARTED;
    representor->started = true;
    link_update(device, 0);
    return 0;
}

static int stop(struct rte_eth_dev *device)
{
    struct representor *representor = device->data->dev_private;

    representor->started = false;
    link_update(device, 0);
    for (uint16_t i = 0; i < device->data->nb_rx_queues; i++)
        device->data->rx_queue_state[i] = RTE_ETH_QUEUE_STATE_STOPPED;
    for (uint16_t i = 0; i < device->data->nb_tx_queues; i++)
        device->data->tx_queue_state[i] = RTE_ETH_QUEUE_STATE_STOPPED;
    return 0;
}

static int get_information(struct rte_eth_dev *device, struct rte_eth_dev_info *information)
{
    const struct representor *representor = device->data->dev_private;
    int32_t port_id = atomic_load_explicit(&representor->port_id, memory_order_relaxed);

    information->max_mac_addrs = 1;
    information->min_mtu = RTE_ETHER_MIN_MTU;
    information->max_mtu = REPRESENTOR_MTU_MAX;
    information->max_rx_pktlen = REPRESENTOR_MTU_MAX + FRAME_OVERHEAD;
    information->min_rx_bufsize = RTE_ETHER_MIN_LEN;
    information->max_rx_queues = representor->n_receive_max;
    information->max_tx_queues = REPRESENTOR_SEND_QUEUES_MAX;
    information->rx_desc_lim = (struct rte_eth_desc_lim){.nb_max = DESCRIPTORS_MAX, .nb_min = 1, .nb_align = 1};
    information->tx_desc_lim = information->rx_desc_lim;
    /* What the fast path has checked is marked as good; all else is left to the user to check. */
    information->rx_offload_capa = RTE_ETH_RX_OFFLOAD_CHECKSUM;
    information->tx_offload_capa = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    information->speed_capa = RTE_ETH_LINK_SPEED_10G;
    information->switch_info.name = "vnode";
    information->switch_info.domain_id = connection_switch_domain(representor->connection);
    information->switch_info.port_id = port_id < 0 ? UINT16_MAX : (uint16_t)port_id;
    return 0;
}

static int set_mtu(struct rte_eth_dev *device, uint16_t mtu)
{
    /* The range was checked against what get_information() says. What arrives has to fit the mbufs, that is all. */
    return 0;
}

static int set_mac(struct rte_eth_dev *device, struct rte_ether_addr *address)
{
    struct representor *representor = device->data->dev_private;

    rte_ether_addr_copy(address, &representor->mac);
    return 0;
}

static int accept_all(struct rte_eth_dev *device)
{
    return 0; /* A representor gets everything, whatever is asked. */
}

static int get_flow_operations(struct rte_eth_dev *device, const struct rte_flow_ops **operations)
{
    *operations = &vnode_flow_ops;
    return 0;
}

/* Queues */

static int set_up_receive(struct rte_eth_dev *device, uint16_t index, uint16_t n_descriptors, unsigned socket,
                          const struct rte_eth_rxconf *configuration, struct rte_mempool *pool)
{
    uint32_t room = rte_pktmbuf_data_room_size(pool);
    struct receive_queue *queue;

    if (room < RTE_PKTMBUF_HEADROOM + RTE_ETHER_MIN_LEN)
        return -EINVAL;
    queue = rte_zmalloc_socket("vnode-receive", sizeof *queue, _Alignof(struct receive_queue), (int)socket);
    if (!queue)
        return -ENOMEM;
    queue->representor = device->data->dev_private;
    queue->pool = pool;
    queue->room = room - RTE_PKTMBUF_HEADROOM;
    queue->index = index;
    queue->turn = index;
    queue->n_queues = device->data->nb_rx_queues;
    device->data->rx_queues[index] = queue;
    return 0;
}

static void release_receive(struct rte_eth_dev *device, uint16_t index)
{
    struct receive_queue *queue = device->data->rx_queues[index];

    if (queue)
        receive_queue_drain(queue);
    rte_free(queue);
    device->data->rx_queues[index] = NULL;
}

static int set_up_send(struct rte_eth_dev *device, uint16_t index, uint16_t n_descriptors, unsigned socket,
                       const struct rte_eth_txconf *configuration)
{
    struct send_queue *queue =
        rte_zmalloc_socket("vnode-send", sizeof *queue, _Alignof(struct send_queue), (int)socket);

    if (!queue)
        return -ENOMEM;
    queue->representor = device->data->dev_private;
    queue->index = index;
    device->data->tx_queues[index] = queue;
    return 0;
}

static void release_send(struct rte_eth_dev *device, uint16_t index)
{
    rte_free(device->data->tx_queues[index]);
    device->data->tx_queues[index] = NULL;
}

/* Coming and going */

static int close_device(struct rte_eth_dev *device)
{
    struct representor *representor = device->data->dev_private;

    if (rte_eal_process_type() != RTE_PROC_PRIMARY)
        return 0;
    flows_remove_representor(connection_flows(representor->connection), representor);
    connection_remove(representor->connection, representor);
    connection_put(representor->connection);
    for (uint16_t i = 0; i < device->data->nb_rx_queues; i++)
        release_receive(device, i);
    for (uint16_t i = 0; i < device->data->nb_tx_queues; i++)
        release_send(device, i);
    device->data->mac_addrs = NULL; /* it is part of dev_private, which DPDK frees */
    return 0;
}

/* DPDK asks for those of each queue, too, from 25.11 on: we have none. */
#if RTE_VERSION >= RTE_VERSION_NUM(25, 11, 0, 0)
static int get_statistics(struct rte_eth_dev *device, struct rte_eth_stats *statistics,
                          struct eth_queue_stats *of_queues)
{
    return statistics_get(device, statistics);
}
#else
#define get_statistics statistics_get
#endif

static const struct eth_dev_ops representor_ops = {
    .dev_configure = configure,
    .dev_start = start,
    .dev_stop = stop,
    .dev_close = close_device,
    .dev_infos_get = get_information,
    .link_update = link_update,
    .mtu_set = set_mtu,
    .mac_addr_set = set_mac,
    .promiscuous_enable = accept_all,
    .promiscuous_disable = accept_all,
    .allmulticast_enable = accept_all,
    .allmulticast_disable = accept_all,
    .rx_queue_setup = set_up_receive,
    .rx_queue_release = release_receive,
    .tx_queue_setup = set_up_send,
    .tx_queue_release = release_send,
    .stats_get = get_statistics,
    .stats_reset = statistics_reset,
    .xstats_get = statistics_extended,
    .xstats_get_names = statistics_extended_names,
    .xstats_reset = statistics_reset,
    .flow_ops_get = get_flow_operations,
};

struct representor *representor_by_ethdev(uint16_t ethdev_id)
{
    if (ethdev_id >= RTE_MAX_ETHPORTS || rte_eth_devices[ethdev_id].dev_ops != &representor_ops)
        return NULL;
    return rte_eth_devices[ethdev_id].data->dev_private;
}

/* Locally administered, and always the same for a name (FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/). */
static struct rte_ether_addr mac_of_name(const char *name)
{
    struct rte_ether_addr mac = {.addr_bytes = {0x02}};
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
    for (unsigned i = 1; i < RTE_ETHER_ADDR_LEN; i++)
        mac.addr_bytes[i] = (uint8_t)(hash >> (8 * i));
    return mac;
}

static void fill_device(struct rte_eth_dev *device, struct representor *representor)
{
    device->dev_ops = &representor_ops;
    device->rx_pkt_burst = representor_receive;
    device->tx_pkt_burst = representor_send;
    device->data->mac_addrs = &representor->mac;
    device->data->dev_flags = RTE_ETH_DEV_INTR_LSC;
    device->data->dev_link = (struct rte_eth_link){.link_status = RTE_ETH_LINK_DOWN};
}

static int fill_representor(struct representor *representor, const struct arguments *arguments,
                            struct error *error)
{
    representor->spec = arguments->port;
    representor->mac = mac_of_name(arguments->port.name);
    representor->port_id = -1;
    representor->doorbells[0] = representor->doorbells[1] = -1;
    /* Nobody knows how many queues an existing port has, before the fast path answers. */
    representor->n_receive_max = arguments->port.n_queues                        ? arguments->port.n_queues
                                 : arguments->port.kind == MESSAGE_PORT_EXISTING ? QUEUES_MAX
                                                                                 : 1;
    representor->connection = connection_get(arguments->socket);
    if (!representor->connection)
        return error_set(error, ENOMEM, "%s: no memory, or no thread, for a connection to the fast path at %s.",
                         arguments->port.name, arguments->socket);
    if (flows_add_representor(connection_flows(representor->connection), representor)) {
        connection_put(representor->connection);
        return error_set(error, ENOMEM, "%s: no memory for its rules.", arguments->port.name);
    }
    return 0;
}

int representor_create(struct rte_vdev_device *vdev, const struct arguments *arguments, struct error *error)
{
    struct rte_eth_dev *device;
    struct representor *representor;
    int result;

    if (vdev->device.numa_node == SOCKET_ID_ANY)
        vdev->device.numa_node = (int)rte_socket_id();
    device = rte_eth_vdev_allocate(vdev, 0);
    if (!device)
        return error_set(error, ENOMEM, "%s: DPDK has no room for another device.", arguments->port.name);
    representor = rte_zmalloc_socket("vnode-representor", sizeof *representor, _Alignof(struct representor),
                                     vdev->device.numa_node);
    device->data->dev_private = representor;
    result = representor ? 0 : error_set(error, ENOMEM, "%s: DPDK has no memory left.", arguments->port.name);
    if (!result) {
        representor->ethdev_id = device->data->port_id;
        result = fill_representor(representor, arguments, error);
    }
    if (result) {
        rte_eth_dev_release_port(device);
        return result;
    }
    fill_device(device, representor);
    rte_eth_dev_probing_finish(device);
    connection_add(representor->connection, representor);
    return 0;
}
