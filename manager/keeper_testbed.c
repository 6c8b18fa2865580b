/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/keeper_testbed.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "manager/ovsdb.h"
#include "manager/ovsdb_fixture.h"
#include "manager/reconcile_fake.h"

#define PATIENCE_S 30

static struct ovsdb_fixture fixture;
char state_folder[64];

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
void await_event(const char *event, const char *slice)
{
    for (bool found = false; !found;) {
        struct keeper_message message = next_message();

        found = message.kind == KEEPER_EVENT && !strcmp(text_of(message.json, "event"), event) &&
                (!slice || !strcmp(text_of(message.json, "slice"), slice));
        json_decref(message.json);
    }
}

/* Waits until a job is done: its code, and its sentence when it failed; 'progress' counts its steps. */
int await_job(uint64_t job, char text[256], unsigned *progress)
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

struct keeper *start_keeper(void)
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

void stop_keeper(struct keeper *keeper)
{
    keeper_stop(keeper);
    forget_mail();
}

int job(struct keeper *keeper, enum keeper_job_kind kind, const char *slice, const char *node, char text[256])
{
    static uint64_t last_id;
    struct keeper_job job = {.id = ++last_id, .kind = kind};

    snprintf(job.slice, sizeof job.slice, "%s", slice);
    snprintf(job.node, sizeof job.node, "%s", node ? node : "");
    assert_int_equal(keeper_submit(keeper, &job, NULL), 0);
    return await_job(job.id, text, NULL);
}

uint64_t begin_deploy(struct keeper *keeper, const char *spec)
{
    static uint64_t last_id = 1000;

    assert_int_equal(
        keeper_submit(keeper, &(struct keeper_job){.id = ++last_id, .kind = JOB_DEPLOY, .spec = strdup(spec)},
                      NULL),
        0);
    return last_id;
}

int deploy(struct keeper *keeper, const char *spec, char text[256])
{
    return await_job(begin_deploy(keeper, spec), text, NULL);
}

/* The machine's side. */

void command(const char *name, const char *word)
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

void write_node(const char *slice, const char *node, const char *line)
{
    char name[100];

    snprintf(name, sizeof name, "fake/%s/%s", slice, node);
    command(name, line);
}

/* What a node is, "" when it is not there. */
const char *node_of(const char *slice, const char *node)
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
void await_node(const char *slice, const char *node, const char *line)
{
    for (unsigned i = 0; strcmp(node_of(slice, node), line) != 0; i++) {
        if (i == PATIENCE_S * 100)
            fail_msg("node %s stays '%s'", node, node_of(slice, node));
        usleep(10000);
    }
}

bool slice_is_there(const char *slice)
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

void assert_column(const char *slice, const char *name, const char *wanted)
{
    char *text = column(slice, name);

    assert_non_null(text);
    assert_string_equal(text, wanted);
    free(text);
}

void assert_no_row(const char *slice)
{
    assert_null(column(slice, "state"));
}

void change_database(json_t *operation)
{
    struct ovsdb *db;
    struct error error;

    if (ovsdb_open(&db, fixture.remote, "vnode", &error) ||
        ovsdb_transact(db, json_pack("[o]", operation), NULL, &error))
        fail_msg("%s", error.text);
    ovsdb_close(db);
}

int start_server(void **state)
{
    if (!ovsdb_fixture_start(&fixture, getenv("VNODE_SCHEMA"), "vnode"))
        return -1;
    snprintf(state_folder, sizeof state_folder, "%s/state", fixture.folder);
    return mkdir(state_folder, 0755);
}

int stop_server(void **state)
{
    return ovsdb_fixture_stop(&fixture) ? 0 : -1;
}
