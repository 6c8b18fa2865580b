/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/manager.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "lib/log.h"
#include "manager/capacity.h"
#include "manager/daemons.h"
#include "manager/history.h"
#include "manager/keeper.h"
#include "manager/overview.h"
#include "manager/server.h"

#define MAIL_MAX 4096 /* messages of the keeper that nobody has read; then it waits */
#define PENDING_MAX (KEEPER_JOBS_MAX + SLICES_MAX)
#define FOLLOWERS_MAX SERVER_PEERS_MAX
#define PATH_SIZE (CONFIG_RUN_SIZE + 32)

/* A request that waits for the keeper. */
struct pending {
    uint64_t job, peer, request;
};

struct follower {
    uint64_t peer, request;
    char slice[SLICE_NAME_SIZE]; /* "": all */
};

struct manager {
    const struct config *config;
    uv_loop_t loop;
    uv_signal_t term, interrupt;
    uv_async_t mail_came;
    struct daemons *daemons;
    struct keeper *keeper;
    struct server *server;
    struct keeper_settings settings;
    json_t *vswitch_config;
    int lock_fd; /* of the run folder: there is one manager */
    char fastpath_socket[PATH_SIZE], host[64];
    bool ending;
    struct error error; /* what ended it */

    struct history history;
    unsigned n_pending, n_followers;
    struct pending pending[PENDING_MAX];
    struct follower followers[FOLLOWERS_MAX];
    uint64_t last_job, down_job;
    json_t *down_reply; /* for whoever has asked for it, once all has ended */
    struct pending down_asker;

    /* from the keeper */
    pthread_mutex_t mail_lock;
    pthread_cond_t mail_read;
    unsigned n_mail;
    struct keeper_message mail[MAIL_MAX];
    bool mail_closed; /* nobody reads any more */
};

/* Events. */

static void add_event(struct manager *manager, json_t *event)
{
    history_add(&manager->history, event);
    for (unsigned i = 0; i < manager->n_followers;) {
        const struct follower *follower = &manager->followers[i];

        if (history_is_of(event, follower->slice) &&
            !server_send(manager->server, follower->peer,
                         json_pack("{s:I, s:O}", "id", (json_int_t)follower->request, "event", event)))
            manager->followers[i] = manager->followers[--manager->n_followers];
        else
            i++;
    }
}

/* A daemon has started, or ended. */
static void daemon_changed(const char *name, int pid, void *argument)
{
    struct manager *manager = argument;
    char text[64] = "";

    if (pid)
        snprintf(text, sizeof text, "process %d", pid);
    log_info("%s %s%s%s", pid ? "daemon-started" : "daemon-ended", name, *text ? ": " : "", text);
    add_event(manager, json_pack("{s:I, s:s, s:s, s:s, s:s, s:s}", "time", (json_int_t)keeper_now_ms(),
                                 "event", pid ? "daemon-started" : "daemon-ended", "slice", "", "node", "",
                                 "daemon", name, "text", text));
    if (pid && manager->keeper && !strcmp(name, DAEMON_VSWITCH))
        keeper_vswitch_started(manager->keeper);
}

/* Ending. */

/* Waits for the step that the keeper is at; nobody reads what it tells any more. */
static void stop_keeper(struct manager *manager)
{
    pthread_mutex_lock(&manager->mail_lock);
    manager->mail_closed = true;
    pthread_cond_signal(&manager->mail_read);
    pthread_mutex_unlock(&manager->mail_lock);
    keeper_stop(manager->keeper);
    manager->keeper = NULL;
}

static void end(struct manager *manager)
{
    if (manager->ending)
        return;
    manager->ending = true;
    stop_keeper(manager);
    server_close(manager->server);
    daemons_leave(manager->daemons);
    manager->daemons = NULL;
    uv_close((uv_handle_t *)&manager->term, NULL);
    uv_close((uv_handle_t *)&manager->interrupt, NULL);
    uv_close((uv_handle_t *)&manager->mail_came, NULL);
}

static void on_signal(uv_signal_t *handle, int number)
{
    log_info("ends by signal %d; what runs goes on", number);
    end(handle->data);
}

