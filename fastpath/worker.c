/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/worker_internal.h"

#include <errno.h>
#include <rte_cycles.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_rcu_qsbr.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "fastpath/match_cache.h"
#include "fastpath/rate.h"

/* A worker that found nothing for this long goes to sleep. Waking takes about as long. */
#define IDLE_US 50
/* Queues that cannot wake a worker are polled this often, at first and when it stays quiet. */
#define NAP_US_MIN 64
#define NAP_US_MAX 1000
/* Who waits for the workers to be quiescent looks on for so long, and then now and then. */
#define SYNCHRONIZE_SPIN_US 50
#define SYNCHRONIZE_NAP_US 20

static struct worker *workers[WORKERS_MAX];
static uint16_t n_workers;
static struct rte_rcu_qsbr *rcu;

uint16_t workers_count(void)
{
    return n_workers;
}

/* How long to sleep; NULL: until somebody wakes us. */
static const struct timespec *sleep_time(const struct worker_rest *rest, unsigned nap_us, struct timespec *time)
{
    uint64_t ns = rest->nap ? nap_us * UINT64_C(1000) : UINT64_MAX, now;

    if (rest->held) {
        now = rate_now();
        if ((int64_t)(rest->until - now) <= 0)
            ns = 0;
        else if (rate_ns(rest->until - now) < ns)
            ns = rate_ns(rest->until - now);
    }
    time->tv_sec = (time_t)(ns / 1000000000);
    time->tv_nsec = (long)(ns % 1000000000);
    return rest->nap || rest->held ? time : NULL;
}

/* Sleeps until a queue has work, or one that is held may be polled, or for a nap of '*nap_us', which then grows. */
static void worker_sleep(struct worker *worker, unsigned *nap_us)
{
    struct epoll_event event;
    struct worker_rest rest;
    struct timespec time;

    if (worker_arm(atomic_load_explicit(&worker->poll_list, memory_order_acquire), &rest)) {
        const struct timespec *most = sleep_time(&rest, *nap_us, &time);

        worker->stats.n_sleeps++;
        rte_rcu_qsbr_thread_offline(rcu, worker->index);
        epoll_pwait2(worker->epoll_fd, &event, 1, most, NULL);
        rte_rcu_qsbr_thread_online(rcu, worker->index);
        *nap_us = *nap_us * 2 < NAP_US_MAX ? *nap_us * 2 : NAP_US_MAX;
    }
    /* The list may have been replaced while we slept. */
    worker_disarm(atomic_load_explicit(&worker->poll_list, memory_order_acquire));
}

static int worker_run(void *argument)
{
    struct worker *worker = argument;
    const uint64_t idle_limit = rte_get_tsc_hz() / 1000000 * IDLE_US;
    uint64_t now = rte_rdtsc(), last_busy = now;
    unsigned nap_us = NAP_US_MIN;

    rte_rcu_qsbr_thread_register(rcu, worker->index);
    rte_rcu_qsbr_thread_online(rcu, worker->index);
    while (!atomic_load_explicit(&worker->stop, memory_order_relaxed)) {
        const struct poll_list *list = atomic_load_explicit(&worker->poll_list, memory_order_acquire);
        uint64_t begin = now;
        uint32_t n = worker_poll(worker, list);

        rte_rcu_qsbr_quiescent(rcu, worker->index);
        now = rte_rdtsc();
        if (n) {
            worker->stats.busy_cycles += now - begin;
            /* Queues that are held from now on are no reason to stay awake. */
            if (n > worker->n_held) {
                last_busy = now;
                nap_us = NAP_US_MIN;
            }
            continue;
        }
        worker->stats.idle_cycles += now - begin;
        if (now - last_busy > idle_limit) {
            begin = now;
            worker_sleep(worker, &nap_us);
            now = rte_rdtsc();
            worker->stats.sleep_cycles += now - begin;
            /* After a nap one look is enough; after a wake-up stay awake for a while. */
            if (nap_us == NAP_US_MIN)
                last_busy = now;
        }
    }
    rte_rcu_qsbr_thread_offline(rcu, worker->index);
    rte_rcu_qsbr_thread_unregister(rcu, worker->index);
    return 0;
}

static void worker_destroy(struct worker *worker)
{
    if (!worker)
        return;
    if (worker->epoll_fd >= 0)
        close(worker->epoll_fd);
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
    match_cache_destroy(worker->cache);
    free(atomic_load(&worker->poll_list));
    free(worker->spare_list);
    rte_free(worker);
}

static struct worker *worker_create(uint16_t index, unsigned lcore, struct error *error)
{
    struct worker *worker = rte_zmalloc_socket("worker", sizeof *worker, 64, rte_lcore_to_socket_id(lcore));
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};

    if (!worker) {
        error_set(error, ENOMEM, "There is no memory for worker %u; give the fast path more with --memory.",
                  index);
        return NULL;
    }
    worker->index = index;
    worker->lcore = lcore;
    worker->burst.worker = worker;
    for (uint16_t i = 0; i < BURST_MAX; i++)
        worker->burst.all[i] = &worker->burst.packets[i];
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    worker->cache = match_cache_create();
    atomic_store(&worker->poll_list, calloc(1, sizeof(struct poll_list)));
    worker->spare_list = calloc(1, sizeof(struct poll_list));
    if (worker->epoll_fd < 0 || worker->wake_fd < 0 || !worker->cache || !atomic_load(&worker->poll_list) ||
        !worker->spare_list || epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->wake_fd, &event) < 0) {
        error_set(error, errno, "Worker %u could not be set up: %m.", index);
        worker_destroy(worker);
        return NULL;
    }
    return worker;
}

