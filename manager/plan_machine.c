/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine's interfaces get their names and addresses from within: the small guest reads them from its kernel's command line
 * (guest-image/init), one with an image of its own from its NoCloud seed.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "manager/plan_internal.h"

#define COMMAND_LINE "console=ttyS0 quiet panic=-1 mitigations=off"

/* Appends to a command line; what does not fit is noticed at the end. */
static void append(char *line, size_t *size, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void append(char *line, size_t *size, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (*size < VM_COMMAND_LINE_SIZE)
        *size += (size_t)vsnprintf(line + *size, VM_COMMAND_LINE_SIZE - *size, format, arguments);
    va_end(arguments);
}

static int write_command_line(struct vm_spec *spec, const struct slice *slice, const struct slice_node *node,
                              struct error *error)
{
    size_t size = 0;

    append(spec->command_line, &size, COMMAND_LINE " vnode.name=%s", node->name);
    for (unsigned i = 0; i < node->n_interfaces; i++) {
        struct slice_interface interface = plan_interface(slice, node, &node->interfaces[i]);

        append(spec->command_line, &size, " vnode.if=%s,%s,%u", interface.name, interface.mac, interface.mtu);
        for (unsigned j = 0; j < interface.n_addresses; j++)
            append(spec->command_line, &size, ",%s", interface.addresses[j]);
    }
    if (size >= VM_COMMAND_LINE_SIZE)
        return error_set(error, ENAMETOOLONG,
                         "Node %s has more interfaces and addresses than the small guest can be told: give it "
                         "an image, or fewer.",
                         node->name);
    return 0;
}

void plan_disk_name(char *name, size_t size, const struct slice_node *node)
{
    char fingerprint[FINGERPRINT_SIZE];

    plan_fingerprint(fingerprint, plan_hash(PLAN_HASH, node->image));
    snprintf(name, size, "%s.%s.qcow2", node->name, fingerprint);
}

/* What it boots from. */
static int plan_boot(const struct planner *planner, const struct slice_node *node, struct vm_spec *spec,
                     struct error *error)
{
    const struct reconcile_settings *settings = planner->settings;
    char name[NODE_NAME_SIZE + FINGERPRINT_SIZE + 8];
    int code;

    if (!node->image[0]) {
        snprintf(spec->kernel, sizeof spec->kernel, "%s", settings->guest_kernel);
        snprintf(spec->initrd, sizeof spec->initrd, "%s", settings->guest_initrd);
        return write_command_line(spec, planner->slice, node, error);
    }
    plan_disk_name(name, sizeof name, node);
    code = plan_path(spec->disk, sizeof spec->disk, settings->state_folder, PLAN_FOLDER, planner->slice->name,
                     error, "%s", name);
    return code ? code
                : plan_path(spec->seed, sizeof spec->seed, settings->state_folder, PLAN_FOLDER,
                            planner->slice->name, error, "%s.seed", node->name);
}

int plan_socket(const struct planner *planner, const struct slice_node *node,
                const struct slice_interface *interface, char socket[VM_SOCKET_SIZE], struct error *error)
{
    return plan_path(socket, VM_SOCKET_SIZE, planner->settings->run_folder, PLAN_SOCKETS,
                     planner->slice->name, error, "%s.%s.sock", node->name, interface->name);
}

static int plan_nic(const struct planner *planner, const struct slice_node *node, unsigned i,
                    struct vm_nic *nic, struct error *error)
{
    struct slice_interface interface = plan_interface(planner->slice, node, &node->interfaces[i]);

    strcpy(nic->mac, interface.mac);
    nic->queues = interface.queues;
    nic->mtu = interface.mtu;
    return plan_socket(planner, node, &node->interfaces[i], nic->socket, error);
}

/* Of what the slice says alone: that a new version of us starts machines in another way is no reason to end them. */
static uint64_t hash_machine(const struct slice *slice, const struct slice_node *node)
{
    uint64_t hash = plan_hash(PLAN_HASH, node->image);

    hash = plan_hash(hash, node->user_data ? node->user_data : "");
    hash = plan_hash(hash, node->cpu_pin);
    hash = plan_hash_number(hash, node->cpu);
    hash = plan_hash_number(hash, node->memory);
    hash = plan_hash_number(hash, node->disk);
    for (unsigned i = 0; i < node->n_interfaces; i++) {
        struct slice_interface interface = plan_interface(slice, node, &node->interfaces[i]);

        hash = plan_hash(hash, interface.name);
        hash = plan_hash(hash, interface.mac);
        hash = plan_hash_number(hash, interface.mtu);
        hash = plan_hash_number(hash, interface.queues);
        for (unsigned j = 0; j < interface.n_addresses; j++)
            hash = plan_hash(hash, interface.addresses[j]);
    }
    return hash;
}

int plan_machine(const struct planner *planner, const struct slice_node *node, struct error *error)
{
    struct plan_machine *machine = &planner->plan->machines[planner->plan->n_machines++];
    const struct reconcile_settings *settings = planner->settings;
    struct vm_spec *spec = &machine->spec;
    int code = 0;

    machine->node = node;
    plan_fingerprint(machine->fingerprint, hash_machine(planner->slice, node));
    snprintf(spec->name, sizeof spec->name, "%s.%s", planner->slice->name, node->name);
    spec->cpu = node->cpu;
    spec->memory = node->memory;
    spec->hardware = settings->hardware;
    spec->huge = settings->huge;
    strcpy(spec->cpu_pin, node->cpu_pin);
    vm_numa_node(node->cpu_pin, spec->numa_node);
    spec->n_nics = node->n_interfaces;
    for (unsigned i = 0; i < node->n_interfaces && !code; i++)
        code = plan_nic(planner, node, i, &spec->nics[i], error);
    if (!code)
        code = plan_path(spec->console, sizeof spec->console, settings->state_folder, PLAN_FOLDER,
                         planner->slice->name, error, "%s.console", node->name);
    if (!code)
        code = plan_path(spec->agent, sizeof spec->agent, settings->run_folder, PLAN_FOLDER,
                         planner->slice->name, error, "%s.agent", node->name);
    if (!code)
        code = plan_path(spec->console_socket, sizeof spec->console_socket, settings->run_folder, PLAN_FOLDER,
                         planner->slice->name, error, "%s.console", node->name);
    return code ? code : plan_boot(planner, node, spec, error);
}
