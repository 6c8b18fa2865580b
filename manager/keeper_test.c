/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper on a real database, with nodes that are files (reconcile_fake.h): whoever is killed, told to fail or interfered with. */
#include "manager/keeper.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "manager/ovsdb.h"
#include "manager/ovsdb_fixture.h"
#include "manager/reconcile_fake.h"

#define PATIENCE_S 30

static struct ovsdb_fixture fixture;
static char state_folder[64];

/* What the keeper tells, in order. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t came;
    unsigned first, n;
    struct keeper_message list[256];
} mail = {.lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER};

static void tell(const struct keeper_message *message, void *argument)
{
    pthread_mutex_lock(&mail.lock);
    assert_true(mail.n < 256);
    mail.list[(mail.first + mail.n++) % 256] = *message;
    pthread_cond_signal(&mail.came);
    pthread_mutex_unlock(&mail.lock);
}

/* The next message; whoever calls frees its JSON. */
static struct keeper_message next_message(void)
{
    struct keeper_message message;
    struct timespec deadline;

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&mail.lock);
    while (!mail.n)
        if (pthread_cond_timedwait(&mail.came, &mail.lock, &deadline))
            fail_msg("the keeper says nothing");
    message = mail.list[mail.first];
    mail.first = (mail.first + 1) % 256;
    mail.n--;
    pthread_mutex_unlock(&mail.lock);
    return message;
}

static void forget_mail(void)
{
    for (; mail.n; mail.n--, mail.first = (mail.first + 1) % 256)
        json_decref(mail.list[mail.first].json);
}

static const char *text_of(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));

    return text ? text : "";
}

/* Waits for an event, and passes over everything else. */
static void await_event(const char *event, const char *slice)
{
    for (bool found = false; !found;) {
        struct keeper_message message = next_message();

        found = message.kind == KEEPER_EVENT && !strcmp(text_of(message.json, "event"), event) &&
                (!slice || !strcmp(text_of(message.json, "slice"), slice));
        json_decref(message.json);
    }
}

/* Waits until a job is done: its code, and its sentence when it failed; 'progress' counts its steps. */
static int await_job(uint64_t job, char text[256], unsigned *progress)
{
    for (;;) {
        struct keeper_message message = next_message();
        bool done = message.kind == KEEPER_DONE && message.job == job;

        if (progress && message.kind == KEEPER_PROGRESS && message.job == job)
            ++*progress;
        if (done && text)
            snprintf(text, 256, "%s", text_of(message.json, "text"));
        json_decref(message.json);
        if (done)
            return message.code;
    }
}

static struct keeper *start(void)
{
    const struct keeper_settings settings = {
        .reconcile = {.run_folder = fixture.folder, .state_folder = state_folder},
        .vitals = {.run_folder = fixture.folder},
        .db = fixture.remote,
        .host = "here",
        .capacity = {.amounts = {[RESOURCE_CPU] = 8,
                                 [RESOURCE_MEMORY] = UINT64_C(4) << 30,
                                 [RESOURCE_RATE] = 1000000000,
                                 [RESOURCE_RULES] = 1000,
                                 [RESOURCE_PORTS] = 64}},
        .tell = tell,
    };
    static struct keeper_settings kept;
    struct keeper *keeper;
    struct error error;

    kept = settings;
    if (keeper_start(&keeper, &kept, &error))
        fail_msg("%s", error.text);
    return keeper;
}

static void stop(struct keeper *keeper)
{
    keeper_stop(keeper);
    forget_mail();
}

static int job(struct keeper *keeper, enum keeper_job_kind kind, const char *slice, const char *node,
               char text[256])
{
    static uint64_t last_id;
    struct keeper_job job = {.id = ++last_id, .kind = kind};

    snprintf(job.slice, sizeof job.slice, "%s", slice);
    snprintf(job.node, sizeof job.node, "%s", node ? node : "");
    assert_int_equal(keeper_submit(keeper, &job, NULL), 0);
    return await_job(job.id, text, NULL);
}

static uint64_t begin_deploy(struct keeper *keeper, const char *spec)
{
    static uint64_t last_id = 1000;

    assert_int_equal(
        keeper_submit(keeper, &(struct keeper_job){.id = ++last_id, .kind = JOB_DEPLOY, .spec = strdup(spec)},
                      NULL),
        0);
    return last_id;
}

static int deploy(struct keeper *keeper, const char *spec, char text[256])
{
    return await_job(begin_deploy(keeper, spec), text, NULL);
}

/* The machine's side. */

static void command(const char *name, const char *word)
{
    char path[200];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", state_folder, name);
    if (!word) {
        unlink(path);
        return;
    }
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(word, file);
    fclose(file);
}