/* All daemons have ended, too. */
static void is_down(void *argument)
{
    struct manager *manager = argument;

    if (manager->server)
        server_send(manager->server, manager->down_asker.peer, manager->down_reply);
    else
        json_decref(manager->down_reply);
    end(manager);
}

static void end_daemons(struct manager *manager, json_t *reply)
{
    struct daemons *daemons = manager->daemons;

    stop_keeper(manager);
    manager->down_reply = reply;
    manager->daemons = NULL;
    daemons_stop(daemons, is_down, manager);
}

/* What the keeper tells. */

static void tell(const struct keeper_message *message, void *argument)
{
    struct manager *manager = argument;

    pthread_mutex_lock(&manager->mail_lock);
    while (manager->n_mail == MAIL_MAX && !manager->mail_closed)
        pthread_cond_wait(&manager->mail_read, &manager->mail_lock);
    if (manager->mail_closed)
        json_decref(message->json);
    else
        manager->mail[manager->n_mail++] = *message;
    pthread_mutex_unlock(&manager->mail_lock);
    uv_async_send(&manager->mail_came);
}

static struct pending *find_pending(struct manager *manager, uint64_t job)
{
    for (unsigned i = 0; i < manager->n_pending; i++)
        if (manager->pending[i].job == job)
            return &manager->pending[i];
    return NULL;
}

static void job_done(struct manager *manager, const struct keeper_message *message)
{
    struct pending *pending = find_pending(manager, message->job);
    json_t *reply;

    if (!pending) {
        json_decref(message->json);
        return;
    }
    if (message->code) {
        struct error error;

        error_set(&error, message->code, "%s", json_string_value(json_object_get(message->json, "text")));
        reply = server_error(pending->request, &error);
        json_decref(message->json);
    } else {
        reply = json_pack("{s:I, s:o}", "id", (json_int_t)pending->request, "result", message->json);
    }
    if (message->job == manager->down_job) {
        manager->down_asker = *pending;
        end_daemons(manager, reply);
    } else {
        server_send(manager->server, pending->peer, reply);
    }
    *pending = manager->pending[--manager->n_pending];
}

static void take_message(struct manager *manager, const struct keeper_message *message)
{
    struct error error;
    const struct pending *pending;

    switch (message->kind) {
    case KEEPER_PROGRESS:
        pending = find_pending(manager, message->job);
        if (pending)
            server_send(manager->server, pending->peer,
                        json_pack("{s:I, s:O}", "id", (json_int_t)pending->request, "progress", message->json));
        json_decref(message->json);
        break;
    case KEEPER_DONE: job_done(manager, message); break;
    case KEEPER_EVENT: add_event(manager, message->json); break;
    case KEEPER_CONFIGURED:
        if (manager->daemons && daemons_start_vswitch(manager->daemons, &error))
            log_error("%s", error.text);
        break;
    case KEEPER_READY:
        log_info("ready");
        sd_notify(0, "READY=1");
        break;
    }
}

static void on_mail(uv_async_t *async)
{
    struct manager *manager = async->data;
    unsigned n;
    static struct keeper_message taken[MAIL_MAX];

    pthread_mutex_lock(&manager->mail_lock);
    n = manager->n_mail;
    memcpy(taken, manager->mail, n * sizeof *taken);
    manager->n_mail = 0;
    pthread_cond_signal(&manager->mail_read);
    pthread_mutex_unlock(&manager->mail_lock);
    for (unsigned i = 0; i < n; i++)
        take_message(manager, &taken[i]);
}

/* Requests. */

static void answer(struct manager *manager, uint64_t peer, uint64_t request, json_t *result,
                   const struct error *error)
{
    server_send(manager->server, peer,
                result ? json_pack("{s:I, s:o}", "id", (json_int_t)request, "result", result)
                       : server_error(request, error));
}

static int submit(struct manager *manager, uint64_t peer, const struct request *request,
                  enum keeper_job_kind kind, struct error *error)
{
    struct keeper_job job = {.id = manager->last_job + 1, .kind = kind, .reserve = request->reserve};
    int code;

