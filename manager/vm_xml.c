/* SPDX-License-Identifier: Apache-2.0 */
/* A machine as libvirt wants it described: https://libvirt.org/formatdomain.html. */
#include <libxml/xmlwriter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/vm.h"

#define QEMU_NAMESPACE "http://libvirt.org/schemas/domain/qemu/1.0"
#define TEXT(text) ((const xmlChar *)(text))

/*
 * The guest agent's channel. In the guest it has the name for which each distribution's qemu-guest-agent looks. libvirt takes a
 * channel of that name for itself, as the one client that QEMU lets in at a time, so it is told another one. Thus
 * whoever may open the socket speaks to the agent, in whatever process it is (guest-agent/guest_agent.h), with or without
 * a manager, under qemu:///embed and qemu:///system alike.
 */
#define AGENT_NAME "org.qemu.guest_agent.0"
#define AGENT_ALIAS "ua-agent"

/* Slots that q35 has no device of its own in, see write_address(). */
#define PCI_SLOT_FIRST 2
#define PCI_SLOTS 24
enum { DEVICE_SERIAL, DEVICE_RNG, DEVICE_DISK, DEVICE_SEED, DEVICE_NIC }; /* and the other NICs */
_Static_assert(DEVICE_NIC + SLICE_INTERFACES_MAX <= PCI_SLOTS * 8, "a slot has eight functions");

/*
 * Elements and attributes. libxml2 fails for want of memory only, which ends with a document that is not whole; then libvirt
 * refuses it.
 */
static void begin(xmlTextWriter *xml, const char *name)
{
    xmlTextWriterStartElement(xml, TEXT(name));
}

static void end(xmlTextWriter *xml)
{
    xmlTextWriterEndElement(xml);
}

static void attribute(xmlTextWriter *xml, const char *name, const char *value)
{
    xmlTextWriterWriteAttribute(xml, TEXT(name), TEXT(value));
}

static void number_attribute(xmlTextWriter *xml, const char *name, unsigned value)
{
    xmlTextWriterWriteFormatAttribute(xml, TEXT(name), "%u", value);
}

static void element(xmlTextWriter *xml, const char *name, const char *text)
{
    xmlTextWriterWriteElement(xml, TEXT(name), TEXT(text));
}

/* <name key='value'/> */
static void empty(xmlTextWriter *xml, const char *name, const char *key, const char *value)
{
    begin(xml, name);
    if (key)
        attribute(xml, key, value);
    end(xml);
}

/*
 * The place of the device number 'n' on the first PCI bus: without it, libvirt makes a bus with a bridge for each, which a guest looks
 * through at each boot. There are more devices than slots only with many NICs.
 */
static void write_address(xmlTextWriter *xml, unsigned n)
{
    begin(xml, "address");
    attribute(xml, "type", "pci");
    number_attribute(xml, "bus", 0);
    number_attribute(xml, "slot", PCI_SLOT_FIRST + n % PCI_SLOTS);
    number_attribute(xml, "function", n / PCI_SLOTS);
    if (n < PCI_SLOTS)
        attribute(xml, "multifunction", "on");
    end(xml);
}

static void write_memory(xmlTextWriter *xml, const struct vm_spec *spec)
{
    begin(xml, "memory");
    attribute(xml, "unit", "KiB");
    xmlTextWriterWriteFormatString(xml, "%llu", (unsigned long long)spec->memory >> 10);
    end(xml);
    /* The fast path maps it. */
    begin(xml, "memoryBacking");
    if (spec->huge)
        element(xml, "hugepages", "");
    empty(xml, "source", "type", "memfd");
    empty(xml, "access", "mode", "shared");
    end(xml);
    if (spec->numa_node[0]) {
        begin(xml, "numatune");
        begin(xml, "memory");
        attribute(xml, "mode", "preferred");
        attribute(xml, "nodeset", spec->numa_node);
        end(xml);
        end(xml);
    }
}

static void write_cpus(xmlTextWriter *xml, const struct vm_spec *spec)
{
    begin(xml, "vcpu");
    attribute(xml, "placement", "static");
    if (spec->cpu_pin[0])
        attribute(xml, "cpuset", spec->cpu_pin);
    xmlTextWriterWriteFormatString(xml, "%u", spec->cpu);
    end(xml);
    begin(xml, "cpu");
    if (spec->hardware) {
        attribute(xml, "mode", "host-passthrough");
    } else {
        attribute(xml, "mode", "custom");
        element(xml, "model", "Nehalem"); /* what is quick to emulate, and new enough for Debian's kernel */
    }
    end(xml);
}

