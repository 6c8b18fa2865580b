/* SPDX-License-Identifier: Apache-2.0 */
/* A machine as libvirt wants it described: https://libvirt.org/formatdomain.html. */
#include <libxml/xmlwriter.h>
#include <stdlib.h>
#include <string.h>

#include "manager/vm.h"

#define QEMU_NAMESPACE "http://libvirt.org/schemas/domain/qemu/1.0"
#define TEXT(text) ((const xmlChar *)(text))

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
    element(xml, "on_poweroff", "destroy");
    element(xml, "on_reboot", "restart");
    element(xml, "on_crash", "destroy");
}

static void write_disk(xmlTextWriter *xml, const char *path, const char *format, const char *device,
                       bool read_only)
{
    begin(xml, "disk");
    attribute(xml, "type", "file");
    attribute(xml, "device", "disk");
    begin(xml, "driver");
    attribute(xml, "name", "qemu");
    attribute(xml, "type", format);
    end(xml);
    empty(xml, "source", "file", path);
    begin(xml, "target");
    attribute(xml, "dev", device);
    attribute(xml, "bus", "virtio");
    end(xml);
    if (read_only)
        empty(xml, "readonly", NULL, NULL);
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
    if (nic->mtu) {
        begin(xml, "mtu");
        number_attribute(xml, "size", nic->mtu);
        end(xml);
    }
    begin(xml, "driver");
    if (nic->queues > 1)
        number_attribute(xml, "queues", nic->queues);
    attribute(xml, "rx_queue_size", "1024");
    end(xml);
    end(xml);
}

static void write_consoles(xmlTextWriter *xml, const struct vm_spec *spec)
{
    begin(xml, "serial");
    attribute(xml, "type", "pty");
    begin(xml, "log");
    attribute(xml, "file", spec->console);
    attribute(xml, "append", "on");
    end(xml);
    begin(xml, "target");
    number_attribute(xml, "port", 0);
    end(xml);
    end(xml);
    begin(xml, "channel");
    attribute(xml, "type", "unix");
    begin(xml, "source");
    attribute(xml, "mode", "bind");
    attribute(xml, "path", spec->agent);
    end(xml);
    begin(xml, "target");
    attribute(xml, "type", "virtio");
    attribute(xml, "name", "org.qemu.guest_agent.0");
    end(xml);
    end(xml);
}

static void write_devices(xmlTextWriter *xml, const struct vm_spec *spec)
{
    begin(xml, "devices");
    element(xml, "emulator", "/usr/bin/qemu-system-x86_64");
    if (spec->disk[0])
        write_disk(xml, spec->disk, "qcow2", "vda", false);
    if (spec->seed[0])
        write_disk(xml, spec->seed, "raw", "vdb", true);
    for (unsigned i = 0; i < spec->n_nics; i++)
        write_nic(xml, &spec->nics[i], i);
    write_consoles(xml, spec);
    begin(xml, "controller");
    attribute(xml, "type", "usb");
    attribute(xml, "model", "none");
    end(xml);
    empty(xml, "memballoon", "model", "none");
    begin(xml, "rng");
    attribute(xml, "model", "virtio");
    begin(xml, "backend");
    attribute(xml, "model", "random");
    xmlTextWriterWriteString(xml, TEXT("/dev/urandom"));
    end(xml);
    end(xml);
    end(xml);
}

/* QEMU 7.2 without KVM crashes on vhost-user NICs with MSI-X. */
static void write_overrides(xmlTextWriter *xml, const struct vm_spec *spec)
{
    if (spec->hardware || !spec->n_nics)
        return;
    begin(xml, "qemu:override");
    for (unsigned i = 0; i < spec->n_nics; i++) {
        begin(xml, "qemu:device");
        xmlTextWriterWriteFormatAttribute(xml, TEXT("alias"), "ua-net%u", i);
        begin(xml, "qemu:frontend");
        begin(xml, "qemu:property");
        attribute(xml, "name", "vectors");
        attribute(xml, "type", "unsigned");
        attribute(xml, "value", "0");
        end(xml);
        end(xml);
        end(xml);
    }
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
