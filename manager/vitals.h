/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_VITALS_H
#define MANAGER_VITALS_H

/*
 * Whether the fast path and Open vSwitch are there, as events tell it: the fast path's own events, the number that Open vSwitch
 * counts up in its database when it has done what is written there, and inotify for sockets that appear.
 *
 *     vitals_open(&vitals, &settings, &error);
 *     for (;;) {
 *         struct pollfd fds[VITALS_FDS];
 *
 *         n = vitals_fds(vitals, fds);
 *         poll(fds, n, vitals_patience_ms(vitals));
 *         news = vitals_check(vitals);
 *         if (news & VITALS_RETURNED)
 *             // what a daemon had to know is gone with its last life: reconcile all slices
 *     }
 *
 * One thread. Nothing waits longer than a daemon that is there needs for an answer.
 */

#include <jansson.h>
#include <poll.h>
#include <stdbool.h>

#include "lib/error.h"

#define VITALS_FDS 3

struct vitals_settings {
    const char *run_folder;      /* where sockets appear */
    const char *fastpath_socket; /* NULL: there is none to wait for */
    const char *vswitch_db;      /* NULL: there is none to wait for */
    json_t *vswitch_config; /* other_config of a private Open vSwitch: key to text; NULL: it is somebody else's. Borrowed */
};

enum vitals_news {
    VITALS_CONFIGURED = 1, /* Open vSwitch's database says how it shall run: it can be started */
    VITALS_RETURNED = 2,   /* the fast path or Open vSwitch has (again) become ready */
    VITALS_PORTS = 4,      /* a port's link went up or down: nodes may have come up, or ended */
};

struct vitals;

int vitals_open(struct vitals **vitals, const struct vitals_settings *settings, struct error *error);
void vitals_close(struct vitals *vitals);

/* What to poll for; returns how many. */
unsigned vitals_fds(const struct vitals *vitals, struct pollfd fds[VITALS_FDS]);

/* How long to poll at most, in milliseconds; -1: for ever. */
int vitals_patience_ms(const struct vitals *vitals);

/* Looks at what has happened, and connects to what has come. Returns a set of vitals_news. */
unsigned vitals_check(struct vitals *vitals);

/* Open vSwitch was started anew: it is not ready until it says so again. */
void vitals_vswitch_started(struct vitals *vitals);

/* NULL: all is there; else a sentence about what is missing. */
const char *vitals_missing(const struct vitals *vitals);

#endif