static void write_boot(xmlTextWriter *xml, const struct vm_spec *spec)
{
    begin(xml, "os");
    begin(xml, "type");
    attribute(xml, "arch", "x86_64");
    attribute(xml, "machine", "q35");
    xmlTextWriterWriteString(xml, TEXT("hvm"));
    end(xml);
    if (spec->kernel[0]) {
        element(xml, "kernel", spec->kernel);
        element(xml, "initrd", spec->initrd);
        element(xml, "cmdline", spec->command_line);
    } else {
        empty(xml, "boot", "dev", "hd");
    }
    end(xml);
    begin(xml, "features");
    empty(xml, "acpi", NULL, NULL);
    end(xml);
    begin(xml, "clock");
    attribute(xml, "offset", "utc");
    end(xml);
    element(xml, "on_poweroff", "destroy");
    element(xml, "on_reboot", "restart");
    element(xml, "on_crash", "destroy");
}

/*
 * What a guest discards, or overwrites with zeroes, is given back to the host's file system. The host's page cache is used
 * (a guest's flushes go through to the disk): machines share what they read of one image, and it works on any file system.
 */
static void write_disk(xmlTextWriter *xml, const char *path, const char *device, bool seed)
{
    begin(xml, "disk");
    attribute(xml, "type", "file");
    attribute(xml, "device", "disk");
    begin(xml, "driver");
    attribute(xml, "name", "qemu");
    attribute(xml, "type", seed ? "raw" : "qcow2");
    if (!seed) {
        attribute(xml, "cache", "writeback");
        attribute(xml, "discard", "unmap");
        attribute(xml, "detect_zeroes", "unmap");
    }
    end(xml);
    empty(xml, "source", "file", path);
    begin(xml, "target");
    attribute(xml, "dev", device);
    attribute(xml, "bus", "virtio");
    end(xml);
    if (seed)
        empty(xml, "readonly", NULL, NULL);
    write_address(xml, seed ? DEVICE_SEED : DEVICE_DISK);
    end(xml);
}

static void write_nic(xmlTextWriter *xml, const struct vm_nic *nic, unsigned i)
{
    begin(xml, "interface");
    attribute(xml, "type", "vhostuser");
    begin(xml, "alias");
    xmlTextWriterWriteFormatAttribute(xml, TEXT("name"), "ua-net%u", i);
    end(xml);
    empty(xml, "mac", "address", nic->mac);
    begin(xml, "source");
    attribute(xml, "type", "unix");
    attribute(xml, "path", nic->socket);
    attribute(xml, "mode", "server");
    end(xml);
    empty(xml, "model", "type", "virtio");
    begin(xml, "driver");
    if (nic->queues > 1)
        number_attribute(xml, "queues", nic->queues);
    attribute(xml, "rx_queue_size", "1024");
    end(xml);
    write_address(xml, DEVICE_NIC + i);
    end(xml);
}

/* The serial console: whoever connects to its socket has it; what it prints is logged all the time. */
static void write_console(xmlTextWriter *xml, const struct vm_spec *spec)
{
    begin(xml, "serial");
    attribute(xml, "type", spec->console_socket[0] ? "unix" : "null");
    if (spec->console_socket[0]) {
        begin(xml, "source");
        attribute(xml, "mode", "bind");
        attribute(xml, "path", spec->console_socket);
        end(xml);
    }
    begin(xml, "log");
    attribute(xml, "file", spec->console);
    attribute(xml, "append", "on");
    end(xml);
    begin(xml, "target");
    number_attribute(xml, "port", 0);
    end(xml);
    end(xml);
}

/* See AGENT_NAME. */
static void write_agent(xmlTextWriter *xml, const struct vm_spec *spec)
{
    begin(xml, "channel");
    attribute(xml, "type", "unix");
    begin(xml, "source");
    attribute(xml, "mode", "bind");
    attribute(xml, "path", spec->agent);
    end(xml);
    begin(xml, "target");
    attribute(xml, "type", "virtio");
    attribute(xml, "name", "org.vnode.agent.0");
    end(xml);
    empty(xml, "alias", "name", AGENT_ALIAS);
    end(xml);
}

