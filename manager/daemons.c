/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open vSwitch's database lies in the run folder: what is in it, bridges and ports, is gone at the next boot anyway.
 *
 * Options of Open vSwitch: docs/vswitch.md. Without hugepages DPDK's memory is one piece that is taken at the start ("--no-huge
 * --legacy-mem -m"); it costs nothing until ports use it. Each port has a pool of packets of its own (per-port-memory): one for all
 * would have 262,144 of them, for each MTU. A PMD thread that finds nothing for a while sleeps (pmd-maxsleep; pmd-sleep-max from 3.2 on).
 */
#include "manager/daemons.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "manager/command.h"
#include "manager/supervise.h"

#define LOG_SIZE_MAX (16 << 20) /* a larger one is put aside at the manager's start */
#define PATH_SIZE (SLICE_PATH_SIZE + 64)
#define WORD_SIZE (PATH_SIZE + 32)
#define WORDS_MAX 16

enum daemon { OVSDB, FASTPATH, VSWITCH, DAEMONS };

static const char *const names[DAEMONS] = {"ovsdb-server", "vnode-fastpath", DAEMON_VSWITCH};

/* What a daemon is started with has to stay. */
struct daemon_words {
    unsigned n;
    char words[WORDS_MAX][WORD_SIZE];
    char pid_path[PATH_SIZE], log_path[PATH_SIZE];
};

struct daemons {
    uv_loop_t *loop;
    const struct config *config;
    void (*changed)(const char *name, int pid, void *argument);
    void *argument;
    char db[WORD_SIZE], vswitch_db[WORD_SIZE];
    char environment[5][WORD_SIZE];
    const char *environment_words[6];
    struct daemon_words words[DAEMONS];
    struct supervised *supervised[DAEMONS];

    /* while they are being stopped */
    void (*ended)(void *argument);
    void *ended_argument;
};

static int make_folder(const char *path, mode_t mode, struct error *error)
{
    return mkdir(path, mode) && errno != EEXIST
               ? error_set(error, errno, "The folder %s cannot be made: %s.", path, strerror(errno))
               : 0;
}

static int make_folders(const struct config *config, struct error *error)
{
    static const char *const of_run[] = {"", "/ovs", "/dpdk"}, *const of_state[] = {"", "/log"};
    char path[PATH_SIZE];
    int code = 0;

    for (unsigned i = 0; i < 3 && !code; i++) {
        snprintf(path, sizeof path, "%s%s", config->run, of_run[i]);
        code = make_folder(path, 0755, error);
    }
    for (unsigned i = 0; i < 2 && !code; i++) {
        snprintf(path, sizeof path, "%s%s", config->state, of_state[i]);
        code = make_folder(path, 0755, error);
    }
    return code;
}

static int check_file(const char *path, int mode, const char *remedy, struct error *error)
{
    return access(path, mode)
               ? error_set(error, errno, "%s cannot be used: %s. %s", path, strerror(errno), remedy)
               : 0;
}

static int check_files(const struct config *config, struct error *error)
{
    int code = check_file(config->fastpath.program, X_OK, "Name it in the setting fastpath.program.", error);

    if (!code && !*config->db)
        code = check_file(config->schema, R_OK, "Name it in the setting schema.", error);
    if (!code && !*config->vswitch.db)
        code = check_file(config->vswitch.program, X_OK,
                          "Install the Debian package openvswitch-switch-dpdk, or name it in the setting "
                          "vswitch.program.",
                          error);
    if (!code && !*config->vswitch.db)
        code = check_file(config->vswitch.driver, R_OK, "Name it in the setting vswitch.driver.", error);
    if (!code && !*config->vswitch.db)
        code = check_file(config->vswitch.schema, R_OK, "Name it in the setting vswitch.schema.", error);
    return code;
}

/* Makes the database file, or brings it to the schema of this version. */
static int prepare_database(const char *path, const char *schema, struct error *error)
{
    const char *action = access(path, F_OK) ? "create" : "convert";

    return command_run((const char *[]){"ovsdb-tool", action, path, schema, NULL}, error);
}

static void put_aside_log(const char *path)
{
    char aside[PATH_SIZE + 8];
    struct stat status;

    snprintf(aside, sizeof aside, "%s.old", path);
    if (!stat(path, &status) && status.st_size > LOG_SIZE_MAX)
        rename(path, aside);
}

