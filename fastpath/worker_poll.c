/* SPDX-License-Identifier: Apache-2.0 */

/* One round of a worker: each queue is polled once, unless it is paused (move.h) or held (port_rate.h, onload.h). */
#include <rte_cycles.h>

#include "fastpath/deliver.h"
#include "fastpath/move.h"
#include "fastpath/onload.h"
#include "fastpath/port_rate.h"
#include "fastpath/worker_internal.h"
#include "lib/compiler.h"

/* The stages of about one burst in this many are timed. */
#define SAMPLED_BURSTS 256

/* Whether 'queue' is held, until '*until' at least. In the order in which worker_poll() asks: the first that holds it is the one to wait for. */
static inline bool is_held(const struct receive_queue *queue, uint64_t *until)
{
    return onload_holds(queue, until) || rate_in_holds(queue, until);
}

/* Gets what 'queue' will receive next on its way into the cache, and the buffers it will probably be sent into. */
static void prepare(struct worker *worker, struct receive_queue *queue)
{
    uint16_t n = queue->ops->prepare ? queue->ops->prepare(queue) : 0;

    if (n)
        deliver_prepare(worker, queue->likely_output, n);
}

/* Prepares the queue behind place 'i' of the list: its packets come into the cache while others are forwarded. */
static void prepare_next(struct worker *worker, const struct poll_list *list, uint16_t i)
{
    for (uint16_t n = 0; n < list->n; n++) {
        struct receive_queue *queue = list->queues[i = i + 1 < list->n ? i + 1 : 0];
        uint64_t until;

        if (!is_held(queue, &until) && atomic_load_explicit(&queue->ready, memory_order_acquire)) {
            prepare(worker, queue);
            return;
        }
    }
}

static void note_released(struct worker *worker, struct receive_queue *queue)
{
    if (!queue->ops->notify)
        return;
    if (worker->n_released == BURST_MAX)
        deliver_notify(worker);
    worker->released[worker->n_released++] = queue;
}

/* Takes a burst from one queue and forwards it; returns how many packets there were. */
static uint16_t poll_queue(struct worker *worker, const struct poll_list *list, uint16_t i, uint16_t most)
{
    struct receive_queue *queue = list->queues[i];
    uint64_t begin = worker->sampling ? rte_rdtsc() : 0, end;
    uint16_t taken;

    prepare(worker, queue);
    taken = queue->ops->receive(queue, &worker->burst, most);
    if (!taken) {
        /* With nothing to do, have the buffers ready that the next packets will probably go into. */
        if (worker->alone)
            deliver_prepare(worker, queue->likely_output, BURST_MAX);
        return 0;
    }
    prepare_next(worker, list, i);
    if (unlikely(worker->sampling))
        worker->stats.stage_cycles[WORKER_STAGE_RECEIVE] += rte_rdtsc() - begin;
    forward_burst(worker, queue, &worker->burst);
    begin = worker->sampling ? rte_rdtsc() : 0;
    queue->ops->release(queue, &worker->burst);
    note_released(worker, queue);
    end = worker->sampling ? rte_rdtsc() : 0;
    worker->stats.stage_cycles[WORKER_STAGE_RELEASE] += end - begin;
    worker->stats.n_bursts++;
    return taken;
}

uint32_t worker_poll(struct worker *worker, const struct poll_list *list)
{
    uint32_t n = 0;

    worker->n_held = 0;
    for (uint16_t i = 0; i < list->n; i++) {
        struct receive_queue *queue = list->queues[i];
        struct rate_in *rate = atomic_load_explicit(&queue->rate, memory_order_acquire);
        uint16_t most = BURST_MAX;

        if (unlikely(atomic_load_explicit(&queue->moves, memory_order_relaxed) != NULL) &&
            move_look(queue, rte_rdtsc()))
            continue;
        if (unlikely(onload_needs_room(queue)))
            most = onload_allowance(queue);
        /* Last: what the bucket allows has to be taken. */
        if (unlikely(rate != NULL) && most) {
            uint16_t n_paid = rate_in_allowance(rate, queue, worker_counters(worker, queue->port));

            most = n_paid < most ? n_paid : most;
        }
        if (most && atomic_load_explicit(&queue->ready, memory_order_acquire))
            n += poll_queue(worker, list, i, most);
    }
    if (n) {
        uint64_t begin = worker->sampling ? rte_rdtsc() : 0;

        deliver_notify(worker);
        if (unlikely(worker->sampling))
            worker->stats.stage_cycles[WORKER_STAGE_RELEASE] += rte_rdtsc() - begin;
        worker->stats.n_packets += n;
        worker->sampling = worker->stats.n_bursts % SAMPLED_BURSTS < list->n;
    }
    return n;
}

/* Asks 'queue' to wake us. Returns false when something is waiting in it already. */
static bool arm_queue(struct receive_queue *queue, struct worker_rest *rest)
{
    uint64_t until;

    if (likely(!is_held(queue, &until))) {
        rest->nap |= !queue->ops->arm;
        return !queue->ops->arm || queue->ops->arm(queue);
    }
    /* What waits in it has to wait. But nothing might, and then there is no reason to look at the end of the hold. */
    if (queue->ops->arm && queue->ops->arm(queue))
        return true;
    if (queue->ops->disarm)
        queue->ops->disarm(queue);
    if (!rest->held || (int64_t)(until - rest->until) < 0)
        rest->until = until;
    rest->held = true;
    return true;
}

bool worker_arm(const struct poll_list *list, struct worker_rest *rest)
{
    *rest = (struct worker_rest){0};
    for (uint16_t i = 0; i < list->n; i++) {
        struct receive_queue *queue = list->queues[i];

        if (move_pending(queue))
            return false;
        if (atomic_load_explicit(&queue->ready, memory_order_acquire) && !arm_queue(queue, rest))
            return false;
    }
    return true;
}

void worker_disarm(const struct poll_list *list)
{
    for (uint16_t i = 0; i < list->n; i++) {
        struct receive_queue *queue = list->queues[i];

        if (atomic_load_explicit(&queue->ready, memory_order_acquire) && queue->ops->disarm)
            queue->ops->disarm(queue);
    }
}
