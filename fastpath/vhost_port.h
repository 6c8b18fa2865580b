/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_VHOST_PORT_H
#define FASTPATH_VHOST_PORT_H

#include <stdbool.h>

struct port;

/*
 * Lets the ports that connect to a socket, and are not connected, try; logs the rings that were stopped by a fault
 * since the last call. Control thread, every second.
 */
void vhost_ports_check(void);

/*
 * Tells a port that the page at 'address' has vanished, as when a front end cuts
 * its memory file short. Returns whether 'address' is memory of that port's guest;
 * then all its rings are stopped. May be called in a signal handler.
 */
bool vhost_port_memory_lost(struct port *port, const void *address);

#endif
