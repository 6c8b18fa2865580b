/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Input: head size, offload fields, number of actions, the actions (their structs but for
 * the pointer), and the rest is the frame. All memory is allocated in the exact size.
 */

#include <stdlib.h>
#include <string.h>

#include "fastpath/action.h"
#include "fastpath/segment.h"

struct input {
    uint8_t head_size;
    uint8_t headroom;
    uint8_t n_actions;
    struct packet_offload offload;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool apply_all(struct packet *packet, const struct action *actions, unsigned n, const uint8_t *raw)
{
    for (unsigned i = 0; i < n; i++) {
        struct action action = actions[i];
        int reason;

        if (action.type == ACTION_ENCAP_RAW) {
            if (action.raw_size > 128)
                return false;
            action.raw = (uint8_t *)(uintptr_t)raw;
            if (packet->offload.gso_type)
                return false;
            packet_finish_checksum(packet);
        }
        reason = action_apply(&action, packet);
        if (reason)
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct packet packet = {0};
    struct action actions[8];
    uint8_t raw[128] = {0};
    struct flow_key key;
    struct input input;
    uint8_t *memory;

    if (size < sizeof input + sizeof actions + sizeof raw + 14)
        return 0;
    memcpy(&input, data, sizeof input);
    data += sizeof input;
    memcpy(actions, data, sizeof actions);
    data += sizeof actions;
    memcpy(raw, data, sizeof raw);
    data += sizeof raw;
    size -= sizeof input + sizeof actions + sizeof raw;
    if (size > FRAME_SIZE_MAX)
        return 0;
    packet.size = (uint32_t)size;
    packet.head_size = (uint16_t)(size < 14u + input.head_size ? size : 14u + input.head_size);
    packet.headroom = input.headroom & (PACKET_HEADROOM - 1);
    memory = malloc((size_t)packet.headroom + packet.head_size);
    if (!memory)
        return 0;
    packet.head = memory + packet.headroom;
    memcpy(packet.head, data, packet.head_size);
    packet.tail = data + packet.head_size;
    packet.tail_size = packet.size - packet.head_size;
    packet.offload = input.offload;
    packet_parse(&packet, &key);
    if (!packet_check_offload(&packet) && apply_all(&packet, actions, input.n_actions % 9, raw)) {
        if (packet.size != packet.head_size + packet.tail_size || packet.head - packet.headroom < memory)
            abort();
        packet_finish_checksum(&packet);
    }
    free(memory);
    return 0;
}
