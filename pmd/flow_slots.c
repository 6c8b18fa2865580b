/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/flow_slots.h"

#include <assert.h>
#include <stdlib.h>

#define ROOM_MIN 256

/* There is room to take every number back that was given out, so that flow_slots_give() cannot fail. */
static int make_room(struct flow_slots *slots)
{
    uint32_t room = slots->room ? 2 * slots->room : ROOM_MIN;
    uint32_t *numbers;

    if (slots->n_fresh < slots->room)
        return 0;
    numbers = realloc(slots->free, room * sizeof *numbers);
    if (!numbers)
        return -1;
    slots->free = numbers;
    slots->room = room;
    return 0;
}

uint32_t flow_slots_take(struct flow_slots *slots)
{
    if (slots->n_free && slots->free[slots->n_free - 1] < slots->limit)
        return slots->free[--slots->n_free];
    if (slots->n_fresh >= slots->limit || make_room(slots))
        return FLOW_SLOT_NONE;
    return slots->n_fresh++;
}

void flow_slots_give(struct flow_slots *slots, uint32_t slot)
{
    assert(slot < slots->n_fresh && slots->n_free < slots->n_fresh);
    slots->free[slots->n_free++] = slot;
}

void flow_slots_finish(struct flow_slots *slots)
{
    free(slots->free);
    *slots = (struct flow_slots){0};
}
