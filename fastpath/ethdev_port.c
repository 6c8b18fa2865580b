/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Uplinks: their devices come with a port and go with it.
 *
 * MTU: that of a device of our own (a NIC, a tap) is set to what the port is to have, or
 * to the most that its driver allows. A kernel interface that a driver only uses
 * (af_packet, af_xdp) belongs to somebody else: its MTU stays, and bounds the port's.
 *
 * Offloads: NICs finish checksums and cut TCP segments when they say they can. Virtual
 * drivers would do it in software on top of a copy of their own; there the packet
 * arrives finished instead.
 */
#include "fastpath/ethdev_port.h"

#include <errno.h>
#include <net/if.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <unistd.h>

#include "fastpath/worker_internal.h"
#include "lib/log.h"

#define DESCRIPTORS 512   /* of each queue, unless the driver prefers another number */
#define POOL_RESERVE 2048 /* mbufs under way: in bursts, in workers' caches, in other uplinks' send queues */
#define BUFFER_SIZE_MIN 2048 /* bytes of a frame that an mbuf holds at least; some drivers insist */
#define POOL_CACHE 256       /* mbufs that each worker keeps for itself */

struct ethdev_port {
    struct port port;
    uint16_t device; /* DPDK's port id; RTE_MAX_ETHPORTS: none yet */
    bool started;
    bool interrupts; /* configured to wake workers */
    struct rte_mempool *pool;
    struct ethdev_receive_queue receive[QUEUES_MAX];
    struct ethdev_send_queue send[QUEUES_MAX];
};

/* Pools of ports that are gone. Their mbufs may still sit in send queues of other devices. */
struct retired_pool {
    LIST_ENTRY(retired_pool) entry;
    struct rte_mempool *pool;
};

static LIST_HEAD(, retired_pool) retired_pools = LIST_HEAD_INITIALIZER(retired_pools);

/* Frees the retired pools whose mbufs have all come back. */
static void reclaim_pools(void)
{
    struct retired_pool *retired = LIST_FIRST(&retired_pools);

    while (retired) {
        struct retired_pool *next = LIST_NEXT(retired, entry);

        if (rte_mempool_full(retired->pool)) {
            LIST_REMOVE(retired, entry);
            rte_mempool_free(retired->pool);
            rte_free(retired);
        }
        retired = next;
    }
}

static void retire_pool(struct rte_mempool *pool)
{
    struct retired_pool *retired = pool ? rte_zmalloc("retired_pool", sizeof *retired, 0) : NULL;

    if (retired) {
        retired->pool = pool;
        LIST_INSERT_HEAD(&retired_pools, retired, entry);
    } else if (pool && rte_mempool_full(pool)) {
        rte_mempool_free(pool);
    }
    reclaim_pools();
}

/* Asks the kernel about its interface 'index': SIOCGIFMTU and the like. False: there is no such interface. */
static bool ask_kernel(unsigned index, unsigned long question, struct ifreq *answer)
{
    bool answered;
    int fd;

    memset(answer, 0, sizeof *answer);
    if (!if_indextoname(index, answer->ifr_name))
        return false;
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    answered = ioctl(fd, question, answer) == 0;
    close(fd);
    return answered;
}

/* The MTU of the kernel's interface 'index', or 0. */
static uint16_t kernel_mtu(unsigned index)
{
    struct ifreq answer;

    if (!ask_kernel(index, SIOCGIFMTU, &answer) || answer.ifr_mtu < 0)
        return 0;
    return (uint16_t)RTE_MIN(answer.ifr_mtu, UINT16_MAX);
}

/* The largest MTU that ethdev lets one set; drivers state it as that, or as a frame size, or not at all. */
static uint16_t largest_mtu(const struct rte_eth_dev_info *info)
{
    uint32_t overhead = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
    uint32_t most = FRAME_SIZE_MAX - PORT_FRAME_OVERHEAD;

    if (info->max_mtu != UINT16_MAX && info->max_rx_pktlen > info->max_mtu)
        overhead = info->max_rx_pktlen - info->max_mtu;
    else if (info->max_rx_pktlen == RTE_ETHER_MAX_VLAN_FRAME_LEN)
        overhead += RTE_VLAN_HLEN; /* this number stands for an MTU of 1,500 bytes, and a tag */
    if (info->max_rx_pktlen - overhead < most)
        most = info->max_rx_pktlen - overhead;
    return (uint16_t)(info->max_mtu < most ? info->max_mtu : most);
}

