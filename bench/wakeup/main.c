/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of the first packet after idle: how long a thread on core 1 that waits in epoll takes to run after one on core 0
 * has rung its eventfd, 50 ms after the last time. A processor that was idle, and of a virtual machine even
 * more so, takes its time; no program that sleeps is quicker. `wakeup [TIMES]` prints one JSON object.
 */
#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define TIMES_MAX 1000
#define IDLE_NS 50000000

static int doorbell, epoll;
static _Atomic uint64_t woken_ns; /* 0: not yet */

static uint64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void pin(unsigned cpu)
{
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus))
        err(1, "cannot run on core %u", cpu);
}

static void *wait_for_doorbell(void *argument)
{
    struct epoll_event event;
    eventfd_t value;

    pin(1);
    for (;;)
        if (epoll_wait(epoll, &event, 1, -1) == 1 && eventfd_read(doorbell, &value) == 0)
            atomic_store(&woken_ns, now_ns());
    return NULL;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

int main(int argc, char **argv)
{
    unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100;
    struct epoll_event event = {.events = EPOLLIN};
    static uint64_t took_ns[TIMES_MAX];
    pthread_t thread;

    if (!n || n > TIMES_MAX)
        errx(2, "TIMES is a number from 1 to %d", TIMES_MAX);
    pin(0);
    doorbell = eventfd(0, EFD_NONBLOCK);
    epoll = epoll_create1(0);
    if (doorbell < 0 || epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, doorbell, &event) ||
        pthread_create(&thread, NULL, wait_for_doorbell, NULL))
        err(1, "cannot set up");
    for (unsigned i = 0; i < n; i++) {
        uint64_t begin = now_ns();

        while (now_ns() - begin < IDLE_NS)
            ; /* as the guest does, which is busy */
        atomic_store(&woken_ns, 0);
        begin = now_ns();
        eventfd_write(doorbell, 1);
        while (!atomic_load(&woken_ns))
            ;
        took_ns[i] = atomic_load(&woken_ns) - begin;
    }
    qsort(took_ns, n, sizeof took_ns[0], compare);
    printf("{\"p50_us\": %.1f, \"p99_us\": %.1f}\n", (double)took_ns[n / 2] / 1000,
           (double)took_ns[n * 99 / 100] / 1000);
    return 0;
}
