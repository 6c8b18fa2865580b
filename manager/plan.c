/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/plan.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/plan_internal.h"

#define MTU_DEFAULT 1500
#define AF_PACKET_MTU 1900 /* what its frames of 2,048 bytes hold */
#define OPENFLOW_PORTS_MAX 0xff00

uint64_t plan_hash(uint64_t hash, const char *text)
{
    do
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    while (*text++);
    return hash;
}

uint64_t plan_hash_number(uint64_t hash, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, number);
    return plan_hash(hash, text);
}

/* The finalizer of MurmurHash3. */
uint64_t plan_hash_end(uint64_t hash)
{
    hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ hash >> 33;
}

void plan_fingerprint(char fingerprint[FINGERPRINT_SIZE], uint64_t hash)
{
    snprintf(fingerprint, FINGERPRINT_SIZE, "%016" PRIx64, plan_hash_end(hash));
}

static uint64_t hash_names(const char *slice, const char *node, const char *interface)
{
    return plan_hash_end(plan_hash(plan_hash(plan_hash(PLAN_HASH, slice), node), interface ? interface : ""));
}

void plan_short_name(char name[INTERFACE_NAME_SIZE], const char *slice, const char *node, const char *interface)
{
    snprintf(name, INTERFACE_NAME_SIZE, "vn%012" PRIx64, hash_names(slice, node, interface) >> 16);
}

int plan_path(char *path, size_t size, const char *folder, const char *kind, const char *slice,
              struct error *error, const char *format, ...)
{
    int prefix = snprintf(path, size, "%s/%s/%s/", folder, kind, slice);
    size_t room = (size_t)prefix < size ? size - (size_t)prefix : 0;
    va_list arguments;
    int rest;

    va_start(arguments, format);
    rest = vsnprintf(room ? path + prefix : NULL, room, format, arguments);
    va_end(arguments);
    if ((size_t)prefix + (size_t)rest < size)
        return 0;
    return error_set(error, ENAMETOOLONG,
                     "A file of slice %s in the folder %.100s would have a name of more than %zu bytes; "
                     "shorten names.",
                     slice, folder, size - 1);
}

/* An address of the interface's own, the same each time: locally administered, not of a group. */
static void choose_mac(char mac[18], const char *slice, const char *node, const char *interface)
{
    uint64_t hash = hash_names(slice, node, interface);

    snprintf(mac, 18, "%02x:%02x:%02x:%02x:%02x:%02x", (unsigned)(hash & 0x3c) | 2,
             (unsigned)(hash >> 8 & 255), (unsigned)(hash >> 16 & 255), (unsigned)(hash >> 24 & 255),
             (unsigned)(hash >> 32 & 255), (unsigned)(hash >> 40 & 255));
}

static const struct slice_interface *interface_at(const struct slice *slice, struct slice_endpoint end)
{
    return &slice->nodes[end.node].interfaces[end.interface];
}

/* The MTU of a link is what one of its ends says. */
static uint16_t choose_mtu(const struct slice *slice, const struct slice_interface *interface)
{
    uint16_t mtu = interface->mtu;

    for (unsigned i = 0; i < 2 && interface->link >= 0 && !mtu; i++)
        mtu = interface_at(slice, slice->links[interface->link].ends[i])->mtu;
    return mtu ? mtu : MTU_DEFAULT;
}

struct slice_interface plan_interface(const struct slice *slice, const struct slice_node *node,
                                      const struct slice_interface *interface)
{
    struct slice_interface copy = *interface;

    copy.mtu = choose_mtu(slice, interface);
    copy.queues = interface->queues ? interface->queues : 1;
    if (!copy.mac[0])
        choose_mac(copy.mac, slice->name, node->name, interface->name);
    return copy;
}

static bool is_stopped(const struct slice_wish *wish, const struct slice_node *node)
{
    for (unsigned i = 0; i < wish->n_stopped; i++)
        if (!strcmp(wish->stopped[i], node->name))
            return true;
    return false;
}

/* Whether 'node' has ports: those of a machine that does not run wait for it, others are made of what runs. */
static bool has_ports(const struct planner *planner, const struct slice_node *node)
{
    return node->kind == NODE_VM || (node->kind != NODE_SWITCH && !is_stopped(planner->wish, node));
}

static bool is_pci(const char *device)
{
    return strchr(device, ':') != NULL;
}

/* The device arguments of a port that uses an interface of the machine. */
static void use_interface(struct plan_port *port, const char *id)
{
    snprintf(port->target, sizeof port->target, "net_af_packet_%s,iface=%s%s", id, port->device,
             port->mtu > AF_PACKET_MTU ? ",blocksz=65536,framesz=16384,framecnt=256" : "");
}

