/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_PLAN_INTERNAL_H
#define MANAGER_PLAN_INTERNAL_H

/* What the files that make plans share. */

#include "manager/plan.h"

struct planner {
    const struct slice_wish *wish;
    const struct slice *slice;
    const struct reconcile_settings *settings;
    struct plan *plan;
    int (*port_of)[SLICE_INTERFACES_MAX]; /* by node and interface: index of its port; -1: none */
};

/* FNV-1a, begun with PLAN_HASH, of a text with its NUL; and what makes all bits of the result depend on all of it. */
#define PLAN_HASH UINT64_C(0xcbf29ce484222325)
uint64_t plan_hash(uint64_t hash, const char *text);
uint64_t plan_hash_number(uint64_t hash, uint64_t number);
uint64_t plan_hash_end(uint64_t hash);

void plan_fingerprint(char fingerprint[FINGERPRINT_SIZE], uint64_t hash);

/* FOLDER/KIND/SLICE/NAME, NAME formatted; ENAMETOOLONG when 'size' bytes do not hold it. */
int plan_path(char *path, size_t size, const char *folder, const char *kind, const char *slice,
              struct error *error, const char *format, ...) __attribute__((format(printf, 7, 8)));

/* The socket of an interface of a machine. */
int plan_socket(const struct planner *planner, const struct slice_node *node,
                const struct slice_interface *interface, char socket[VM_SOCKET_SIZE], struct error *error);

/* An interface as it is to be: with a MAC address and an MTU. */
struct slice_interface plan_interface(const struct slice *slice, const struct slice_node *node,
                                      const struct slice_interface *interface);

/* Describes the machine that 'node' is. */
int plan_machine(const struct planner *planner, const struct slice_node *node, struct error *error);

#endif
