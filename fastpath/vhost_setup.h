/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_VHOST_SETUP_H
#define FASTPATH_VHOST_SETUP_H

/*
 * What DPDK's vhost library knows of a guest's device 'vid', read and checked: the
 * library checked some of it when it was told, but not all, and not together. For the
 * library's threads, while the rings are not ready.
 */

#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "fastpath/vring.h"

#ifndef VIRTIO_NET_F_GUEST_USO4 /* virtio 1.3; newer than Debian 12's kernel headers */
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO 56
#endif

#define VHOST_FEATURE(name) (1ULL << (name))

/* What a guest is offered. No VHOST_F_LOG_ALL: the ring code does not log its writes. */
#define VHOST_OFFERED_FEATURES                                                               \
    (VHOST_FEATURE(VIRTIO_F_VERSION_1) | VHOST_FEATURE(VIRTIO_F_ANY_LAYOUT) |                \
     VHOST_FEATURE(VIRTIO_F_RING_PACKED) | VHOST_FEATURE(VIRTIO_F_IN_ORDER) |                \
     VHOST_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | VHOST_FEATURE(VIRTIO_RING_F_EVENT_IDX) |   \
     VHOST_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES) | VHOST_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | \
     VHOST_FEATURE(VIRTIO_NET_F_MQ) | VHOST_FEATURE(VIRTIO_NET_F_CTRL_VQ) |                  \
     VHOST_FEATURE(VIRTIO_NET_F_CTRL_RX) | VHOST_FEATURE(VIRTIO_NET_F_MTU) |                 \
     VHOST_FEATURE(VIRTIO_NET_F_STATUS) | VHOST_FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE) |       \
     VHOST_FEATURE(VIRTIO_NET_F_CSUM) | VHOST_FEATURE(VIRTIO_NET_F_HOST_TSO4) |              \
     VHOST_FEATURE(VIRTIO_NET_F_HOST_TSO6) | VHOST_FEATURE(VIRTIO_NET_F_HOST_ECN) |          \
     VHOST_FEATURE(VIRTIO_NET_F_HOST_USO) | VHOST_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |         \
     VHOST_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | VHOST_FEATURE(VIRTIO_NET_F_GUEST_TSO6) |       \
     VHOST_FEATURE(VIRTIO_NET_F_GUEST_ECN) | VHOST_FEATURE(VIRTIO_NET_F_GUEST_USO4) |        \
     VHOST_FEATURE(VIRTIO_NET_F_GUEST_USO6))

/* Copies the guest's memory map, largest region first; false when there is none. */
bool vhost_load_memory(int vid, struct guest_memory *memory);

/* Whether the 'size' bytes at 'start' lie in the guest's memory, and 'start' is aligned. */
bool vhost_in_memory(const struct guest_memory *memory, const void *start, uint64_t size, uintptr_t alignment);

/*
 * Fills in what 'ring' needs before its start: how the ring numbered 'index' in the protocol is set
 * up now. Returns whether it can be used; if it lies wrong, its fault says so. '*kick_fd' (-1: none)
 * stays the library's.
 */
bool vhost_load_ring(int vid, uint16_t index, uint64_t features, const struct guest_memory *memory,
                     struct virtqueue *ring, int *kick_fd);

/* What may be left to this guest's receiving side, as PORT_OFFLOAD_*. */
uint32_t vhost_guest_offloads(uint64_t features);

#endif