static void write_node(const char *slice, const char *node, const char *line)
{
    char name[100];

    snprintf(name, sizeof name, "fake/%s/%s", slice, node);
    command(name, line);
}

/* What a node is, "" when it is not there. */
static const char *node_of(const char *slice, const char *node)
{
    static char line[128];
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "%s/fake/%s/%s", state_folder, slice, node);
    file = fopen(path, "r");
    if (!file || !fgets(line, sizeof line, file))
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    if (file)
        fclose(file);
    return line;
}

/* For changes that no event tells of. */
static void await_node(const char *slice, const char *node, const char *line)
{
    for (unsigned i = 0; strcmp(node_of(slice, node), line) != 0; i++) {
        if (i == PATIENCE_S * 100)
            fail_msg("node %s stays '%s'", node, node_of(slice, node));
        usleep(10000);
    }
}

static bool slice_is_there(const char *slice)
{
    char path[128];

    snprintf(path, sizeof path, "%s/fake/%s", state_folder, slice);
    return !access(path, F_OK);
}

/* A column of a slice's row, as whoever else reads the database sees it; NULL: there is no row. To be freed. */
static char *column(const char *slice, const char *name)
{
    struct ovsdb *db;
    struct error error;
    json_t *results = NULL;
    const json_t *value;
    char *text = NULL;

    if (ovsdb_open(&db, fixture.remote, "vnode", &error) ||
        ovsdb_transact(db,
                       json_pack("[{s:s, s:s, s:[[s, s, s]]}]", "op", "select", "table", "Slice", "where",
                                 "name", "==", slice),
                       &results, &error))
        fail_msg("%s", error.text);
    value = json_object_get(json_array_get(ovsdb_rows(results, 0), 0), name);
    if (value)
        text = json_is_string(value) ? strdup(json_string_value(value)) : json_dumps(value, JSON_COMPACT);
    json_decref(results);
    ovsdb_close(db);
    return text;
}

static void assert_column(const char *slice, const char *name, const char *wanted)
{
    char *text = column(slice, name);

    assert_non_null(text);
    assert_string_equal(text, wanted);
    free(text);
}

static void assert_no_row(const char *slice)
{
    assert_null(column(slice, "state"));
}

static void change_database(json_t *operation)
{
    struct ovsdb *db;
    struct error error;

    if (ovsdb_open(&db, fixture.remote, "vnode", &error) ||
        ovsdb_transact(db, json_pack("[o]", operation), NULL, &error))
        fail_msg("%s", error.text);
    ovsdb_close(db);
}

#define PAIR "name: pair\nnodes: {a: {kind: vm}, b: {kind: vm}}\nlinks: [[a, b]]\n"
#define PAIR_LARGER "name: pair\nnodes: {a: {kind: vm, cpu: 2}, b: {kind: vm}}\nlinks: [[a, b]]\n"

static void slices_come_and_go(void **state)
{
    struct keeper *keeper = start();
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
    stop(keeper);
}

static void failed_deploys_leave_nothing(void **state)
{
    struct keeper *keeper = start();
    char text[256];

    command("fail", "b");
    assert_int_equal(deploy(keeper, PAIR, text), EIO);
    assert_string_equal(text, "Node b cannot be started: it was told to fail.");
    assert_false(slice_is_there("pair"));
    assert_no_row("pair");
    command("fail", NULL);
    stop(keeper);
}

static void failed_changes_go_back(void **state)
{
    struct keeper *keeper = start();
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
    stop(keeper);
}

static void what_does_not_fit_is_refused(void **state)
{
    struct keeper *keeper = start();
    char text[256];

    assert_int_equal(deploy(keeper, "name: big\nnodes: {a: {kind: vm, cpu: 6}}\n", text), 0);
    assert_int_equal(deploy(keeper, "name: more\nnodes: {a: {kind: vm, cpu: 3}}\n", text), ENOSPC);
    assert_string_equal(text, "Slice more needs 3 CPUs, 1 more than there is left: of 8, big has 6.");
    assert_no_row("more");
    assert_int_equal(deploy(keeper, "name: more\nnodes: [a]\n", text), EINVAL);
    assert_non_null(strstr(text, "line 2"));
    assert_int_equal(job(keeper, JOB_DESTROY, "big", NULL, text), 0);
    stop(keeper);
}

