/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_BATCH_H
#define MANAGER_BATCH_H

/*
 * Calls that mostly wait, for QEMU to start or to end, made at the same time: each in a thread of its own, so many at most.
 *
 *     struct batch batch;
 *
 *     batch_begin(&batch, 4);
 *     while (... && !batch_await_room(&batch))
 *         batch_run(&batch, start, machine);
 *     batch_end(&batch);
 *
 * One thread begins, runs and ends; what the calls share is theirs to guard.
 */

#include <pthread.h>

struct batch {
    unsigned n_max;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned n, n_failed; /* calls under way, and that have failed; under 'lock' */
};

/* Begins a batch of which 'n_max' calls, at least 1, may be under way at the same time. */
void batch_begin(struct batch *batch, unsigned n_max);

/* Waits as long as 'n_max' calls are under way. Returns how many have failed until now. */
unsigned batch_await_room(struct batch *batch);

/*
 * Calls 'function' once, with 'argument', which has to stay until the batch ends; other than 0 says that it has failed. Waits for room,
 * but not until it is done; unless there is no thread to be had: then it is this one that calls.
 */
void batch_run(struct batch *batch, int (*function)(void *argument), void *argument);

/* Waits until all calls are done. What they wrote can be read from then on. */
void batch_end(struct batch *batch);

#endif
