/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_fastpath SOCKET: serves the control protocol without packets (control_fake.h), for tests of the
 * command line.
 */
#include <stdio.h>

#include "fastpath/control_fake.h"

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "Usage: fake_fastpath SOCKET\n");
        return 2;
    }
    fake_start(argv[1]);
    puts("ready");
    fflush(stdout);
    fake_finish();
    return 0;
}
