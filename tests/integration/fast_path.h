/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAST_PATH_H
#define TESTS_FAST_PATH_H

/*
 * A vnode-fastpath of a test's own: started without hugepages, with its sockets
 * in a directory under /tmp, asked and told everything through its control socket, and
 * gone with all it made when the test ends.
 *
 *     struct fast_path fast_path;
 *
 *     fast_path_start(&fast_path);
 *     fast_path_socket(&fast_path, "vm1", config.path);  // where the guest is to listen
 *     guest_create(&guest, &config, &error);
 *     fast_path_add_guest_port(&fast_path, "vm1", 9000);
 *     guest_connect(&guest, 5000, &error);
 *     fast_path_add_rule(&fast_path, "in=vm1 actions=output:vm2");
 *     fast_path_await_up(&fast_path, "vm1");
 *     ...
 *     fast_path_stop(&fast_path);
 *
 * The program is the one that the environment variable VNODE_FASTPATH names. Whatever
 * goes wrong here fails the cmocka test that runs.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/client.h"

struct fast_path {
    pid_t pid;
    char directory[32];
    struct client *client;
    bool may_warn; /* the test gives it reason to: warnings in its log are no failure */
};

/* Starts the program, waits until it says that it is ready, and connects to it. */
void fast_path_start(struct fast_path *fast_path);

/* Asks it to stop. Fails the test unless it ends with status 0 and has logged no warning and no error. */
void fast_path_stop(struct fast_path *fast_path);

/* Fails the test that runs, and shows what the program has logged. */
_Noreturn void fast_path_fail(const struct fast_path *fast_path, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The name of the socket for guest port 'name'. */
void fast_path_socket(const struct fast_path *fast_path, const char *name, char path[108]);

/*
 * Adds a vhost-user port with one queue pair, which connects to that socket: at once when the guest listens
 * already (a fast path that listens itself sees its first connection up to a second late). 'mtu' 0: the default.
 */
void fast_path_add_guest_port(struct fast_path *fast_path, const char *name, uint16_t mtu);

/* Adds a vhost-user port that listens on that socket itself. */
void fast_path_add_listening_port(struct fast_path *fast_path, const char *name, uint16_t n_queues);
void fast_path_remove_port(struct fast_path *fast_path, const char *name);

/* Sets one of a port's limits, by the name that it has in the protocol: "rate", "burst_out" ... */
void fast_path_set_limit(struct fast_path *fast_path, const char *name, const char *limit, uint64_t value);

/* Adds a rule in the language of `vnode rule add`. */
void fast_path_add_rule(struct fast_path *fast_path, const char *text);

/* Returns when the port's guest has set up its queues; fails the test after a minute. */
void fast_path_await_up(struct fast_path *fast_path, const char *name);

/* Returns when the port is down and says why with 'words' among others; fails the test after a minute. */
void fast_path_await_reason(struct fast_path *fast_path, const char *name, const char *words);

/* The counter of one drop reason ("tx-full") of a port; 'reason' NULL: of all together. */
uint64_t fast_path_drops(struct fast_path *fast_path, const char *name, const char *reason);

/* Returns when that counter has reached 'n'; fails the test after a minute. */
void fast_path_await_drops(struct fast_path *fast_path, const char *name, const char *reason, uint64_t n);

/* One of the port's other counters: "rx_packets", "holds" ... */
uint64_t fast_path_counter(struct fast_path *fast_path, const char *name, const char *counter);

/*
 * One for all tests of a program, started by the first and stopped by the last of them: tests, not set-up and
 * tear-down of the group, because cmocka does not count failures of those.
 */
extern struct fast_path common_fast_path;
void fast_path_starts(void **state);
void fast_path_ends_without_a_warning(void **state);

#endif