/* A process that is killed before node 'node' is started, as it deploys 'spec'. */
static void deploy_and_die(const char *spec, const char *node)
{
    int status;
    pid_t pid;

    command("kill", node);
    pid = fork();
    if (!pid) {
        struct keeper *keeper = start();

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
    keeper = start();
    await_event("slice-running", "pair");
    assert_string_not_equal(node_of("pair", "b"), "");
    assert_column("pair", "state", "running");

    /* A change, likewise; and here what has to be finished fails, so that it is undone. */
    stop(keeper);
    deploy_and_die(PAIR_LARGER, "a");
    assert_column("pair", "previous", PAIR);
    command("fail", "a");
    write_node("pair", "a", "running cpu=1 memory=268435456");
    keeper = start();
    await_event("change-failed", "pair");
    await_event("slice-running", "pair");
    assert_column("pair", "spec", PAIR);
    assert_column("pair", "previous", "");
    command("fail", NULL);
    assert_int_equal(job(keeper, JOB_DESTROY, "pair", NULL, NULL), 0);
    stop(keeper);
}

static void deploys_that_are_killed_are_undone_when_they_fail(void **state)
{
    struct keeper *keeper;

    deploy_and_die(PAIR, "b");
    command("fail", "b");
    keeper = start();
    await_event("deploy-failed", "pair");
    await_event("slice-destroyed", "pair");
    assert_no_row("pair");
    assert_false(slice_is_there("pair"));
    command("fail", NULL);
    stop(keeper);
}

static void destroying_goes_on_until_nothing_is_left(void **state)
{
    struct keeper *keeper = start();
    char text[256];

    assert_int_equal(deploy(keeper, PAIR, text), 0);
    command("fail-remove", "");
    assert_int_equal(job(keeper, JOB_DESTROY, "pair", NULL, text), EIO);
    assert_string_equal(text, "Slice pair cannot be removed: it was told to fail.");
    assert_column("pair", "state", "destroying");
    assert_int_equal(deploy(keeper, PAIR, text), EBUSY);
    stop(keeper);
    keeper = start();
    await_event("destroy-failed", "pair");
    command("fail-remove", NULL);
    await_event("slice-destroyed", "pair");
    assert_no_row("pair");
    stop(keeper);
}

static void what_has_no_row_is_removed(void **state)
{
    char path[128];
    struct keeper *keeper;

    snprintf(path, sizeof path, "%s/fake/stray", state_folder);
    assert_int_equal(mkdir(path, 0755), 0);
    write_node("stray", "a", "running");
    keeper = start();
    await_event("slice-destroyed", "stray");
    assert_false(slice_is_there("stray"));
    stop(keeper);
}

static void nodes_stop_and_start(void **state)
{
    struct keeper *keeper = start();
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
    stop(keeper);
}

static void machines_that_end_are_started_again(void **state)
{
    struct keeper *keeper = start();

    assert_int_equal(deploy(keeper, PAIR, NULL), 0);
    write_node("pair", "b", NULL);
    await_event("node-stopped", "pair");
    await_event("node-running", "pair");
    assert_string_not_equal(node_of("pair", "b"), "");
    write_node("pair", "a", "failed It has no disk.");
    await_event("node-failed", "pair");
    await_event("node-running", "pair");
    assert_int_equal(job(keeper, JOB_DESTROY, "pair", NULL, NULL), 0);
    stop(keeper);
}

static void deploys_wait_for_nodes(void **state)
{
    struct keeper *keeper = start();
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
    stop(keeper);
}

/* Rows that somebody else writes count as much as jobs. */
static void rows_of_others(void **state)
{
    struct keeper *keeper = start();

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
    stop(keeper);
}

static void leases_end(void **state)
{
    struct keeper *keeper = start();

    assert_int_equal(deploy(keeper, "name: short\nlease: 1s\nnodes: {a: {kind: netns}}\n", NULL), 0);
    await_event("lease-ended", "short");
    await_event("slice-destroyed", "short");
    assert_no_row("short");
    stop(keeper);
}

static void reserved_slices_hold_their_place(void **state)
{
    struct keeper *keeper = start();
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
    stop(keeper);
}

static void taking_down_leaves_rows(void **state)
{
    struct keeper *keeper = start();

    assert_int_equal(deploy(keeper, PAIR, NULL), 0);
    assert_int_equal(job(keeper, JOB_DOWN, "", NULL, NULL), 0);
    assert_false(slice_is_there("pair"));
    assert_column("pair", "state", "failed");
    stop(keeper);
    keeper = start();
    await_event("slice-running", "pair");
    assert_int_equal(job(keeper, JOB_DESTROY, "pair", NULL, NULL), 0);
    stop(keeper);
}

static int start_server(void **state)
{
    if (!ovsdb_fixture_start(&fixture, getenv("VNODE_SCHEMA"), "vnode"))
        return -1;
    snprintf(state_folder, sizeof state_folder, "%s/state", fixture.folder);
    return mkdir(state_folder, 0755);
}

static int stop_server(void **state)
{
    return ovsdb_fixture_stop(&fixture) ? 0 : -1;
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
