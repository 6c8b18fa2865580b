/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The packet path of uplinks. A received frame stays in its mbuf: the head is its
 * first bytes, where actions change them. Sent to another uplink it is passed on
 * in that mbuf; from a guest it is copied into one.
 */
#include "fastpath/copy.h"
#include "fastpath/ethdev_port.h"
#include "fastpath/packet_header.h"
#include "fastpath/segment.h"
#include "fastpath/worker_internal.h"

/* Receiving */

int packet_from_mbuf(struct packet *packet, struct rte_mbuf *mbuf, uint16_t in_port, struct packet_segment *more)
{
    const uint8_t *data = rte_pktmbuf_mtod(mbuf, const uint8_t *);
    uint16_t head_size = mbuf->data_len < SNAPSHOT_SIZE_MAX ? mbuf->data_len : SNAPSHOT_SIZE_MAX;
    uint16_t headroom = rte_pktmbuf_headroom(mbuf);
    struct rte_mbuf *segment = mbuf->next;

    if (unlikely(head_size < ETH_HEADER_SIZE))
        return DROP_RX_TOO_SHORT + 1;
    if (unlikely(mbuf->pkt_len > FRAME_SIZE_MAX || mbuf->nb_segs > PACKET_SEGMENTS_MAX))
        return DROP_RX_TOO_LONG + 1;
    *packet = (struct packet){.head = rte_pktmbuf_mtod(mbuf, uint8_t *),
                              .head_size = head_size,
                              .headroom = (uint8_t)(headroom < PACKET_HEADROOM ? headroom : PACKET_HEADROOM),
                              .tail = data + head_size,
                              .tail_size = mbuf->data_len - head_size,
                              .size = mbuf->pkt_len,
                              .in_port = in_port,
                              .mbuf = mbuf,
                              .more = more};
    for (; segment; segment = segment->next)
        more[packet->n_more++] =
            (struct packet_segment){rte_pktmbuf_mtod(segment, const uint8_t *), segment->data_len};
    return 0;
}

/* Takes whole bursts only: vectorized drivers never return any packet when asked for just a few. */
static uint16_t ethdev_receive(struct receive_queue *base, struct burst *burst, uint16_t most)
{
    struct ethdev_receive_queue *queue = (struct ethdev_receive_queue *)base;
    struct port_counters *counters = worker_counters(burst->worker, base->port);
    uint16_t n = queue->n_stashed;

    if (unlikely(n))
        queue->n_stashed = 0;
    else
        n = rte_eth_rx_burst(queue->device, base->index, queue->mbufs, BURST_MAX);
    for (uint16_t i = 0; i < n; i++)
        rte_prefetch0(rte_pktmbuf_mtod(queue->mbufs[i], void *));
    burst->n = 0;
    for (uint16_t i = 0; i < n; i++) {
        int result = packet_from_mbuf(&burst->packets[burst->n], queue->mbufs[i], base->port->id,
                                      burst->more[burst->n]);

        if (likely(result == 0)) {
            burst->n++;
        } else {
            counters->drops[result - 1]++;
            rte_pktmbuf_free(queue->mbufs[i]);
        }
    }
    burst->n_received = burst->n;
    return n;
}

static void ethdev_release(struct receive_queue *base, struct burst *burst)
{
    struct rte_mbuf *mbufs[BURST_MAX];
    uint16_t n = 0;

    for (uint16_t i = 0; i < burst->n_received; i++)
        if (burst->packets[i].mbuf)
            mbufs[n++] = burst->packets[i].mbuf;
    if (n)
        rte_pktmbuf_free_bulk(mbufs, n);
}

static bool ethdev_arm(struct receive_queue *base)
{
    struct ethdev_receive_queue *queue = (struct ethdev_receive_queue *)base;

    if (queue->has_switch)
        rte_eth_dev_rx_intr_enable(queue->device, base->index);
    /*
     * What came before that wakes nobody. Few drivers can tell whether there is something, so take
     * it; receive() hands it out.
     */
    if (queue->n_stashed == 0)
        queue->n_stashed = rte_eth_rx_burst(queue->device, base->index, queue->mbufs, BURST_MAX);
    return queue->n_stashed == 0;
}

