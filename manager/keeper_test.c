/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper when it is killed, told to fail, or interfered with. */
#include "manager/keeper.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "manager/keeper_testbed.h"

#define PAIR "name: pair\nnodes: {a: {kind: vm}, b: {kind: vm}}\nlinks: [[a, b]]\n"
#define PAIR_LARGER "name: pair\nnodes: {a: {kind: vm, cpu: 2}, b: {kind: vm}}\nlinks: [[a, b]]\n"

static void slices_come_and_go(void **state)
{
    struct keeper *keeper = start_keeper();
    unsigned n_steps = 0;
    char text[256];

    assert_int_equal(await_job(begin_deploy(keeper, PAIR), text, &n_steps), 0);
    assert_int_equal(n_steps, 2);
    assert_string_equal(node_of("pair", "a"), "running cpu=1 memory=268435456");
    assert_column("pair", "state", "running");
    assert_column("pair", "status", "[\"map\",[[\"a\",\"running\"],[\"b\",\"running\"]]]");
    /* Again: nothing is to be done, and that is no mistake. */
    n_steps = 0;
    assert_int_equal(await_job(begin_deploy(keeper, PAIR), text, &n_steps), 0);
    assert_int_equal(n_steps, 0);
    n_steps = 0;
    assert_int_equal(await_job(begin_deploy(keeper, PAIR_LARGER), text, &n_steps), 0);
    assert_int_equal(n_steps, 1);
    assert_string_equal(node_of("pair", "a"), "running cpu=2 memory=268435456");
    assert_column("pair", "previous", "");
    assert_int_equal(job(keeper, JOB_DESTROY, "pair", NULL, text), 0);
    assert_false(slice_is_there("pair"));
    assert_no_row("pair");
    assert_int_equal(job(keeper, JOB_DESTROY, "pair", NULL, text), ENOENT);
    assert_string_equal(text, "There is no slice pair.");
    stop_keeper(keeper);
}

static void failed_deploys_leave_nothing(void **state)
{
    struct keeper *keeper = start_keeper();
    char text[256];

    command("fail", "b");
    assert_int_equal(deploy(keeper, PAIR, text), EIO);
    assert_string_equal(text, "Node b cannot be started: it was told to fail.");
    assert_false(slice_is_there("pair"));
    assert_no_row("pair");
    command("fail", NULL);
    stop_keeper(keeper);
}

static void failed_changes_go_back(void **state)
{
    struct keeper *keeper = start_keeper();
    char text[256];

    assert_int_equal(deploy(keeper, PAIR, text), 0);
    command("fail", "c");
    assert_int_equal(deploy(keeper, "name: pair\nnodes: {a: {kind: vm, cpu: 3}, c: {kind: vm}}\n", text), EIO);
    assert_string_equal(text, "Node c cannot be started: it was told to fail.");
    assert_string_equal(node_of("pair", "a"), "running cpu=1 memory=268435456");
    assert_string_equal(node_of("pair", "b"), "running cpu=1 memory=268435456");
    assert_string_equal(node_of("pair", "c"), "");
    assert_column("pair", "spec", PAIR);
    assert_column("pair", "state", "running");
    command("fail", NULL);
    assert_int_equal(job(keeper, JOB_DESTROY, "pair", NULL, text), 0);
    stop_keeper(keeper);
}

static void what_does_not_fit_is_refused(void **state)
{
    struct keeper *keeper = start_keeper();
    char text[256];

    assert_int_equal(deploy(keeper, "name: big\nnodes: {a: {kind: vm, cpu: 6}}\n", text), 0);
    assert_int_equal(deploy(keeper, "name: more\nnodes: {a: {kind: vm, cpu: 3}}\n", text), ENOSPC);
    assert_string_equal(text, "Slice more needs 3 CPUs, 1 more than there is left: of 8, big has 6.");
    assert_no_row("more");
    assert_int_equal(deploy(keeper, "name: more\nnodes: [a]\n", text), EINVAL);
    assert_non_null(strstr(text, "line 2"));
    assert_int_equal(job(keeper, JOB_DESTROY, "big", NULL, text), 0);
    stop_keeper(keeper);
}

