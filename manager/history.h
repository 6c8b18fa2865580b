/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_HISTORY_H
#define MANAGER_HISTORY_H

/* The last HISTORY_MAX events, each an object that has got a number "n", counted from 1. One thread. */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define HISTORY_MAX 1000

struct history {
    uint64_t n; /* of all events so far */
    json_t *events[HISTORY_MAX];
};

/* Adds an event; taken over. Returns it, borrowed. */
json_t *history_add(struct history *history, json_t *event);

/* Calls 'show' with each event that is of 'slice' ("": any), the oldest first. */
void history_each(const struct history *history, const char *slice,
                  void (*show)(json_t *event, void *argument), void *argument);

/* Whether an event is of 'slice'; "": of course. */
bool history_is_of(const json_t *event, const char *slice);

void history_clear(struct history *history);

#endif