static void ethdev_disarm(struct receive_queue *base)
{
    struct ethdev_receive_queue *queue = (struct ethdev_receive_queue *)base;

    if (queue->has_switch)
        rte_eth_dev_rx_intr_disable(queue->device, base->index);
}

/* Most drivers can tell how many descriptors are filled; of the others nobody knows. */
static bool ethdev_crowded(struct receive_queue *base)
{
    const struct ethdev_receive_queue *queue = (struct ethdev_receive_queue *)base;
    int n = rte_eth_rx_queue_count(queue->device, base->index);

    return n > 0 && n >= queue->n_descriptors - queue->n_descriptors / 4;
}

const struct receive_ops ethdev_receive_ops = {.receive = ethdev_receive,
                                               .release = ethdev_release,
                                               .arm = ethdev_arm,
                                               .disarm = ethdev_disarm,
                                               .crowded = ethdev_crowded};

const struct receive_ops ethdev_receive_ops_naps = {
    .receive = ethdev_receive, .release = ethdev_release, .crowded = ethdev_crowded};

/* Sending */

/*
 * Takes the packet's mbuf over, if it holds exactly the frame: it does not when the
 * packet is a piece that was cut off another, or was given a new head.
 */
static struct rte_mbuf *take_mbuf(struct packet *packet, const struct ethdev_send_queue *queue)
{
    struct rte_mbuf *mbuf = packet->mbuf;
    uint8_t *data;
    ptrdiff_t moved;

    if (!mbuf || (mbuf->nb_segs > 1 && !queue->multiple_segments) || rte_mbuf_refcnt_read(mbuf) != 1)
        return NULL;
    data = rte_pktmbuf_mtod(mbuf, uint8_t *);
    if (packet->head < (uint8_t *)mbuf->buf_addr || packet->head >= data + mbuf->data_len)
        return NULL;
    moved = packet->head - data;
    if ((ptrdiff_t)mbuf->pkt_len - moved != (ptrdiff_t)packet->size ||
        (packet->tail_size && packet->tail != packet->head + packet->head_size))
        return NULL;
    mbuf->data_off = (uint16_t)(mbuf->data_off + moved);
    mbuf->data_len = (uint16_t)(mbuf->data_len - moved);
    mbuf->pkt_len = packet->size;
    mbuf->ol_flags &= RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;
    mbuf->tx_offload = 0;
    packet->mbuf = NULL;
    return mbuf;
}

/* Appends to the chain 'first', whose last mbuf is '*last'. False: no mbuf is free, or the chain gets too long. */
static bool append(struct rte_mbuf *first, struct rte_mbuf **last, const uint8_t *data, uint32_t size)
{
    while (size) {
        uint16_t room = rte_pktmbuf_tailroom(*last);
        uint16_t part = (uint16_t)(size < room ? size : room);

        if (part == 0) {
            struct rte_mbuf *next = rte_pktmbuf_alloc(first->pool);

            if (!next)
                return false;
            next->data_off = 0;
            (*last)->next = next;
            *last = next;
            first->nb_segs++;
            continue;
        }
        copy_payload(rte_pktmbuf_mtod_offset(*last, uint8_t *, (*last)->data_len), data, part);
        (*last)->data_len = (uint16_t)((*last)->data_len + part);
        first->pkt_len += part;
        data += part;
        size -= part;
    }
    return true;
}

static struct rte_mbuf *copy_to_mbuf(const struct packet *packet, struct rte_mempool *pool)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool), *last = mbuf;
    bool complete;

    if (!mbuf)
        return NULL;
    complete = append(mbuf, &last, packet->head, packet->head_size) &&
               (!packet->tail_size || append(mbuf, &last, packet->tail, packet->tail_size));
    for (uint8_t i = 0; complete && i < packet->n_more; i++)
        complete = append(mbuf, &last, packet->more[i].data, packet->more[i].size);
    if (unlikely(!complete)) {
        rte_pktmbuf_free(mbuf);
        return NULL;
    }
    return mbuf;
}

/* Whether the device can be asked for the checksum: it knows TCP's and UDP's, right behind the IP header. */
static bool device_can_checksum(const struct packet *packet)
{
    const struct packet_offload *offload = &packet->offload;

    return packet->l3_offset && offload->csum_start == packet->l4_offset &&
           packet->l4_offset > packet->l3_offset && (offload->csum_offset == 16 || offload->csum_offset == 6);
}