    if (manager->n_pending == PENDING_MAX)
        return error_set(error, EBUSY, "%u changes are under way; try again later.", PENDING_MAX);
    strcpy(job.slice, request->slice);
    strcpy(job.node, request->node);
    if (request->spec) {
        job.spec = strdup(request->spec);
        if (!job.spec)
            return error_set(error, ENOMEM, "There is no memory for the slice file.");
    }
    manager->pending[manager->n_pending++] = (struct pending){++manager->last_job, peer, request->id};
    code = keeper_submit(manager->keeper, &job, error);
    if (code)
        manager->n_pending--;
    else if (kind == JOB_DOWN)
        manager->down_job = job.id;
    return code;
}

struct shown {
    struct manager *manager;
    uint64_t peer, request;
};

static void show_event(json_t *event, void *argument)
{
    const struct shown *shown = argument;

    server_send(shown->manager->server, shown->peer,
                json_pack("{s:I, s:O}", "id", (json_int_t)shown->request, "event", event));
}

static void answer_events(struct manager *manager, uint64_t peer, const struct request *request)
{
    struct shown shown = {manager, peer, request->id};

    history_each(&manager->history, request->slice, show_event, &shown);
    if (!request->follow) {
        answer(manager, peer, request->id, json_pack("{s:I}", "n", (json_int_t)manager->history.n), NULL);
    } else if (manager->n_followers < FOLLOWERS_MAX) {
        struct follower *follower = &manager->followers[manager->n_followers++];

        *follower = (struct follower){.peer = peer, .request = request->id};
        strcpy(follower->slice, request->slice);
    } else {
        answer(manager, peer, request->id, NULL,
               &(struct error){EBUSY, "Too many follow the events already; try again later."});
    }
}

static void on_request(uint64_t peer, const struct request *request, void *argument)
{
    static const enum keeper_job_kind jobs[REQUEST_METHODS] = {
        [REQUEST_DEPLOY] = JOB_DEPLOY, [REQUEST_DESTROY] = JOB_DESTROY, [REQUEST_START] = JOB_START,
        [REQUEST_STOP] = JOB_STOP,     [REQUEST_RESTART] = JOB_RESTART, [REQUEST_DOWN] = JOB_DOWN,
    };
    struct manager *manager = argument;
    struct store *store = keeper_store(manager->keeper);
    struct error error = {0};

    if (manager->down_job)
        answer(manager, peer, request->id, NULL, &(struct error){EAGAIN, "The node is being taken down."});
    else if (request->method == REQUEST_EVENTS)
        answer_events(manager, peer, request);
    else if (request->method == REQUEST_LIST)
        answer(manager, peer, request->id, overview_list(store), NULL);
    else if (request->method == REQUEST_INSPECT)
        answer(manager, peer, request->id,
               overview_inspect(store, &manager->settings.reconcile, request->slice, &error), &error);
    else if (request->method == REQUEST_USAGE)
        answer(manager, peer, request->id,
               overview_usage(store, &manager->settings.capacity, daemons_list(manager->daemons)), NULL);
    else if (request->method == REQUEST_DEPLOY && request->dry_run)
        answer(manager, peer, request->id,
               overview_plan(store, &manager->settings.capacity, request->spec, &error), &error);
    else if (submit(manager, peer, request, jobs[request->method], &error))
        answer(manager, peer, request->id, NULL, &error);
}

/* Starting. */

static int take_lock(struct manager *manager, struct error *error)
{
    char path[PATH_SIZE];

    if (mkdir(manager->config->run, 0755) && errno != EEXIST)
        return error_set(error, errno, "The folder %s cannot be made: %s.", manager->config->run,
                         strerror(errno));
    snprintf(path, sizeof path, "%s/manager.lock", manager->config->run);
    manager->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (manager->lock_fd < 0)
        return error_set(error, errno, "The file %s cannot be made: %s.", path, strerror(errno));
    return flock(manager->lock_fd, LOCK_EX | LOCK_NB)
               ? error_set(error, EADDRINUSE, "Another manager runs in the folder %s.", manager->config->run)
               : 0;
}

