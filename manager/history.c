/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/history.h"

#include <string.h>

json_t *history_add(struct history *history, json_t *event)
{
    json_t **place = &history->events[history->n % HISTORY_MAX];

    json_decref(*place);
    *place = event;
    json_object_set_new(event, "n", json_integer((json_int_t)++history->n));
    return event;
}

bool history_is_of(const json_t *event, const char *slice)
{
    const char *name = json_string_value(json_object_get(event, "slice"));

    return !*slice || (name && !strcmp(name, slice));
}

void history_each(const struct history *history, const char *slice,
                  void (*show)(json_t *event, void *argument), void *argument)
{
    uint64_t first = history->n > HISTORY_MAX ? history->n - HISTORY_MAX : 0;

    for (uint64_t i = first; i < history->n; i++)
        if (history_is_of(history->events[i % HISTORY_MAX], slice))
            show(history->events[i % HISTORY_MAX], argument);
}

void history_clear(struct history *history)
{
    for (unsigned i = 0; i < HISTORY_MAX; i++) {
        json_decref(history->events[i]);
        history->events[i] = NULL;
    }
}