int workers_start(struct error *error)
{
    size_t size = rte_rcu_qsbr_get_memsize(WORKERS_MAX);
    unsigned lcore;

    rcu = rte_zmalloc("rcu", size, RTE_CACHE_LINE_SIZE);
    if (!rcu || rte_rcu_qsbr_init(rcu, WORKERS_MAX))
        return error_set(error, ENOMEM,
                         "There is no memory for the workers; give the fast path more with --memory.");
    RTE_LCORE_FOREACH_WORKER(lcore)
    {
        if (n_workers == WORKERS_MAX)
            return error_set(error, EINVAL, "There are more than %u cores in --cores; name fewer.",
                             WORKERS_MAX);
        workers[n_workers] = worker_create(n_workers, lcore, error);
        if (!workers[n_workers])
            return error ? error->code : ENOMEM;
        n_workers++;
    }
    for (uint16_t i = 0; i < n_workers; i++) {
        workers[i]->alone = n_workers == 1;
        if (rte_eal_remote_launch(worker_run, workers[i], workers[i]->lcore))
            return error_set(error, EBUSY, "Worker %u did not start on its core.", i);
    }
    return 0;
}

void workers_stop(void)
{
    for (uint16_t i = 0; i < n_workers; i++) {
        atomic_store(&workers[i]->stop, true);
        eventfd_write(workers[i]->wake_fd, 1);
    }
    rte_eal_mp_wait_lcore();
    while (n_workers)
        worker_destroy(workers[--n_workers]);
    rte_free(rcu);
    rcu = NULL;
}

/* A worker is quiescent some microseconds later; one that is not is perhaps waiting for the very CPU that we are on. */
void workers_synchronize(void)
{
    const struct timespec nap = {.tv_nsec = SYNCHRONIZE_NAP_US * 1000};
    uint64_t token, spin_end;

    if (!rcu)
        return;
    token = rte_rcu_qsbr_start(rcu);
    spin_end = rte_rdtsc() + rte_get_tsc_hz() / 1000000 * SYNCHRONIZE_SPIN_US;
    while (!rte_rcu_qsbr_check(rcu, token, false))
        if (rte_rdtsc() < spin_end)
            rte_pause();
        else
            nanosleep(&nap, NULL);
}

/* The CPU that 'lcore' is bound to: DPDK numbers lcores, not CPUs. */
static unsigned cpu_of(unsigned lcore)
{
    rte_cpuset_t cpus = rte_lcore_cpuset(lcore);
    unsigned cpu = 0;

    while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &cpus))
        cpu++;
    return cpu;
}

void worker_get_stats(uint16_t index, struct worker_stats *stats)
{
    const struct worker *worker = workers[index];
    const struct match_cache_stats *cache = match_cache_get_stats(worker->cache);

    *stats = worker->stats;
    stats->cpu = cpu_of(worker->lcore);
    stats->n_queues = atomic_load(&worker->poll_list)->n;
    stats->cache_hits = atomic_load_explicit(&cache->hits, memory_order_relaxed);
    stats->cache_misses = atomic_load_explicit(&cache->misses, memory_order_relaxed);
}

int worker_watch(const struct receive_queue *queue, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};

    return epoll_ctl(workers[queue->worker]->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? errno : 0;
}

void worker_unwatch(const struct receive_queue *queue, int fd)
{
    epoll_ctl(workers[queue->worker]->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

void worker_wake(const struct receive_queue *queue)
{
    eventfd_write(workers[queue->worker]->wake_fd, 1);
}

/* Publishes the list of 'worker' with 'queue' added, or taken out; on return the worker has left the old one. */
static void replace_list(struct worker *worker, struct receive_queue *queue, bool add)
{
    struct poll_list *old = atomic_load(&worker->poll_list);
    struct poll_list *new = worker->spare_list;

    new->n = 0;
    for (uint16_t i = 0; i < old->n; i++)
        if (old->queues[i] != queue)
            new->queues[new->n++] = old->queues[i];
    if (add)
        new->queues[new->n++] = queue;
    worker->spare_list = old;
    atomic_store_explicit(&worker->poll_list, new, memory_order_release);
    eventfd_write(worker->wake_fd, 1);
    workers_synchronize();
}

void workers_add_queues(struct receive_queue *queues[], uint16_t n)
{
    for (uint16_t i = 0; i < n; i++) {
        uint16_t best = 0;

        for (uint16_t j = 1; j < n_workers; j++)
            if (atomic_load(&workers[j]->poll_list)->n < atomic_load(&workers[best]->poll_list)->n)
                best = j;
        queues[i]->worker = best;
        replace_list(workers[best], queues[i], true);
    }
}

void workers_remove_queues(struct receive_queue *queues[], uint16_t n)
{
    for (uint16_t i = 0; i < n; i++)
        replace_list(workers[queues[i]->worker], queues[i], false);
}