static void fill_settings(struct manager *manager)
{
    const struct config *config = manager->config;
    struct keeper_settings *settings = &manager->settings;
    const char *why;
    char command[128];

    snprintf(manager->fastpath_socket, sizeof manager->fastpath_socket, "%s/fastpath.sock", config->run);
    if (gethostname(manager->host, sizeof manager->host - 1))
        strcpy(manager->host, "localhost");
    manager->vswitch_config = daemons_vswitch_config(config);
    settings->db = daemons_db(manager->daemons);
    settings->host = manager->host;
    settings->capacity = capacity_of(config);
    settings->vitals = (struct vitals_settings){
        .run_folder = config->run,
        .fastpath_socket = manager->fastpath_socket,
        .vswitch_db = daemons_vswitch_db(manager->daemons),
        .vswitch_config = manager->vswitch_config,
    };
    settings->reconcile = (struct reconcile_settings){
        .run_folder = config->run,
        .state_folder = config->state,
        .fastpath_socket = manager->fastpath_socket,
        .vswitch_db = daemons_vswitch_db(manager->daemons),
        .guest_kernel = config->vm.kernel,
        .guest_initrd = config->vm.initrd,
        .vm_driver = config->vm.system ? &vm_libvirt_system : &vm_libvirt,
        .hardware = vm_hardware_works(&why),
        .huge = config->hugepages,
    };
    if (hardware_misleads_libvirt("", command, sizeof command))
        log_warning(
            "machines are emulated, and take minutes to start, since libvirt probes QEMU anew each time: /dev/kvm is there, "
            "but not open to the user " QEMU_USER "; '%s' opens it, for a manager that is started then",
            command);
    else if (!settings->reconcile.hardware)
        log_warning("machines are emulated, which is slow: %s", why);
    if (access(config->vm.kernel, R_OK) || access(config->vm.initrd, R_OK))
        log_warning("machines need images of their own, for the small guest is not at %s and %s: 'ninja -C build "
                    "guest-image/guest-kernel' builds it, 'ninja -C build install' installs it",
                    config->vm.kernel, config->vm.initrd);
    settings->tell = tell;
    settings->argument = manager;
}

static void watch_signal(struct manager *manager, uv_signal_t *handle, int number)
{
    uv_signal_init(&manager->loop, handle);
    handle->data = manager;
    uv_signal_start(handle, on_signal, number);
}

static int start(struct manager *manager, bool down, struct error *error)
{
    char path[PATH_SIZE];
    int code = daemons_open(&manager->daemons, &manager->loop, manager->config, daemon_changed, manager, error);

    if (code)
        return code;
    fill_settings(manager);
    code = keeper_start(&manager->keeper, &manager->settings, error);
    snprintf(path, sizeof path, "%s/manager.sock", manager->config->run);
    if (!code && !down)
        code = server_open(&manager->server, &manager->loop, path, manager->config->group, on_request,
                           manager, error);
    if (!code && down)
        code = submit(manager, 0, &(struct request){.id = 1}, JOB_DOWN, error);
    return code;
}

int manager_run(const struct config *config, bool down, struct error *error)
{
    struct manager *manager = calloc(1, sizeof *manager);
    int code;

    if (!manager)
        return error_set(error, ENOMEM, "There is no memory for the manager.");
    manager->config = config;
    manager->lock_fd = -1;
    signal(SIGPIPE, SIG_IGN);
    setenv("LIBVIRT_DEBUG", "4", 0); /* errors alone: what it would say beside is no event of ours */
    pthread_mutex_init(&manager->mail_lock, NULL);
    pthread_cond_init(&manager->mail_read, NULL);
    uv_loop_init(&manager->loop);
    watch_signal(manager, &manager->term, SIGTERM);
    watch_signal(manager, &manager->interrupt, SIGINT);
    uv_async_init(&manager->loop, &manager->mail_came, on_mail);
    manager->mail_came.data = manager;
    code = take_lock(manager, &manager->error);
    if (!code)
        code = start(manager, down, &manager->error);
    if (code)
        end(manager);
    uv_run(&manager->loop, UV_RUN_DEFAULT);
    uv_loop_close(&manager->loop);
    if (manager->lock_fd >= 0)
        close(manager->lock_fd);
    for (unsigned i = 0; i < manager->n_mail; i++)
        json_decref(manager->mail[i].json);
    history_clear(&manager->history);
    json_decref(manager->vswitch_config);
    pthread_cond_destroy(&manager->mail_read);
    pthread_mutex_destroy(&manager->mail_lock);
    if (manager->error.code && error)
        *error = manager->error;
    code = manager->error.code;
    free(manager);
    return code;
}
