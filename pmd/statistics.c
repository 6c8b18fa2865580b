/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/statistics.h"

#include <stdio.h>

#include <ethdev_driver.h>

#include "pmd/connection.h"
#include "pmd/driver.h"
#include "pmd/flow.h"

/* Extended counters that are the sum of a field over all rings of one direction: name, direction, field. */
#define RING_COUNTERS(X)                             \
    X("rx_ring_packets", receive, n_packets)         \
    X("rx_oversize_errors", receive, n_oversized)    \
    X("rx_unfinished_errors", receive, n_unfinished) \
    X("rx_ring_fault_errors", receive, n_faults)     \
    X("tx_ring_packets", send, n_packets)            \
    X("tx_ring_full_dropped", send, n_full)          \
    X("tx_oversize_errors", send, n_oversized)       \
    X("tx_fastpath_gone_dropped", send, n_detached)

#define N_OWN (sizeof own_names / sizeof own_names[0])

static const char *const own_names[] = {
#define X(name, direction, field) name,
    RING_COUNTERS(X)
#undef X
        "rx_ring_full_dropped",
    "rx_mbuf_errors",
    "reconnects",
};

static uint64_t ring_full_dropped(struct representor *representor)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < QUEUES_MAX; i++) {
        struct receive_ring *ring = &representor->receive[i];

        ring_claim_wait(&ring->claim);
        sum += ring->n_dropped_before + (ring->attached ? packet_ring_n_dropped(&ring->consumer) : 0);
        ring_claim_end(&ring->claim);
    }
    return sum;
}

static uint64_t mbuf_errors(const struct rte_eth_dev *device)
{
    uint64_t sum = 0;

    for (uint16_t i = 0; i < device->data->nb_rx_queues; i++) {
        const struct receive_queue *queue = device->data->rx_queues[i];

        sum += queue ? atomic_load_explicit(&queue->n_no_mbuf, memory_order_relaxed) : 0;
    }
    return sum;
}

/* In the order of own_names. */
static void own_values(struct rte_eth_dev *device, uint64_t values[])
{
    struct representor *representor = device->data->dev_private;

#define X(name, direction, field)                                                                \
    *values = 0;                                                                                 \
    for (unsigned i = 0; i < QUEUES_MAX; i++)                                                    \
        *values += atomic_load_explicit(&representor->direction[i].field, memory_order_relaxed); \
    values++;
    RING_COUNTERS(X)
#undef X
    *values++ = ring_full_dropped(representor);
    *values++ = mbuf_errors(device);
    *values = connection_n_reconnects(representor->connection);
}

int statistics_get(struct rte_eth_dev *device, struct rte_eth_stats *statistics)
{
    struct representor *representor = device->data->dev_private;
    const struct representor_totals *zero = &representor->zero;
    struct representor_totals totals;

    connection_port_totals(representor->connection, representor, &totals);
    statistics->ipackets = totals.rx_packets - zero->rx_packets;
    statistics->ibytes = totals.rx_bytes - zero->rx_bytes;
    statistics->imissed = totals.rx_dropped - zero->rx_dropped;
    statistics->opackets = totals.tx_packets - zero->tx_packets;
    statistics->obytes = totals.tx_bytes - zero->tx_bytes;
    statistics->oerrors = totals.tx_dropped - zero->tx_dropped;
    return 0;
}

int statistics_reset(struct rte_eth_dev *device)
{
    struct representor *representor = device->data->dev_private;

    connection_port_totals(representor->connection, representor, &representor->zero);
    return 0;
}

int statistics_extended_names(struct rte_eth_dev *device, struct rte_eth_xstat_name *names, unsigned n)
{
    unsigned n_all = N_OWN + flows_n_counters();

    for (unsigned i = 0; names && i < n && i < n_all; i++)
        snprintf(names[i].name, sizeof names[i].name, "%s",
                 i < N_OWN ? own_names[i] : flows_counter_name(i - N_OWN));
    return (int)n_all;
}

int statistics_extended(struct rte_eth_dev *device, struct rte_eth_xstat *values, unsigned n)
{
    unsigned n_all = N_OWN + flows_n_counters();
    uint64_t own[N_OWN];

    if (!values || n < n_all)
        return (int)n_all;
    own_values(device, own);
    for (unsigned i = 0; i < n_all; i++) {
        values[i].id = i;
        values[i].value = i < N_OWN ? own[i] : flows_counter(device->data->dev_private, i - N_OWN);
    }
    return (int)n_all;
}
