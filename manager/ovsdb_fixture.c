/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/ovsdb_fixture.h"

#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ATTEMPTS 3000 /* of 10 ms */

/* Becomes a program, in a child that dies with the test. */
static void become(const char *folder, const char *const words[])
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setenv("OVS_RUNDIR", folder, 1);
    setenv("OVS_LOGDIR", folder, 1);
    setenv("OVS_DBDIR", folder, 1);
    execvp(words[0], (char *const *)words);
    _exit(127);
}

static bool create_database(const char *folder, const char *database, const char *schema)
{
    int status = -1;
    pid_t pid = fork();

    if (!pid)
        become(folder, (const char *const[]){"ovsdb-tool", "create", database, schema, NULL});
    return waitpid(pid, &status, 0) == pid && status == 0;
}

bool ovsdb_fixture_start(struct ovsdb_fixture *fixture, const char *schema, const char *name)
{
    char database[48], listener[80], control[64];
    struct ovsdb *db = NULL;
    struct error error;

    *fixture = (struct ovsdb_fixture){.folder = "/tmp/ovsdb-test.XXXXXX"};
    if (!schema || !mkdtemp(fixture->folder))
        return false;
    snprintf(database, sizeof database, "%s/db", fixture->folder);
    snprintf(fixture->remote, sizeof fixture->remote, "unix:%s/sock", fixture->folder);
    snprintf(listener, sizeof listener, "--remote=p%s", fixture->remote);
    snprintf(control, sizeof control, "--unixctl=%s/ctl", fixture->folder);
    if (!create_database(fixture->folder, database, schema))
        return false;
    fixture->server = fork();
    if (!fixture->server)
        become(fixture->folder,
               (const char *const[]){"ovsdb-server", database, listener, control, "-vconsole:off", NULL});
    /* Nothing tells when it listens but its answering. */
    for (unsigned i = 0; i < ATTEMPTS && ovsdb_open(&db, fixture->remote, name, &error); i++)
        poll(NULL, 0, 10);
    ovsdb_close(db);
    return db != NULL;
}

/* ovs-vswitchd fills the one row of Open_vSwitch that ovs-vsctl init makes. */
bool ovsdb_fixture_start_vswitchd(struct ovsdb_fixture *fixture)
{
    struct ovsdb *db;
    struct error error;
    char control[64];
    bool done =
        !ovsdb_open(&db, fixture->remote, "Open_vSwitch", &error) &&
        !ovsdb_transact(db, json_pack("[{s:s, s:s, s:{}}]", "op", "insert", "table", "Open_vSwitch", "row"),
                        NULL, &error);

    ovsdb_close(db);
    snprintf(control, sizeof control, "--unixctl=%s/vswitchd", fixture->folder);
    fixture->vswitchd = done ? fork() : -1;
    if (!fixture->vswitchd)
        become(fixture->folder,
               (const char *const[]){"ovs-vswitchd", fixture->remote, control, "--enable-dummy=override",
                                     "--disable-system", "--no-chdir", "-vconsole:off", NULL});
    return fixture->vswitchd > 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    return remove(path);
}

static void end(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

bool ovsdb_fixture_stop(struct ovsdb_fixture *fixture)
{
    end(fixture->vswitchd);
    end(fixture->server);
    return !nftw(fixture->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
