/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_VM_H
#define MANAGER_VM_H

/*
 * Virtual machines, whoever runs them: libvirt in this process (vm_libvirt), the system's libvirtd, so that virsh and
 * virt-manager see them, too (vm_libvirt_system), or nobody, for tests (vm_fake).
 *
 *     const struct vm_driver *driver = &vm_libvirt;
 *
 *     driver->open(&vms, "/run/vnode/libvirt", &error);
 *     driver->start(vms, &spec, &error);
 *     ...
 *     driver->stop(vms, "demo.a", &error);
 *     driver->close(vms);
 *
 * A machine's name is "SLICE.NODE". All machines that a driver lists belong to this node.
 */

#include <stdbool.h>
#include <stdint.h>

#include "lib/error.h"
#include "lib/hardware.h"
#include "slice/slice.h"

#define VM_NAME_SIZE (SLICE_NAME_SIZE + NODE_NAME_SIZE)
#define VM_SOCKET_SIZE 108        /* of sockaddr_un */
#define VM_COMMAND_LINE_SIZE 2048 /* what Linux takes on x86 */

/* The user as whom QEMU runs. Who makes files for it gives them to that user; parent folders have to let it through. */
#define VM_USER QEMU_USER

/* An XML name space: by an element of it libvirt's machines are known to be ours. */
#define VM_MARK "urn:vnode:machine"

/* A NIC of a machine. Its vhost-user socket is served by the machine; the fast path connects. */
struct vm_nic {
    char mac[18];
    char socket[VM_SOCKET_SIZE]; /* QEMU alone makes files in that folder while machines start */
    uint16_t queues;
    uint16_t mtu; /* 0: the guest's own */
};

/* All that there is to know to start a machine. */
struct vm_spec {
    char name[VM_NAME_SIZE];
    uint32_t cpu;
    uint64_t memory;               /* bytes */
    bool hardware;                 /* KVM; else emulation */
    bool huge;                     /* memory of hugepages */
    char cpu_pin[SLICE_PATH_SIZE]; /* host CPUs; "": any */
    char numa_node[8];             /* where memory is preferred; "": anywhere. See vm_numa_node() */
    char kernel[SLICE_PATH_SIZE];  /* with 'initrd' and 'command_line'; "": boots from 'disk' */
    char initrd[SLICE_PATH_SIZE];
    char command_line[VM_COMMAND_LINE_SIZE];
    char disk[SLICE_PATH_SIZE];          /* qcow2; "": none */
    char seed[SLICE_PATH_SIZE];          /* NoCloud image; "": none */
    char console[SLICE_PATH_SIZE];       /* log of the serial console, see manager/console_log.h */
    char console_socket[VM_SOCKET_SIZE]; /* the serial console itself, for one client at a time; "": none */
    char agent[VM_SOCKET_SIZE];          /* socket of the guest agent's channel, likewise; "": none */
    unsigned n_nics;
    struct vm_nic nics[SLICE_INTERFACES_MAX];
};

enum vm_state {
    VM_ABSENT,
    VM_RUNNING,
    VM_STOPPED, /* it has ended by itself, or crashed */
};

struct vms;

struct vm_driver {
    const char *name;

    /* Opens the driver with a folder of its own, if it wants one. Returns 0, or a positive errno value with a sentence. */
    int (*open)(struct vms **vms, const char *folder, struct error *error);
    void (*close)(struct vms *vms);

    /*
     * Starts a machine; returns when it runs, which is before its system has booted. EEXIST: it does already. One that has
     * stopped is forgotten first. Several threads may start and stop, each another machine.
     */
    int (*start)(struct vms *vms, const struct vm_spec *spec, struct error *error);

    /* Ends a machine at once, and forgets it; no error when there is none. Several threads, as for 'start'. */
    int (*stop)(struct vms *vms, const char *name, struct error *error);

    /* What a machine does. */
    enum vm_state (*state)(struct vms *vms, const char *name);

    /* Calls 'found' with the name of each machine. */
    int (*list)(struct vms *vms, void (*found)(const char *name, void *argument), void *argument,
                struct error *error);

    /* CPU time of a machine in nanoseconds; 0: there is none. */
    uint64_t (*cpu_time)(struct vms *vms, const char *name);
};

/*
 * To be called first of all by a process that uses libuv besides machines. libvirt forks twice to start one, and closes descriptors
 * in between; libuv makes its pipe for signals anew in each child, by closing the numbers that it knew, which might be
 * libvirt's new ones by then. Those are the lowest: so they shall never be libuv's.
 */
void vm_reserve_descriptors(void);

/* A process uses one of libvirt's two, and not the other one. */
extern const struct vm_driver vm_libvirt, vm_libvirt_system, vm_fake;

/* hardware_runs_guests() of this machine. */
static inline bool vm_hardware_works(const char **why)
{
    return hardware_runs_guests("", why);
}

/*
 * The NUMA node to which all CPUs of 'cpus' (such as "2-3,6") belong, for vm_spec's 'numa_node'; "" when they belong to several,
 * or the machine has one node only.
 */
void vm_numa_node(const char *cpus, char node[8]);

/* Gives a file that QEMU has to write or read to VM_USER, and to nobody else; makes an empty one if there is none. Any thread. */
int vm_give_file(const char *path, struct error *error);

/*
 * Lets VM_USER make files in a folder, but change no others there; and takes that back, but not the files. A folder that is lent
 * several times has to be taken back as often. Any thread.
 */
int vm_lend_folder(const char *path, struct error *error);
void vm_take_back_folder(const char *path);

/* If VM_USER cannot read the file 'path', makes a copy in 'folder' and 'path' that of the copy. Any thread. */
int vm_make_readable(char path[SLICE_PATH_SIZE], const char *folder, struct error *error);

/*
 * Removes what an embedded libvirt keeps about machines whose process is not there; to be called before it is opened. When we were
 * killed while it started one, it would wait half a minute for that one's monitor, and let nobody end it; without its file
 * it takes the machine for one that has stopped.
 */
void vm_remove_remains(const char *folder);

/* The description of a machine for libvirt, XML, to be freed; NULL: there is no memory. */
char *vm_xml(const struct vm_spec *spec);

#endif
