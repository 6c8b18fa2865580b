/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_DIFFERENCE_H
#define MANAGER_DIFFERENCE_H

/* What a deploy would change, for people and programs. */

#include <jansson.h>

#include "slice/slice.h"

/*
 * The way from 'before' to 'after'; NULL: there is none. An array, to be freed, of {"action": "create", "change" or "remove", "kind":
 * "slice", "node" or "link", "item", "details"}: empty when both are the same.
 */
json_t *slice_difference(const struct slice *before, const struct slice *after);

/* A link's name: "a:eth0 - sw:p1". */
#define LINK_NAME_SIZE (2 * (NODE_NAME_SIZE + INTERFACE_NAME_SIZE) + 4)
void link_name(const struct slice *slice, const struct slice_link *link, char name[LINK_NAME_SIZE]);

#endif