static void write_devices(xmlTextWriter *xml, const struct vm_spec *spec)
{
    begin(xml, "devices");
    element(xml, "emulator", "/usr/bin/qemu-system-x86_64");
    if (spec->disk[0])
        write_disk(xml, spec->disk, "vda", false);
    if (spec->seed[0])
        write_disk(xml, spec->seed, "vdb", true);
    for (unsigned i = 0; i < spec->n_nics; i++)
        write_nic(xml, &spec->nics[i], i);
    write_console(xml, spec);
    if (spec->agent[0])
        write_agent(xml, spec);
    begin(xml, "controller");
    attribute(xml, "type", "usb");
    attribute(xml, "model", "none");
    end(xml);
    begin(xml, "controller");
    attribute(xml, "type", "virtio-serial");
    write_address(xml, DEVICE_SERIAL);
    end(xml);
    empty(xml, "memballoon", "model", "none");
    begin(xml, "rng");
    attribute(xml, "model", "virtio");
    begin(xml, "backend");
    attribute(xml, "model", "random");
    xmlTextWriterWriteString(xml, TEXT("/dev/urandom"));
    end(xml);
    write_address(xml, DEVICE_RNG);
    end(xml);
    end(xml);
}

static void write_property(xmlTextWriter *xml, const char *name, const char *type, const char *value)
{
    begin(xml, "qemu:property");
    attribute(xml, "name", name);
    attribute(xml, "type", type);
    attribute(xml, "value", value);
    end(xml);
}

/* libvirt would look for an interface of the machine to set the MTU of, too. QEMU 7.2 without KVM crashes on MSI-X here. */
static void override_nic(xmlTextWriter *xml, const struct vm_spec *spec, unsigned i)
{
    char mtu[8];

    begin(xml, "qemu:device");
    xmlTextWriterWriteFormatAttribute(xml, TEXT("alias"), "ua-net%u", i);
    begin(xml, "qemu:frontend");
    snprintf(mtu, sizeof mtu, "%u", spec->nics[i].mtu);
    if (spec->nics[i].mtu)
        write_property(xml, "host_mtu", "unsigned", mtu);
    if (!spec->hardware)
        write_property(xml, "vectors", "unsigned", "0");
    end(xml);
    end(xml);
}

/* What QEMU is told past libvirt. */
static void write_overrides(xmlTextWriter *xml, const struct vm_spec *spec)
{
    begin(xml, "qemu:override");
    if (spec->agent[0]) {
        begin(xml, "qemu:device");
        attribute(xml, "alias", AGENT_ALIAS);
        begin(xml, "qemu:frontend");
        write_property(xml, "name", "string", AGENT_NAME);
        end(xml);
        end(xml);
    }
    for (unsigned i = 0; i < spec->n_nics; i++)
        if (spec->nics[i].mtu || !spec->hardware)
            override_nic(xml, spec, i);
    end(xml);
}

/* Machines of ours are known by this. */
static void write_mark(xmlTextWriter *xml)
{
    begin(xml, "metadata");
    begin(xml, "vnode:machine");
    attribute(xml, "xmlns:vnode", VM_MARK);
    end(xml);
    end(xml);
}

char *vm_xml(const struct vm_spec *spec)
{
    xmlBuffer *buffer = xmlBufferCreate();
    xmlTextWriter *xml = buffer ? xmlNewTextWriterMemory(buffer, 0) : NULL;
    char *text = NULL;

    if (xml) {
        xmlTextWriterSetIndent(xml, 1);
        begin(xml, "domain");
        attribute(xml, "type", spec->hardware ? "kvm" : "qemu");
        attribute(xml, "xmlns:qemu", QEMU_NAMESPACE);
        element(xml, "name", spec->name);
        write_mark(xml);
        write_memory(xml, spec);
        write_cpus(xml, spec);
        write_boot(xml, spec);
        write_devices(xml, spec);
        write_overrides(xml, spec);
        end(xml);
        xmlFreeTextWriter(xml);
        text = strdup((const char *)xmlBufferContent(buffer));
    }
    xmlBufferFree(buffer);
    return text;
}
