/* SPDX-License-Identifier: Apache-2.0 */
/* The client against a real ovsdb-server with the node's schema, and against one that misbehaves. */
#include "manager/ovsdb.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "manager/ovsdb_fixture.h"

static struct ovsdb_fixture fixture;

static int start_server(void **state)
{
    return ovsdb_fixture_start(&fixture, getenv("VNODE_SCHEMA"), "vnode") ? 0 : -1;
}

static int stop_server(void **state)
{
    return ovsdb_fixture_stop(&fixture) ? 0 : -1;
}

static struct ovsdb *open_database(void)
{
    struct ovsdb *db;
    struct error error;

    if (ovsdb_open(&db, fixture.remote, "vnode", &error))
        fail_msg("%s", error.text);
    return db;
}

static json_t *insert(const char *name, const char *spec)
{
    return json_pack("[{s:s, s:s, s:{s:s, s:s, s:s}}]", "op", "insert", "table", "Slice", "row", "name", name,
                     "spec", spec, "state", "pending");
}

static void must(int code, const struct error *error)
{
    if (code)
        fail_msg("%s", error->text);
}

static void rows_are_written_and_read(void **state)
{
    struct ovsdb *db = open_database();
    struct error error = {0};
    json_t *results;
    const json_t *row;

    must(ovsdb_transact(db, insert("red", "name: red\nwith \"quotes\" and {braces}\n"), NULL, &error), &error);
    must(ovsdb_transact(db,
                        json_pack("[{s:s, s:s, s:[[s, s, s]]}]", "op", "select", "table", "Slice", "where",
                                  "name", "==", "red"),
                        &results, &error),
         &error);
    assert_int_equal(json_array_size(ovsdb_rows(results, 0)), 1);
    row = json_array_get(ovsdb_rows(results, 0), 0);
    assert_string_equal(json_string_value(ovsdb_column(row, "spec")),
                        "name: red\nwith \"quotes\" and {braces}\n");
    assert_null(ovsdb_column(row, "stopped"));
    assert_null(ovsdb_map_get(row, "status", "a"));
    assert_int_equal(json_array_size(ovsdb_rows(results, 1)), 0);
    json_decref(results);
    ovsdb_close(db);
}

static void refusals_are_sentences(void **state)
{
    struct ovsdb *db = open_database();
    struct error error = {0};

    assert_int_equal(ovsdb_transact(db, insert("red", "again"), NULL, &error), EINVAL);
    assert_non_null(strstr(error.text, "constraint violation"));
    assert_int_equal(ovsdb_transact(db, json_pack("[{s:s}]", "op", "dance"), NULL, &error), EINVAL);
    assert_non_null(strstr(error.text, fixture.remote));
    ovsdb_close(db);
    assert_int_equal(ovsdb_open(&db, "unix:/nonexistent", "vnode", &error), ENOENT);
    assert_null(db);
    assert_int_equal(ovsdb_open(&db, "what", "vnode", &error), EINVAL);
}

/* What another one writes comes as a change, also when it comes while we wait for an answer. */
static void changes_are_told(void **state)
{
    struct ovsdb *db = open_database(), *other = open_database();
    struct pollfd ready = {.fd = ovsdb_fd(db), .events = POLLIN};
    struct error error = {0};
    json_t *initial, *change = NULL;
    unsigned n = 0;

    must(ovsdb_watch(db, json_pack("{s:{s:[s, s]}}", "Slice", "columns", "name", "spec"), &initial, &error),
         &error);
    assert_int_equal(json_object_size(json_object_get(initial, "Slice")), 1);
    json_decref(initial);
    must(ovsdb_take_change(db, &change, &error), &error);
    assert_null(change);
    must(ovsdb_transact(other, insert("blue", "x"), NULL, &error), &error);
    must(ovsdb_transact(db, insert("green", "x"), NULL, &error), &error);
    while (n < 2) {
        must(ovsdb_take_change(db, &change, &error), &error);
        if (change) {
            n += json_object_size(json_object_get(change, "Slice"));
            json_decref(change);
        } else {
            assert_int_equal(poll(&ready, 1, OVSDB_WAIT_MS), 1);
        }
    }
    ovsdb_close(other);
    ovsdb_close(db);
}

static void large_rows_pass(void **state)
{
    struct ovsdb *db = open_database();
    struct error error = {0};
    char *spec = malloc(1000001);
    json_t *results;

    memset(spec, '}', 1000000);
    spec[1000000] = '\0';
    must(ovsdb_transact(db, insert("large", spec), NULL, &error), &error);
    must(ovsdb_transact(db, json_pack("[{s:s, s:s, s:[]}]", "op", "select", "table", "Slice", "where"),
                        &results, &error),
         &error);
    assert_int_equal(json_array_size(ovsdb_rows(results, 0)), 4);
    json_decref(results);
    free(spec);
    ovsdb_close(db);
}

/* A server of our own, which accepts one connection, says 'words' and then nothing more. */

static const char *words;
static int listener;

static void *misbehave(void *argument)
{
    char request[4096];
    int fd = accept(listener, NULL, NULL);

    if (recv(fd, request, sizeof request, 0) > 0 && send(fd, words, strlen(words), MSG_NOSIGNAL) >= 0)
        shutdown(fd, SHUT_WR);
    while (recv(fd, request, sizeof request, 0) > 0)
        ; /* until the client hangs up, too */
    close(fd);
    return NULL;
}

static void servers_that_misbehave(void **state)
{
    static const struct {
        const char *words;
        int code;
    } cases[] = {
        {"", ECONNRESET},
        {"{\"id\":1,\"result\":[", ECONNRESET},
        {"{]}", EPROTO},
        {"{\"id\":1,\"result\":5,\"error\":null}", EPROTO},
        {"{\"id\":1,\"result\":null,\"error\":\"no\"}", EINVAL},
        {"{\"id\":7,\"result\":[],\"error\":null}", ECONNRESET},
        {"{\"method\":\"update\",\"params\":3,\"id\":null}{\"id\":1,\"result\":[],\"error\":null}", 0},
        {"{\"method\":\"echo\",\"params\":[],\"id\":\"echo\"}{\"id\":1,\"result\":[{}],\"error\":null}", 0},
    };
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct error error = {0};
    char bad[128];

    snprintf(address.sun_path, sizeof address.sun_path, "%s/bad", fixture.folder);
    snprintf(bad, sizeof bad, "unix:%s", address.sun_path);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pthread_t thread;
        struct ovsdb *db;

        words = cases[i].words;
        assert_int_equal(pthread_create(&thread, NULL, misbehave, NULL), 0);
        must(ovsdb_open(&db, bad, "vnode", &error), &error);
        assert_int_equal(ovsdb_transact(db, json_array(), NULL, &error), cases[i].code);
        ovsdb_close(db);
        pthread_join(thread, NULL);
    }
    close(listener);
    unlink(address.sun_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_written_and_read), cmocka_unit_test(refusals_are_sentences),
        cmocka_unit_test(changes_are_told),          cmocka_unit_test(large_rows_pass),
        cmocka_unit_test(servers_that_misbehave),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
