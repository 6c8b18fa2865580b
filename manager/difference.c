/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/difference.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DETAILS_SIZE 512

static void note(json_t *list, const char *action, const char *kind, const char *item, const char *details)
{
    json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "action", action, "kind", kind, "item",
                                          item, "details", details));
}

/* Appends to what is different, as far as it fits. */
static void say(char details[DETAILS_SIZE], const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(char details[DETAILS_SIZE], const char *format, ...)
{
    size_t size = strlen(details);
    va_list arguments;

    if (size)
        size += (size_t)snprintf(details + size, DETAILS_SIZE - size, ", ");
    if (size >= DETAILS_SIZE)
        return;
    va_start(arguments, format);
    vsnprintf(details + size, DETAILS_SIZE - size, format, arguments);
    va_end(arguments);
}

static void compare_text(char details[DETAILS_SIZE], const char *what, const char *before, const char *after)
{
    if (strcmp(before, after) != 0)
        say(details, "%s %s to %s", what, *before ? before : "none", *after ? after : "none");
}

static void compare_number(char details[DETAILS_SIZE], const char *what, uint64_t before, uint64_t after,
                           uint64_t divisor, const char *unit)
{
    if (before != after)
        say(details, "%s %g%s to %g%s", what, (double)before / (double)divisor, unit,
            (double)after / (double)divisor, unit);
}

static const struct slice_interface *find_interface(const struct slice_node *node, const char *name)
{
    for (unsigned i = 0; i < node->n_interfaces; i++)
        if (!strcmp(node->interfaces[i].name, name))
            return &node->interfaces[i];
    return NULL;
}

static bool same_interface(const struct slice_interface *one, const struct slice_interface *other)
{
    return one->kind == other->kind && !strcmp(one->mac, other->mac) && one->mtu == other->mtu &&
           one->queues == other->queues && one->n_addresses == other->n_addresses &&
           !memcmp(one->addresses, other->addresses, one->n_addresses * sizeof one->addresses[0]);
}

static void compare_interfaces(char details[DETAILS_SIZE], const struct slice_node *before,
                               const struct slice_node *after)
{
    for (unsigned i = 0; i < after->n_interfaces; i++) {
        const struct slice_interface *interface = &after->interfaces[i];
        const struct slice_interface *old = find_interface(before, interface->name);

        if (!old)
            say(details, "with interface %s", interface->name);
        else if (!same_interface(old, interface))
            say(details, "interface %s", interface->name);
    }
    for (unsigned i = 0; i < before->n_interfaces; i++)
        if (!find_interface(after, before->interfaces[i].name))
            say(details, "without interface %s", before->interfaces[i].name);
}

static bool same_controllers(const struct slice_node *one, const struct slice_node *other)
{
    if (one->n_controllers != other->n_controllers)
        return false;
    for (unsigned i = 0; i < one->n_controllers; i++)
        if (strcmp(one->controllers[i], other->controllers[i]) != 0)
            return false;
    return true;
}

static void compare_nodes(json_t *list, const struct slice_node *before, const struct slice_node *after)
{
    char details[DETAILS_SIZE] = "";

    compare_text(details, "kind", slice_node_kind_name(before->kind), slice_node_kind_name(after->kind));
    compare_number(details, "cpu", before->cpu, after->cpu, 1, "");
    compare_number(details, "memory", before->memory, after->memory, 1 << 20, "MiB");
    compare_number(details, "disk", before->disk, after->disk, 1 << 20, "MiB");
    compare_text(details, "image", before->image, after->image);
    compare_text(details, "cpu-pin", before->cpu_pin, after->cpu_pin);
    compare_text(details, "device", before->device, after->device);
    compare_number(details, "vlan", before->vlan, after->vlan, 1, "");
    if (strcmp(before->user_data ? before->user_data : "", after->user_data ? after->user_data : "") != 0)
        say(details, "user-data");
    if (!same_controllers(before, after))
        say(details, "controllers");
    if (before->fail_secure != after->fail_secure)
        say(details, "fail-mode");
    compare_interfaces(details, before, after);
    if (*details)
        note(list, "change", "node", after->name, details);
}

void link_name(const struct slice *slice, const struct slice_link *link, char name[LINK_NAME_SIZE])
{
    const struct slice_node *left = &slice->nodes[link->ends[0].node];
    const struct slice_node *right = &slice->nodes[link->ends[1].node];

    snprintf(name, LINK_NAME_SIZE, "%s:%s - %s:%s", left->name, left->interfaces[link->ends[0].interface].name,
             right->name, right->interfaces[link->ends[1].interface].name);
}

static const struct slice_link *find_link(const struct slice *slice, const char *name)
{
    char other[LINK_NAME_SIZE];

    for (unsigned i = 0; slice && i < slice->n_links; i++) {
        link_name(slice, &slice->links[i], other);
        if (!strcmp(name, other))
            return &slice->links[i];
    }
    return NULL;
}

static void compare_links(json_t *list, const struct slice *before, const struct slice *after)
{
    char name[LINK_NAME_SIZE];

    for (unsigned i = 0; before && i < before->n_links; i++) {
        link_name(before, &before->links[i], name);
        if (!find_link(after, name))
            note(list, "remove", "link", name, "");
    }
    for (unsigned i = 0; after && i < after->n_links; i++) {
        const struct slice_link *link = &after->links[i], *old;
        char details[DETAILS_SIZE] = "";

        link_name(after, link, name);
        old = find_link(before, name);
        if (old) {
            compare_number(details, "rate", old->rate, link->rate, 1000000, "Mbit");
            compare_number(details, "min", old->min, link->min, 1000000, "Mbit");
        }
        if (!old || *details)
            note(list, old ? "change" : "create", "link", name, details);
    }
}

static void compare_settings(json_t *list, const struct slice *before, const struct slice *after)
{
    char details[DETAILS_SIZE] = "";

    compare_number(details, "lease", before->lease_ms, after->lease_ms, 1000, "s");
    compare_number(details, "budget.cpu", before->budget.cpu, after->budget.cpu, 1, "");
    compare_number(details, "budget.memory", before->budget.memory, after->budget.memory, 1 << 20, "MiB");
    compare_number(details, "budget.rate", before->budget.rate, after->budget.rate, 1000000, "Mbit");
    compare_number(details, "budget.rules", before->budget.rules, after->budget.rules, 1, "");
    compare_text(details, "offload.mode", slice_offload_mode_name(before->offload.mode),
                 slice_offload_mode_name(after->offload.mode));
    compare_number(details, "offload.promote", before->offload.promote, after->offload.promote, 1, "pps");
    compare_number(details, "offload.demote", before->offload.demote, after->offload.demote, 1, "pps");
    compare_number(details, "offload.hold", before->offload.hold_ms, after->offload.hold_ms, 1000, "s");
    if (*details)
        note(list, "change", "slice", after->name, details);
}

static int find_node(const struct slice *slice, const char *name)
{
    return slice ? slice_find_node(slice, name) : -1;
}

json_t *slice_difference(const struct slice *before, const struct slice *after)
{
    json_t *list = json_array();

    if (before && after)
        compare_settings(list, before, after);
    else if (before || after)
        note(list, after ? "create" : "remove", "slice", after ? after->name : before->name, "");
    for (unsigned i = 0; before && i < before->n_nodes; i++)
        if (find_node(after, before->nodes[i].name) < 0)
            note(list, "remove", "node", before->nodes[i].name, slice_node_kind_name(before->nodes[i].kind));
    for (unsigned i = 0; after && i < after->n_nodes; i++) {
        int old = find_node(before, after->nodes[i].name);

        if (old < 0)
            note(list, "create", "node", after->nodes[i].name, slice_node_kind_name(after->nodes[i].kind));
        else
            compare_nodes(list, &before->nodes[old], &after->nodes[i]);
    }
    compare_links(list, before, after);
    return list;
}