static void add_word(struct daemons *daemons, enum daemon daemon, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add_word(struct daemons *daemons, enum daemon daemon, const char *format, ...)
{
    struct daemon_words *words = &daemons->words[daemon];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(words->words[words->n++], WORD_SIZE, format, arguments);
    va_end(arguments);
}

static void add_words(struct daemons *daemons)
{
    const struct config *config = daemons->config;

    add_word(daemons, OVSDB, "ovsdb-server");
    if (!*config->db)
        add_word(daemons, OVSDB, "%s/vnode.db", config->state);
    if (!*config->vswitch.db)
        add_word(daemons, OVSDB, "%s/vswitch.db", config->run);
    add_word(daemons, OVSDB, "--remote=punix:%s/db.sock", config->run);
    add_word(daemons, OVSDB, "--unixctl=%s/ovsdb.ctl", config->run);
    add_word(daemons, OVSDB, "--no-chdir");
    add_word(daemons, OVSDB, "-vsyslog:off");

    add_word(daemons, FASTPATH, "%s", config->fastpath.program);
    add_word(daemons, FASTPATH, "--socket=%s/fastpath.sock", config->run);
    add_word(daemons, FASTPATH, "--cores=%s", config->fastpath.cores);
    add_word(daemons, FASTPATH, "--memory=%" PRIu64, config->fastpath.memory >> 20);
    add_word(daemons, FASTPATH, "--rules-max=%" PRIu64, config->fastpath.rules);
    if (*config->group)
        add_word(daemons, FASTPATH, "--group=%s", config->group);
    if (!config->hugepages)
        add_word(daemons, FASTPATH, "--no-huge");

    add_word(daemons, VSWITCH, "%s", config->vswitch.program);
    add_word(daemons, VSWITCH, "%s", daemons->vswitch_db);
    add_word(daemons, VSWITCH, "--unixctl=%s/vswitchd.ctl", config->run);
    add_word(daemons, VSWITCH, "--no-chdir");
    add_word(daemons, VSWITCH, "-vsyslog:off");
    add_word(daemons, VSWITCH, "-vdpdk:warn");
}

/* Where Open vSwitch's programs and DPDK keep what is theirs: not where others of the machine do. */
static void add_environment(struct daemons *daemons)
{
    static const char *const folders[5][2] = {{"OVS_RUNDIR", "/ovs"},
                                              {"OVS_LOGDIR", "/ovs"},
                                              {"OVS_DBDIR", "/ovs"},
                                              {"OVS_SYSCONFDIR", "/ovs"},
                                              {"RUNTIME_DIRECTORY", "/dpdk"}};

    for (unsigned i = 0; i < 5; i++) {
        snprintf(daemons->environment[i], WORD_SIZE, "%s=%s%s", folders[i][0], daemons->config->run,
                 folders[i][1]);
        daemons->environment_words[i] = daemons->environment[i];
    }
}

static int start(struct daemons *daemons, enum daemon daemon, struct error *error)
{
    struct daemon_words *words = &daemons->words[daemon];
    struct supervised_spec spec = {
        .name = names[daemon],
        .environment = daemons->environment_words,
        .pid_path = words->pid_path,
        .log_path = words->log_path,
        .changed = daemons->changed,
        .argument = daemons->argument,
    };

    snprintf(words->pid_path, sizeof words->pid_path, "%s/%s.pid", daemons->config->run, names[daemon]);
    snprintf(words->log_path, sizeof words->log_path, "%s/log/%s.log", daemons->config->state, names[daemon]);
    put_aside_log(words->log_path);
    for (unsigned i = 0; i < words->n; i++)
        spec.words[i] = words->words[i];
    daemons->supervised[daemon] = supervise(daemons->loop, &spec, error);
    return daemons->supervised[daemon] ? 0 : EIO;
}

/* The database server: its files are prepared unless it runs already, and has them open. */
static int start_server(struct daemons *daemons, struct error *error)
{
    const struct config *config = daemons->config;
    char path[PATH_SIZE];
    int code = 0;

    if (*config->db && *config->vswitch.db)
        return 0;
    snprintf(path, sizeof path, "%s/ovsdb-server.pid", config->run);
    if (!supervised_runs(path)) {
        snprintf(path, sizeof path, "%s/vnode.db", config->state);
        if (!*config->db)
            code = prepare_database(path, config->schema, error);
        snprintf(path, sizeof path, "%s/vswitch.db", config->run);
        if (!code && !*config->vswitch.db)
            code = prepare_database(path, config->vswitch.schema, error);
    }
    return code ? code : start(daemons, OVSDB, error);
}

int daemons_open(struct daemons **result, uv_loop_t *loop, const struct config *config,
                 void (*changed)(const char *name, int pid, void *argument), void *argument,
                 struct error *error)
{
    struct daemons *daemons = calloc(1, sizeof *daemons);
    int code;

    *result = daemons;
    if (!daemons)
        return error_set(error, ENOMEM, "There is no memory for the daemons.");
    daemons->loop = loop;
    daemons->config = config;
    daemons->changed = changed;
    daemons->argument = argument;
    snprintf(daemons->db, sizeof daemons->db, "unix:%s/db.sock", config->run);
    snprintf(daemons->vswitch_db, sizeof daemons->vswitch_db, "unix:%s/db.sock", config->run);
    if (*config->db)
        snprintf(daemons->db, sizeof daemons->db, "%s", config->db);
    if (*config->vswitch.db)
        snprintf(daemons->vswitch_db, sizeof daemons->vswitch_db, "%s", config->vswitch.db);
    add_words(daemons);
    add_environment(daemons);
    code = check_files(config, error);
    if (!code)
        code = make_folders(config, error);
    if (!code)
        code = start_server(daemons, error);
    if (!code)
        code = start(daemons, FASTPATH, error);
    if (code) {
        daemons_leave(daemons);
        *result = NULL;
    }
    return code;
}

int daemons_start_vswitch(struct daemons *daemons, struct error *error)
{
    return *daemons->config->vswitch.db || daemons->supervised[VSWITCH] ? 0 : start(daemons, VSWITCH, error);
}

const char *daemons_db(const struct daemons *daemons)
{
    return daemons->db;
}

const char *daemons_vswitch_db(const struct daemons *daemons)
{
    return daemons->vswitch_db;
}

json_t *daemons_vswitch_config(const struct config *config)
{
    uint64_t memory_mib = config->vswitch.memory >> 20;
    char extra[SLICE_PATH_SIZE + 128], mask[24], sleep[24];
    json_t *json;

    if (*config->vswitch.db)
        return NULL;
    if (config->hugepages)
        snprintf(extra, sizeof extra, "--no-pci --no-telemetry -d%s", config->vswitch.driver);
    else
        snprintf(extra, sizeof extra, "--no-pci --no-telemetry --no-huge --legacy-mem -m %" PRIu64 " -d%s",
                 memory_mib, config->vswitch.driver);
    snprintf(mask, sizeof mask, "%#" PRIx64, config_cpu_mask(config->vswitch.cores));
    snprintf(sleep, sizeof sleep, "%" PRIu64, config->vswitch.sleep_us);
    json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "dpdk-init", "true", "hw-offload", "true",
                     "per-port-memory", "true", "dpdk-extra", extra, "pmd-cpu-mask", mask, "pmd-maxsleep", sleep,
                     "pmd-sleep-max", sleep);
    if (config->hugepages)
        json_object_set_new(json, "dpdk-socket-mem", json_sprintf("%" PRIu64, memory_mib));
    return json;
}