static bool is_nic(const struct rte_eth_dev_info *info)
{
    const struct rte_bus *bus = rte_bus_find_by_device(info->device);

    return bus && strcmp(rte_bus_name(bus), "vdev") != 0;
}

static bool is_tap(const struct rte_eth_dev_info *info)
{
    return strcmp(info->driver_name, "net_tap") == 0;
}

/* Whether the driver only uses an interface that the kernel has, and others look after. */
static bool is_kernel_interface(const struct rte_eth_dev_info *info)
{
    return info->if_index && !is_tap(info);
}

/* Sets the port's limits, and returns the MTU for the driver. */
static uint16_t choose_mtu(struct ethdev_port *port, const struct rte_eth_dev_info *info)
{
    struct port_spec *spec = &port->port.spec;
    uint16_t most = largest_mtu(info), mtu = spec->mtu;
    uint16_t limit = is_kernel_interface(info) ? kernel_mtu(info->if_index) : most;

    if (limit && limit < mtu) {
        spec->mtu = mtu = limit;
        log_info("port %s has an MTU of %u bytes, since its device takes no larger one", spec->name, mtu);
    }
    port->port.frame_size_max = mtu + PORT_FRAME_OVERHEAD;
    return mtu < most ? mtu : most;
}

/* What may be left to the device, as PORT_OFFLOAD_*. */
static uint32_t choose_offloads(const struct rte_eth_dev_info *info, uint32_t buffer_size)
{
    const uint64_t checksums =
        RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
    const uint64_t segmentation = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    uint32_t offloads = PORT_OFFLOAD_BASE;

    if (!is_nic(info) || (info->tx_offload_capa & checksums) != checksums)
        return offloads;
    offloads |= PORT_OFFLOAD_CSUM;
    if ((info->tx_offload_capa & segmentation) == segmentation &&
        FRAME_SIZE_MAX / buffer_size + 2 <= info->tx_desc_lim.nb_seg_max)
        offloads |= PORT_OFFLOAD_GSO(PACKET_GSO_TCPV4) | PORT_OFFLOAD_GSO(PACKET_GSO_TCPV6);
    return offloads;
}

static uint64_t transmit_offloads(const struct rte_eth_dev_info *info, uint32_t offloads)
{
    uint64_t wanted = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;

    if (offloads & PORT_OFFLOAD_CSUM)
        wanted |= RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
    if (offloads & PORT_OFFLOAD_GSO(PACKET_GSO_TCPV4))
        wanted |= RTE_ETH_TX_OFFLOAD_TCP_TSO;
    return wanted & info->tx_offload_capa;
}

static int device_error(const struct ethdev_port *port, int result, const char *what, struct error *error)
{
    return error_set(error, result < 0 ? -result : EIO, "The device %s of port %s %s: %s.",
                     port->port.spec.devargs, port->port.spec.name, what, strerror(result < 0 ? -result : EIO));
}

