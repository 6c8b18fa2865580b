/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_CONTROL_TESTBED_H
#define FASTPATH_CONTROL_TESTBED_H

/* For tests that are clients of control_fake.h's fast path. Include cmocka's headers before. */

#include "lib/error.h"
#include "proto/client.h"

/* Fails the test with the sentence, unless 'result' is 0. */
void expect(int result, const struct error *error);

/* A new connection, which has said HELLO, to the socket at 'path'; the caller closes it. Fails the test when there is none. */
struct client *testbed_connect(const char *path);

/* Ends the fast path by a STOP of 'client', which is closed. */
void testbed_stop(struct client *client);

#endif
