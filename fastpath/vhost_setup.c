/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/vhost_setup.h"

#include <fcntl.h>
#include <rte_vhost.h>
#include <stdlib.h>

bool vhost_load_memory(int vid, struct guest_memory *memory)
{
    struct rte_vhost_memory *table;

    memory->n_regions = 0;
    if (rte_vhost_get_mem_table(vid, &table))
        return false;
    for (uint32_t i = 0; i < table->nregions && i < GUEST_REGIONS_MAX; i++) {
        const struct rte_vhost_mem_region *region = &table->regions[i];
        uint32_t at = memory->n_regions++;

        for (; at && memory->regions[at - 1].size < region->size; at--)
            memory->regions[at] = memory->regions[at - 1];
        memory->regions[at] = (struct guest_region){region->guest_phys_addr, region->size,
                                                    (uint8_t *)(uintptr_t)region->host_user_addr};
    }
    free(table);
    return memory->n_regions > 0;
}

bool vhost_in_memory(const struct guest_memory *memory, const void *start, uint64_t size, uintptr_t alignment)
{
    for (uint32_t i = 0; i < memory->n_regions; i++) {
        const struct guest_region *region = &memory->regions[i];
        uint64_t offset = (uintptr_t)start - (uintptr_t)region->host;

        if (start && offset < region->size && size <= region->size - offset)
            return (uintptr_t)start % alignment == 0;
    }
    return false;
}

/*
 * Whether the areas of 'ring' have the sizes and alignments of virtio 1.2, 2.7 and
 * 2.8. The library checked addresses when it was told of them, but the ring's
 * size may have been changed since.
 */
static bool ring_in_memory(const struct virtqueue *ring, const struct guest_memory *memory)
{
    uint64_t size = ring->size;

    if (!size || size > 32768)
        return false;
    if (ring->is_packed)
        return vhost_in_memory(memory, ring->packed, size * sizeof *ring->packed, 16) &&
               vhost_in_memory(memory, ring->driver_event, sizeof *ring->driver_event, 4) &&
               vhost_in_memory(memory, ring->device_event, sizeof *ring->device_event, 4);
    return !(size & (size - 1)) && vhost_in_memory(memory, ring->desc, size * sizeof *ring->desc, 16) &&
           vhost_in_memory(memory, ring->avail, 6 + 2 * size, 2) &&
           vhost_in_memory(memory, ring->used, 6 + 8 * size, 4);
}

bool vhost_load_ring(int vid, uint16_t index, uint64_t features, const struct guest_memory *memory,
                     struct virtqueue *ring, int *kick_fd)
{
    struct rte_vhost_vring vring;
    uint16_t avail, used;

    if (rte_vhost_get_vhost_vring(vid, index, &vring) || rte_vhost_get_vring_base(vid, index, &avail, &used))
        return false;
    ring->is_packed = features & VHOST_FEATURE(VIRTIO_F_RING_PACKED);
    if (ring->is_packed) {
        ring->packed = vring.desc_packed;
        ring->driver_event = vring.driver_event;
        ring->device_event = vring.device_event;
    } else {
        ring->desc = vring.desc;
        ring->avail = vring.avail;
        ring->used = vring.used;
    }
    ring->memory = memory;
    ring->size = vring.size;
    ring->mask = vring.size - 1;
    ring->header_size = features & (VHOST_FEATURE(VIRTIO_NET_F_MRG_RXBUF) |
                                    VHOST_FEATURE(VIRTIO_F_VERSION_1) | VHOST_FEATURE(VIRTIO_F_RING_PACKED))
                            ? 12
                            : 10;
    ring->event_index = features & VHOST_FEATURE(VIRTIO_RING_F_EVENT_IDX);
    ring->mergeable = features & VHOST_FEATURE(VIRTIO_NET_F_MRG_RXBUF);
    ring->call_fd = vring.callfd;
    *kick_fd = vring.kickfd;
    ring->last_avail = ring->is_packed ? avail & 0x7fff : avail;
    ring->last_used = ring->is_packed ? used & 0x7fff : used;
    ring->avail_wrap = ring->is_packed && avail >> 15;
    ring->used_wrap = ring->is_packed && used >> 15;
    /* A full eventfd must not hold a worker up. */
    if (ring->call_fd >= 0)
        fcntl(ring->call_fd, F_SETFL, O_RDWR | O_NONBLOCK);
    if (ring_in_memory(ring, memory) &&
        (!ring->is_packed || (ring->last_avail < ring->size && ring->last_used < ring->size)))
        return true;
    atomic_store(&ring->fault, VRING_FAULT_BAD_SETUP);
    return false;
}

uint32_t vhost_guest_offloads(uint64_t features)
{
    uint32_t offloads = PORT_OFFLOAD_BASE;

    if (!(features & VHOST_FEATURE(VIRTIO_NET_F_GUEST_CSUM)))
        return offloads;
    offloads |= PORT_OFFLOAD_CSUM;
    if (features & VHOST_FEATURE(VIRTIO_NET_F_GUEST_TSO4))
        offloads |= PORT_OFFLOAD_GSO(PACKET_GSO_TCPV4);
    if (features & VHOST_FEATURE(VIRTIO_NET_F_GUEST_TSO6))
        offloads |= PORT_OFFLOAD_GSO(PACKET_GSO_TCPV6);
    if ((features & VHOST_FEATURE(VIRTIO_NET_F_GUEST_USO4)) &&
        (features & VHOST_FEATURE(VIRTIO_NET_F_GUEST_USO6)))
        offloads |= PORT_OFFLOAD_GSO(PACKET_GSO_UDP_L4);
    if (features & VHOST_FEATURE(VIRTIO_NET_F_GUEST_ECN))
        offloads |= PORT_OFFLOAD_ECN;
    return offloads;
}
