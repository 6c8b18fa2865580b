/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/vring_buffer.h"

static const char *const fault_sentences[] = {
#define X(id, sentence) sentence,
    VRING_FAULTS(X)
#undef X
};

const char *vring_fault_sentence(enum vring_fault fault)
{
    return fault_sentences[fault];
}

/* Takes 'size' bytes from the front of '*pieces' into 'to'; the caller knows that they are there. */
static void pieces_consume(struct packet_segment **pieces, uint8_t *to, uint32_t size)
{
    while (size) {
        struct packet_segment *piece = *pieces;
        uint32_t part = size < piece->size ? size : piece->size;

        memcpy(to, piece->data, part);
        to += part;
        size -= part;
        piece->data += part;
        piece->size -= part;
        if (!piece->size)
            (*pieces)++;
    }
}

int packet_take_pieces(struct packet *packet, struct packet_segment *pieces, uint32_t n, uint32_t header_size)
{
    struct packet_segment *end = pieces + n;
    uint8_t header[16] = {0};
    uint64_t total = pieces_size(pieces, n);
    uint32_t size;
    bool open;

    if (total < header_size + ETHERNET_HEADER_SIZE)
        return DROP_RX_TOO_SHORT + 1;
    if (total > header_size + FRAME_SIZE_MAX)
        return DROP_RX_TOO_LONG + 1;
    size = (uint32_t)total - header_size;
    pieces_consume(&pieces, header, header_size);
    open = offload_load(header, &packet->offload);
    packet->size = size;
    packet->head_size = (uint16_t)snapshot_size(&packet->offload, open, size);
    pieces_consume(&pieces, packet->head, packet->head_size);
    packet->tail_size = 0;
    if (pieces < end) {
        packet->tail = pieces->data;
        packet->tail_size = pieces->size;
        packet->more = pieces + 1;
        packet->n_more = (uint8_t)(end - pieces - 1);
    }
    return 0;
}

void packet_put_tail(uint8_t *to, const struct packet *packet, const struct packet *next,
                     const struct vring_buffer *next_buffer, uint32_t header_size)
{
    struct copy_ahead ahead = {0};

    if (next && next->tail_size && next_buffer->data)
        ahead = (struct copy_ahead){next->tail, next_buffer->data + header_size + next->head_size,
                                    next->tail_size};
    copy_payload_ahead(to, packet->tail, packet->tail_size, &ahead);
    to += packet->tail_size;
    for (uint32_t i = 0; i < packet->n_more; i++) {
        copy_payload(to, packet->more[i].data, packet->more[i].size);
        to += packet->more[i].size;
    }
}

/* Copies 'size' bytes at 'from' to '*piece', from 'offset' on, and on into the pieces behind it. */
static void pieces_append(const struct packet_segment **piece, uint32_t *offset, const uint8_t *from,
                          uint32_t size)
{
    while (size) {
        uint32_t room = (*piece)->size - *offset;
        uint32_t part = size < room ? size : room;

        copy_payload((uint8_t *)(*piece)->data + *offset, from, part);
        from += part;
        size -= part;
        *offset += part;
        if (*offset == (*piece)->size) {
            (*piece)++;
            *offset = 0;
        }
    }
}

void packet_put_pieces(const struct packet *packet, const struct packet_segment *pieces, uint32_t header_size,
                       uint16_t n_buffers)
{
    uint8_t header[16] = {0};
    uint32_t offset = 0;

    offload_store(header, packet, header_size, n_buffers);
    pieces_append(&pieces, &offset, header, header_size);
    pieces_append(&pieces, &offset, packet->head, packet->head_size);
    if (!packet->tail_size)
        return;
    pieces_append(&pieces, &offset, packet->tail, packet->tail_size);
    for (uint32_t i = 0; i < packet->n_more; i++)
        pieces_append(&pieces, &offset, packet->more[i].data, packet->more[i].size);
}

enum vring_fault pieces_add(struct packet_segment *pieces, uint32_t *n, const struct guest_memory *memory,
                            uint64_t address, uint32_t size)
{
    while (size) {
        uint32_t part;
        uint8_t *data = guest_memory_begin(memory, address, size, &part);

        if (!data)
            return VRING_FAULT_BAD_ADDRESS;
        if (*n == PACKET_SEGMENTS_MAX)
            return VRING_FAULT_TOO_MANY_PIECES;
        pieces[(*n)++] = (struct packet_segment){data, part};
        address += part;
        size -= part;
    }
    return VRING_FAULT_NONE;
}
