/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open vSwitch is ready when it has written the number to cur_cfg that was put into next_cfg after its start: a dead one
 * cannot, whatever it left in the database.
 *
 * A socket's file appears (bind) a moment before somebody listens behind it, so what cannot be reached yet is tried again soon.
 */
#include "manager/vitals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "manager/ovsdb.h"
#include "proto/client.h"

#define ANSWER_MS 2000
#define RETRY_MIN_MS 2
#define RETRY_MAX_MS 1000

struct vitals {
    struct vitals_settings settings;
    int inotify;
    struct client *fastpath; /* NULL: not there */
    struct ovsdb *vswitch;   /* NULL: its database is not there */
    json_int_t awaited;      /* number that Open vSwitch has to reach */
    bool vswitch_ready, vswitch_started;
    int64_t retry_at_ms; /* 0: nothing is missing */
    int pause_ms;
    char missing[256];
};

int vitals_open(struct vitals **result, const struct vitals_settings *settings, struct error *error)
{
    struct vitals *vitals = calloc(1, sizeof *vitals);

    *result = vitals;
    if (!vitals)
        return error_set(error, ENOMEM, "There is no memory to watch over the daemons.");
    vitals->settings = *settings;
    vitals->pause_ms = RETRY_MIN_MS;
    vitals->retry_at_ms = clock_ms();
    vitals->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (vitals->inotify < 0 ||
        inotify_add_watch(vitals->inotify, settings->run_folder, IN_CREATE | IN_MOVED_TO) < 0) {
        error_set(error, errno, "The folder %s cannot be watched: %s.", settings->run_folder, strerror(errno));
        vitals_close(vitals);
        *result = NULL;
        return error ? error->code : EIO;
    }
    return 0;
}

void vitals_close(struct vitals *vitals)
{
    if (!vitals)
        return;
    client_close(vitals->fastpath);
    ovsdb_close(vitals->vswitch);
    if (vitals->inotify >= 0)
        close(vitals->inotify);
    free(vitals);
}

unsigned vitals_fds(const struct vitals *vitals, struct pollfd fds[VITALS_FDS])
{
    unsigned n = 0;

    fds[n++] = (struct pollfd){.fd = vitals->inotify, .events = POLLIN};
    if (vitals->fastpath)
        fds[n++] = (struct pollfd){.fd = client_fd(vitals->fastpath), .events = POLLIN};
    if (vitals->vswitch)
        fds[n++] = (struct pollfd){.fd = ovsdb_fd(vitals->vswitch), .events = POLLIN};
    return n;
}

int vitals_patience_ms(const struct vitals *vitals)
{
    int64_t left = vitals->retry_at_ms - clock_ms();

    return !vitals->retry_at_ms ? -1 : left < 0 ? 0 : (int)left;
}

const char *vitals_missing(const struct vitals *vitals)
{
    bool fastpath = vitals->fastpath || !vitals->settings.fastpath_socket;
    bool vswitch = vitals->vswitch_ready || !vitals->settings.vswitch_db;

    return fastpath && vswitch ? NULL : vitals->missing;
}

/* The fast path. */

static bool connect_fastpath(struct vitals *vitals)
{
    const uint32_t events = 1u << EVENT_PORT_UP | 1u << EVENT_PORT_DOWN | 1u << EVENT_EVENTS_LOST;
    struct error error;

    vitals->fastpath = client_connect_within(vitals->settings.fastpath_socket, "vnode-manager " VNODE_VERSION,
                                             ANSWER_MS, &error);
    if (vitals->fastpath) {
        wire_put_u32(client_begin(vitals->fastpath, MESSAGE_SUBSCRIBE), events);
        if (!client_call(vitals->fastpath, NULL, &error)) {
            fcntl(client_fd(vitals->fastpath), F_SETFL, O_NONBLOCK);
            return true;
        }
        client_close(vitals->fastpath);
        vitals->fastpath = NULL;
    }
    snprintf(vitals->missing, sizeof vitals->missing, "The fast path is not there: %.200s", error.text);
    return false;
}

/* Takes its events; returns whether a port went up or down. */
static bool read_fastpath(struct vitals *vitals)
{
    struct message message;
    struct error error;
    bool any = false;

    while (vitals->fastpath) {
        if (!client_receive(vitals->fastpath, &message, &error)) {
            message_close_fds(&message);
            any = true;
        } else if (error.code == ETIMEDOUT) {
            break;
        } else {
            client_close(vitals->fastpath);
            vitals->fastpath = NULL;
        }
    }
    return any;
}

/* Open vSwitch. */

/* The one row of Open_vSwitch, made if need be. */
static int ensure_row(struct vitals *vitals, struct error *error)
{
    json_t *results = NULL;
    int code = ovsdb_transact(vitals->vswitch,
                              json_pack("[{s:s, s:s, s:[], s:[s]}]", "op", "select", "table", "Open_vSwitch",
                                        "where", "columns", "_uuid"),
                              &results, error);

    if (!code && !json_array_size(ovsdb_rows(results, 0)))
        code = ovsdb_transact(vitals->vswitch,
                              json_pack("[{s:s, s:s, s:{}}]", "op", "insert", "table", "Open_vSwitch", "row"),
                              NULL, error);
    json_decref(results);
    return code;
}

