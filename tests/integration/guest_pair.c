/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/guest_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ETHERNET_MAX 22 /* bytes of an Ethernet header with two tags */

const struct layout layouts[N_LAYOUTS] = {
    {"split", BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF), 1, false},
    {"split, not mergeable, in order", BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_IN_ORDER), 1, false},
    {"split, indirect, event index",
     BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX), 5, true},
    {"split, chained, mergeable", BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF), 3, false},
    {"legacy, chained", 0, 2, false},
    {"legacy, mergeable", BIT(VIRTIO_NET_F_MRG_RXBUF), 1, false},
    {"packed", BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_NET_F_MRG_RXBUF), 1, false},
    {"packed, not mergeable, chained, event index",
     BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_EVENT_IDX), 4, false},
    {"packed, indirect, in order",
     BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER) |
         BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_RING_F_INDIRECT_DESC),
     3, true},
};

#define SENDS_ALL                                                                         \
    (BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | \
     BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_HOST_USO))

const struct ability abilities[N_ABILITIES] = {
    {"nothing", 0, 0},
    {"checksums", BIT(VIRTIO_NET_F_CSUM), BIT(VIRTIO_NET_F_GUEST_CSUM)},
    {"checksums and TSO4", BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4),
     BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4)},
    {"everything", SENDS_ALL,
     BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |
         BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6)},
};

static void connect_guest(struct fast_path *fast_path, struct guest *guest, const char *name, uint16_t mtu,
                          const struct layout *layout, uint64_t abilities_wanted, uint32_t receive_size)
{
    struct guest_config config;

    test_guest_config(fast_path, name, &config);
    config.features = config.features_required = layout->features | abilities_wanted;
    config.receive = (struct virtqueue_config){
        .size = 256, .pieces = layout->pieces, .indirect = layout->indirect, .buffer_size = receive_size};
    config.send = config.receive;
    config.send.size = 32;
    config.send.buffer_size = TEST_FRAME_SIZE_MAX;
    test_guest_create(guest, &config);
    fast_path_add_guest_port(fast_path, name, mtu);
    test_guest_connect(guest);
}

/* Bytes that a receiver's buffers must have: mergeable ones may be small. */
static uint32_t receive_buffer_size(const struct layout *layout, uint64_t takes, unsigned mtu)
{
    if (layout->features & BIT(VIRTIO_NET_F_MRG_RXBUF))
        return 2000;
    return takes & ~BIT(VIRTIO_NET_F_GUEST_CSUM) ? FRAME_SIZE_MAX + 8 : mtu + ETHERNET_MAX;
}

void guest_pair_connect(struct guest_pair *pair, struct fast_path *fast_path, const struct layout *from,
                        const struct ability *sender, const struct layout *to, const struct ability *receiver,
                        unsigned mtu)
{
    pair->fast_path = fast_path;
    pair->sends = sender->sends;
    pair->takes = receiver->takes;
    pair->mtu = mtu;
    connect_guest(fast_path, &pair->sender, "sender", 0, from, pair->sends, 1600);
    connect_guest(fast_path, &pair->receiver, "receiver", (uint16_t)mtu, to, pair->takes,
                  receive_buffer_size(to, pair->takes, mtu));
    fast_path_await_up(fast_path, "sender");
    fast_path_await_up(fast_path, "receiver");
}

void guest_pair_disconnect(struct guest_pair *pair)
{
    fast_path_remove_port(pair->fast_path, "sender");
    fast_path_remove_port(pair->fast_path, "receiver");
    guest_destroy(&pair->sender);
    guest_destroy(&pair->receiver);
}

static uint64_t feature_to_send(uint8_t gso_type, unsigned version)
{
    switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_TCPV4: return BIT(VIRTIO_NET_F_HOST_TSO4);
    case VIRTIO_NET_HDR_GSO_TCPV6: return BIT(VIRTIO_NET_F_HOST_TSO6);
    default: return BIT(VIRTIO_NET_F_HOST_USO);
    }
}

