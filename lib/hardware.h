/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VNODE_HARDWARE_H
#define VNODE_HARDWARE_H

/* What the machine can do for guests. Any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#define QEMU_USER "libvirt-qemu" /* as whom libvirt runs QEMU */

/*
 * Whether KVM runs guests here: /dev/kvm opens, also to QEMU_USER, and the CPU has what it needs (vmx, svm). 'why' (may be NULL)
 * says why not. 'root' goes before the names of all files; "" for the machine itself.
 */
bool hardware_runs_guests(const char *root, const char **why);

/*
 * Whether /dev/kvm is there, but not open to QEMU_USER; 'command' of 'size' bytes then opens it. libvirt probes QEMU with more
 * rights than it runs guests with: it finds a KVM that it then finds missing, and so probes QEMU anew, for
 * seconds, each time that it looks at a guest or a device of one. Guests take minutes to start.
 */
bool hardware_misleads_libvirt(const char *root, char *command, size_t size);

/* Whether a process of user 'uid', in these groups, may read and write a file of this owner, group and mode. */
bool hardware_may_open(const struct stat *file, uid_t uid, const gid_t groups[], size_t n_groups);

#endif
