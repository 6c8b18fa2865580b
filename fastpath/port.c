/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/port.h"

#include <ctype.h>
#include <errno.h>
#include <rte_malloc.h>
#include <stdio.h>
#include <string.h>

#include "fastpath/capture.h"
#include "fastpath/flow_table.h"
#include "fastpath/move.h"
#include "fastpath/port_rate.h"
#include "fastpath/ports.h"
#include "fastpath/representor.h"
#include "fastpath/worker_internal.h"
#include "lib/log.h"

_Atomic(struct port *) ports[PORTS_MAX];

static struct flow_tables *tables;

void ports_init(struct flow_tables *flow_tables)
{
    tables = flow_tables;
}

uint16_t port_next(uint16_t id)
{
    for (; id < PORTS_MAX; id++)
        if (port_by_id(id))
            return id;
    return PORT_NONE;
}

uint16_t port_find(const char *name)
{
    for (uint16_t id = port_next(0); id != PORT_NONE; id = port_next(id + 1))
        if (!strcmp(port_by_id(id)->spec.name, name))
            return id;
    return PORT_NONE;
}

const struct port_spec *port_get_spec(uint16_t id)
{
    const struct port *port = port_by_id(id);

    return port ? &port->spec : NULL;
}

void port_set_slice(uint16_t id, const char *slice)
{
    struct port *port = port_by_id(id);

    snprintf(port->spec.slice, sizeof port->spec.slice, "%s", slice);
}

static int check_spec(const struct port_spec *spec, struct error *error)
{
    if (!spec->name[0])
        return error_set(error, EINVAL, "A port needs a name.");
    for (const char *c = spec->name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._:-", *c))
            return error_set(
                error, EINVAL,
                "Port name \"%s\" has a character that is not a letter, a digit or one of \"._:-\".",
                spec->name);
    if (port_find(spec->name) != PORT_NONE)
        return error_set(error, EEXIST, "There is a port %s already; remove it first or choose another name.",
                         spec->name);
    if (!spec->n_queues || spec->n_queues > QUEUES_MAX)
        return error_set(error, EINVAL, "Port %s asks for %u queues; the number is 1 to %u.", spec->name,
                         spec->n_queues, QUEUES_MAX);
    if (spec->mtu < 68 || spec->mtu > FRAME_SIZE_MAX - PORT_FRAME_OVERHEAD)
        return error_set(error, EINVAL, "Port %s asks for an MTU of %u bytes; it can be 68 to %u.",
                         spec->name, spec->mtu, FRAME_SIZE_MAX - PORT_FRAME_OVERHEAD);
    return 0;
}

static uint16_t free_id(void)
{
    for (uint16_t id = 0; id < PORTS_MAX; id++)
        if (!port_by_id(id))
            return id;
    return PORT_NONE;
}

/* Unpublishes 'port' and frees it once no worker knows it. */
static void port_retire(struct port *port)
{
    capture_detach(port);
    representor_detach(port);
    port->ops->stop(port);
    representor_detach(port);
    capture_detach(port);
    atomic_store_explicit(&ports[port->id], NULL, memory_order_release);
    workers_remove_queues(port->receive, port->n_receive);
    workers_synchronize();
    moves_forget_port(port);
    port_free_rates(port);
    rte_free(port->counters);
    port->ops->destroy(port);
}

int port_add(const struct port_spec *asked, uint16_t *id, struct error *error)
{
    struct port_spec spec = *asked;
    struct port_counters *counters;
    struct port *port;
    uint16_t new_id = free_id();
    int result;

    spec.mtu = spec.mtu ? spec.mtu : 9000;
    spec.n_queues = spec.n_queues ? spec.n_queues : 1;
    result = check_spec(&spec, error);
    if (result)
        return result;
    if (new_id == PORT_NONE)
        return error_set(error, ENOSPC, "Port %s does not fit: there are %u ports, which is the limit.",
                         spec.name, PORTS_MAX);
    counters = rte_zmalloc("port", WORKERS_MAX * sizeof *counters, 64);
    port = counters ? (spec.kind == PORT_VHOST ? &vhost_port_ops : &ethdev_port_ops)->create(&spec, error)
                    : NULL;
    if (!port) {
        rte_free(counters);
        return counters ? (error && error->code ? error->code : EINVAL)
                        : error_set(error, ENOMEM, "There is no memory for port %s.", spec.name);
    }
    port->id = new_id;
    port->counters = counters;
    port->table = flow_tables_get(tables, new_id);
    atomic_store_explicit(&ports[new_id], port, memory_order_release);
    workers_add_queues(port->receive, port->n_receive);
    for (uint16_t i = 1; i < port->n_receive; i++)
        port->shared_rules |= port->receive[i]->worker != port->receive[0]->worker;
    result = port->ops->start(port, error);
    if (result) {
        port_retire(port);
        return result;
    }
    *id = new_id;
    log_info("port %s added", spec.name);
    return 0;
}

int port_remove(uint16_t id, struct error *error)
{
    struct port *port = port_by_id(id);
    uint32_t n_rules;

    if (!port)
        return error_set(error, ENOENT, "There is no such port; `vnode port list` shows those that are.");
    n_rules = flow_tables_remove_port(tables, id, true);
    log_info("port %s removed, and %u rules with it", port->spec.name, n_rules);
    port_retire(port);
    flow_tables_reclaim(tables);
    return 0;
}

void port_get_status(uint16_t id, struct port_status *status)
{
    const struct port *port = port_by_id(id);

    memset(status, 0, sizeof *status);
    if (port)
        port->ops->get_status(port, status);
}

void port_get_stats(uint16_t id, struct port_stats *stats)
{
    const struct port *port = port_by_id(id);

    memset(stats, 0, sizeof *stats);
    for (uint16_t i = 0; port && i < WORKERS_MAX; i++) {
        const struct port_counters *counters = &port->counters[i];

        stats->rx_packets += counters->rx_packets;
        stats->rx_bytes += counters->rx_bytes;
        stats->tx_packets += counters->tx_packets;
        stats->tx_bytes += counters->tx_bytes;
        stats->to_vswitch += counters->to_vswitch;
        stats->from_vswitch += counters->from_vswitch;
        stats->n_holds += counters->n_holds;
        stats->held_ns += rate_ns(counters->held_units);
        for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++)
            stats->drops[reason] += counters->drops[reason];
    }
}

uint64_t port_get_missed(uint16_t id)
{
    const struct port *port = port_by_id(id);

    return port && port->ops->get_missed ? port->ops->get_missed(port) : 0;
}

void ports_remove_all(void)
{
    for (uint16_t id = port_next(0); id != PORT_NONE; id = port_next(id + 1))
        port_remove(id, NULL);
}

/* Takes one of the port's rings away from a peer that made its doorbell block; 'is_open': it still has it. */
static void check_peer(struct port *port, const struct doorbell_peer *peer, bool is_open, const char *what,
                       void (*detach)(struct port *port))
{
    if (!is_open || !doorbell_peer_blocks(peer))
        return;
    detach(port);
    log_warning("port %s: its %s is closed: the client made the doorbell block", port->spec.name, what);
}

void ports_check(void)
{
    for (uint16_t id = port_next(0); id != PORT_NONE; id = port_next(id + 1)) {
        struct port *port = port_by_id(id);

        check_peer(port, &port->vswitch, atomic_load(&port->representor), "representor", representor_detach);
        check_peer(port, &port->watcher, atomic_load(&port->capture), "capture", capture_detach);
    }
}