/* A process that is killed before node 'node' is started, as it deploys 'spec'. */
static void deploy_and_die(const char *spec, const char *node)
{
    int status;
    pid_t pid;

    command("kill", node);
    pid = fork();
    if (!pid) {
        struct keeper *keeper = start_keeper();

        deploy(keeper, spec, NULL);
        _exit(1); /* not reached */
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static void deploys_that_are_killed_are_finished(void **state)
{
    struct keeper *keeper;

    deploy_and_die(PAIR, "b");
    assert_column("pair", "state", "pending");
    assert_string_not_equal(node_of("pair", "a"), "");
    assert_string_equal(node_of("pair", "b"), "");
    keeper = start_keeper();
    await_event("slice-running", "pair");
    assert_string_not_equal(node_of("pair", "b"), "");
    assert_column("pair", "state", "running");

    /* A change, likewise; and here what has to be finished fails, so that it is undone. */
    stop_keeper(keeper);
    deploy_and_die(PAIR_LARGER, "a");
    assert_column("pair", "previous", PAIR);
    command("fail", "a");
    write_node("pair", "a", "running cpu=1 memory=268435456");
    keeper = start_keeper();
    await_event("change-failed", "pair");
    await_event("slice-running", "pair");
    assert_column("pair", "spec", PAIR);
    assert_column("pair", "previous", "");
    command("fail", NULL);
    assert_int_equal(job(keeper, JOB_DESTROY, "pair", NULL, NULL), 0);
    stop_keeper(keeper);
}

static void deploys_that_are_killed_are_undone_when_they_fail(void **state)
{
    struct keeper *keeper;

    deploy_and_die(PAIR, "b");
    command("fail", "b");
    keeper = start_keeper();
    await_event("deploy-failed", "pair");
    await_event("slice-destroyed", "pair");
    assert_no_row("pair");
    assert_false(slice_is_there("pair"));
    command("fail", NULL);
    stop_keeper(keeper);
}

static void destroying_goes_on_until_nothing_is_left(void **state)
{
    struct keeper *keeper = start_keeper();
    char text[256];

    assert_int_equal(deploy(keeper, PAIR, text), 0);
    command("fail-remove", "");
    assert_int_equal(job(keeper, JOB_DESTROY, "pair", NULL, text), EIO);
    assert_string_equal(text, "Slice pair cannot be removed: it was told to fail.");
    assert_column("pair", "state", "destroying");
    assert_int_equal(deploy(keeper, PAIR, text), EBUSY);
    stop_keeper(keeper);
    keeper = start_keeper();
    await_event("destroy-failed", "pair");
    command("fail-remove", NULL);
    await_event("slice-destroyed", "pair");
    assert_no_row("pair");
    stop_keeper(keeper);
}

static void what_has_no_row_is_removed(void **state)
{
    char path[128];
    struct keeper *keeper;

    snprintf(path, sizeof path, "%s/fake/stray", state_folder);
    assert_int_equal(mkdir(path, 0755), 0);
    write_node("stray", "a", "running");
    keeper = start_keeper();
    await_event("slice-destroyed", "stray");
    assert_false(slice_is_there("stray"));
    stop_keeper(keeper);
}

static void nodes_stop_and_start(void **state)
{
    struct keeper *keeper = start_keeper();
    struct stat before, after;
    char path[128], text[256];

    assert_int_equal(deploy(keeper, PAIR, text), 0);
    assert_int_equal(job(keeper, JOB_STOP, "pair", "a", text), 0);
    assert_string_equal(node_of("pair", "a"), "");
    assert_column("pair", "state", "running");
    assert_column("pair", "stopped", "a");
    assert_int_equal(job(keeper, JOB_RESTART, "pair", "a", text), EINVAL);
    assert_int_equal(job(keeper, JOB_START, "pair", "a", text), 0);
    assert_string_not_equal(node_of("pair", "a"), "");
    snprintf(path, sizeof path, "%s/fake/pair/a", state_folder);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(job(keeper, JOB_RESTART, "pair", "a", text), 0);
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_mtim.tv_sec != after.st_mtim.tv_sec ||
                before.st_mtim.tv_nsec != after.st_mtim.tv_nsec);
    assert_int_equal(job(keeper, JOB_START, "pair", "z", text), ENOENT);
    assert_string_equal(text, "Slice pair has no node z.");
    assert_int_equal(job(keeper, JOB_DESTROY, "pair", NULL, text), 0);
    stop_keeper(keeper);
}

static void machines_that_end_are_started_again(void **state)
{
    struct keeper *keeper = start_keeper();

    assert_int_equal(deploy(keeper, PAIR, NULL), 0);
    write_node("pair", "b", NULL);
    await_event("node-stopped", "pair");
    await_event("node-running", "pair");
    assert_string_not_equal(node_of("pair", "b"), "");
    write_node("pair", "a", "failed It has no disk.");
    await_event("node-failed", "pair");
    await_event("node-running", "pair");
    assert_int_equal(job(keeper, JOB_DESTROY, "pair", NULL, NULL), 0);
    stop_keeper(keeper);
}

static void deploys_wait_for_nodes(void **state)
{
    struct keeper *keeper = start_keeper();
    uint64_t id;

    command("starting", "");
    id = begin_deploy(keeper, PAIR);
    await_event("node-starting", "pair");
    assert_column("pair", "state", "pending");
    write_node("pair", "a", "running cpu=1 memory=268435456");
    write_node("pair", "b", "running cpu=1 memory=268435456");
    assert_int_equal(await_job(id, NULL, NULL), 0);
    assert_column("pair", "state", "running");

    /* One that ends before it has come up takes the deploy with it. */
    assert_int_equal(job(keeper, JOB_DESTROY, "pair", NULL, NULL), 0);
    id = begin_deploy(keeper, PAIR);
    await_event("node-starting", "pair");
    write_node("pair", "a", "failed It has no disk.");
    assert_int_equal(await_job(id, NULL, NULL), EIO);
    assert_no_row("pair");
    command("starting", NULL);
    stop_keeper(keeper);
}

/* Rows that somebody else writes count as much as jobs. */
static void rows_of_others(void **state)
{
    struct keeper *keeper = start_keeper();

    change_database(json_pack("{s:s, s:s, s:{s:s, s:s, s:s}}", "op", "insert", "table", "Slice", "row",
                              "name", "pair", "spec", PAIR, "state", "pending"));
    await_event("slice-running", "pair");
    change_database(json_pack("{s:s, s:s, s:[[s, s, s]], s:{s:s}}", "op", "update", "table", "Slice", "where",
                              "name", "==", "pair", "row", "spec", PAIR_LARGER));
    await_node("pair", "a", "running cpu=2 memory=268435456");
    change_database(json_pack("{s:s, s:s, s:[[s, s, s]], s:{s:s}}", "op", "update", "table", "Slice", "where",
                              "name", "==", "pair", "row", "spec", "nonsense"));
    await_event("slice-failed", "pair");
    change_database(json_pack("{s:s, s:s, s:[[s, s, s]]}", "op", "delete", "table", "Slice", "where", "name",
                              "==", "pair"));
    await_event("slice-destroyed", "pair");
    assert_false(slice_is_there("pair"));
    stop_keeper(keeper);
}

static void leases_end(void **state)
{
    struct keeper *keeper = start_keeper();

    assert_int_equal(deploy(keeper, "name: short\nlease: 1s\nnodes: {a: {kind: netns}}\n", NULL), 0);
    await_event("lease-ended", "short");
    await_event("slice-destroyed", "short");
    assert_no_row("short");
    stop_keeper(keeper);
}

static void reserved_slices_hold_their_place(void **state)
{
    struct keeper *keeper = start_keeper();
    char text[256];

    assert_int_equal(
        keeper_submit(keeper,
                      &(struct keeper_job){.id = 1,
                                           .kind = JOB_DEPLOY,
                                           .spec = strdup("name: big\nnodes: {a: {kind: vm, cpu: 6}}\n"),
                                           .reserve = true},
                      NULL),
        0);
    assert_int_equal(await_job(1, text, NULL), 0);
    assert_column("big", "state", "reserved");
    assert_false(slice_is_there("big"));
    assert_int_equal(deploy(keeper, "name: more\nnodes: {a: {kind: vm, cpu: 3}}\n", text), ENOSPC);
    assert_int_equal(deploy(keeper, "name: big\nnodes: {a: {kind: vm, cpu: 6}}\n", text), 0);
    assert_string_not_equal(node_of("big", "a"), "");
    assert_int_equal(job(keeper, JOB_DESTROY, "big", NULL, text), 0);
    stop_keeper(keeper);
}

static void taking_down_leaves_rows(void **state)
{
    struct keeper *keeper = start_keeper();

    assert_int_equal(deploy(keeper, PAIR, NULL), 0);
    assert_int_equal(job(keeper, JOB_DOWN, "", NULL, NULL), 0);
    assert_false(slice_is_there("pair"));
    assert_column("pair", "state", "failed");
    stop_keeper(keeper);
    keeper = start_keeper();
    await_event("slice-running", "pair");
    assert_int_equal(job(keeper, JOB_DESTROY, "pair", NULL, NULL), 0);
    stop_keeper(keeper);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_come_and_go),
        cmocka_unit_test(failed_deploys_leave_nothing),
        cmocka_unit_test(failed_changes_go_back),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(deploys_that_are_killed_are_finished),
        cmocka_unit_test(deploys_that_are_killed_are_undone_when_they_fail),
        cmocka_unit_test(destroying_goes_on_until_nothing_is_left),
        cmocka_unit_test(what_has_no_row_is_removed),
        cmocka_unit_test(nodes_stop_and_start),
        cmocka_unit_test(machines_that_end_are_started_again),
        cmocka_unit_test(deploys_wait_for_nodes),
        cmocka_unit_test(rows_of_others),
        cmocka_unit_test(leases_end),
        cmocka_unit_test(reserved_slices_hold_their_place),
        cmocka_unit_test(taking_down_leaves_rows),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
