/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_ARENA_H
#define TESTS_ARENA_H

/*
 * A fast path under attack: two honest guests exchange frames all the time, over ports of
 * their own, and notice each frame that is lost, changed or out of order; a third port,
 * "attacker", with two queue pairs, belongs to the test. Frames from it come back to it.
 *
 *     arena_open(&arena);
 *     arena_config(&arena, &config);
 *     arena_connect(&arena, &attacker, &config);
 *     ... something hostile ...
 *     fast_path_await_reason(&arena.fast_path, "attacker", "why it was stopped");
 *     guest_destroy(&attacker);
 *     arena_check(&arena);
 *     arena_close(&arena);
 *
 * What goes wrong fails the cmocka test that runs.
 */

#include <pthread.h>

#include "tests/integration/test_guest.h"

/* What a process holds. */
struct arena_holdings {
    unsigned n_fds;
    unsigned n_mappings;
    unsigned long resident_kib;
};

struct arena {
    struct fast_path fast_path;
    struct guest honest[2];
    pthread_t thread;
    _Atomic bool stop;
    _Atomic uint64_t n_rounds;     /* of the honest guests, each a burst both ways */
    _Atomic(const char *) failure; /* what went wrong between them; NULL: nothing */
    struct arena_holdings before;
};

void arena_open(struct arena *arena);

/*
 * Stops it all. The fast path must end well; warnings in its log are expected.
 */
void arena_close(struct arena *arena);

/* How a guest for the port "attacker" is configured by default: it connects, 64 descriptors, two regions of memory. */
void arena_config(const struct arena *arena, struct guest_config *config);

/* Makes a guest and connects it, with retries: the one before may not be gone yet. */
void arena_connect(const struct arena *arena, struct guest *guest, const struct guest_config *config);

/* Sends 'n' frames from a guest and waits until they come back to it, whole and in order. */
void arena_echo(struct guest *guest, unsigned n);

/* The same for a child process, in which no cmocka test may fail. Returns what went wrong, or NULL. */
const char *arena_try_echo(struct guest *guest, unsigned n);

/*
 * With the attacker gone: the fast path lives, the honest guests go on as before, the
 * attacker's port serves an honest guest, and all that the attack took is given back.
 */
void arena_check(struct arena *arena);

/* Waits until the honest guests have exchanged 'n' more bursts without a loss. */
void arena_await_rounds(struct arena *arena, uint64_t n);

#endif
