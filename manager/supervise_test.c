/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/supervise.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/supervise-test.XXXXXX";
static char pid_path[64], log_path[64];
static uv_loop_t loop;
static bool has_ended;

static struct supervised_spec spec_of(const char *line)
{
    return (struct supervised_spec){
        .name = "daemon", .words = {"sh", "-c", line, NULL}, .pid_path = pid_path, .log_path = log_path};
}

static struct supervised *begin(const char *line)
{
    struct supervised_spec spec = spec_of(line);
    struct error error;
    struct supervised *daemon = supervise(&loop, &spec, &error);

    if (!daemon)
        fail_msg("%s", error.text);
    return daemon;
}

static void ended(void *argument)
{
    has_ended = true;
}

static void stop(struct supervised *daemon)
{
    has_ended = false;
    supervised_stop(daemon, ended, NULL);
    while (!has_ended)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_not_equal(access(pid_path, F_OK), 0);
}

static void daemons_are_started_again(void **state)
{
    struct supervised *daemon = begin("exec sleep 1000");

    for (unsigned i = 1; i < 4; i++) {
        assert_int_equal(supervised_starts(daemon), i);
        kill(supervised_pid(daemon), SIGKILL);
        while (supervised_starts(daemon) == i)
            uv_run(&loop, UV_RUN_ONCE);
    }
    assert_true(supervised_pid(daemon) > 1);
    stop(daemon);
}

/* One that ends at once does not keep the machine busy: the pauses add up. */
static void daemons_that_fail_wait(void **state)
{
    struct supervised *daemon = begin("exit 3");
    uint64_t begin_ms = uv_hrtime() / 1000000;

    while (supervised_starts(daemon) < 5)
        uv_run(&loop, UV_RUN_ONCE);
    assert_true(uv_hrtime() / 1000000 - begin_ms >= 50 + 100 + 200);
    stop(daemon);
}

static void leave(struct supervised *daemon)
{
    supervised_leave(daemon);
    while (uv_run(&loop, UV_RUN_NOWAIT))
        ;
}

static void overwrite_pid(int pid, unsigned long long time)
{
    FILE *file = fopen(pid_path, "w");

    assert_non_null(file);
    fprintf(file, "%d %llu\n", pid, time);
    fclose(file);
}

static void next_manager_takes_over(void **state)
{
    struct supervised *daemon = begin("exec sleep 1000");
    int pid = supervised_pid(daemon);

    leave(daemon);
    daemon = begin("exec sleep 1000");
    assert_int_equal(supervised_starts(daemon), 0);
    assert_int_equal(supervised_pid(daemon), pid);
    kill(pid, SIGKILL);
    while (!supervised_starts(daemon))
        uv_run(&loop, UV_RUN_ONCE);
    pid = supervised_pid(daemon);

    /* Gone meanwhile, or so it seems: the file names a process that has got its number. */
    leave(daemon);
    overwrite_pid(pid, 1);
    daemon = begin("exec sleep 1000");
    assert_int_equal(supervised_starts(daemon), 1);
    stop(daemon);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void deaf_daemons_are_killed(void **state)
{
    struct supervised *daemon = begin("trap '' TERM; echo deaf; while :; do sleep 0.1; done");
    FILE *log = NULL;
    char word[8] = "";

    while (strcmp(word, "deaf\n") != 0) {
        uv_run(&loop, UV_RUN_NOWAIT);
        log = fopen(log_path, "r");
        if (log && !fgets(word, sizeof word, log))
            word[0] = '\0';
        if (log)
            fclose(log);
    }
    stop(daemon);
}

static void programs_that_are_not_there(void **state)
{
    struct supervised_spec spec = {
        .name = "nobody", .words = {"/nonexistent/daemon", NULL}, .pid_path = pid_path, .log_path = log_path};
    struct error error;

    assert_null(supervise(&loop, &spec, &error));
    assert_string_equal(error.text,
                        "The nobody (/nonexistent/daemon) cannot be started: No such file or directory.");
}

static int set_up(void **state)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(pid_path, sizeof pid_path, "%s/pid", folder);
    snprintf(log_path, sizeof log_path, "%s/log", folder);
    return uv_loop_init(&loop);
}

static int tear_down(void **state)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    unlink(log_path);
    unlink(pid_path);
    return rmdir(folder) || uv_loop_close(&loop);
}

static int clear_log(void **state)
{
    unlink(log_path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(daemons_are_started_again, clear_log),
        cmocka_unit_test_setup(daemons_that_fail_wait, clear_log),
        cmocka_unit_test_setup(next_manager_takes_over, clear_log),
        cmocka_unit_test_setup(deaf_daemons_are_killed, clear_log),
        cmocka_unit_test_setup(programs_that_are_not_there, clear_log),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
