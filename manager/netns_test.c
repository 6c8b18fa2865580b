/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/netns.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/error.h"
#include "manager/command.h"

#define NAME "vnode-test.t"

static void must(int code, const struct error *error)
{
    if (code)
        fail_msg("%s", error->text);
}

static void sh(const char *line)
{
    struct error error;

    must(command_run((const char *const[]){"sh", "-c", line, NULL}, &error), &error);
}

static void commands_tell_what_failed(void **state)
{
    struct error error;

    must(command_run((const char *const[]){"true", NULL}, &error), &error);
    assert_int_equal(command_run((const char *const[]){"/nonexistent/program", "x", NULL}, &error), ENOENT);
    assert_string_equal(error.text, "'/nonexistent/program x' cannot be run: No such file or directory.");
    assert_int_equal(
        command_run((const char *const[]){"sh", "-c", "echo first; echo last.; exit 3", NULL}, &error), EIO);
    assert_string_equal(error.text, "'sh -c echo first; echo last.; exit 3' failed: last.");
    assert_int_equal(command_run((const char *const[]){"false", NULL}, &error), EIO);
    assert_string_equal(error.text, "'false' failed: it does not say why.");
    /* More than a pipe or our buffer holds. */
    assert_int_equal(
        command_run((const char *const[]){"sh", "-c", "seq 100000; echo end; exit 1", NULL}, &error), EIO);
    assert_non_null(strstr(error.text, "failed: end."));
}

static void namespaces_come_and_go(void **state)
{
    struct slice_interface interface = {.name = "eth0",
                                        .mac = "52:54:00:00:00:07",
                                        .mtu = 9000,
                                        .n_addresses = 2,
                                        .addresses = {"10.9.0.1/24", "fd00::1/64"}};
    struct error error = {0};

    assert_false(netns_exists(NAME));
    must(netns_add(NAME, &error), &error);
    must(netns_add(NAME, &error), &error);
    assert_true(netns_exists(NAME));
    for (unsigned i = 0; i < 2; i++)
        must(netns_add_interface(NAME, &interface, "vntest0", &error), &error);
    sh("ip -n " NAME " address show dev eth0 | grep -q 'inet 10.9.0.1/24'");
    sh("ip -n " NAME " address show dev eth0 | grep -q 'inet6 fd00::1/64'");
    sh("ip -n " NAME " link show dev eth0 | grep -q 52:54:00:00:00:07");
    sh("ip -n " NAME " link show dev eth0 | grep -q 'mtu 9000'");
    sh("ip link show dev vntest0 | grep -q 'LOWER_UP'");
    sh("ip netns exec " NAME " ethtool -k eth0 | grep -q 'tx-checksumming: off'");
    sh("ip netns exec " NAME " busybox ping -q -c 1 -W 5 10.9.0.1");
    must(netns_remove(NAME, &error), &error);
    assert_false(netns_exists(NAME));
    /* The kernel takes the other end away a little later, on a thread of its own, and tells nobody. */
    sh("for i in $(seq 200); do ip link show dev vntest0 >/dev/null 2>&1 || exit 0; sleep 0.1; done; echo still there; exit 1");
    must(netns_remove(NAME, &error), &error);
}

static void programs_inside_are_ended(void **state)
{
    struct error error = {0};
    int ready[2], status;
    char byte;
    pid_t pid;

    must(netns_add(NAME, &error), &error);
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (!pid) {
        dup2(ready[1], STDOUT_FILENO);
        execlp("ip", "ip", "netns", "exec", NAME, "sh", "-c", "echo; exec sleep 1000", NULL);
        _exit(127);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    must(netns_remove(NAME, &error), &error);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    close(ready[0]);
    close(ready[1]);
}

static void mistakes_leave_nothing(void **state)
{
    struct slice_interface interface = {.name = "eth0", .n_addresses = 1, .addresses = {"10.9.0.1/99"}};
    struct error error = {0};

    assert_int_not_equal(netns_add("no/such/place", &error), 0);
    must(netns_add(NAME, &error), &error);
    assert_int_equal(netns_add_interface(NAME, &interface, "vntest0", &error), EIO);
    assert_non_null(strstr(error.text, "10.9.0.1/99"));
    sh("! ip link show dev vntest0 2>/dev/null");
    must(netns_remove(NAME, &error), &error);
}

/* What the tests make is seen by nobody else, and vanishes with them. */
static int hide(void **state)
{
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
        return -1;
    return mount("tmpfs", "/run", "tmpfs", 0, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_tell_what_failed),
        cmocka_unit_test(namespaces_come_and_go),
        cmocka_unit_test(programs_inside_are_ended),
        cmocka_unit_test(mistakes_leave_nothing),
    };

    return cmocka_run_group_tests(tests, hide, NULL);
}
