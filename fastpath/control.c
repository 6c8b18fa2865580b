/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/control.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "fastpath/control_client.h"
#include "fastpath/offload.h"
#include "lib/log.h"

#define CLIENTS_MAX 64
#define EVENTS_QUEUED_MAX 1024 /* between two calls of control_dispatch() */

static struct {
    /* set once */
    struct flow_tables *tables;
    struct sockaddr_un address;
    struct stat socket_stat; /* to remove our socket only */
    bool made_directory;
    int epoll_fd, listen_fd;
    int spare_fd; /* given up for a moment to refuse a client when descriptors run out */

    /* control thread */
    struct control_client *clients[CLIENTS_MAX];
    unsigned n_clients;
    bool stop_requested;
} server = {.epoll_fd = -1, .listen_fd = -1, .spare_fd = -1};

/* Held while a request is handled; DPDK's telemetry thread takes it, too. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/*
 * Events on their way from any thread to the control thread. 'mutex' is never held while another lock is
 * taken.
 */
static struct {
    pthread_mutex_t mutex;
    int fd; /* an eventfd: there are events; -1: no server */
    unsigned n;
    uint64_t n_lost;
    struct message_event events[EVENTS_QUEUED_MAX];
} pending = {.mutex = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

struct flow_tables *control_tables(void)
{
    return server.tables;
}

void control_lock(void)
{
    pthread_mutex_lock(&lock);
}

void control_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

int control_fd(void)
{
    return server.epoll_fd;
}

bool control_stop_requested(void)
{
    return server.stop_requested;
}

void control_request_stop(void)
{
    server.stop_requested = true;
}

static void watch(int operation, int fd, uint32_t events, void *data)
{
    struct epoll_event event = {.events = events, .data.ptr = data};

    if (epoll_ctl(server.epoll_fd, operation, fd, &event))
        log_error("The control socket cannot watch a connection: %s.", strerror(errno));
}

/*
 * Refuses to replace a living server's socket or a file that is no socket; removes what a dead server left.
 */
static int clear_path(const char *path, struct error *error)
{
    struct stat status;
    int fd, result;

    if (lstat(path, &status))
        return errno == ENOENT ? 0 : error_set(error, errno, "Cannot use %s: %s.", path, strerror(errno));
    if (!S_ISSOCK(status.st_mode))
        return error_set(error, EEXIST, "%s is there and is no socket; remove it or choose another path.",
                         path);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set(error, errno, "Cannot open a socket: %s.", strerror(errno));
    result = connect(fd, (struct sockaddr *)&server.address, sizeof server.address) ? errno : 0;
    close(fd);
    if (result != ECONNREFUSED)
        return error_set(error, EADDRINUSE,
                         "Another process answers at %s; stop it, or choose another path with --socket.", path);
    if (unlink(path) && errno != ENOENT)
        return error_set(error, errno, "Cannot remove the stale socket %s: %s.", path, strerror(errno));
    return 0;
}

/* Nobody can connect before listen(), so the permissions are right before anyone comes. */
static int bind_and_listen(const char *path, const char *group, struct error *error)
{
    const struct group *entry = group ? getgrnam(group) : NULL;

    if (group && !entry)
        return error_set(error, ENOENT, "There is no group '%s' for the control socket.", group);
    if (bind(server.listen_fd, (struct sockaddr *)&server.address, sizeof server.address))
        return error_set(error, errno, "Cannot make the control socket %s: %s.", path, strerror(errno));
    if (stat(path, &server.socket_stat) || chmod(path, group ? 0660 : 0600) ||
        (entry && chown(path, -1, entry->gr_gid)) || listen(server.listen_fd, CLIENTS_MAX)) {
        int code = errno;

        unlink(path);
        return error_set(error, code, "Cannot set the control socket %s up: %s.", path, strerror(code));
    }
    return 0;
}

/* The lock on the directory keeps two fast paths that start at once from removing each other's socket. */
static int open_listener(const char *path, const char *group, struct error *error)
{
    char copy[sizeof server.address.sun_path];
    const char *directory;
    int directory_fd, result;

    if (strlen(path) >= sizeof server.address.sun_path)
        return error_set(error, ENAMETOOLONG, "The socket path %.120s is longer than %zu bytes.", path,
                         sizeof server.address.sun_path - 1);
    server.address.sun_family = AF_UNIX;
    strcpy(server.address.sun_path, path);
    strcpy(copy, path);
    directory = dirname(copy);
    server.made_directory = !mkdir(directory, 0755);
    directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory_fd < 0 || flock(directory_fd, LOCK_EX)) {
        result = error_set(error, errno, "Cannot use the directory %.120s of the control socket: %s.",
                           directory, strerror(errno));
    } else {
        result = clear_path(path, error);
        if (!result)
            result = bind_and_listen(path, group, error);
    }
    if (directory_fd >= 0)
        close(directory_fd);
    return result;
}

