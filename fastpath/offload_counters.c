/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "fastpath/offload_internal.h"
#include "fastpath/port.h"

/*
 * Rules whose counters are written in one tick: all of them, if they are no more than that; of
 * many a tenth more. A round over 100,000 rules so takes 100 ms, over a million 180 ms.
 */
#define PUBLISHED_AT_ONCE 10000

static void store(_Atomic uint64_t *counter, uint64_t value)
{
    /* Relaxed: each counter is read by itself. */
    atomic_store_explicit(counter, value, memory_order_relaxed);
}

static bool is_of_sending(enum drop_reason reason)
{
    return !strncmp(drop_reason_name(reason), "tx-", 3);
}

static void publish_port(uint16_t port, struct shared_port_counters *shared)
{
    uint64_t received = 0, sending = 0;
    struct port_stats stats;

    port_get_stats(port, &stats);
    for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++)
        *(is_of_sending(reason) ? &sending : &received) += stats.drops[reason];
    store(&shared->rx_packets, stats.rx_packets);
    store(&shared->rx_bytes, stats.rx_bytes);
    store(&shared->rx_dropped, received);
    store(&shared->tx_packets, stats.tx_packets);
    store(&shared->tx_bytes, stats.tx_bytes);
    store(&shared->tx_dropped, sending);
}

static void publish_status(uint16_t port, struct shared_port_counters *shared)
{
    const struct port_spec *spec = port_get_spec(port);

    atomic_store_explicit(&shared->mtu, spec->mtu ? spec->mtu : 9000, memory_order_relaxed);
    atomic_store_explicit(&shared->flags, SHARED_PORT_EXISTS | (offloading.ports[port].up ? SHARED_PORT_UP : 0),
                          memory_order_relaxed);
}

void offload_publish_ports(bool with_status)
{
    uint16_t next = port_next(0);

    for (uint16_t port = 0; port < PORTS_MAX; port++) {
        struct shared_port_counters *shared = &offloading.counters.ports[port];

        if (port == next) {
            publish_port(port, shared);
            if (with_status)
                publish_status(port, shared);
            next = port_next(port + 1);
        } else if (atomic_load_explicit(&shared->flags, memory_order_relaxed)) {
            memset(shared, 0, sizeof *shared);
        }
    }
}

void offload_publish_rule(const struct rule *rule, const struct managed_rule *entry)
{
    struct shared_rule_counters *shared = &offloading.counters.slots[entry->slot];

    store(&shared->packets, atomic_load_explicit(&rule->n_packets, memory_order_relaxed) - entry->base_packets);
    store(&shared->bytes, atomic_load_explicit(&rule->n_bytes, memory_order_relaxed) - entry->base_bytes);
}

void offload_publish_none(uint32_t slot)
{
    store(&offloading.counters.slots[slot].packets, 0);
    store(&offloading.counters.slots[slot].bytes, 0);
}

void offload_publish_rules(void)
{
    uint32_t n = flow_tables_count(offloading.tables),
             left = n <= PUBLISHED_AT_ONCE ? n : PUBLISHED_AT_ONCE + n / 10;

    for (; left > 0; left--) {
        const struct rule *rule = flow_tables_next(offloading.tables, &offloading.published);
        const struct managed_rule *entry;

        if (!rule) {
            offloading.published = 0;
            return;
        }
        entry = managed(number_of(rule));
        offload_prefetch(rule, entry);
        if (entry->generation && !is_orphan(entry))
            offload_publish_rule(rule, entry);
    }
    /* All of few: each time from the beginning. */
    if (n <= PUBLISHED_AT_ONCE)
        offloading.published = 0;
}