uint64_t features_to_take(uint8_t gso_type)
{
    uint64_t ecn = gso_type & VIRTIO_NET_HDR_GSO_ECN ? BIT(VIRTIO_NET_F_GUEST_ECN) : 0;

    switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_TCPV4: return ecn | BIT(VIRTIO_NET_F_GUEST_TSO4);
    case VIRTIO_NET_HDR_GSO_TCPV6: return ecn | BIT(VIRTIO_NET_F_GUEST_TSO6);
    default: return BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6);
    }
}

bool guest_pair_build(struct guest_pair *pair, struct frame_spec spec, uint8_t gso_type, uint16_t gso_size)
{
    bool has_checksum =
        spec.version && !(spec.fragment & 0x3fff) && (spec.protocol == 6 || spec.protocol == 17);

    if (gso_type && !(pair->sends & feature_to_send(gso_type, spec.version)))
        return false;
    spec.partial_checksum = has_checksum && pair->sends & BIT(VIRTIO_NET_F_CSUM);
    pair->sent.spec = spec;
    pair->sent.gso_type = gso_type;
    pair->sent.gso_size = gso_type ? gso_size : 0;
    pair->sent.size = frame_build(&spec, pair->sent.bytes);
    pair->sent.l4 = frame_l4_offset(pair->sent.bytes, pair->sent.size);
    pair->sent.header_size = (unsigned)(pair->sent.size - spec.payload);
    return true;
}

void guest_pair_send_with(struct guest_pair *pair, const struct virtio_net_hdr *header)
{
    struct virtqueue *queue = guest_send_queue(&pair->sender, 0);
    struct virtqueue_buffer buffer;

    test_guest_take(queue, &buffer);
    memset(buffer.start, 0, queue->header_size);
    memcpy(buffer.start, header, sizeof *header);
    memcpy(buffer.start + queue->header_size, pair->sent.bytes, pair->sent.size);
    buffer.size = queue->header_size + (uint32_t)pair->sent.size;
    virtqueue_post(queue, &buffer, 1);
}

void guest_pair_send(struct guest_pair *pair)
{
    struct virtio_net_hdr header = {0};

    if (pair->sent.spec.partial_checksum) {
        header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        header.csum_start = (uint16_t)pair->sent.l4;
        header.csum_offset = pair->sent.spec.protocol == 6 ? 16 : 6;
        header.gso_type = pair->sent.gso_type;
        header.gso_size = pair->sent.gso_size;
    }
    guest_pair_send_with(pair, &header);
}

size_t guest_pair_receive(struct guest_pair *pair, struct virtio_net_hdr *header)
{
    struct virtqueue *queue = guest_receive_queue(&pair->receiver, 0);
    unsigned left = 1, n_buffers = 0;
    size_t size = 0;

    while (left--) {
        struct virtqueue_buffer buffer;
        uint32_t skip = n_buffers++ ? 0 : queue->header_size;

        assert_true(virtqueue_has_used(queue) || virtqueue_wait(queue, TEST_GUEST_WAIT_MS));
        assert_int_equal(virtqueue_take(queue, &buffer, 1), 1);
        assert_false(queue->is_broken);
        assert_in_range(buffer.size, skip + 1, queue->capacity);
        if (skip) {
            memcpy(header, buffer.start, sizeof *header);
            if (queue->header_size == sizeof(struct virtio_net_hdr_mrg_rxbuf))
                left = ((struct virtio_net_hdr_mrg_rxbuf *)buffer.start)->num_buffers - 1u;
            assert_in_range(left, 0, 100);
        }
        assert_true(size + buffer.size - skip <= sizeof pair->received);
        memcpy(pair->received + size, buffer.start + skip, buffer.size - skip);
        size += buffer.size - skip;
        virtqueue_post(queue, &buffer, 1);
    }
    return size;
}

void frame_finish_checksum(uint8_t *frame, size_t size, const struct virtio_net_hdr *header)
{
    uint8_t *field = frame + header->csum_start + header->csum_offset;
    unsigned sum;

    assert_true(header->csum_start + header->csum_offset + 2u <= size);
    sum = frame_sum(frame + header->csum_start, size - header->csum_start) ^ 0xffff;
    if (!sum)
        sum = 0xffff;
    field[0] = (uint8_t)(sum >> 8);
    field[1] = (uint8_t)sum;
}
