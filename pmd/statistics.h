/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_STATISTICS_H
#define PMD_STATISTICS_H

/*
 * Counters of a device. The basic ones are the port's, so that they hold what the fast path forwarded by itself, too: what
 * came from the guest is received, what went to it is sent. The extended ones tell about the rings and the
 * rules. Open vSwitch shows those whose names end in "_errors" or "_dropped".
 */

#include <rte_ethdev.h>

int statistics_get(struct rte_eth_dev *device, struct rte_eth_stats *statistics);
int statistics_reset(struct rte_eth_dev *device);
int statistics_extended_names(struct rte_eth_dev *device, struct rte_eth_xstat_name *names, unsigned n);
int statistics_extended(struct rte_eth_dev *device, struct rte_eth_xstat *values, unsigned n);

#endif
