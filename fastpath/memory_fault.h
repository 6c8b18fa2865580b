/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_MEMORY_FAULT_H
#define FASTPATH_MEMORY_FAULT_H

/*
 * A guest's memory is a file that its front end can cut short at any time; the next
 * access to what is gone raises SIGBUS. This installs a handler that puts a page
 * of zeroes there, stops the port, and lets the access go on. Call once, before
 * the first port.
 */
void memory_fault_install(void);

#endif