/* Sets all queues up with mbufs of 'buffer_size' bytes; replaces a pool of an earlier try. */
static int set_up_queues(struct ethdev_port *port, const struct rte_eth_dev_info *info, uint32_t buffer_size)
{
    static unsigned n_pools;
    uint16_t n_receive = info->default_rxportconf.ring_size ? info->default_rxportconf.ring_size : DESCRIPTORS;
    uint16_t n_send = info->default_txportconf.ring_size ? info->default_txportconf.ring_size : DESCRIPTORS;
    int socket = rte_eth_dev_socket_id(port->device);
    char name[RTE_MEMPOOL_NAMESIZE];
    int result = rte_eth_dev_adjust_nb_rx_tx_desc(port->device, &n_receive, &n_send);

    retire_pool(port->pool);
    snprintf(name, sizeof name, "uplink-%u", n_pools++);
    port->pool = rte_pktmbuf_pool_create(
        name, port->port.n_receive * n_receive + port->port.n_send * n_send + POOL_RESERVE, POOL_CACHE, 0,
        (uint16_t)(buffer_size + RTE_PKTMBUF_HEADROOM), socket);
    if (!port->pool)
        return -ENOMEM;
    for (uint16_t i = 0; result == 0 && i < port->port.n_receive; i++) {
        port->receive[i].n_descriptors = n_receive;
        result = rte_eth_rx_queue_setup(port->device, i, n_receive, socket, NULL, port->pool);
    }
    for (uint16_t i = 0; result == 0 && i < port->port.n_send; i++)
        result = rte_eth_tx_queue_setup(port->device, i, n_send, socket, NULL);
    for (uint16_t i = 0; i < port->port.n_send; i++)
        port->send[i].pool = port->pool;
    return result;
}

static int configure(struct ethdev_port *port, const struct rte_eth_dev_info *info, bool interrupts,
                     struct error *error)
{
    const uint32_t larger_buffers[] = {4096, 16384}; /* af_packet wants room for its whole 'framesz' */
    uint16_t mtu = choose_mtu(port, info);
    uint32_t buffer_size = RTE_MAX(port->port.frame_size_max, BUFFER_SIZE_MIN);
    struct rte_eth_conf conf = {.rxmode.mtu = mtu, .intr_conf.rxq = interrupts};
    int result;

    port->port.offloads = choose_offloads(info, buffer_size);
    conf.txmode.offloads = transmit_offloads(info, port->port.offloads);
    conf.rxmode.offloads = info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
    if (port->port.n_receive > 1) {
        conf.rx_adv_conf.rss_conf.rss_hf =
            info->flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
        conf.rxmode.mq_mode = conf.rx_adv_conf.rss_conf.rss_hf ? RTE_ETH_MQ_RX_RSS : RTE_ETH_MQ_RX_NONE;
    }
    result = rte_eth_dev_configure(port->device, port->port.n_receive, port->port.n_send, &conf);
    if (result)
        return device_error(port, result, "cannot be configured", error);
    for (uint16_t i = 0; i < port->port.n_send; i++)
        port->send[i].multiple_segments = conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    result = set_up_queues(port, info, buffer_size);
    for (unsigned i = 0; result && i < sizeof larger_buffers / sizeof larger_buffers[0]; i++)
        if (larger_buffers[i] > buffer_size)
            result = set_up_queues(port, info, larger_buffers[i]);
    if (result == -ENOMEM && !port->pool)
        return error_set(error, ENOMEM,
                         "There is no memory for the packet buffers of port %s; give the fast path more with "
                         "--memory, or the port a smaller MTU.",
                         port->port.spec.name);
    if (result)
        return device_error(port, result, "does not take its queues", error);
    if (!is_kernel_interface(info))
        result = rte_eth_dev_set_mtu(port->device, mtu);
    if (result && result != -ENOTSUP)
        return device_error(port, result, "refuses its MTU", error);
    port->interrupts = interrupts;
    return 0;
}

/* DPDK's port of the device that 'devargs' describe, or RTE_MAX_ETHPORTS. */
static uint16_t find_device(const char *devargs)
{
    struct rte_dev_iterator iterator;
    uint16_t device, found = RTE_MAX_ETHPORTS;
    char name[sizeof((struct port_spec *)0)->devargs];

    snprintf(name, sizeof name, "%.*s", (int)strcspn(devargs, ","), devargs);
    if (rte_eth_dev_get_port_by_name(name, &device) == 0)
        return device;
    /* PCI addresses have several spellings; the bus knows them. */
    RTE_ETH_FOREACH_MATCHING_DEV(device, name, &iterator)
    {
        if (found == RTE_MAX_ETHPORTS)
            found = device;
    }
    return found;
}