/* Fields of /proc/PID/stat (proc(5)): CPU time and resident memory. */
static void add_use(json_t *json, int pid)
{
    unsigned long long user = 0, system = 0;
    long pages = 0;
    char path[32], line[1024];
    const char *place = NULL;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    file = pid ? fopen(path, "re") : NULL;
    if (file && fgets(line, sizeof line, file))
        place = strrchr(line, ')');
    if (place)
        sscanf(place,
               ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %*u %*u %ld",
               &user, &system, &pages);
    if (file)
        fclose(file);
    json_object_set_new(
        json, "cpu_time_ns",
        json_integer((json_int_t)((user + system) * (1000000000 / (unsigned long)sysconf(_SC_CLK_TCK)))));
    json_object_set_new(json, "memory", json_integer(pages * sysconf(_SC_PAGESIZE)));
}

json_t *daemons_list(const struct daemons *daemons)
{
    json_t *list = json_array();

    for (enum daemon daemon = 0; daemon < DAEMONS; daemon++) {
        const struct supervised *supervised = daemons->supervised[daemon];
        json_t *json;

        if (!supervised)
            continue;
        json = json_pack("{s:s, s:i, s:i}", "name", names[daemon], "pid", supervised_pid(supervised),
                         "starts", (int)supervised_starts(supervised));
        add_use(json, supervised_pid(supervised));
        json_array_append_new(list, json);
    }
    return list;
}

/* Ends the last one that runs, then the one before it. */
static void stop_next(void *argument)
{
    struct daemons *daemons = argument;

    for (int daemon = DAEMONS - 1; daemon >= 0; daemon--) {
        struct supervised *supervised = daemons->supervised[daemon];

        if (supervised) {
            daemons->supervised[daemon] = NULL;
            supervised_stop(supervised, stop_next, daemons);
            return;
        }
    }
    if (daemons->ended)
        daemons->ended(daemons->ended_argument);
    free(daemons);
}

void daemons_stop(struct daemons *daemons, void (*ended)(void *argument), void *argument)
{
    daemons->ended = ended;
    daemons->ended_argument = argument;
    stop_next(daemons);
}

void daemons_leave(struct daemons *daemons)
{
    if (!daemons)
        return;
    for (enum daemon daemon = 0; daemon < DAEMONS; daemon++)
        if (daemons->supervised[daemon])
            supervised_leave(daemons->supervised[daemon]);
    free(daemons);
}