int control_create(const char *path, const char *group, struct flow_tables *tables, struct error *error)
{
    int result, event_fd;

    server.tables = tables;
    server.stop_requested = false;
    server.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server.listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    server.spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_lock(&pending.mutex);
    pending.fd = event_fd;
    pending.n = 0;
    pending.n_lost = 0;
    pthread_mutex_unlock(&pending.mutex);
    if (server.epoll_fd < 0 || server.listen_fd < 0 || server.spare_fd < 0 || event_fd < 0)
        result = error_set(error, errno, "Cannot open what the control socket needs: %s.", strerror(errno));
    else
        result = open_listener(path, group, error);
    if (result) {
        control_destroy();
        return result;
    }
    watch(EPOLL_CTL_ADD, server.listen_fd, EPOLLIN, &server);
    watch(EPOLL_CTL_ADD, event_fd, EPOLLIN, &pending);
    control_telemetry_register();
    log_info("The control socket is %s.", path);
    return 0;
}

/* Takes client 'i' out of the table and frees it. */
static void remove_client(unsigned i)
{
    struct control_client *client = server.clients[i];

    server.clients[i] = server.clients[--server.n_clients];
    control_client_destroy(client);
}

/* Makes room by disconnecting the oldest connection that has not even said HELLO, or is being closed. */
static bool evict(void)
{
    unsigned oldest = server.n_clients;

    for (unsigned i = 0; i < server.n_clients; i++)
        if ((!server.clients[i]->greeted || server.clients[i]->closing) &&
            (oldest == server.n_clients || server.clients[i]->since < server.clients[oldest]->since))
            oldest = i;
    if (oldest == server.n_clients)
        return false;
    remove_client(oldest);
    return true;
}

static void add_client(int fd)
{
    struct control_client *client = control_client_create(fd);

    if (!client) {
        close(fd);
        return;
    }
    if (server.n_clients == CLIENTS_MAX && !evict()) {
        control_client_refuse(client, 0, EBUSY,
                              "The fast path has as many clients as it can serve; close one and try again.");
        control_client_destroy(client);
        return;
    }
    server.clients[server.n_clients++] = client;
    client->epoll_events = control_client_interest(client);
    watch(EPOLL_CTL_ADD, fd, client->epoll_events, client);
}

static void accept_clients(void)
{
    for (int i = 0; i < CLIENTS_MAX; i++) {
        int fd = accept4(server.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0) {
            add_client(fd);
            continue;
        }
        if (errno != EMFILE && errno != ENFILE)
            return;
        /* Out of descriptors: the connection would make epoll return at once for ever. */
        log_warning("A client of the control socket is refused: %s.", strerror(errno));
        close(server.spare_fd);
        fd = accept(server.listen_fd, NULL, NULL);
        if (fd >= 0)
            close(fd);
        server.spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        return;
    }
}

/* Brings epoll in line with what each client waits for now, and removes those that have gone. */
static void settle_clients(void)
{
    for (unsigned i = server.n_clients; i-- > 0;) {
        struct control_client *client = server.clients[i];
        uint32_t interest = control_client_interest(client);

        if (client->dead) {
            remove_client(i);
        } else if (interest != client->epoll_events) {
            client->epoll_events = interest;
            watch(EPOLL_CTL_MOD, client->fd, interest, client);
        }
    }
}