static int plan_port(const struct planner *planner, const struct slice_node *node,
                     const struct slice_interface *described, struct error *error)
{
    const struct slice *slice = planner->slice;
    struct slice_interface interface = plan_interface(slice, node, described);
    struct plan_port *port = &planner->plan->ports[planner->plan->n_ports++];
    char id[INTERFACE_NAME_SIZE];

    if (interface.kind != INTERFACE_VIRTIO)
        return error_set(error, ENOTSUP,
                         "Interface %s of node %s is of kind %s, for which this machine has no means; make it "
                         "virtio.",
                         interface.name, node->name, slice_interface_kind_name(interface.kind));
    snprintf(port->name, sizeof port->name, "%s.%s.%s", slice->name, node->name, interface.name);
    plan_short_name(id, slice->name, node->name, interface.name);
    port->node = node->name;
    port->mtu = interface.mtu;
    port->queues = 1;
    port->peer = -1;
    port->rule_id = PLAN_RULE_ID_FIRST | hash_names(slice->name, node->name, interface.name) >> 2;
    if (interface.link >= 0)
        port->rate = slice->links[interface.link].rate;
    port->vhost = node->kind == NODE_VM;
    if (port->vhost) {
        port->queues = interface.queues;
        return plan_socket(planner, node, described, port->target, error);
    }
    if (node->kind == NODE_NETNS)
        strcpy(port->device, id);
    else if (is_pci(node->device))
        strcpy(port->target, node->device);
    else if (node->vlan)
        plan_short_name(port->device, slice->name, node->name, PLAN_VLAN);
    else
        strcpy(port->device, node->device);
    if (port->device[0])
        use_interface(port, id);
    return 0;
}

