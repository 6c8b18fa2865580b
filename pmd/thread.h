/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_THREAD_H
#define PMD_THREAD_H

/*
 * Starts a thread that nobody joins, on the cores that DPDK leaves to such threads, without DPDK's user's signals.
 * EAGAIN, ENOMEM.
 */
int thread_start(void (*run)(void *argument), void *argument);

#endif
