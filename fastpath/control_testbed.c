/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/control_testbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fastpath/control_fake.h"

void expect(int result, const struct error *error)
{
    if (result)
        fail_msg("%s", error->text);
}

struct client *testbed_connect(const char *path)
{
    struct error error;
    struct client *client = client_connect(path, "test", &error);

    if (!client)
        fail_msg("%s", error.text);
    return client;
}

void testbed_stop(struct client *client)
{
    struct error error;

    client_begin(client, MESSAGE_STOP);
    expect(client_call(client, NULL, &error), &error);
    client_close(client);
    fake_finish();
}