/* All that a fast path's device arguments, a file's line and ip(8) take as it is. */
static bool device_name_is_good(const char *device)
{
    for (const char *c = device; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._:@-", *c))
            return false;
    return device[0] && device[0] != '-' && (is_pci(device) || strlen(device) < INTERFACE_NAME_SIZE);
}

/* A device without a VLAN is all of it. */
static bool devices_collide(const struct slice_node *one, const struct slice_node *other)
{
    return other->kind == NODE_CONNECTOR && !strcmp(one->device, other->device) &&
           (!one->vlan || !other->vlan || one->vlan == other->vlan);
}

static int check_device(const struct slice *slice, const struct slice_node *node, struct error *error)
{
    if (!device_name_is_good(node->device))
        return error_set(error, EINVAL,
                         "Connector %s: '%.60s' is neither the name of an interface nor a PCI address.",
                         node->name, node->device);
    if (is_pci(node->device) && node->vlan)
        return error_set(error, ENOTSUP,
                         "Connector %s: VLANs are made by the kernel, which does not have the PCI device %s.",
                         node->name, node->device);
    for (const struct slice_node *other = slice->nodes; other < node; other++)
        if (devices_collide(node, other))
            return error_set(error, EEXIST,
                             "Connectors %s and %s want the same of %s; give each a VLAN of its own.",
                             other->name, node->name, node->device);
    return 0;
}

static int plan_device(const struct planner *planner, const struct slice_node *node, unsigned port,
                       struct error *error)
{
    struct plan_device *device = &planner->plan->devices[planner->plan->n_devices++];
    int code = check_device(planner->slice, node, error);

    device->node = node;
    device->port = port;
    if (!code)
        strcpy(device->interface, planner->plan->ports[port].device);
    return code;
}

static int plan_netns(const struct planner *planner, const struct slice_node *node, unsigned port,
                      struct error *error)
{
    struct plan_netns *netns = &planner->plan->namespaces[planner->plan->n_namespaces++];

    netns->node = node;
    snprintf(netns->name, sizeof netns->name, "%s.%s", planner->slice->name, node->name);
    netns->veths = calloc(node->n_interfaces + 1, sizeof *netns->veths);
    if (!netns->veths)
        return error_set(error, ENOMEM, "There is no memory for node %s.", node->name);
    netns->n_veths = node->n_interfaces;
    for (unsigned i = 0; i < node->n_interfaces; i++) {
        struct plan_veth *veth = &netns->veths[i];
        uint64_t hash;

        veth->interface = plan_interface(planner->slice, node, &node->interfaces[i]);
        veth->port = port + i;
        strcpy(veth->host, planner->plan->ports[port + i].device);
        hash = plan_hash_number(plan_hash(PLAN_HASH, veth->interface.mac), veth->interface.mtu);
        for (unsigned j = 0; j < veth->interface.n_addresses; j++)
            hash = plan_hash(hash, veth->interface.addresses[j]);
        plan_fingerprint(veth->fingerprint, hash);
    }
    return 0;
}

/* A node that is no switch: its ports, and what is behind them. */
static int plan_node(const struct planner *planner, unsigned number, struct error *error)
{
    const struct slice_node *node = &planner->slice->nodes[number];
    unsigned first = planner->plan->n_ports;
    int code = 0;

    if (!has_ports(planner, node))
        return 0;
    for (unsigned i = 0; i < node->n_interfaces && !code; i++) {
        planner->port_of[number][i] = (int)planner->plan->n_ports;
        code = plan_port(planner, node, &node->interfaces[i], error);
    }
    if (code)
        return code;
    if (node->kind == NODE_NETNS)
        return plan_netns(planner, node, first, error);
    if (node->kind == NODE_CONNECTOR)
        return node->n_interfaces ? plan_device(planner, node, first, error) : 0;
    return is_stopped(planner->wish, node) ? 0 : plan_machine(planner, node, error);
}

/*
 * A port's rate makes its owner wait, which is how to limit what is sent on a direct link: both ends do that. What a switch sends can
 * only be dropped at the port.
 */
static void join_ports(const struct planner *planner)
{
    const struct slice *slice = planner->slice;

    for (unsigned i = 0; i < slice->n_links; i++) {
        const struct slice_endpoint *ends = slice->links[i].ends;
        int ports[2];

        for (unsigned j = 0; j < 2; j++)
            ports[j] = slice->nodes[ends[j].node].kind == NODE_SWITCH
                           ? -1
                           : planner->port_of[ends[j].node][ends[j].interface];
        for (unsigned j = 0; j < 2; j++)
            if (ports[j] >= 0 && slice->nodes[ends[!j].node].kind == NODE_SWITCH)
                planner->plan->ports[ports[j]].rate_out = slice->links[i].rate;
        if (ports[0] < 0 || ports[1] < 0)
            continue;
        planner->plan->ports[ports[0]].peer = ports[1];
        planner->plan->ports[ports[1]].peer = ports[0];
    }
}

static void add_option(struct bridge_port *port, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add_option(struct bridge_port *port, const char *key, const char *format, ...)
{
    struct bridge_option *option = &port->options[port->n_options++];
    va_list arguments;

    snprintf(option->key, sizeof option->key, "%s", key);
    va_start(arguments, format);
    vsnprintf(option->value, sizeof option->value, format, arguments);
    va_end(arguments);
}

/* Ports that are called p1, p2 ... have these numbers in OpenFlow. */
static uint16_t openflow_number(const char *name)
{
    unsigned number = 0;
    int end = 0;

    if (name[0] != 'p' || name[1] < '1' || name[1] > '9' || sscanf(name, "p%5u%n", &number, &end) < 1)
        return 0;
    return name[end] || number >= OPENFLOW_PORTS_MAX ? 0 : (uint16_t)number;
}

static const struct slice_endpoint *other_end(const struct slice *slice, const struct slice_node *node,
                                              const struct slice_interface *interface)
{
    const struct slice_endpoint *ends = slice->links[interface->link].ends;

    return &slice->nodes[ends[0].node] == node ? &ends[1] : &ends[0];
}

/* The driver's options for a port that the fast path has. Without interrupts Open vSwitch looks at a link every five seconds. */
static void stand_for(const struct planner *planner, struct bridge_port *port, const struct slice_node *node,
                      const struct slice_interface *interface)
{
    struct slice_interface whole = plan_interface(planner->slice, node, interface);

    strcpy(port->type, "dpdk");
    port->mtu = whole.mtu;
    add_option(port, "dpdk-devargs", "net_vnode_%s,port=%s.%s.%s,fastpath=%s", port->name,
               planner->slice->name, node->name, interface->name, planner->settings->fastpath_socket);
    add_option(port, "dpdk-lsc-interrupt", "true");
    if (node->kind == NODE_VM && whole.queues > 1)
        add_option(port, "n_rxq", "%u", whole.queues);
}

static void plan_bridge_port(const struct planner *planner, struct bridge_port *port,
                             const struct slice_node *node, const struct slice_interface *interface)
{
    const struct slice *slice = planner->slice;
    const struct slice_endpoint *end = other_end(slice, node, interface);
    const struct slice_node *other = &slice->nodes[end->node];

    plan_short_name(port->name, slice->name, node->name, interface->name);
    port->number = openflow_number(interface->name);
    if (other->kind == NODE_SWITCH) {
        char peer[INTERFACE_NAME_SIZE];

        plan_short_name(peer, slice->name, other->name, interface_at(slice, *end)->name);
        strcpy(port->type, "patch");
        add_option(port, "peer", "%s", peer);
    } else {
        stand_for(planner, port, other, interface_at(slice, *end));
    }
}

static void plan_bridges(const struct planner *planner)
{
    struct plan *plan = planner->plan;
    struct bridge_port *next = plan->bridge_ports;

    for (unsigned i = 0; i < planner->slice->n_nodes; i++) {
        const struct slice_node *node = &planner->slice->nodes[i];
        struct bridge *bridge = &plan->bridges[plan->n_bridges];

        if (node->kind != NODE_SWITCH || is_stopped(planner->wish, node))
            continue;
        plan->n_bridges++;
        plan_short_name(bridge->name, planner->slice->name, node->name, NULL);
        strcpy(bridge->datapath_type, "netdev");
        strcpy(bridge->slice, planner->slice->name);
        strcpy(bridge->node, node->name);
        bridge->fail_secure = node->fail_secure;
        bridge->n_controllers = node->n_controllers;
        for (unsigned j = 0; j < node->n_controllers; j++)
            bridge->controllers[j] = node->controllers[j];
        bridge->ports = next;
        for (unsigned j = 0; j < node->n_interfaces; j++)
            if (node->interfaces[j].link >= 0)
                plan_bridge_port(planner, next++, node, &node->interfaces[j]);
        bridge->n_ports = (unsigned)(next - bridge->ports);
    }
}

/* Room for all that the slice can take. */
static bool make_room(struct planner *planner)
{
    const struct slice *slice = planner->slice;
    struct plan *plan = planner->plan;
    unsigned n_kind[NODE_KINDS] = {0}, n_ports = 0;

    for (unsigned i = 0; i < slice->n_nodes; i++) {
        n_kind[slice->nodes[i].kind]++;
        n_ports += slice->nodes[i].kind == NODE_SWITCH ? 0 : slice->nodes[i].n_interfaces;
    }
    plan->ports = calloc(n_ports + 1, sizeof *plan->ports);
    plan->machines = calloc(n_kind[NODE_VM] + 1, sizeof *plan->machines);
    plan->namespaces = calloc(n_kind[NODE_NETNS] + 1, sizeof *plan->namespaces);
    plan->devices = calloc(n_kind[NODE_CONNECTOR] + 1, sizeof *plan->devices);
    plan->bridges = calloc(n_kind[NODE_SWITCH] + 1, sizeof *plan->bridges);
    plan->bridge_ports = calloc(2 * slice->n_links + 1, sizeof *plan->bridge_ports);
    planner->port_of = malloc((slice->n_nodes + 1) * sizeof *planner->port_of);
    if (!plan->ports || !plan->machines || !plan->namespaces || !plan->devices || !plan->bridges ||
        !plan->bridge_ports || !planner->port_of)
        return false;
    memset(planner->port_of, 0xff, (slice->n_nodes + 1) * sizeof *planner->port_of); /* -1 */
    return true;
}

struct plan *plan_nothing(const char *slice, struct error *error)
{
    struct plan *plan = calloc(1, sizeof *plan);

    if (plan)
        plan->slice = slice;
    else
        error_set(error, ENOMEM, "There is no memory to plan slice %s.", slice);
    return plan;
}

struct plan *plan_make(const struct slice_wish *wish, const struct reconcile_settings *settings,
                       struct error *error)
{
    const struct slice *slice = wish->slice;
    struct planner planner = {.wish = wish, .slice = slice, .settings = settings};
    struct plan *plan = plan_nothing(slice->name, error);
    int code = 0;

    if (!plan)
        return NULL;
    planner.plan = plan;
    if (!make_room(&planner))
        code = error_set(error, ENOMEM, "There is no memory to plan slice %s.", slice->name);
    for (unsigned i = 0; i < slice->n_nodes && !code; i++)
        code = plan_node(&planner, i, error);
    if (!code) {
        join_ports(&planner);
        plan_bridges(&planner);
        plan->mode = slice->offload.mode;
        plan->promote = slice->offload.promote;
        plan->demote = slice->offload.demote;
        plan->hold_ms = slice->offload.hold_ms;
        plan->rules = slice->budget.rules;
    }
    free(planner.port_of);
    if (code) {
        plan_free(plan);
        plan = NULL;
    }
    return plan;
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    for (unsigned i = 0; i < plan->n_namespaces; i++)
        free(plan->namespaces[i].veths);
    free(plan->ports);
    free(plan->machines);
    free(plan->namespaces);
    free(plan->devices);
    free(plan->bridges);
    free(plan->bridge_ports);
    free(plan);
}

const struct plan_port *plan_find_port(const struct plan *plan, const char *name)
{
    for (unsigned i = 0; i < plan->n_ports; i++)
        if (!strcmp(plan->ports[i].name, name))
            return &plan->ports[i];
    return NULL;
}
