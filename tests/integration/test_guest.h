/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_TEST_GUEST_H
#define TESTS_TEST_GUEST_H

/*
 * The simplest guest on a port of a fast path under test. What goes wrong fails the cmocka test that runs.
 *
 *     test_guest_config(&fast_path, "vm1", &config);
 *     config.features |= ...;
 *     test_guest_create(&guest, &config);           // it listens
 *     fast_path_add_guest_port(&fast_path, "vm1", 0);
 *     test_guest_connect(&guest);
 *     fast_path_await_up(&fast_path, "vm1");
 *     test_guest_take(guest_receive_queue(&guest, 0), &buffer);
 *     guest_destroy(&guest);
 */

#include "bench/guest/guest.h"
#include "tests/integration/fast_path.h"

#define TEST_GUEST_WAIT_MS 60000 /* for whatever it waits for */

/* How the guest of port 'name' is configured by default: it listens on the port's socket, without hugepages. */
void test_guest_config(const struct fast_path *fast_path, const char *name, struct guest_config *config);

/* guest_create() and guest_connect() that cannot fail. */
void test_guest_create(struct guest *guest, const struct guest_config *config);
void test_guest_connect(struct guest *guest);

/* Waits for one buffer that comes back from the device. */
void test_guest_take(struct virtqueue *queue, struct virtqueue_buffer *buffer);

#endif
