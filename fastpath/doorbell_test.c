/* SPDX-License-Identifier: Apache-2.0 */
/* Peers whose doorbells block, and others that must not be taken for such. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "fastpath/doorbell.h"

static int start(void **state)
{
    return doorbell_watch_start();
}

static int stop(void **state)
{
    doorbell_watch_stop();
    return 0;
}

static double seconds(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* An eventfd that blocks whoever writes to it. */
static int full_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);

    assert_int_equal(eventfd_write(fd, UINT64_MAX - 1), 0);
    return fd;
}

static void ring_is_heard(void **state)
{
    struct doorbell_peer peer = {0};
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    eventfd_t n;

    doorbell_ring(&peer, fd);
    doorbell_ring(&peer, fd);
    assert_int_equal(eventfd_read(fd, &n), 0);
    assert_int_equal(n, 2);
    /* Full, but non-blocking: as it should be. */
    assert_int_equal(eventfd_write(fd, UINT64_MAX - 1), 0);
    doorbell_ring(&peer, fd);
    assert_false(doorbell_peer_blocks(&peer));
    close(fd);
}

static void peer_that_blocks_is_not_rung_again(void **state)
{
    struct doorbell_peer peer = {0}, other = {0};
    int full = full_eventfd(), sound = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    eventfd_t n;

    doorbell_ring(&peer, full); /* the test's time limit is the proof */
    assert_true(doorbell_peer_blocks(&peer));
    doorbell_ring(&peer, full);
    doorbell_ring(&peer, sound);
    assert_int_equal(eventfd_read(sound, &n), -1);
    doorbell_ring(&other, sound);
    assert_int_equal(eventfd_read(sound, &n), 0);
    assert_false(doorbell_peer_blocks(&other));
    close(full);
    close(sound);
}

static void *ring(void *argument)
{
    struct doorbell_peer peer = {0};

    doorbell_ring(&peer, *(const int *)argument);
    return (void *)(uintptr_t)doorbell_peer_blocks(&peer);
}

/* Several threads at once, and again after the watch has gone to sleep. */
static void all_threads_are_watched(void **state)
{
    const struct timespec quiet = {.tv_sec = 1};
    pthread_t threads[4];
    int fd = full_eventfd();

    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, ring, &fd), 0);
        for (unsigned i = 0; i < 4; i++) {
            void *blocked;

            assert_int_equal(pthread_join(threads[i], &blocked), 0);
            assert_non_null(blocked);
        }
        /* Nothing tells that the watch sleeps; that it does not yet is no failure. */
        clock_nanosleep(CLOCK_MONOTONIC, 0, &quiet, NULL);
    }
    close(fd);
}

static _Atomic bool drain_on;

/* Lets go of whoever blocks after a moment; a semaphore is then full again at once. */
static void *drain(void *argument)
{
    const struct timespec moment = {.tv_nsec = 2000000};
    int fd = *(const int *)argument;
    eventfd_t n;

    while (drain_on) {
        clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
        eventfd_read(fd, &n);
    }
    return NULL;
}

static void peer_that_blocks_a_little_is_caught(void **state)
{
    struct doorbell_peer peer = {0};
    pthread_t thread;
    double begin = seconds();
    int fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);

    assert_int_equal(eventfd_write(fd, UINT64_MAX - 1), 0);
    drain_on = true;
    assert_int_equal(pthread_create(&thread, NULL, drain, &fd), 0);
    while (!doorbell_peer_blocks(&peer) && seconds() < begin + 20)
        doorbell_ring(&peer, fd);
    drain_on = false;
    pthread_join(thread, NULL);
    assert_true(doorbell_peer_blocks(&peer));
    close(fd);
}

/* The watch interrupts whoever it meets, which must harm nobody whose doorbells are sound. */
static void nobody_is_accused_who_does_not_block(void **state)
{
    struct doorbell_peer peer = {0};
    double begin = seconds();
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    uint64_t n_rung = 0;
    eventfd_t n;

    while (seconds() < begin + 1) {
        doorbell_ring(&peer, fd);
        n_rung++;
    }
    assert_false(doorbell_peer_blocks(&peer));
    assert_int_equal(eventfd_read(fd, &n), 0);
    assert_int_equal(n, n_rung);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ring_is_heard),
        cmocka_unit_test(peer_that_blocks_is_not_rung_again),
        cmocka_unit_test(all_threads_are_watched),
        cmocka_unit_test(peer_that_blocks_a_little_is_caught),
        cmocka_unit_test(nobody_is_accused_who_does_not_block),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
