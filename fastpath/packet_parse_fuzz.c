/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The head lies at the very end of an allocation of its exact size, so that any
 * read behind it is found; the short and the general way must agree. The first
 * two input bytes say how much longer than its head the frame is.
 */

#include <stdlib.h>

#include "fastpath/packet_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flow_key key, general_key;
    struct packet packet = {0}, general;

    if (size < 2 + 14 || size > 2 + SNAPSHOT_SIZE_MAX)
        return 0;
    packet.head_size = size - 2;
    packet.tail_size = data[0] << 8 | data[1];
    packet.size = packet.head_size + packet.tail_size;
    packet.head = malloc(packet.head_size);
    if (!packet.head)
        abort();
    memcpy(packet.head, data + 2, packet.head_size);
    general = packet;
    memset(&key, 0x55, sizeof key);
    packet_parse(&packet, &key);
    packet_parse_general(&general, &general_key);
    if (memcmp(&key, &general_key, sizeof key) != 0 || packet.l3_offset != general.l3_offset ||
        packet.l4_offset != general.l4_offset)
        abort();
    /* What actions rely on. */
    if (packet.l4_offset && (packet.l4_offset <= packet.l3_offset || packet.l4_offset + 8 > packet.head_size))
        abort();
    if (packet.l3_offset && packet.l3_offset + 20 > packet.head_size)
        abort();
    free(packet.head);
    return 0;
}
