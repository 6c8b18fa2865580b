/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon is no child of ours once we have been started anew, so children and others are watched alike: by a pidfd,
 * which is readable when the process has ended (pidfd_open(2)).
 */
#include "manager/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/log.h"

#define KILL_MS 5000
#define ENVIRONMENT_MAX 256

extern char **environ;

struct supervised {
    uv_loop_t *loop;
    struct supervised_spec spec;
    uv_poll_t poll;   /* on the pidfd, while it runs */
    uv_timer_t timer; /* until it is started again, or killed */
    unsigned n_handles_open;
    int pid, pid_fd;
    uint64_t started_ms;
    unsigned pause_ms, n_starts;
    bool stopping;
    void (*ended)(void *argument);
    void *argument;
};

static void start_or_wait(struct supervised *daemon);

/* When process 'pid' was started, in clock ticks since boot: field 22 of proc(5)'s stat; 0: there is none, or it has ended. */
static unsigned long long start_time(int pid)
{
    unsigned long long time = 0;
    char path[32], line[512];
    const char *place = NULL;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (file && fgets(line, sizeof line, file))
        place = strrchr(line, ')'); /* behind the program's name, which may hold anything: field 2 */
    if (place && strlen(place) > 2 && strchr("ZX", place[2]))
        place = NULL; /* nobody has asked for its status yet */
    for (unsigned i = 2; i < 22 && place; i++)
        place = strchr(place + 1, ' ');
    if (place)
        sscanf(place, "%llu", &time);
    if (file)
        fclose(file);
    return time;
}

/* The process of the file, unless it has ended; another one may have got its number, but not at the same time. */
static int read_pid(const char *path)
{
    FILE *file = fopen(path, "re");
    unsigned long long time;
    int pid = 0;

    if (file && (fscanf(file, "%d %llu", &pid, &time) != 2 || pid <= 1 || start_time(pid) != time))
        pid = 0;
    if (file)
        fclose(file);
    return pid;
}

static void write_pid(const struct supervised *daemon)
{
    FILE *file = fopen(daemon->spec.pid_path, "we");

    if (!file || fprintf(file, "%d %llu\n", daemon->pid, start_time(daemon->pid)) < 0 || fclose(file))
        log_warning("%s: its process id cannot be written to %s: %s", daemon->spec.name,
                    daemon->spec.pid_path, strerror(errno));
}

static void tell(const struct supervised *daemon)
{
    if (daemon->spec.changed)
        daemon->spec.changed(daemon->spec.name, daemon->pid, daemon->spec.argument);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct supervised *daemon = handle->data;

    if (--daemon->n_handles_open)
        return;
    if (daemon->ended)
        daemon->ended(daemon->argument);
    free(daemon);
}

static void finish(struct supervised *daemon)
{
    daemon->n_handles_open = 1;
    uv_close((uv_handle_t *)&daemon->timer, on_handle_closed);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct supervised *daemon = handle->data;

    close(daemon->pid_fd);
    daemon->pid_fd = -1;
    if (daemon->stopping) {
        unlink(daemon->spec.pid_path);
        finish(daemon);
    } else {
        start_or_wait(daemon);
    }
}

/* The process has ended: a child is reaped, another's status is nobody's to tell. */
static void on_end(uv_poll_t *poll, int status, int events)
{
    struct supervised *daemon = poll->data;
    int code = 0;

    if (waitpid(daemon->pid, &code, WNOHANG) == daemon->pid && !daemon->stopping)
        log_warning("%s has ended, %s %d; it is started again", daemon->spec.name,
                    WIFSIGNALED(code) ? "by signal" : "with status",
                    WIFSIGNALED(code) ? WTERMSIG(code) : WEXITSTATUS(code));
    daemon->pid = 0;
    tell(daemon);
    uv_timer_stop(&daemon->timer);
    uv_close((uv_handle_t *)poll, on_poll_closed);
}

static int watch(struct supervised *daemon)
{
    daemon->pid_fd = (int)syscall(SYS_pidfd_open, daemon->pid, 0);
    if (daemon->pid_fd < 0)
        return errno;
    fcntl(daemon->pid_fd, F_SETFD, FD_CLOEXEC);
    uv_poll_init(daemon->loop, &daemon->poll, daemon->pid_fd);
    daemon->poll.data = daemon;
    uv_poll_start(&daemon->poll, UV_READABLE, on_end);
    daemon->started_ms = uv_now(daemon->loop);
    return 0;
}