static int probe(struct ethdev_port *port, struct error *error)
{
    const struct port_spec *spec = &port->port.spec;
    int result;

    if (!spec->devargs[0])
        return error_set(error, EINVAL,
                         "Port %s needs a device: a PCI address, or such as net_tap0,iface=tap0.", spec->name);
    if (find_device(spec->devargs) != RTE_MAX_ETHPORTS)
        return error_set(error, EEXIST, "Port %s cannot use the device %s: another port does.", spec->name,
                         spec->devargs);
    result = rte_dev_probe(spec->devargs);
    if (result)
        return device_error(port, result, "cannot be found or opened (see the log)", error);
    port->device = find_device(spec->devargs);
    if (port->device == RTE_MAX_ETHPORTS)
        return error_set(error, ENODEV, "The device %s of port %s is no network device.", spec->devargs,
                         spec->name);
    return 0;
}

static void remove_device(struct ethdev_port *port)
{
    struct rte_eth_dev_info info;

    if (port->device == RTE_MAX_ETHPORTS)
        return;
    for (uint16_t i = 0; i < port->port.n_receive; i++)
        rte_pktmbuf_free_bulk(port->receive[i].mbufs, port->receive[i].n_stashed);
    if (rte_eth_dev_info_get(port->device, &info))
        info.device = NULL;
    rte_eth_dev_close(port->device);
    if (info.device && rte_dev_remove(info.device))
        log_warning("the device %s of port %s could not be removed", port->port.spec.devargs,
                    port->port.spec.name);
}

static void ethdev_destroy(struct port *base)
{
    struct ethdev_port *port = (struct ethdev_port *)base;

    remove_device(port);
    retire_pool(port->pool);
    rte_free(port);
}

static void make_queues(struct ethdev_port *port, const struct rte_eth_dev_info *info)
{
    uint16_t wanted = port->port.spec.n_queues;

    port->port.n_receive = wanted < info->max_rx_queues ? wanted : info->max_rx_queues;
    port->port.n_send = wanted < info->max_tx_queues ? wanted : info->max_tx_queues;
    for (uint16_t i = 0; i < port->port.n_receive; i++) {
        port->receive[i] = (struct ethdev_receive_queue){
            .queue = {.port = &port->port, .ops = &ethdev_receive_ops_naps, .index = i},
            .device = port->device,
            .wake_fd = -1};
        port->port.receive[i] = &port->receive[i].queue;
    }
    for (uint16_t i = 0; i < port->port.n_send; i++) {
        port->send[i] = (struct ethdev_send_queue){
            .queue = {.port = &port->port, .ops = &ethdev_send_ops}, .device = port->device, .index = i};
        port->port.send[i] = &port->send[i].queue;
    }
}

static struct port *ethdev_create(const struct port_spec *spec, struct error *error)
{
    struct ethdev_port *port = rte_zmalloc("ethdev_port", sizeof *port, 64);
    struct rte_eth_dev_info info;
    int result;

    reclaim_pools();
    if (!port) {
        error_set(error, ENOMEM, "There is no memory for port %s.", spec->name);
        return NULL;
    }
    port->port.spec = *spec;
    port->port.ops = &ethdev_port_ops;
    port->device = RTE_MAX_ETHPORTS;
    result = probe(port, error);
    if (result == 0 && (result = rte_eth_dev_info_get(port->device, &info)) != 0)
        device_error(port, result, "tells nothing of itself", error);
    if (result == 0) {
        make_queues(port, &info);
        result = configure(port, &info, true, error);
    }
    if (result) {
        ethdev_destroy(&port->port);
        return NULL;
    }
    return &port->port;
}