/* Writes our settings, and leaves those that others have made. */
static int write_config(struct vitals *vitals, struct error *error)
{
    json_t *keys = json_array(), *pairs = json_array(), *value;
    const char *key;

    json_object_foreach(vitals->settings.vswitch_config, key, value)
    {
        json_array_append_new(keys, json_string(key));
        json_array_append_new(pairs, json_pack("[s, O]", key, value));
    }
    return ovsdb_transact(vitals->vswitch,
                          json_pack("[{s:s, s:s, s:[], s:[[s, s, [s, o]], [s, s, [s, o]]]}]", "op", "mutate",
                                    "table", "Open_vSwitch", "where", "mutations", "other_config", "delete",
                                    "set", keys, "other_config", "insert", "map", pairs),
                          NULL, error);
}

/* Asks Open vSwitch for a sign of life: next_cfg counts up, and the number to wait for is noted. */
static int ask_vswitch(struct vitals *vitals, struct error *error)
{
    json_t *results = NULL;
    int code =
        ovsdb_transact(vitals->vswitch,
                       json_pack("[{s:s, s:s, s:[], s:[[s, s, i]]}, {s:s, s:s, s:[], s:[s]}]", "op", "mutate",
                                 "table", "Open_vSwitch", "where", "mutations", "next_cfg", "+=", 1, "op",
                                 "select", "table", "Open_vSwitch", "where", "columns", "next_cfg"),
                       &results, error);

    if (!code)
        vitals->awaited =
            json_integer_value(ovsdb_column(json_array_get(ovsdb_rows(results, 1), 0), "next_cfg"));
    json_decref(results);
    vitals->vswitch_ready = false;
    vitals->vswitch_started = false;
    snprintf(vitals->missing, sizeof vitals->missing, "Open vSwitch is not ready yet.");
    return code;
}

static void look_at_updates(struct vitals *vitals, const json_t *updates)
{
    json_t *table = json_object_get(updates, "Open_vSwitch"), *update;
    const char *uuid;

    json_object_foreach(table, uuid, update)
    {
        const json_t *number = ovsdb_column(json_object_get(update, "new"), "cur_cfg");

        if (number && json_integer_value(number) >= vitals->awaited)
            vitals->vswitch_ready = true;
    }
}

static void lose_vswitch(struct vitals *vitals, const struct error *error)
{
    ovsdb_close(vitals->vswitch);
    vitals->vswitch = NULL;
    vitals->vswitch_ready = false;
    snprintf(vitals->missing, sizeof vitals->missing, "Open vSwitch is not there: %.200s", error->text);
}

static bool connect_vswitch(struct vitals *vitals)
{
    struct error error = {0};
    json_t *initial = NULL;
    int code = ovsdb_open(&vitals->vswitch, vitals->settings.vswitch_db, "Open_vSwitch", &error);

    if (!code && vitals->settings.vswitch_config) {
        code = ensure_row(vitals, &error);
        if (!code)
            code = write_config(vitals, &error);
    }
    if (!code)
        code = ask_vswitch(vitals, &error);
    if (!code)
        code = ovsdb_watch(vitals->vswitch, json_pack("{s:{s:[s]}}", "Open_vSwitch", "columns", "cur_cfg"),
                           &initial, &error);
    if (!code)
        look_at_updates(vitals, initial);
    json_decref(initial);
    if (code)
        lose_vswitch(vitals, &error);
    return !code;
}

static void read_vswitch(struct vitals *vitals)
{
    struct error error = {0};
    json_t *change = NULL;
    int code = vitals->vswitch_started ? ask_vswitch(vitals, &error) : 0;

    while (!code) {
        code = ovsdb_take_change(vitals->vswitch, &change, &error);
        if (code || !change)
            break;
        look_at_updates(vitals, change);
        json_decref(change);
    }
    if (code)
        lose_vswitch(vitals, &error);
}

void vitals_vswitch_started(struct vitals *vitals)
{
    vitals->vswitch_started = true;
    vitals->vswitch_ready = false;
}

unsigned vitals_check(struct vitals *vitals)
{
    bool had_fastpath = vitals->fastpath, had_vswitch = vitals->vswitch_ready;
    bool there = true;
    unsigned news = 0;
    char events[4096];

    if (read(vitals->inotify, events, sizeof events) > 0)
        vitals->pause_ms = RETRY_MIN_MS; /* something has come: not later than necessary */
    if (read_fastpath(vitals))
        news |= VITALS_PORTS;
    if (vitals->vswitch)
        read_vswitch(vitals);
    if (!vitals->fastpath && vitals->settings.fastpath_socket) {
        there = connect_fastpath(vitals);
        if (there && had_fastpath)
            news |= VITALS_RETURNED; /* gone and back again within one check */
    }
    if (!vitals->vswitch && vitals->settings.vswitch_db) {
        if (connect_vswitch(vitals))
            news |= VITALS_CONFIGURED;
        else
            there = false;
    }
    if ((vitals->fastpath && !had_fastpath) || (vitals->vswitch_ready && !had_vswitch))
        news |= VITALS_RETURNED;
    if (there) {
        vitals->retry_at_ms = 0;
        vitals->pause_ms = RETRY_MIN_MS;
    } else {
        vitals->retry_at_ms = clock_ms() + vitals->pause_ms;
        vitals->pause_ms = vitals->pause_ms * 2 < RETRY_MAX_MS ? vitals->pause_ms * 2 : RETRY_MAX_MS;
    }
    return news;
}
