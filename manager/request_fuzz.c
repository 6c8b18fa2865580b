/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of peers: what is taken for a request is one, and its id is told when it is none. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "manager/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool truth)
{
    if (!truth)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct request request;
    struct error error = {0};

    if (request_parse((const char *)data, size, &request, &error)) {
        demand(error.code && error.text[0] && !request.spec);
        return 0;
    }
    demand(request.id && request.method < REQUEST_METHODS);
    demand(!request.slice[0] || slice_name_is_good(request.slice, sizeof request.slice));
    demand(!request.node[0] || slice_name_is_good(request.node, sizeof request.node));
    demand((request.method == REQUEST_DEPLOY) == (request.spec != NULL));
    demand(!request.spec || strlen(request.spec) <= SLICE_FILE_SIZE_MAX);
    request_free(&request);
    return 0;
}
