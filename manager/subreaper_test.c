/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/subreaper.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "manager/command.h"

#define DAEMONS 20
#define END_MS 30000

static int statuses[DAEMONS], n_good;

/*
 * Starts a daemon whose parent ends at once, and ends it. Returns whether both are gone: the parent's status is ours to take, the
 * daemon's process is nobody's any more. On this thread no assertion is made: it is not the one that cmocka returns to.
 */
static bool start_and_end(unsigned number)
{
    int pipes[2], status = 0;
    pid_t pid = 0, parent;

    if (pipe(pipes))
        return false;
    parent = fork();
    if (!parent) {
        pid = fork();
        if (pid && write(pipes[1], &pid, sizeof pid) < 0)
            _exit(1);
        while (!pid)
            pause();
        _exit((int)number + 1);
    }
    if (read(pipes[0], &pid, sizeof pid) != sizeof pid || waitpid(parent, &status, 0) != parent ||
        kill(pid, SIGKILL))
        return false;
    close(pipes[0]);
    close(pipes[1]);
    statuses[number] = WEXITSTATUS(status);
    for (unsigned ms = 0; ms < END_MS && !kill(pid, 0); ms++)
        usleep(1000); /* nobody is told of it: libvirt asks again and again, too */
    return kill(pid, 0) && errno == ESRCH;
}

static int start_and_end_all(void *argument)
{
    for (unsigned i = 0; i < DAEMONS; i++)
        n_good += start_and_end(i);
    return *(int *)argument;
}

static void daemons_are_reaped_and_children_are_not(void **state)
{
    int result = 42;

    assert_int_equal(subreaper_run(start_and_end_all, &result), 42);
    assert_int_equal(n_good, DAEMONS);
    for (int i = 0; i < DAEMONS; i++)
        assert_int_equal(statuses[i], i + 1);
}

static int run_command(void *argument)
{
    struct error error = {0};
    char output[128];
    const struct command command = {.words = (const char *const[]){"grep", "SigBlk", "/proc/self/status", NULL},
                                    .output = output,
                                    .output_size = sizeof output};

    return command_run_with(&command, &error) || !strstr(output, "0000000000000000");
}

/* A program would wait for its own children in vain. */
static void programs_have_no_signal_blocked(void **state)
{
    assert_int_equal(subreaper_run(run_command, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(daemons_are_reaped_and_children_are_not),
        cmocka_unit_test(programs_have_no_signal_blocked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