/* Lets the arrival of a packet wake the worker of each queue whose driver can tell. */
static void watch_queues(struct ethdev_port *port, const struct rte_eth_dev_info *info)
{
    for (uint16_t i = 0; port->interrupts && i < port->port.n_receive; i++) {
        struct ethdev_receive_queue *queue = &port->receive[i];
        int fd;

        queue->has_switch = rte_eth_dev_rx_intr_enable(port->device, i) == 0;
        if (queue->has_switch)
            rte_eth_dev_rx_intr_disable(port->device, i);
        else if (!is_tap(info)) /* whose descriptor is readable, always, when packets wait */
            continue;
        fd = rte_eth_dev_rx_intr_ctl_q_get_fd(port->device, i);
        if (fd < 0 || worker_watch(&queue->queue, fd))
            continue;
        queue->wake_fd = fd;
        queue->queue.ops = &ethdev_receive_ops;
    }
}

static int ethdev_start(struct port *base, struct error *error)
{
    struct ethdev_port *port = (struct ethdev_port *)base;
    struct rte_eth_dev_info info;
    int result = rte_eth_dev_info_get(port->device, &info);

    if (result == 0)
        result = rte_eth_dev_start(port->device);
    if (result && port->interrupts) {
        /* It may be that the device has no interrupts to give. */
        result = configure(port, &info, false, error);
        if (result)
            return result;
        result = rte_eth_dev_start(port->device);
    }
    if (result)
        return device_error(port, result, "does not start", error);
    port->started = true;
    /* A switch takes frames to any address. A device without such filters has nothing to set. */
    result = rte_eth_promiscuous_enable(port->device);
    if (result && result != -ENOTSUP)
        log_warning("port %s receives only what is sent to its own address: %s", base->spec.name,
                    strerror(-result));
    watch_queues(port, &info);
    base->n_send_active = base->n_send;
    for (uint16_t i = 0; i < base->n_send; i++)
        atomic_store_explicit(&base->send[i]->ready, true, memory_order_release);
    for (uint16_t i = 0; i < base->n_receive; i++) {
        atomic_store_explicit(&base->receive[i]->ready, true, memory_order_release);
        worker_wake(base->receive[i]);
    }
    return 0;
}

static void ethdev_stop(struct port *base)
{
    struct ethdev_port *port = (struct ethdev_port *)base;

    for (uint16_t i = 0; i < base->n_receive; i++)
        atomic_store_explicit(&base->receive[i]->ready, false, memory_order_release);
    for (uint16_t i = 0; i < base->n_send; i++)
        atomic_store_explicit(&base->send[i]->ready, false, memory_order_release);
    workers_synchronize();
    for (uint16_t i = 0; i < base->n_receive; i++)
        if (port->receive[i].wake_fd >= 0)
            worker_unwatch(&port->receive[i].queue, port->receive[i].wake_fd);
    if (port->started)
        rte_eth_dev_stop(port->device);
    port->started = false;
}

static bool link_is_up(const struct ethdev_port *port)
{
    struct rte_eth_link link;
    struct rte_eth_dev_info info;
    struct ifreq answer;

    if (rte_eth_link_get_nowait(port->device, &link) || link.link_status != RTE_ETH_LINK_UP ||
        rte_eth_dev_info_get(port->device, &info))
        return false;
    /* The drivers of kernel interfaces say that the link is up, always. */
    return !is_kernel_interface(&info) ||
           (ask_kernel(info.if_index, SIOCGIFFLAGS, &answer) && answer.ifr_flags & IFF_RUNNING);
}

static void ethdev_get_status(const struct port *base, struct port_status *status)
{
    const struct ethdev_port *port = (const struct ethdev_port *)base;

    status->n_queues = base->n_receive;
    status->up = port->started && link_is_up(port);
    if (!status->up)
        snprintf(status->reason, sizeof status->reason,
                 port->started ? "the link is down" : "the device is stopped");
}

static uint64_t ethdev_get_missed(const struct port *base)
{
    struct rte_eth_stats stats;

    return rte_eth_stats_get(((const struct ethdev_port *)base)->device, &stats) ? 0 : stats.imissed;
}

const struct port_ops ethdev_port_ops = {
    .create = ethdev_create,
    .start = ethdev_start,
    .stop = ethdev_stop,
    .destroy = ethdev_destroy,
    .get_status = ethdev_get_status,
    .get_missed = ethdev_get_missed,
};