static void publish(const struct message_event *event)
{
    for (unsigned i = 0; i < server.n_clients; i++)
        if (server.clients[i]->event_mask & 1u << event->kind)
            control_client_event(server.clients[i], event);
}

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static uint64_t monotonic(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void publish_pending(void)
{
    static struct message_event events[EVENTS_QUEUED_MAX];
    struct message_event lost = {.kind = EVENT_EVENTS_LOST, .port = MESSAGE_ALL_PORTS};
    uint64_t counter;
    unsigned n;

    pthread_mutex_lock(&pending.mutex);
    /* Empty already: fine. */
    if (read(pending.fd, &counter, sizeof counter) < 0 && errno != EAGAIN)
        log_error("Cannot read an eventfd: %s.", strerror(errno));
    n = pending.n;
    memcpy(events, pending.events, n * sizeof *events);
    lost.count = pending.n_lost;
    pending.n = 0;
    pending.n_lost = 0;
    pthread_mutex_unlock(&pending.mutex);
    for (unsigned i = 0; i < n; i++)
        publish(&events[i]);
    if (lost.count) {
        lost.time = now();
        publish(&lost);
    }
}

static void enqueue_event(enum event_kind kind, uint16_t port, uint64_t count, const char *name,
                          const char *text)
{
    struct message_event *event;
    uint64_t one = 1;

    pthread_mutex_lock(&pending.mutex);
    if (pending.fd >= 0) {
        /* Whoever came first has woken the control thread. */
        bool wake = !pending.n && !pending.n_lost;

        if (pending.n == EVENTS_QUEUED_MAX) {
            pending.n_lost++;
        } else {
            event = &pending.events[pending.n++];
            *event = (struct message_event){.kind = kind, .port = port, .time = now(), .count = count};
            strncpy(event->name, name, sizeof event->name - 1);
            strncpy(event->text, text, sizeof event->text - 1);
        }
        if (wake && write(pending.fd, &one, sizeof one) < 0 && errno != EAGAIN)
            log_error("Cannot write an eventfd: %s.", strerror(errno));
    }
    pthread_mutex_unlock(&pending.mutex);
}

void control_event(enum event_kind kind, uint16_t port, const char *name, const char *text)
{
    enqueue_event(kind, port, 0, name, text);
}

void control_rule_event(enum event_kind kind, uint16_t port, uint64_t count)
{
    if (count)
        enqueue_event(kind, port, count, port == MESSAGE_ALL_PORTS ? "" : control_port_name(port), "");
}

void control_moved_event(const struct rule *rule, const char *text)
{
    enqueue_event(EVENT_RULE_MOVED, rule->in_port, rule->id, control_port_name(rule->in_port), text);
}

bool control_event_wanted(enum event_kind kind)
{
    for (unsigned i = 0; i < server.n_clients; i++)
        if (server.clients[i]->event_mask & 1u << kind)
            return true;
    return false;
}

void control_dispatch(void)
{
    struct epoll_event ready[CLIENTS_MAX + 2];
    bool have_new = false;
    int n = epoll_wait(server.epoll_fd, ready, CLIENTS_MAX + 2, 0);

    control_lock();
    offload_clock(monotonic());
    for (int i = 0; i < n; i++) {
        if (ready[i].data.ptr == &server)
            have_new = true;
        else if (ready[i].data.ptr == &pending)
            publish_pending();
        else
            control_client_serve(ready[i].data.ptr, ready[i].events);
    }
    /* Last, since it may disconnect clients that 'ready' still names. */
    if (have_new)
        accept_clients();
    settle_clients();
    control_unlock();
}

const struct timespec *control_tick_due(void)
{
    static struct timespec left;
    uint64_t due = offload_due_ns(), current = monotonic();
    uint64_t ns = due > current ? due - current : 0;

    left = (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    return due == UINT64_MAX ? NULL : &left;
}

void control_tick(void)
{
    uint64_t current = monotonic();

    if (current < offload_due_ns())
        return;
    control_lock();
    offload_tick(current);
    control_unlock();
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void control_destroy(void)
{
    struct stat status;

    control_lock();
    while (server.n_clients)
        remove_client(server.n_clients - 1);
    if (server.socket_stat.st_ino && !stat(server.address.sun_path, &status) &&
        status.st_ino == server.socket_stat.st_ino && status.st_dev == server.socket_stat.st_dev)
        unlink(server.address.sun_path);
    memset(&server.socket_stat, 0, sizeof server.socket_stat);
    if (server.made_directory)
        rmdir(dirname(server.address.sun_path));
    server.made_directory = false;
    close_fd(&server.listen_fd);
    close_fd(&server.epoll_fd);
    close_fd(&server.spare_fd);
    server.tables = NULL;
    control_unlock();
    pthread_mutex_lock(&pending.mutex);
    close_fd(&pending.fd);
    pthread_mutex_unlock(&pending.mutex);
}
