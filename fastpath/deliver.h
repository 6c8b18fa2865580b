/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_DELIVER_H
#define FASTPATH_DELIVER_H

#include "fastpath/worker_internal.h"

/* What packets ask of the port that they are delivered to. */
struct demands {
    uint32_t offloads; /* PORT_OFFLOAD_* */
    uint32_t size_max; /* bytes of the largest frame that is not to be cut up */
};

static_assert(PORT_OFFLOAD_ECN == PACKET_GSO_ECN << 1 && PORT_OFFLOAD_CSUM == PACKET_NEEDS_CSUM << 9 &&
                  PORT_OFFLOAD_BASE == PORT_OFFLOAD_GSO(PACKET_GSO_NONE),
              "demands_add() computes these");

/* Adds what 'packet' asks for. */
static inline void demands_add(struct demands *demands, const struct packet *packet)
{
    demands->offloads |= 1u << (packet->offload.gso_type & 7) |
                         (packet->offload.gso_type & PACKET_GSO_ECN) << 1 |
                         (uint32_t)(packet->offload.flags & PACKET_NEEDS_CSUM) << 9;
    if (packet->size > demands->size_max && !packet->offload.gso_type)
        demands->size_max = packet->size;
}

/* Whether the receiver takes packets that ask for 'demands' as they are. */
static inline bool demands_met(const struct port *out, const struct demands *demands)
{
    return !(demands->offloads & ~out->offloads) && demands->size_max <= out->frame_size_max;
}

/*
 * Gives 'n' packets to port 'out' in order, after doing in software what the
 * receiver cannot: checksums, segmentation, fragments. Packets that cannot
 * be delivered are counted as dropped. The packets must have been parsed, unless 'out' takes them as
 * they are and by a single queue. 'demands' are at least those of the packets; NULL: to be
 * found out. 'shared': the packets will be used again, so their mbufs must stay. 'out'
 * may be NULL: the port is gone.
 */
void deliver(struct worker *worker, struct port *out, struct packet *const packets[], uint16_t n,
             const struct demands *demands, bool shared);

/* 'n' packets will probably go to the port 'out'; gets its buffers on their way into the cache. */
void deliver_prepare(struct worker *worker, uint16_t out, uint16_t n);

/*
 * Notifies the receivers of all that deliver() gave them, and the senders of the
 * buffers that came back to them (worker->released), since the last call.
 */
void deliver_notify(struct worker *worker);

#endif