/* Tells the device of 'mbuf' to finish what the sender of 'packet' left open. */
static void request_offloads(struct rte_mbuf *mbuf, const struct packet *packet)
{
    bool ipv4 = packet->head[packet->l3_offset] >> 4 == 4;
    uint8_t *ip;

    mbuf->l2_len = packet->l3_offset;
    mbuf->l3_len = packet->l4_offset - packet->l3_offset;
    mbuf->ol_flags |= ipv4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
    mbuf->ol_flags |= packet->offload.csum_offset == 16 ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
    if (!packet->offload.gso_type)
        return;
    mbuf->l4_len = (packet->head[packet->l4_offset + 12] >> 4) * 4u;
    mbuf->tso_segsz = packet->offload.gso_size;
    mbuf->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
    if (ipv4) {
        /* Each segment has a length of its own, so the device has to sum the IP header up, too. */
        mbuf->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
        ip = rte_pktmbuf_mtod_offset(mbuf, uint8_t *, packet->l3_offset);
        ip[10] = ip[11] = 0;
    }
}

struct rte_mbuf *packet_to_mbuf(struct packet *packet, const struct ethdev_send_queue *queue, bool shared)
{
    bool ask = packet->offload.flags & PACKET_NEEDS_CSUM;
    struct rte_mbuf *mbuf;

    if (unlikely(ask) && !device_can_checksum(packet)) {
        packet_finish_checksum(packet);
        ask = false;
    }
    mbuf = shared ? NULL : take_mbuf(packet, queue);
    if (!mbuf)
        mbuf = copy_to_mbuf(packet, queue->pool);
    if (mbuf && unlikely(ask))
        request_offloads(mbuf, packet);
    return mbuf;
}

/*
 * Some devices want the pseudo-header sum otherwise, or cannot do what was asked: their
 * driver sees to it, or refuses the packet. Returns how many of 'mbufs' are left.
 */
static uint16_t prepare(const struct ethdev_send_queue *queue, struct port_counters *counters,
                        struct rte_mbuf *mbufs[], uint16_t n)
{
    uint16_t ready = 0;

    for (;;) {
        ready += rte_eth_tx_prepare(queue->device, queue->index, mbufs + ready, n - ready);
        if (likely(ready == n))
            return n;
        counters->drops[DROP_TX_NO_ROOM]++;
        rte_pktmbuf_free(mbufs[ready]);
        n--;
        memmove(&mbufs[ready], &mbufs[ready + 1], (n - ready) * sizeof mbufs[0]);
    }
}

static uint16_t ethdev_send(struct send_queue *base, struct worker *worker, struct packet *const packets[],
                            uint16_t n, bool shared)
{
    struct ethdev_send_queue *queue = (struct ethdev_send_queue *)base;
    struct port_counters *counters = worker_counters(worker, base->port);
    struct rte_mbuf *mbufs[BURST_MAX];
    uint64_t n_bytes = 0;
    uint16_t n_mbufs = 0, n_sent;
    bool asked = false;

    for (uint16_t i = 0; i < n; i++) {
        struct rte_mbuf *mbuf = packet_to_mbuf(packets[i], queue, shared);

        if (unlikely(!mbuf)) {
            counters->drops[DROP_NO_MEMORY]++;
            continue;
        }
        asked |= mbuf->tx_offload != 0;
        mbufs[n_mbufs++] = mbuf;
    }
    if (unlikely(asked))
        n_mbufs = prepare(queue, counters, mbufs, n_mbufs);
    for (uint16_t i = 0; i < n_mbufs; i++)
        n_bytes += mbufs[i]->pkt_len;
    n_sent = rte_eth_tx_burst(queue->device, queue->index, mbufs, n_mbufs);
    for (uint16_t i = n_sent; i < n_mbufs; i++)
        n_bytes -= mbufs[i]->pkt_len;
    counters->tx_packets += n_sent;
    counters->tx_bytes += n_bytes;
    if (unlikely(n_sent < n_mbufs)) {
        counters->drops[DROP_TX_FULL] += n_mbufs - n_sent;
        rte_pktmbuf_free_bulk(mbufs + n_sent, n_mbufs - n_sent);
    }
    return n_sent;
}

const struct send_ops ethdev_send_ops = {.send = ethdev_send};
