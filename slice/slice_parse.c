/* SPDX-License-Identifier: Apache-2.0 */
/* The language of slice files: schema/slice.md. What the items mean together is checked by slice.c. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slice/reader.h"
#include "slice/slice_internal.h"

#define FIELD(name) static void read_##name(struct reader *reader, yaml_node_t *node, void *object)

static const char *const node_kinds[] = {"vm", "netns", "switch", "connector"};
static const char *const interface_kinds[] = {"virtio", "hybrid", "vf"};
static const char *const offload_modes[] = {"off", "on", "auto"};

const char *slice_node_kind_name(enum slice_node_kind kind)
{
    return node_kinds[kind];
}

const char *slice_interface_kind_name(enum slice_interface_kind kind)
{
    return interface_kinds[kind];
}

const char *slice_offload_mode_name(enum slice_offload_mode mode)
{
    return offload_modes[mode];
}

bool slice_name_is_good(const char *name, size_t size)
{
    size_t length = strlen(name);

    if (!isalpha((unsigned char)*name) || length >= size)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("-_", name[i]))
            return false;
    return true;
}

/* Copies a name that becomes part of the names of ports, bridges, namespaces and files. */
static bool read_name(struct reader *reader, const yaml_node_t *node, char *to, size_t size)
{
    const char *text = reader_text(reader, node, false);

    if (!text)
        return false;
    if (!slice_name_is_good(text, size)) {
        reader_fail(reader, node,
                    "is no name: a letter, then letters, digits, '-' and '_', at most %zu in all.", size - 1);
        return false;
    }
    strcpy(to, text);
    return true;
}

/* Interfaces. */

FIELD(interface_kind)
{
    struct slice_interface *interface = object;
    int kind = reader_choice(reader, node, interface_kinds, INTERFACE_KINDS);

    if (kind >= 0)
        interface->kind = (enum slice_interface_kind)kind;
}

FIELD(mac)
{
    struct slice_interface *interface = object;
    const char *text = reader_text(reader, node, false);
    struct ether_addr *address = text ? ether_aton(text) : NULL;

    if (!text)
        return;
    if (!address || strlen(text) != 17)
        reader_fail(reader, node, "has to be a MAC address such as 52:54:00:00:00:01, not '%.40s'.", text);
    else if (address->ether_addr_octet[0] & 1)
        reader_fail(reader, node, "is a multicast address; an interface's has an even first byte.");
    else
        strcpy(interface->mac, text);
}

FIELD(mtu)
{
    uint64_t value;

    if (reader_number(reader, node, 68, 9000, &value))
        ((struct slice_interface *)object)->mtu = (uint16_t)value;
}

FIELD(queues)
{
    uint64_t value;

    if (reader_number(reader, node, 1, QUEUES_MAX, &value))
        ((struct slice_interface *)object)->queues = (uint16_t)value;
}

static bool is_address(const char *text)
{
    const char *slash = strchr(text, '/');
    char address[INET6_ADDRSTRLEN] = "", *end;
    uint8_t bytes[16];
    unsigned long prefix;
    bool is_v6 = strchr(text, ':');

    if (!slash || (size_t)(slash - text) >= sizeof address || !isdigit((unsigned char)slash[1]))
        return false;
    memcpy(address, text, (size_t)(slash - text));
    prefix = strtoul(slash + 1, &end, 10);
    return !*end && prefix <= (is_v6 ? 128 : 32) && inet_pton(is_v6 ? AF_INET6 : AF_INET, address, bytes) == 1;
}

static void read_one_address(struct reader *reader, yaml_node_t *node, void *object)
{
    struct slice_interface *interface = object;
    char *to = interface->addresses[interface->n_addresses];

    if (!reader_copy(reader, node, to, sizeof interface->addresses[0]))
        return;
    if (is_address(to))
        interface->n_addresses++;
    else
        reader_fail(reader, node,
                    "has to be an address with its prefix length, such as 10.0.0.1/24, not '%.50s'.", to);
}

/* One, or a list. */
FIELD(addresses)
{
    if (reader_is_sequence(node))
        reader_items(reader, node, SLICE_ADDRESSES_MAX, read_one_address, object);
    else
        read_one_address(reader, node, object);
}

static const struct reader_field interface_fields[] = {
    {"kind", false, read_interface_kind}, {"mac", false, read_mac},           {"mtu", false, read_mtu},
    {"queues", false, read_queues},       {"address", false, read_addresses}, {NULL, false, NULL},
};

struct slice_interface *slice_add_interface(struct slice_node *node, const char *name, struct slice_place at)
{
    struct slice_interface *interface;
    void *grown = realloc(node->interfaces, (node->n_interfaces + 1) * sizeof *node->interfaces);

    if (!grown)
        return NULL;
    node->interfaces = grown;
    interface = &node->interfaces[node->n_interfaces++];
    *interface = (struct slice_interface){.at = at, .queues = 1, .link = -1};
    snprintf(interface->name, sizeof interface->name, "%s", name);
    return interface;
}

