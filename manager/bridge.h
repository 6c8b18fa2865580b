/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_BRIDGE_H
#define MANAGER_BRIDGE_H

/*
 * Switches of slices: bridges of Open vSwitch, made by its database (ovs-vswitchd.conf.db(5)). What is ours bears our
 * external_ids, "vnode-slice" and "vnode-node"; nothing else is touched.
 *
 *     bridges_apply(db, bridges, n, &error);     // there they are, just as described, whatever was there before
 *     bridge_remove(db, bridges[0].name, &error);
 *
 * Each is one transaction, and returns when ovs-vswitchd has done what it says.
 */

#include <stdbool.h>
#include <stdint.h>

#include "manager/ovsdb.h"
#include "slice/slice.h"

#define BRIDGE_NAME_SIZE INTERFACE_NAME_SIZE
#define BRIDGE_OPTION_SIZE 512
#define BRIDGE_OPTIONS_MAX 3
#define BRIDGE_WAIT_MS 30000

/* "dpdk-devargs", "peer", "n_rxq" ... */
struct bridge_option {
    char key[20];
    char value[BRIDGE_OPTION_SIZE];
};

/* A port with its one interface. */
struct bridge_port {
    char name[BRIDGE_NAME_SIZE];
    char type[16]; /* "dpdk", "patch" */
    unsigned n_options;
    struct bridge_option options[BRIDGE_OPTIONS_MAX];
    uint16_t number; /* OpenFlow port number; 0: Open vSwitch chooses */
    uint16_t mtu;    /* 0: Open vSwitch's default */
};

struct bridge {
    char name[BRIDGE_NAME_SIZE];
    char datapath_type[16]; /* "netdev" */
    char slice[SLICE_NAME_SIZE];
    char node[NODE_NAME_SIZE];
    bool fail_secure;
    unsigned n_controllers;
    const char *controllers[SLICE_CONTROLLERS_MAX];
    unsigned n_ports;
    const struct bridge_port *ports;
};

/*
 * Makes 'n' bridges as they are described: what differs is changed, what is too much is removed, the rest stays as it is and
 * goes on forwarding. EEXIST: there is a bridge of such a name that is not ours, and nothing was changed. EIO: Open vSwitch could
 * not open an interface, and the error tells why; ETIMEDOUT: it does not answer.
 */
int bridges_apply(struct ovsdb *db, const struct bridge bridges[], unsigned n, struct error *error);

/* Removes a bridge of ours with its ports; no error when there is none. */
int bridge_remove(struct ovsdb *db, const char *name, struct error *error);

/* Calls 'found' for each bridge of ours. */
int bridges_list(struct ovsdb *db,
                 void (*found)(const char *name, const char *slice, const char *node, void *argument),
                 void *argument, struct error *error);

#endif
