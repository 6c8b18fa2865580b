/* SPDX-License-Identifier: Apache-2.0 */
#include "slice/slice.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slice/slice_internal.h"

void slice_free(struct slice *slice)
{
    if (!slice)
        return;
    for (unsigned i = 0; i < slice->n_nodes; i++) {
        free(slice->nodes[i].interfaces);
        free(slice->nodes[i].user_data);
    }
    free(slice->nodes);
    free(slice->links);
    free(slice);
}

int slice_find_node(const struct slice *slice, const char *name)
{
    for (unsigned i = 0; i < slice->n_nodes; i++)
        if (!strcmp(slice->nodes[i].name, name))
            return (int)i;
    return -1;
}

uint64_t slice_memory(const struct slice *slice)
{
    uint64_t memory = 0;

    for (unsigned i = 0; i < slice->n_nodes; i++)
        if (slice->nodes[i].kind == NODE_VM && __builtin_add_overflow(memory, slice->nodes[i].memory, &memory))
            return UINT64_MAX;
    return memory;
}

uint32_t slice_cpu(const struct slice *slice)
{
    uint32_t cpu = 0;

    for (unsigned i = 0; i < slice->n_nodes; i++)
        if (slice->nodes[i].kind == NODE_VM)
            cpu += slice->nodes[i].cpu;
    return cpu;
}

/* No MAC address twice; and two ends of a link that both name an MTU name the same. */
static void check_interfaces(const struct slice *slice, struct slice_errors *errors)
{
    for (unsigned i = 0; i < slice->n_nodes; i++)
        for (unsigned j = 0; j < slice->nodes[i].n_interfaces; j++) {
            const struct slice_interface *own = &slice->nodes[i].interfaces[j];

            for (unsigned k = 0; own->mac[0] && k < i + 1; k++)
                for (unsigned l = 0; l < (k == i ? j : slice->nodes[k].n_interfaces); l++)
                    if (!strcasecmp(own->mac, slice->nodes[k].interfaces[l].mac))
                        slice_errors_add(errors, own->at,
                                         "nodes.%s.interfaces.%s.mac is that of node '%s', too.",
                                         slice->nodes[i].name, own->name, slice->nodes[k].name);
        }
    for (unsigned i = 0; i < slice->n_links; i++) {
        const struct slice_endpoint *ends = slice->links[i].ends;
        uint16_t left = slice->nodes[ends[0].node].interfaces[ends[0].interface].mtu;
        uint16_t right = slice->nodes[ends[1].node].interfaces[ends[1].interface].mtu;

        if (left && right && left != right)
            slice_errors_add(errors, slice->links[i].at,
                             "links[%u] joins interfaces with MTUs of %u and %u bytes.", i, left, right);
    }
}

void slice_check(struct reader *reader, const yaml_node_t *root, const struct slice *slice)
{
    struct slice_errors *errors = reader->errors;
    struct slice_place at = reader_place(root);
    uint64_t guaranteed = 0;

    check_interfaces(slice, errors);
    if (slice->budget.cpu && slice_cpu(slice) > slice->budget.cpu)
        slice_errors_add(errors, at, "The nodes need %u CPUs, %u more than the budget has.", slice_cpu(slice),
                         slice_cpu(slice) - slice->budget.cpu);
    if (slice->budget.memory && slice_memory(slice) > slice->budget.memory)
        slice_errors_add(
            errors, at, "The nodes need %llu MiB of memory, %llu MiB more than the budget has.",
            (unsigned long long)slice_memory(slice) >> 20,
            (unsigned long long)(slice_memory(slice) - slice->budget.memory + (1 << 20) - 1) >> 20);
    for (unsigned i = 0; i < slice->n_links; i++)
        guaranteed += slice->links[i].min;
    if (slice->budget.rate && guaranteed > slice->budget.rate)
        slice_errors_add(errors, at, "The links guarantee %llu Mbit/s, %llu Mbit/s more than the budget has.",
                         (unsigned long long)guaranteed / 1000000,
                         (unsigned long long)(guaranteed - slice->budget.rate + 999999) / 1000000);
}

char *slice_read_file(const char *path, size_t *size, struct slice_errors *errors)
{
    FILE *file = strcmp(path, "-") ? fopen(path, "re") : stdin;
    char *text = malloc(SLICE_FILE_SIZE_MAX + 2); /* one more than is possible, which whoever parses refuses */
    bool good = file && text;

    memset(errors, 0, sizeof *errors);
    if (good) {
        *size = fread(text, 1, SLICE_FILE_SIZE_MAX + 1, file);
        text[*size] = '\0';
        good = !ferror(file);
    }
    if (!good) {
        slice_errors_add(errors, (struct slice_place){0}, "%.200s cannot be read: %s.", path, strerror(errno));
        free(text);
        text = NULL;
    }
    if (file && file != stdin)
        fclose(file);
    return text;
}

struct slice *slice_parse_file(const char *path, struct slice_errors *errors)
{
    struct slice *slice = NULL;
    size_t size;
    char *text = slice_read_file(path, &size, errors);

    if (text)
        slice = slice_parse(text, size, errors);
    free(text);
    return slice;
}
