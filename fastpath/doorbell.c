/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why by signals: write() on an eventfd returns EINTR if it waits when a signal is handled (signal(7)),
 * and only if it waits: one that has room does not look for signals. So the watch may
 * interrupt whoever it meets, at no tick is anybody accused who did not block, and how long a ring
 * took, which on a shared CPU says nothing, does not matter. A signal that comes
 * just before the thread blocks is lost; the next tick brings another.
 *
 * The watch is a thread of its own, since the control thread waits for workers, and for locks that the
 * vhost library's thread holds while it rings.
 */
#include "fastpath/doorbell.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <time.h>

#include "lib/compiler.h"
#include "lib/limits.h"

/* Workers, the vhost library's thread, and some to spare. */
#define RINGERS_MAX (WORKERS_MAX + 8)
/* After so many ticks without a ring the watch sleeps until there is one. */
#define QUIET_TICKS 25

/* A thread that rings. It takes a place at its first ring, and keeps it. */
static struct ringer {
    /* set once */
    pthread_t thread;
    _Atomic bool is_taken;

    /* written by the thread */
    _Atomic uint32_t n_steps; /* rings begun and rings ended: odd while it rings */

    /* watch only */
    uint32_t n_steps_seen;
} __attribute__((aligned(64))) ringers[RINGERS_MAX];

static _Atomic unsigned n_ringers;
static _Thread_local struct ringer *self;

static struct {
    pthread_t thread;
    bool is_running;
    sem_t wake;
    _Atomic bool asleep;
    _Atomic bool stop;
} watch;

static void take_place(void)
{
    unsigned place = atomic_fetch_add(&n_ringers, 1);
    sigset_t signals;

    assert(place < RINGERS_MAX);
    sigemptyset(&signals);
    sigaddset(&signals, SIGURG);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    self = &ringers[place];
    self->thread = pthread_self();
    atomic_store_explicit(&self->is_taken, true, memory_order_release);
}

void doorbell_ring(struct doorbell_peer *peer, int fd)
{
    uint32_t n_steps;

    if (unlikely(doorbell_peer_blocks(peer)))
        return;
    if (unlikely(!self))
        take_place();
    n_steps = atomic_load_explicit(&self->n_steps, memory_order_relaxed);
    /* Sequentially consistent, as in watch_sleep(): either we see that the watch sleeps, or it sees us. */
    atomic_store(&self->n_steps, n_steps + 1);
    if (unlikely(atomic_load(&watch.asleep)) && atomic_exchange(&watch.asleep, false))
        sem_post(&watch.wake);
    /* EAGAIN: the counter is full, so the peer has a bell to hear already. EINTR: the write blocked. */
    if (unlikely(eventfd_write(fd, 1)) && errno == EINTR)
        atomic_store_explicit(&peer->blocks, true, memory_order_relaxed);
    atomic_store_explicit(&self->n_steps, n_steps + 2, memory_order_release);
}

/* Interrupts those who are ringing. Returns whether anybody has rung since the last look. */
static bool look(void)
{
    bool rung = false;

    for (unsigned i = 0; i < RINGERS_MAX; i++) {
        struct ringer *ringer = &ringers[i];
        uint32_t n_steps;

        if (!atomic_load_explicit(&ringer->is_taken, memory_order_acquire))
            continue;
        n_steps = atomic_load(&ringer->n_steps);
        if (n_steps & 1)
            pthread_kill(ringer->thread, SIGURG);
        rung |= n_steps & 1 || n_steps != ringer->n_steps_seen;
        ringer->n_steps_seen = n_steps;
    }
    return rung;
}

/* Sleeps until somebody rings. May return without reason. */
static void watch_sleep(void)
{
    atomic_store(&watch.asleep, true);
    if (!look() && !atomic_load(&watch.stop))
        sem_wait(&watch.wake);
    atomic_store(&watch.asleep, false);
}

static void *watch_run(void *argument)
{
    const struct timespec tick = {.tv_nsec = DOORBELL_DELAY_MS * 1000000L};
    unsigned n_quiet = 0;

    while (!atomic_load(&watch.stop)) {
        n_quiet = look() ? 0 : n_quiet + 1;
        if (n_quiet < QUIET_TICKS)
            nanosleep(&tick, NULL);
        else
            watch_sleep();
    }
    return NULL;
}

/* Having been called is all that it is for. */
static void on_interrupt(int signal_number)
{
}

int doorbell_watch_start(void)
{
    struct sigaction action = {.sa_handler = on_interrupt}; /* no SA_RESTART */
    int code;

    atomic_store(&watch.stop, false);
    sigaction(SIGURG, &action, NULL);
    sem_init(&watch.wake, 0, 0);
    code = pthread_create(&watch.thread, NULL, watch_run, NULL);
    if (code)
        return code;
    pthread_setname_np(watch.thread, "doorbell-watch");
    watch.is_running = true;
    return 0;
}

void doorbell_watch_stop(void)
{
    if (!watch.is_running)
        return;
    atomic_store(&watch.stop, true);
    sem_post(&watch.wake);
    pthread_join(watch.thread, NULL);
    sem_destroy(&watch.wake);
    watch.is_running = false;
}
