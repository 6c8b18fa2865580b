/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_FAKE_BACKEND_H
#define GUEST_FAKE_BACKEND_H

/*
 * A small vhost-user back end for tests of the front end: it gives each frame that a guest sends back to the
 * guest by the same queue pair. It is written for clearness, knows no haste, and shares no code with the
 * driver's side. It runs in a thread of its own and wakes only on messages and kicks, so that a kick which is
 * not sent makes a test fail.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct fake_backend_config {
    char path[108];
    uint64_t features; /* offered; VHOST_USER_F_PROTOCOL_FEATURES among them */
    uint64_t protocol_features;
    uint16_t n_queue_pairs;
    bool used_in_batches; /* with IN_ORDER: one used entry for all that a round has taken */
};

struct fake_backend {
    struct fake_backend_config config;
    pthread_t thread;
    int fd;
    int stop_fd;
};

/* Connects to the guest's socket and serves in a thread. Returns 0 or a positive errno value. */
int fake_backend_start(struct fake_backend *backend, const struct fake_backend_config *config);

/* Ends the thread and closes the connection. */
void fake_backend_stop(struct fake_backend *backend);

#endif
