/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/seed.h"

#include <errno.h>

#include "lib/error.h"

int seed_write(const char *path, const struct slice_node *node, const char macs[][18], struct error *error)
{
    return error_set(error, ENOTSUP, "Node %s has an image, which this build cannot start; remove 'image'.",
                     node->name);
}
