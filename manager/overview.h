/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_OVERVIEW_H
#define MANAGER_OVERVIEW_H

/*
 * What there is to see of slices, as JSON (docs/manager-protocol.md). All of it comes out of the store's mirror, under its lock, so
 * that it costs no waiting, whatever the keeper is doing. Results are the caller's to free.
 */

#include <jansson.h>

#include "manager/reconcile.h"
#include "manager/store.h"

json_t *overview_list(struct store *store);

/* NULL with an error: there is no such slice. */
json_t *overview_inspect(struct store *store, const struct reconcile_settings *settings, const char *slice,
                         struct error *error);

/* What is promised and used; 'daemons' is put into it, and taken over. */
json_t *overview_usage(struct store *store, const struct admission_capacity *capacity, json_t *daemons);

/* What a deploy of 'spec' would do; NULL with an error: it would be refused. */
json_t *overview_plan(struct store *store, const struct admission_capacity *capacity, const char *spec,
                      struct error *error);

#endif
