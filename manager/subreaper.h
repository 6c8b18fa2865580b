/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_SUBREAPER_H
#define MANAGER_SUBREAPER_H

/*
 * Processes whose parents have ended become children of process 1. QEMU's are such: who starts it as a daemon (libvirt, for machines;
 * QEMU itself, when libvirt asks it what it can do) does not stay. When one of them ends it is there until its parent takes its
 * status; where process 1 is slow to, libvirt waits for it, up to 2 s for each machine. So it is this process that becomes their
 * parent, and that takes their status at once. Those that an earlier manager has started stay process 1's.
 *
 *     int main(void)
 *     {
 *         return subreaper_run(run, &settings);   // a thread calls run(&settings)
 *     }
 *
 * Nobody who waits for a child of his own is robbed of its status: subreaper.c says why.
 */

/*
 * Calls 'function' with 'argument' in a second thread, and is a subreaper until it returns; returns what it returns. To be called by
 * the process's first thread, while it is the only one. From then on SIGCHLD is blocked in all threads; those who start programs
 * set their signal mask anew.
 */
int subreaper_run(int (*function)(void *argument), void *argument);

#endif