static void read_interface(struct reader *reader, yaml_node_t *key, yaml_node_t *value, void *object)
{
    struct slice_interface *interface;
    char name[INTERFACE_NAME_SIZE];

    if (!read_name(reader, key, name, sizeof name))
        return;
    interface = slice_add_interface(object, name, reader_place(key));
    if (interface)
        reader_fields(reader, value, interface_fields, interface);
}

/* Nodes. 'kind' is read first; each kind has keys of its own. */

FIELD(kind)
{
    /* read already */
}

FIELD(interfaces)
{
    reader_entries(reader, node, SLICE_INTERFACES_MAX, read_interface, object);
}

FIELD(cpu)
{
    uint64_t value;

    if (reader_number(reader, node, 1, 1024, &value))
        ((struct slice_node *)object)->cpu = (uint32_t)value;
}

FIELD(memory)
{
    reader_quantity(reader, node, QUANTITY_BYTES, 64 << 20, &((struct slice_node *)object)->memory);
}

FIELD(disk)
{
    reader_quantity(reader, node, QUANTITY_BYTES, 1 << 20, &((struct slice_node *)object)->disk);
}

FIELD(image)
{
    reader_copy(reader, node, ((struct slice_node *)object)->image, SLICE_PATH_SIZE);
}

FIELD(user_data)
{
    struct slice_node *vm = object;
    const char *text = reader_text(reader, node, true);

    if (!text)
        return;
    if (strlen(text) > USER_DATA_SIZE_MAX)
        reader_fail(reader, node, "is too long: at most %u bytes are possible.", USER_DATA_SIZE_MAX);
    else
        vm->user_data = strdup(text);
}

FIELD(cpu_pin)
{
    struct slice_node *vm = object;

    if (reader_copy(reader, node, vm->cpu_pin, SLICE_PATH_SIZE) &&
        strspn(vm->cpu_pin, "0123456789,-") != strlen(vm->cpu_pin))
        reader_fail(reader, node, "has to be a list of CPUs, such as 2-3 or 4,6, not '%.40s'.", vm->cpu_pin);
}

static void read_one_controller(struct reader *reader, yaml_node_t *node, void *object)
{
    struct slice_node *bridge = object;
    char *to = bridge->controllers[bridge->n_controllers];

    if (!reader_copy(reader, node, to, SLICE_PATH_SIZE))
        return;
    if (!strncmp(to, "tcp:", 4) || !strncmp(to, "ssl:", 4))
        bridge->n_controllers++;
    else
        reader_fail(reader, node, "has to be a controller such as tcp:127.0.0.1:6653, not '%.40s'.", to);
}

FIELD(controller)
{
    if (reader_is_sequence(node))
        reader_items(reader, node, SLICE_CONTROLLERS_MAX, read_one_controller, object);
    else
        read_one_controller(reader, node, object);
}

FIELD(fail_mode)
{
    static const char *const modes[] = {"standalone", "secure"};

    ((struct slice_node *)object)->fail_secure = reader_choice(reader, node, modes, 2) == 1;
}

FIELD(device)
{
    struct slice_node *connector = object;

    if (reader_copy(reader, node, connector->device, SLICE_PATH_SIZE) && strpbrk(connector->device, ", /"))
        reader_fail(reader, node,
                    "has to be an interface or a PCI address, such as eth1 or 0000:01:00.0, not '%.40s'.",
                    connector->device);
}

FIELD(vlan)
{
    uint64_t value;

    if (reader_number(reader, node, 1, 4094, &value))
        ((struct slice_node *)object)->vlan = (uint16_t)value;
}

static const struct reader_field vm_fields[] = {
    {"kind", true, read_kind},
    {"cpu", false, read_cpu},
    {"memory", false, read_memory},
    {"disk", false, read_disk},
    {"image", false, read_image},
    {"user-data", false, read_user_data},
    {"cpu-pin", false, read_cpu_pin},
    {"interfaces", false, read_interfaces},
    {NULL, false, NULL},
};
static const struct reader_field netns_fields[] = {
    {"kind", true, read_kind}, {"interfaces", false, read_interfaces}, {NULL, false, NULL}};
static const struct reader_field switch_fields[] = {{"kind", true, read_kind},
                                                    {"controller", false, read_controller},
                                                    {"fail-mode", false, read_fail_mode},
                                                    {NULL, false, NULL}};
static const struct reader_field connector_fields[] = {
    {"kind", true, read_kind}, {"device", true, read_device}, {"vlan", false, read_vlan}, {NULL, false, NULL}};

static const struct reader_field *const fields_of_kind[] = {
    [NODE_VM] = vm_fields,
    [NODE_NETNS] = netns_fields,
    [NODE_SWITCH] = switch_fields,
    [NODE_CONNECTOR] = connector_fields,
};

