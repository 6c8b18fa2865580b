/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_ONLOAD_H
#define FASTPATH_ONLOAD_H

/*
 * The way to the vSwitch. What senders left open is finished first: checksums are completed, and what is to be
 * segmented is, in order with its neighbours; for Open vSwitch passes on neither request (userspace-tso, its
 * experiment, aside). So frames to the vSwitch ask for nothing, and those that were cut fit the MTU of the port that they came in by.
 */

#include "fastpath/worker_internal.h"

/* Hands 'n' packets, taken from 'queue', to the vSwitch, or counts them as dropped. Those with open requests have been parsed. */
void onload(struct worker *worker, struct receive_queue *queue, struct packet *const packets[], uint16_t n);

#endif
