/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VNODE_HARDWARE_H
#define VNODE_HARDWARE_H

/* What the machine can do for guests. Any thread. */

#include <stdbool.h>

/*
 * Whether KVM runs guests here: /dev/kvm opens, and the CPU has what it needs (vmx, svm). 'why' (may be NULL) says why
 * not. 'root' goes before the names of all files; "" for the machine itself.
 */
bool hardware_runs_guests(const char *root, const char **why);

#endif
