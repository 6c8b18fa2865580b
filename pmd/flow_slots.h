/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_FLOW_SLOTS_H
#define PMD_FLOW_SLOTS_H

/* Numbers from 0 on, each given out once until it is given back; the caller locks. */

#include <stdint.h>

struct flow_slots {
    uint32_t limit;   /* how many there are */
    uint32_t n_fresh; /* those from here on were never given out */
    uint32_t n_free;
    uint32_t room;  /* of 'free' */
    uint32_t *free; /* 'n_free' numbers that were given back; the last one goes first */
};

#define FLOW_SLOT_NONE UINT32_MAX

/* A number, or FLOW_SLOT_NONE: all are taken, or no memory. */
uint32_t flow_slots_take(struct flow_slots *slots);

void flow_slots_give(struct flow_slots *slots, uint32_t slot);

void flow_slots_finish(struct flow_slots *slots);

#endif
