/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_VHOST_GUARD_H
#define FASTPATH_VHOST_GUARD_H

/*
 * A guard before DPDK's vhost library. The library serves all front ends in one
 * thread and trusts them in ways that a hostile one can use (each is named in
 * vhost_guard.c). Its callbacks come too late for that, and do not see the file descriptors of a
 * message. So this module puts a function recvmsg() between library and C
 * library, which the dynamic linker prefers: it looks at each vhost-user message
 * as a whole, with its descriptors, and lets through what the vhost-user
 * specification allows and this back end offers. A front end that sends anything
 * else loses its connection; the library is told that it has closed it.
 *
 * What is let through: requests of the table in vhost_guard.c, with the payload and the
 * number of descriptors that belong to them; memory that can be mapped and does
 * not block; eventfds.
 */

/*
 * Why the calling thread's last message was refused, a sentence without full stop; "" when it was
 * not. Forgets it. For the library's callbacks, which run in the thread that received.
 */
const char *vhost_guard_take_refusal(void);

#endif
