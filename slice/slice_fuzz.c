/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a slice file: it is a slice whose indices are right, or has errors. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "slice/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice_errors errors;
    struct slice *slice = slice_parse((const char *)data, size, &errors);

    assert(!slice == (errors.n > 0));
    for (unsigned i = 0; slice && i < slice->n_links; i++)
        for (unsigned end = 0; end < 2; end++) {
            struct slice_endpoint place = slice->links[i].ends[end];

            assert(place.node < slice->n_nodes && place.interface < slice->nodes[place.node].n_interfaces);
            assert(slice->nodes[place.node].interfaces[place.interface].link == (int)i);
        }
    slice_free(slice);
    return 0;
}
