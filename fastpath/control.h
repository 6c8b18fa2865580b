/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_CONTROL_H
#define FASTPATH_CONTROL_H

/*
 * The control socket: a server for proto/ (docs/protocol.md), driven by the
 * control thread's main loop:
 *
 *     control_create("/run/vnode/fastpath.sock", NULL, tables, &error);
 *     add control_fd() to an epoll set; when it is readable:
 *         control_dispatch();
 *         if (control_stop_requested()) leave the loop
 *     control_destroy();
 *
 * Clients are hostile until proven otherwise, and slow: none of them makes another
 * wait, or memory grow without bound. A request is read only when the reply to
 * it has room; a subscriber that does not take its events is disconnected.
 */

#include <stdbool.h>
#include <stdint.h>

#include "lib/error.h"
#include "proto/message.h"

struct flow_tables;

/*
 * Listens on the socket 'path', mode 0600, or 0660 with group 'group' unless that is NULL. A socket that a
 * dead fast path left there is replaced; EADDRINUSE when a living one answers. When this returns 0, clients
 * get their HELLO as soon as control_dispatch() is called. 'tables' stays the caller's.
 */
int control_create(const char *path, const char *group, struct flow_tables *tables, struct error *error);

/* Becomes readable when there is work for control_dispatch(). */
int control_fd(void);

/* Serves what clients want now, for a bounded time, and returns. Never waits for a client. */
void control_dispatch(void);

/* In what time control_tick() is to be called; NULL: there is nothing to do. For ppoll() and epoll_pwait2(); valid until the next call. */
const struct timespec *control_tick_due(void);

/* Does what is due (offload.h), if it is, for some milliseconds at most. */
void control_tick(void);

/* Whether a client has asked the fast path to stop. */
bool control_stop_requested(void);

/*
 * Publishes an event about port 'port' called 'name' to the subscribers; 'text' says why, or is "". Any
 * thread but a worker; never waits. Before control_create() and after control_destroy() it does nothing.
 */
void control_event(enum event_kind kind, uint16_t port, const char *name, const char *text);

/* Closes all connections and removes the socket. */
void control_destroy(void);

#endif
