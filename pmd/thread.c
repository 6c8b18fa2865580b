/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>

#include <rte_lcore.h>
#include <rte_thread.h>
#include <rte_version.h>

#define THREAD_NAME "vnode-driver"

struct start {
    void (*run)(void *argument);
    void *argument;
};

static void run(void *argument)
{
    struct start start = *(struct start *)argument;

    free(argument);
    start.run(start.argument);
}

/* DPDK changed the function: the newer one has another type of thread, and of its result. */
#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)

static uint32_t run_control(void *argument)
{
    run(argument);
    return 0;
}

static int start_control(struct start *start)
{
    rte_thread_t thread;
    int result = rte_thread_create_control(&thread, THREAD_NAME, run_control, start);

    return result ? abs(result) : rte_thread_detach(thread);
}

#else

static void *run_control(void *argument)
{
    run(argument);
    return NULL;
}

static int start_control(struct start *start)
{
    pthread_t thread;
    int result = rte_ctrl_thread_create(&thread, THREAD_NAME, NULL, run_control, start);

    return result ? abs(result) : pthread_detach(thread);
}

#endif

int thread_start(void (*entry)(void *argument), void *argument)
{
    struct start *start = malloc(sizeof *start);
    sigset_t all, before;
    int result;

    if (!start)
        return ENOMEM;
    *start = (struct start){.run = entry, .argument = argument};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    result = start_control(start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result)
        free(start);
    return result;
}