static int spawn(struct supervised *daemon)
{
    const char *environment[ENVIRONMENT_MAX + 1];
    const struct supervised_spec *spec = &daemon->spec;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    unsigned n = 0;
    pid_t pid;
    int code;

    for (const char *const *item = spec->environment; item && *item && n < ENVIRONMENT_MAX; item++)
        environment[n++] = *item; /* the first of a name counts */
    for (char **item = environ; *item && n < ENVIRONMENT_MAX; item++)
        if (strncmp(*item, "NOTIFY_SOCKET=", strlen("NOTIFY_SOCKET=")) != 0) /* its being ready is not ours */
            environment[n++] = *item;
    environment[n] = NULL;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, spec->log_path, O_WRONLY | O_CREAT | O_APPEND,
                                     0640);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    /* A session of its own: Ctrl-C at the manager is not for it. */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
    code = posix_spawnp(&pid, spec->words[0], &actions, &attributes, (char *const *)spec->words,
                        (char *const *)environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (code)
        return code;
    daemon->pid = pid;
    daemon->n_starts++;
    write_pid(daemon);
    tell(daemon);
    return watch(daemon);
}

static void on_restart(uv_timer_t *timer)
{
    struct supervised *daemon = timer->data;
    int code = spawn(daemon);

    if (code) {
        log_error("%s cannot be started: %s", daemon->spec.name, strerror(code));
        start_or_wait(daemon);
    }
}

/* Starts it again: when it has lasted at once, else after a pause that doubles. */
static void start_or_wait(struct supervised *daemon)
{
    bool lasted = uv_now(daemon->loop) - daemon->started_ms >= SUPERVISE_STABLE_MS;
    unsigned pause_ms = lasted || !daemon->pause_ms ? 0 : daemon->pause_ms;

    daemon->pause_ms = lasted || !daemon->pause_ms                     ? SUPERVISE_PAUSE_MIN_MS
                       : daemon->pause_ms * 2 < SUPERVISE_PAUSE_MAX_MS ? daemon->pause_ms * 2
                                                                       : SUPERVISE_PAUSE_MAX_MS;
    uv_timer_start(&daemon->timer, on_restart, pause_ms, 0);
}

struct supervised *supervise(uv_loop_t *loop, const struct supervised_spec *spec, struct error *error)
{
    struct supervised *daemon = calloc(1, sizeof *daemon);
    int code;

    if (!daemon) {
        error_set(error, ENOMEM, "There is no memory to watch over the %s.", spec->name);
        return NULL;
    }
    daemon->loop = loop;
    daemon->spec = *spec;
    daemon->pid_fd = -1;
    uv_timer_init(loop, &daemon->timer);
    daemon->timer.data = daemon;
    daemon->pid = read_pid(spec->pid_path);
    code = daemon->pid ? watch(daemon) : spawn(daemon);
    if (!code)
        return daemon;
    error_set(error, code, "The %s (%s) cannot be started: %s.", spec->name, spec->words[0], strerror(code));
    finish(daemon);
    return NULL;
}

bool supervised_runs(const char *pid_path)
{
    return read_pid(pid_path);
}

unsigned supervised_starts(const struct supervised *daemon)
{
    return daemon->n_starts;
}

int supervised_pid(const struct supervised *daemon)
{
    return daemon->pid;
}

static void on_kill(uv_timer_t *timer)
{
    const struct supervised *daemon = timer->data;

    log_warning("%s does not end; it is killed", daemon->spec.name);
    kill(daemon->pid, SIGKILL);
}

void supervised_stop(struct supervised *daemon, void (*ended)(void *argument), void *argument)
{
    daemon->stopping = true;
    daemon->ended = ended;
    daemon->argument = argument;
    uv_timer_stop(&daemon->timer);
    if (!daemon->pid) {
        /* Between two lives; if its poll handle is still being closed, on_poll_closed() finishes. */
        if (daemon->pid_fd < 0)
            finish(daemon);
        return;
    }
    kill(daemon->pid, SIGTERM);
    uv_timer_start(&daemon->timer, on_kill, KILL_MS, 0);
}

static void on_left(uv_handle_t *handle)
{
    struct supervised *daemon = handle->data;

    close(daemon->pid_fd);
    daemon->pid_fd = -1;
    finish(daemon);
}

void supervised_leave(struct supervised *daemon)
{
    uv_timer_stop(&daemon->timer);
    if (daemon->pid)
        uv_close((uv_handle_t *)&daemon->poll, on_left);
    else if (daemon->pid_fd < 0)
        finish(daemon);
    else
        daemon->stopping = true;
}
