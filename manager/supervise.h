/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_SUPERVISE_H
#define MANAGER_SUPERVISE_H

/*
 * Daemons that the manager keeps running: one that ends is started again, at once the first time, then later and later
 * up to SUPERVISE_PAUSE_MAX_MS, and at once again when it has lasted for SUPERVISE_STABLE_MS.
 *
 *     struct supervised *daemon = supervise(loop, &(struct supervised_spec){.name = "fast path", ...}, &error);
 *     ...
 *     supervised_stop(daemon, on_end, argument);
 *
 * Daemons outlive a manager that is killed, so that nothing of a slice stops with it: the next one finds them by the files
 * where their process ids are, and watches over them from then on. Everything here happens on the loop's thread.
 */

#include <stdbool.h>
#include <uv.h>

#include "lib/error.h"

#define SUPERVISE_PAUSE_MIN_MS 50
#define SUPERVISE_PAUSE_MAX_MS 5000
#define SUPERVISE_STABLE_MS 10000
#define SUPERVISE_WORDS_MAX 32

struct supervised_spec {
    const char *name;                       /* for people: "fast path" */
    const char *words[SUPERVISE_WORDS_MAX]; /* program and arguments, ended by NULL; they have to stay */
    const char *const *environment;         /* "NAME=VALUE" beside our own, ended by NULL; NULL: none */
    const char *pid_path;                   /* file for the process id */
    const char *log_path;                   /* what it prints is appended there */

    /* Told (may be NULL) when it has been started, with its process id, and when it has ended, with 0. */
    void (*changed)(const char *name, int pid, void *argument);
    void *argument;
};

struct supervised;

/* Starts a daemon, or takes over the one whose process id is in the file. NULL with an error when it cannot be started. */
struct supervised *supervise(uv_loop_t *loop, const struct supervised_spec *spec, struct error *error);

/* Whether the process that this file names runs: supervise() would take it over. */
bool supervised_runs(const char *pid_path);

/* How often it was started since supervise(); one that was taken over counts as 0. */
unsigned supervised_starts(const struct supervised *daemon);

/* Its process id; 0: it does not run at the moment. */
int supervised_pid(const struct supervised *daemon);

/* Ends the daemon (SIGTERM, and after five seconds SIGKILL), calls 'ended' (may be NULL), and frees 'daemon'. */
void supervised_stop(struct supervised *daemon, void (*ended)(void *argument), void *argument);

/* Stops watching over it, and frees 'daemon'; the daemon goes on. */
void supervised_leave(struct supervised *daemon);

#endif
