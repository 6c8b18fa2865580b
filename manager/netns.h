/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_NETNS_H
#define MANAGER_NETNS_H

/*
 * Nodes that are network namespaces (ip-netns(8)). Each interface is one end of a veth; the fast path has the other, which
 * stays in the machine's namespace, as an uplink.
 *
 *     netns_add("demo.t", &error);
 *     netns_add_interface("demo.t", &interface, &error);
 *     ...
 *     netns_remove("demo.t", &error);            // the interfaces go with it
 */

#include <stdbool.h>

#include "slice/slice.h"

struct error;

#define NETNS_NAME_SIZE (SLICE_NAME_SIZE + NODE_NAME_SIZE)

/* Makes a namespace; no error when there is one of that name. */
int netns_add(const char *name, struct error *error);

/*
 * Adds an interface as a slice describes it, with the other end 'host' in the machine's namespace; both are up then. What is
 * there of it already is made anew. On an error nothing of it is left.
 */
int netns_add_interface(const char *name, const struct slice_interface *interface, const char *host,
                        struct error *error);

/*
 * Ends the programs in a namespace, and removes it; no error when there is none. The kernel takes its interfaces and their
 * other ends away a little later.
 */
int netns_remove(const char *name, struct error *error);

bool netns_exists(const char *name);

#endif
