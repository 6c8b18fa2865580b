/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GUEST_PAIR_H
#define TESTS_GUEST_PAIR_H

/*
 * Two guests on a fast path, a sender and a receiver, of any abilities and ring
 * layouts, and frames between them as Linux would send them:
 *
 *     guest_pair_connect(&pair, &fast_path, from, sender, to, receiver, 9000);
 *     fast_path_add_rule(&fast_path, "in=sender actions=output:receiver");
 *     guest_pair_build(&pair, spec, VIRTIO_NET_HDR_GSO_TCPV4, 1448);
 *     guest_pair_send(&pair);
 *     size = guest_pair_receive(&pair, &header);       // into pair.received
 *     guest_pair_disconnect(&pair);
 *
 * Whatever goes wrong here fails the cmocka test that runs.
 */

#include "fastpath/test_frame.h"
#include "tests/integration/test_guest.h"

#define BIT(n) (UINT64_C(1) << (n))

#ifndef VIRTIO_NET_F_GUEST_USO4 /* virtio 1.3; newer than Debian 12's kernel headers */
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO 56
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* How a guest's rings look. */
struct layout {
    const char *name;
    uint64_t features;
    uint16_t pieces;
    bool indirect;
};

enum { N_LAYOUTS = 9, LAYOUT_SPLIT = 0, LAYOUT_PACKED = 6 };
extern const struct layout layouts[N_LAYOUTS];

/* What a guest can leave to others ('sends'), and do for them ('takes'): virtio features. */
struct ability {
    const char *name;
    uint64_t sends, takes;
};

enum { N_ABILITIES = 4, ABILITY_NOTHING = 0, ABILITY_EVERYTHING = 3 };
extern const struct ability abilities[N_ABILITIES];

struct sent_frame {
    struct frame_spec spec;
    uint8_t gso_type;
    uint16_t gso_size;
    size_t size;
    unsigned l4, header_size; /* bytes before the transport header; before the payload */
    uint8_t bytes[TEST_FRAME_SIZE_MAX];
};

struct guest_pair {
    struct fast_path *fast_path;
    struct guest sender, receiver;
    uint64_t sends, takes; /* features in use */
    unsigned mtu;          /* of the receiver's port */
    struct sent_frame sent;
    uint8_t received[TEST_FRAME_SIZE_MAX];
};

/* Makes the guests, and their ports "sender" and "receiver", and returns when both are up. */
void guest_pair_connect(struct guest_pair *pair, struct fast_path *fast_path, const struct layout *from,
                        const struct ability *sender, const struct layout *to, const struct ability *receiver,
                        unsigned mtu);
void guest_pair_disconnect(struct guest_pair *pair);

/* The features that a receiver needs to take frames of 'gso_type' as they are. */
uint64_t features_to_take(uint8_t gso_type);

/*
 * Builds pair->sent from a spec and a wish for segmentation (or 0, 0), leaving to the receiver what the sender may.
 * Returns false if it may not send that.
 */
bool guest_pair_build(struct guest_pair *pair, struct frame_spec spec, uint8_t gso_type, uint16_t gso_size);

/* Sends pair->sent with the virtio header that belongs to it, or with 'header'. */
void guest_pair_send(struct guest_pair *pair);
void guest_pair_send_with(struct guest_pair *pair, const struct virtio_net_hdr *header);

/* Waits for a frame and collects it from all its buffers into pair->received; returns its size. */
size_t guest_pair_receive(struct guest_pair *pair, struct virtio_net_hdr *header);

/* Does what 'header' leaves to the receiver of 'frame', word by word: its checksum. */
void frame_finish_checksum(uint8_t *frame, size_t size, const struct virtio_net_hdr *header);

#endif
