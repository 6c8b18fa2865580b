/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_REPRESENTOR_H
#define PMD_REPRESENTOR_H

/* A device as DPDK sees it. */

#include "pmd/arguments.h"
#include "pmd/driver.h"

struct rte_vdev_device;

/*
 * Makes the device and gives it to its connection; the fast path may not be there yet. 0 or a positive errno value,
 * 'error' then says why. DPDK's user's thread.
 */
int representor_create(struct rte_vdev_device *device, const struct arguments *arguments, struct error *error);

/*
 * The connection's thread tells that the port's link went up or down. Matters to a DPDK user that asked for link
 * interrupts; all others ask when they want to know.
 */
void representor_link_changed(struct representor *representor);

#endif
