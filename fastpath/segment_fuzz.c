/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Input: how the frame lies in memory, what its sender asks for, the receiver's MTU, and
 * the frame. Whatever packet_check_offload() lets through must be finished without harm, and all of
 * the payload must come out.
 */

#include <stdlib.h>
#include <string.h>

#include "fastpath/segment.h"

struct input {
    uint8_t head_size;
    uint8_t piece_size; /* of the parts behind the head; 0: one part */
    uint16_t mtu;
    struct packet_offload offload;
};

struct total {
    uint64_t size;
    unsigned n;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool add_up(struct packet *segment, void *argument)
{
    struct total *total = argument;
    uint64_t size = (uint64_t)segment->head_size + segment->tail_size;

    for (unsigned i = 0; i < segment->n_more; i++)
        size += segment->more[i].size;
    if (size != segment->size || ++total->n > GSO_SEGMENTS_MAX)
        abort();
    memset(segment->head - segment->headroom, 0, segment->headroom);
    packet_finish_checksum(segment);
    total->size += size;
    return true;
}

static void lay_out(struct packet *packet, struct packet_segment *more, const uint8_t *rest, uint32_t size,
                    uint8_t piece_size)
{
    packet->tail = rest;
    packet->tail_size = piece_size && piece_size < size ? piece_size : size;
    rest += packet->tail_size;
    size -= packet->tail_size;
    packet->more = more;
    while (size) {
        uint32_t piece = piece_size < size && packet->n_more < PACKET_SEGMENTS_MAX - 2 ? piece_size : size;

        more[packet->n_more++] = (struct packet_segment){rest, piece};
        rest += piece;
        size -= piece;
    }
}

static void finish(struct packet *packet, uint32_t mtu)
{
    struct total total = {0};
    int result;

    if (packet->offload.gso_type && packet->offload.gso_type != PACKET_GSO_UDP) {
        uint32_t header_size = packet->offload.hdr_len, payload = packet->size - header_size;

        result = packet_segment_gso(packet, mtu & 1, add_up, &total);
        if (result || total.size - (uint64_t)total.n * header_size != payload)
            abort(); /* what was checked must be possible */
    } else {
        packet_fragment(packet, mtu, add_up, &total);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct packet_segment more[PACKET_SEGMENTS_MAX];
    struct packet packet = {0};
    struct flow_key key;
    struct input input;
    uint8_t *memory;

    if (size < sizeof input + 14 || size > sizeof input + FRAME_SIZE_MAX)
        return 0;
    memcpy(&input, data, sizeof input);
    data += sizeof input;
    size -= sizeof input;
    packet.size = (uint32_t)size;
    packet.head_size = (uint16_t)(size < 14u + input.head_size ? size : 14u + input.head_size);
    memory = malloc(packet.head_size);
    if (!memory)
        return 0;
    memcpy(memory, data, packet.head_size);
    packet.head = memory;
    packet.offload = input.offload;
    lay_out(&packet, more, data + packet.head_size, packet.size - packet.head_size, input.piece_size);
    packet_parse(&packet, &key);
    if (!packet_check_offload(&packet))
        finish(&packet, input.mtu);
    free(memory);
    return 0;
}
