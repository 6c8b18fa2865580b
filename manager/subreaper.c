/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A "child subreaper" (prctl(2)) gets processes whose parents have ended as children of its first thread (find_new_reaper() in the
 * kernel). That one starts nothing itself and does nothing else than to wait for them. By __WNOTHREAD it does not see the children of
 * other threads: libvirt's, command_run()'s, the daemons.
 */
#include "manager/subreaper.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "lib/log.h"

struct life {
    pthread_t first;
    int (*function)(void *argument);
    void *argument;
    int result;
    _Atomic bool over;
};

static void *live(void *argument)
{
    struct life *life = argument;

    life->result = life->function(life->argument);
    atomic_store(&life->over, true);
    pthread_kill(life->first, SIGCHLD);
    return NULL;
}

static void reap(const sigset_t *child, const struct life *life)
{
    int number;

    while (!atomic_load(&life->over)) {
        sigwait(child, &number);
        while (waitpid(-1, NULL, WNOHANG | __WNOTHREAD) > 0)
            ;
    }
}

int subreaper_run(int (*function)(void *argument), void *argument)
{
    struct life life = {.first = pthread_self(), .function = function, .argument = argument};
    sigset_t child;
    pthread_t thread;
    int code;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &child, NULL);
    code = pthread_create(&thread, NULL, live, &life);
    if (code) {
        log_warning("machines may take seconds to end: there is no thread to wait for them: %s",
                    strerror(code));
        return function(argument);
    }
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
        log_warning("machines may take seconds to end: this kernel has no subreapers: %s", strerror(errno));
    reap(&child, &life);
    pthread_join(thread, NULL);
    return life.result;
}