static void read_node(struct reader *reader, yaml_node_t *key, yaml_node_t *value, void *object)
{
    struct slice *slice = object;
    struct slice_node *node = &slice->nodes[slice->n_nodes];
    yaml_node_t *kind = reader_value(reader, value, "kind");
    int choice;

    *node = (struct slice_node){.at = reader_place(key), .cpu = 1, .memory = VM_MEMORY_DEFAULT};
    if (!read_name(reader, key, node->name, sizeof node->name))
        return;
    if (!kind) {
        reader_fail(reader, value, "lacks 'kind': vm, netns, switch or connector.");
        return;
    }
    choice = reader_choice(reader, kind, node_kinds, NODE_KINDS);
    if (choice < 0)
        return;
    node->kind = (enum slice_node_kind)choice;
    slice->n_nodes++; /* first: slice_free() finds what it allocates */
    reader_fields(reader, value, fields_of_kind[choice], node);
}

/* The slice itself. */

FIELD(slice_name)
{
    read_name(reader, node, ((struct slice *)object)->name, SLICE_NAME_SIZE);
}

FIELD(lease)
{
    reader_quantity(reader, node, QUANTITY_TIME, 1000, &((struct slice *)object)->lease_ms);
}

FIELD(budget_cpu)
{
    uint64_t value;

    if (reader_number(reader, node, 1, 1024, &value))
        ((struct slice *)object)->budget.cpu = (uint32_t)value;
}

FIELD(budget_memory)
{
    reader_quantity(reader, node, QUANTITY_BYTES, 1 << 20, &((struct slice *)object)->budget.memory);
}

FIELD(budget_rate)
{
    reader_quantity(reader, node, QUANTITY_RATE, 1000, &((struct slice *)object)->budget.rate);
}

FIELD(budget_rules)
{
    reader_number(reader, node, 1, RULES_MAX, &((struct slice *)object)->budget.rules);
}

FIELD(budget)
{
    static const struct reader_field fields[] = {
        {"cpu", false, read_budget_cpu},
        {"memory", false, read_budget_memory},
        {"rate", false, read_budget_rate},
        {"rules", false, read_budget_rules},
        {NULL, false, NULL},
    };

    reader_fields(reader, node, fields, object);
}

FIELD(mode)
{
    int mode = reader_choice(reader, node, offload_modes, 3);

    if (mode >= 0)
        ((struct slice *)object)->offload.mode = (enum slice_offload_mode)mode;
}

FIELD(promote)
{
    reader_quantity(reader, node, QUANTITY_PACKET_RATE, 1, &((struct slice *)object)->offload.promote);
}

FIELD(demote)
{
    reader_quantity(reader, node, QUANTITY_PACKET_RATE, 0, &((struct slice *)object)->offload.demote);
}

FIELD(hold)
{
    reader_quantity(reader, node, QUANTITY_TIME, 0, &((struct slice *)object)->offload.hold_ms);
}

FIELD(offload)
{
    static const struct reader_field fields[] = {
        {"mode", false, read_mode},
        {"promote", false, read_promote},
        {"demote", false, read_demote},
        {"hold", false, read_hold},
        {NULL, false, NULL},
    };
    const struct slice *slice = object;

    reader_fields(reader, node, fields, object);
    if (slice->offload.demote >= slice->offload.promote)
        reader_fail(reader, node, "has a demote that is not less than its promote.");
}

FIELD(nodes)
{
    struct slice *slice = object;

    slice->nodes = calloc(SLICE_NODES_MAX, sizeof *slice->nodes);
    if (slice->nodes)
        reader_entries(reader, node, SLICE_NODES_MAX, read_node, slice);
}

FIELD(links)
{
    /* They name nodes: slice_parse() reads them when all nodes are there. */
}

static const struct reader_field slice_fields[] = {
    {"name", true, read_slice_name},
    {"lease", false, read_lease},
    {"budget", false, read_budget},
    {"nodes", true, read_nodes},
    {"links", false, read_links},
    {"offload", false, read_offload},
    {NULL, false, NULL},
};

struct slice *slice_parse(const char *text, size_t size, struct slice_errors *errors)
{
    struct slice *slice = calloc(1, sizeof *slice);
    yaml_node_t *root, *links;
    struct reader reader;

    memset(errors, 0, sizeof *errors);
    if (!slice) {
        slice_errors_add(errors, (struct slice_place){0}, "There is no memory for the slice.");
        return NULL;
    }
    slice->offload.mode = SLICE_OFFLOAD_ON;
    slice->offload.promote = 1000;
    slice->offload.demote = 100;
    slice->offload.hold_ms = 10000;
    root = reader_open(&reader, text, size, errors);
    if (root) {
        reader_fields(&reader, root, slice_fields, slice);
        links = reader_value(&reader, root, "links");
        if (links)
            slice_read_links(&reader, links, slice);
        slice_check(&reader, root, slice);
    }
    reader_close(&reader);
    slice_errors_sort(errors);
    if (!errors->n)
        return slice;
    slice_free(slice);
    return NULL;
}
