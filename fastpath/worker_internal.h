/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_WORKER_INTERNAL_H
#define FASTPATH_WORKER_INTERNAL_H

/* A worker as the forwarding code and the port back ends see it. */

#include "fastpath/port_internal.h"
#include "fastpath/worker.h"

struct match_cache;

/* Every port's queues, and as many representor rings, may end up on one worker. */
#define POLL_QUEUES_MAX (2 * PORTS_MAX * QUEUES_MAX)

/* The receive queues of one worker; replaced as a whole, never changed while the worker may see it. */
struct poll_list {
    uint16_t n;
    struct receive_queue *queues[POLL_QUEUES_MAX];
};

struct worker {
    /* set once */
    uint16_t index;
    unsigned lcore;
    int epoll_fd;
    int wake_fd;
    bool alone; /* the only worker: send queues need not be claimed */
    struct match_cache *cache;

    /* worker only */
    bool sampling;   /* this round is one whose stages are timed */
    uint32_t n_held; /* packets of this round whose queues are held since (port_rate.h) */
    struct worker_stats stats;
    struct send_queue *sent[BURST_MAX]; /* used in this round, to be notified at its end */
    struct receive_queue *released[BURST_MAX];
    uint16_t n_sent, n_released;
    struct burst burst;

    /* shared */
    _Atomic(struct poll_list *) poll_list;
    _Atomic bool asleep;
    _Atomic bool stop;

    /* control only */
    struct poll_list *spare_list; /* the one not published */
};

static inline struct port_counters *worker_counters(const struct worker *worker, struct port *port)
{
    return &port->counters[worker->index];
}

/* Polls each queue once; returns how many packets came. */
uint32_t worker_poll(struct worker *worker, const struct poll_list *list);

/* How a worker may sleep. */
struct worker_rest {
    bool nap;  /* for a short time only: a queue cannot wake it */
    bool held; /* until 'until' (rate.h) at most: something waits in a queue that is held */
    uint64_t until;
};

/* Asks all queues to wake the worker. Returns false when something is waiting already that it should see to. */
bool worker_arm(const struct poll_list *list, struct worker_rest *rest);
void worker_disarm(const struct poll_list *list);

/* Adds a file descriptor whose readability wakes the worker that polls 'queue' (edge triggered, never read). */
int worker_watch(const struct receive_queue *queue, int fd);
void worker_unwatch(const struct receive_queue *queue, int fd);

/* Makes the worker that polls 'queue' look at it, should it sleep. */
void worker_wake(const struct receive_queue *queue);

/*
 * Gives 'n' queues to the least loaded workers, or takes them away: then no worker
 * knows them on return. Control thread.
 */
void workers_add_queues(struct receive_queue *queues[], uint16_t n);
void workers_remove_queues(struct receive_queue *queues[], uint16_t n);

/* Forwards the packets of 'burst', which came from 'queue'. */
void forward_burst(struct worker *worker, struct receive_queue *queue, struct burst *burst);

#endif
