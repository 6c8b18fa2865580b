/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_VHOST_SOCKET_H
#define FASTPATH_VHOST_SOCKET_H

/* The socket of a guest's port, as DPDK's vhost library serves it. For the control thread. */

#include "fastpath/port.h"

struct rte_vhost_device_ops;

/*
 * Makes way for a socket to listen on: one that a fast path which was killed left behind is
 * removed. EADDRINUSE: another process answers there; EEXIST: it is no socket. A port that connects needs nothing.
 */
int vhost_socket_prepare(const struct port_spec *spec, struct error *error);

/*
 * Registers the socket with the library, which calls 'device_ops', and starts it; EIO. Closed by
 * rte_vhost_driver_unregister(). A client connects at once or not at all: the library
 * could go on trying, but when a port is removed while its guest leaves, it would do so for memory that
 * unregistering has freed (22.11: read callback against rte_vhost_driver_unregister). So who wants
 * to connect later closes and opens again.
 */
int vhost_socket_open(const struct port_spec *spec, const struct rte_vhost_device_ops *device_ops);

#endif
