/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/batch.h"

#include <stdbool.h>
#include <stdlib.h>

struct call {
    struct batch *batch;
    int (*function)(void *argument);
    void *argument;
};

void batch_begin(struct batch *batch, unsigned n_max)
{
    *batch = (struct batch){.n_max = n_max};
    pthread_mutex_init(&batch->lock, NULL);
    pthread_cond_init(&batch->ended, NULL);
}

static void *run(void *argument)
{
    struct call call = *(struct call *)argument;
    int code;

    free(argument);
    code = call.function(call.argument);
    pthread_mutex_lock(&call.batch->lock);
    call.batch->n--;
    call.batch->n_failed += code != 0;
    pthread_cond_signal(&call.batch->ended); /* under the lock: afterwards there may be no batch any more */
    pthread_mutex_unlock(&call.batch->lock);
    return NULL;
}

/* Waits until at most 'n' calls are under way. */
static void await(struct batch *batch, unsigned n)
{
    while (batch->n > n)
        pthread_cond_wait(&batch->ended, &batch->lock);
}

/* Whether there is a thread for the call, which is counted then. */
static bool begin_call(struct batch *batch, int (*function)(void *argument), void *argument)
{
    struct call *call = malloc(sizeof *call);
    pthread_t thread;

    if (!call)
        return false;
    *call = (struct call){batch, function, argument};
    if (pthread_create(&thread, NULL, run, call)) {
        free(call);
        return false;
    }
    pthread_detach(thread);
    batch->n++;
    return true;
}

unsigned batch_await_room(struct batch *batch)
{
    unsigned n_failed;

    pthread_mutex_lock(&batch->lock);
    await(batch, batch->n_max - 1);
    n_failed = batch->n_failed;
    pthread_mutex_unlock(&batch->lock);
    return n_failed;
}

void batch_run(struct batch *batch, int (*function)(void *argument), void *argument)
{
    bool begun;

    pthread_mutex_lock(&batch->lock);
    await(batch, batch->n_max - 1);
    begun = begin_call(batch, function, argument);
    pthread_mutex_unlock(&batch->lock);
    if (begun || !function(argument))
        return;
    pthread_mutex_lock(&batch->lock);
    batch->n_failed++;
    pthread_mutex_unlock(&batch->lock);
}

void batch_end(struct batch *batch)
{
    pthread_mutex_lock(&batch->lock);
    await(batch, 0);
    pthread_mutex_unlock(&batch->lock);
    pthread_cond_destroy(&batch->ended);
    pthread_mutex_destroy(&batch->lock);
}
