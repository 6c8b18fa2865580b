/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes are read as a message; what is accepted has to come out of the writer as the same bytes. */
#include <stdlib.h>

#include "proto/message_recode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t again[MESSAGE_SIZE_MAX];
    struct wire_writer writer = wire_writer(again, sizeof again);

    if (!recode(data, size, &writer))
        return 0;
    if (writer.bad || wire_size(&writer) > size || memcmp(again, data, wire_size(&writer)))
        abort();
    /* Only HELLO may have something behind what is known of it. */
    if (wire_size(&writer) < size && data[0] != MESSAGE_HELLO)
        abort();
    return 0;
}
