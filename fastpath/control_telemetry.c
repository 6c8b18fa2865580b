/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DPDK telemetry (dpdk-telemetry.py and collectors that speak its socket): the
 * counters of ports and workers as flat numbers. DPDK calls these from a thread of its
 * own, which therefore takes the control lock.
 */
#include <stdio.h>

#include <rte_telemetry.h>

#include "fastpath/control_internal.h"
#include "fastpath/port.h"
#include "fastpath/worker.h"
#include "lib/log.h"

static int list_ports(const char *command, const char *parameters, struct rte_tel_data *data)
{
    rte_tel_data_start_array(data, RTE_TEL_STRING_VAL);
    control_lock();
    for (uint16_t port = port_next(0); port != PORT_NONE; port = port_next(port + 1))
        rte_tel_data_add_array_string(data, port_get_spec(port)->name);
    control_unlock();
    return 0;
}

static int show_stats(const char *command, const char *parameters, struct rte_tel_data *data)
{
    struct port_stats stats;
    uint16_t port;

    control_lock();
    port = parameters ? port_find(parameters) : PORT_NONE;
    if (port != PORT_NONE)
        port_get_stats(port, &stats);
    control_unlock();
    if (port == PORT_NONE)
        return -1;
    rte_tel_data_start_dict(data);
    rte_tel_data_add_dict_u64(data, "rx_packets", stats.rx_packets);
    rte_tel_data_add_dict_u64(data, "rx_bytes", stats.rx_bytes);
    rte_tel_data_add_dict_u64(data, "tx_packets", stats.tx_packets);
    rte_tel_data_add_dict_u64(data, "tx_bytes", stats.tx_bytes);
    rte_tel_data_add_dict_u64(data, "to_vswitch", stats.to_vswitch);
    rte_tel_data_add_dict_u64(data, "from_vswitch", stats.from_vswitch);
    for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++) {
        char name[64];

        snprintf(name, sizeof name, "drop_%s", drop_reason_name(reason));
        /* Names in telemetry consist of letters, digits, '_' and '/'. */
        for (char *c = name; *c; c++)
            if (*c == '-')
                *c = '_';
        rte_tel_data_add_dict_u64(data, name, stats.drops[reason]);
    }
    return 0;
}

static int show_perf(const char *command, const char *parameters, struct rte_tel_data *data)
{
    uint16_t n;

    rte_tel_data_start_dict(data);
    control_lock();
    n = workers_count();
    for (uint16_t index = 0; index < n; index++) {
        struct rte_tel_data *worker = rte_tel_data_alloc();
        struct worker_stats stats;
        char name[16];

        if (!worker)
            break;
        worker_get_stats(index, &stats);
        rte_tel_data_start_dict(worker);
        rte_tel_data_add_dict_u64(worker, "cpu", stats.cpu);
        rte_tel_data_add_dict_u64(worker, "queues", stats.n_queues);
        rte_tel_data_add_dict_u64(worker, "packets", stats.n_packets);
        rte_tel_data_add_dict_u64(worker, "bursts", stats.n_bursts);
        rte_tel_data_add_dict_u64(worker, "busy_cycles", stats.busy_cycles);
        rte_tel_data_add_dict_u64(worker, "idle_cycles", stats.idle_cycles);
        rte_tel_data_add_dict_u64(worker, "sleep_cycles", stats.sleep_cycles);
        rte_tel_data_add_dict_u64(worker, "sleeps", stats.n_sleeps);
        snprintf(name, sizeof name, "worker_%u", index);
        rte_tel_data_add_dict_container(data, name, worker, 0);
    }
    control_unlock();
    return 0;
}

void control_telemetry_register(void)
{
    static bool registered;

    if (registered)
        return;
    registered = true;
    if (rte_telemetry_register_cmd("/vnode/ports", list_ports, "The names of the ports. No parameters") ||
        rte_telemetry_register_cmd("/vnode/stats", show_stats, "The counters of a port. Parameter: its name") ||
        rte_telemetry_register_cmd("/vnode/perf", show_perf, "What each worker's cycles went to. No parameters"))
        log_warning("The telemetry end points /vnode/... cannot be registered.");
}
