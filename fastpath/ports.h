/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_PORTS_H
#define FASTPATH_PORTS_H

/* The set of ports as the daemon starts and ends it. */

struct flow_tables;

/* 'tables' is used until ports_remove_all() has returned. */
void ports_init(struct flow_tables *tables);
void ports_remove_all(void);

/*
 * Takes representors and captures away from those who made a doorbell block (doorbell.h). Control
 * thread, every second.
 */
void ports_check(void);

#endif
