/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_PLAN_H
#define MANAGER_PLAN_H

/*
 * What a slice takes on this machine: a pure function of its description and the manager's settings. Nothing here looks at
 * the machine.
 *
 *     struct plan *plan = plan_make(&wish, &settings, &error);
 *     ...
 *     plan_free(plan);
 *
 * Each interface of a node that is no switch is a *port* of the fast path, called SLICE.NODE.INTERFACE. A link joins
 *
 *     port and switch    by a "dpdk" interface of the switch's bridge, which stands for the port
 *     port and port      by a rule of the fast path each way, past Open vSwitch
 *     switch and switch  by a pair of patch ports
 *
 * A port's other side is a virtual machine's vhost-user socket, or an interface of the machine: one end of a namespace's veth,
 * or what a connector names. Names that Linux and Open vSwitch allow 15 bytes for are "vn" and a hash of what they are of.
 */

#include <stdbool.h>
#include <stdint.h>

#include "manager/bridge.h"
#include "manager/netns.h"
#include "manager/reconcile.h"

#define FINGERPRINT_SIZE 17 /* of hexadecimal digits, with the final NUL */

/*
 * Rules of direct links have ids of their own, so that they are told from everybody else's: one for each input port. Those
 * of a vSwitch have the bit above.
 */
#define PLAN_RULE_ID_FIRST (UINT64_C(1) << 62)

struct plan_port {
    char name[PORT_NAME_SIZE];
    const char *node;
    bool vhost;
    char target[256];                 /* socket, or device arguments */
    char device[INTERFACE_NAME_SIZE]; /* the machine's interface that it uses; "": none */
    uint16_t queues, mtu;
    int peer;                /* index of the port at the other end of a direct link; -1: none */
    uint64_t rule_id;        /* of the rule to that one */
    uint64_t rate, rate_out; /* bit/s at most that come in by it, and leave by it; 0: no limit */
};

struct plan_machine {
    const struct slice_node *node;
    struct vm_spec spec;
    char fingerprint[FINGERPRINT_SIZE]; /* of all that a restart takes to change */
};

/* A namespace's interface. */
struct plan_veth {
    struct slice_interface interface; /* with MAC address and MTU */
    char host[INTERFACE_NAME_SIZE];   /* the other end */
    unsigned port;                    /* its index */
    char fingerprint[FINGERPRINT_SIZE];
};

struct plan_netns {
    const struct slice_node *node;
    char name[NETNS_NAME_SIZE];
    unsigned n_veths;
    struct plan_veth *veths;
};

/* A connector's device; with a VLAN there is an interface for that. */
struct plan_device {
    const struct slice_node *node;
    char interface[INTERFACE_NAME_SIZE]; /* what the port uses; "": a PCI device */
    unsigned port;                       /* its index */
};

/* What a slice takes. Names and nodes are the slice's, which has to stay. */
struct plan {
    const char *slice;
    unsigned n_ports, n_machines, n_namespaces, n_devices, n_bridges;
    struct plan_port *ports;
    struct plan_machine *machines;
    struct plan_netns *namespaces;
    struct plan_device *devices;
    struct bridge *bridges;
    struct bridge_port *bridge_ports; /* of all bridges */
    enum slice_offload_mode mode;
    uint64_t promote, demote, hold_ms;
    uint64_t rules; /* quota; 0: none */
};

/* NULL with an error when the slice cannot be had: a name or path that is too long, a device that is wanted twice ... */
struct plan *plan_make(const struct slice_wish *wish, const struct reconcile_settings *settings,
                       struct error *error);

/* The plan of a slice that is to be no more. */
struct plan *plan_nothing(const char *slice, struct error *error);

void plan_free(struct plan *plan);

/* The port called 'name', or NULL. */
const struct plan_port *plan_find_port(const struct plan *plan, const char *name);

/* The file name of the disk of a machine with an image: another one for another image. */
void plan_disk_name(char *name, size_t size, const struct slice_node *node);

/*
 * Slices' folders are in the folder PLAN_FOLDER of each of the two that the settings name. Sockets of machines' NICs are made by
 * QEMU, to which the slice's folder in PLAN_SOCKETS is lent for that, and no other.
 */
#define PLAN_FOLDER "slices"
#define PLAN_SOCKETS "sockets"

#define PLAN_VLAN ".vlan" /* in place of an interface's name: a connector's interface for its VLAN */

/* The interface's name that belongs to 'slice', 'node' and, if not NULL, 'interface'. */
void plan_short_name(char name[INTERFACE_NAME_SIZE], const char *slice, const char *node,
                     const char *interface);

#endif
