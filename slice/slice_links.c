/* SPDX-License-Identifier: Apache-2.0 */
/* The links of a slice: they name nodes and interfaces, and make the interfaces that nobody has described. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slice/slice_internal.h"

struct link_reader {
    struct slice *slice;
    struct slice_link link;
    unsigned n_ends;
};

static unsigned interfaces_max(const struct slice_node *node)
{
    return node->kind == NODE_SWITCH      ? SLICE_SWITCH_PORTS_MAX
           : node->kind == NODE_CONNECTOR ? 1
                                          : SLICE_INTERFACES_MAX;
}

static struct slice_interface *find_interface(struct slice_node *node, const char *name)
{
    for (unsigned i = 0; i < node->n_interfaces; i++)
        if (!strcmp(node->interfaces[i].name, name))
            return &node->interfaces[i];
    return NULL;
}

/* The interface for an end that names none: the first that has no link yet, or a new one. */
static struct slice_interface *free_interface(struct slice_node *node, struct slice_place at)
{
    char name[INTERFACE_NAME_SIZE];
    unsigned number = node->kind == NODE_SWITCH;

    for (unsigned i = 0; i < node->n_interfaces; i++)
        if (node->interfaces[i].link < 0)
            return &node->interfaces[i];
    do
        snprintf(name, sizeof name, "%s%u", node->kind == NODE_SWITCH ? "p" : "eth", number++);
    while (find_interface(node, name));
    return slice_add_interface(node, name, at);
}

/* The interface that an end means, "NODE" or "NODE:INTERFACE"; NULL with an error noted. */
static struct slice_interface *resolve(struct reader *reader, const yaml_node_t *value, struct slice *slice,
                                       const char *text, int *number)
{
    const char *colon = strchr(text, ':');
    int length = colon ? (int)(colon - text) : (int)strlen(text);
    struct slice_interface *interface;
    struct slice_node *node;
    char name[NODE_NAME_SIZE];

    snprintf(name, sizeof name, "%.*s", length, text);
    *number = slice_find_node(slice, name);
    if (*number < 0) {
        reader_fail(reader, value, "names the node '%s', which is not there.", name);
        return NULL;
    }
    node = &slice->nodes[*number];
    if (colon && !slice_name_is_good(colon + 1, INTERFACE_NAME_SIZE)) {
        reader_fail(reader, value, "has to be NODE or NODE:INTERFACE, such as %s:eth0, not '%.40s'.", name,
                    text);
        return NULL;
    }
    interface = colon ? find_interface(node, colon + 1) : free_interface(node, reader_place(value));
    if (!interface)
        interface = slice_add_interface(node, colon + 1, reader_place(value));
    if (interface && node->n_interfaces > interfaces_max(node)) {
        reader_fail(reader, value, "is one more interface than the %u that node '%s' can have.",
                    interfaces_max(node), name);
        return NULL;
    }
    return interface;
}

static void read_end(struct reader *reader, yaml_node_t *value, void *object)
{
    struct link_reader *link = object;
    const char *text = reader_text(reader, value, false);
    struct slice_interface *interface;
    int node;

    if (!text)
        return;
    interface = resolve(reader, value, link->slice, text, &node);
    if (!interface)
        return;
    if (interface->link >= 0) {
        reader_fail(reader, value, "is taken: '%.40s' has a link already, that of line %u.", text,
                    link->slice->links[interface->link].at.line);
        return;
    }
    interface->link = (int)link->slice->n_links;
    link->link.ends[link->n_ends++] =
        (struct slice_endpoint){(unsigned)node, (unsigned)(interface - link->slice->nodes[node].interfaces)};
}

static void read_ends(struct reader *reader, yaml_node_t *value, void *object)
{
    if (!reader_is_sequence(value) || reader_count(value) != 2) {
        reader_fail(reader, value, "has to be a list of two ends, such as [a, sw] or [\"a:eth0\", \"sw:p1\"].");
        return;
    }
    reader_items(reader, value, 2, read_end, object);
}

static void read_rate(struct reader *reader, yaml_node_t *value, void *object)
{
    reader_quantity(reader, value, QUANTITY_RATE, 1000, &((struct link_reader *)object)->link.rate);
}

static void read_min(struct reader *reader, yaml_node_t *value, void *object)
{
    reader_quantity(reader, value, QUANTITY_RATE, 1000, &((struct link_reader *)object)->link.min);
}

static const struct reader_field link_fields[] = {
    {"endpoints", true, read_ends},
    {"rate", false, read_rate},
    {"min", false, read_min},
    {NULL, false, NULL},
};

static void read_link(struct reader *reader, yaml_node_t *value, void *object)
{
    struct slice *slice = object;
    struct link_reader link = {.slice = slice, .link.at = reader_place(value)};

    /* For messages about what is taken, while it is being read, too. */
    slice->links[slice->n_links].at = link.link.at;
    if (reader_is_sequence(value))
        read_ends(reader, value, &link);
    else
        reader_fields(reader, value, link_fields, &link);
    if (link.n_ends < 2)
        return;
    if (link.link.ends[0].node == link.link.ends[1].node)
        reader_fail(reader, value, "joins node '%s' to itself.", slice->nodes[link.link.ends[0].node].name);
    if (link.link.rate && link.link.min > link.link.rate)
        reader_fail(reader, value, "guarantees more (min) than it lets through (rate).");
    slice->links[slice->n_links++] = link.link;
}

void slice_read_links(struct reader *reader, yaml_node_t *links, struct slice *slice)
{
    slice->links = calloc(SLICE_LINKS_MAX, sizeof *slice->links);
    snprintf(reader->path, sizeof reader->path, "links");
    if (slice->links && slice->nodes)
        reader_items(reader, links, SLICE_LINKS_MAX, read_link, slice);
    reader->path[0] = '\0';
}
