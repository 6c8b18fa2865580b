/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/fake_fast_path.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/socket.h"

#define WAIT_S 10
#define CLIENTS_MAX 4
#define RING_DATA_SIZE PACKET_RING_SIZE_MIN

struct fake_fast_path {
    struct fake_options options;
    char path[108];
    int listener, wake_fd;
    int clients[CLIENTS_MAX]; /* -1: free */
    bool greeted[CLIENTS_MAX];
    unsigned n_connections;
    uint32_t last_handle;
    bool ending, hanging;
    struct shared_counters counters;
    struct fake_port ports[FAKE_PORTS_MAX];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
};

/* Must not happen; cmocka's asserts are for the test's own thread. */
static void must(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fake fast path: %s: %s\n", what, strerror(errno));
        abort();
    }
}

/* Ports; under the lock */

static struct fake_port *port_by_name(struct fake_fast_path *fake, const char *name)
{
    for (unsigned i = 0; i < FAKE_PORTS_MAX; i++)
        if (fake->ports[i].exists && strcmp(fake->ports[i].spec.name, name) == 0)
            return &fake->ports[i];
    return NULL;
}

static void close_rings(struct fake_port *port)
{
    if (!port->open)
        return;
    packet_ring_unmap(&port->memory);
    close(port->doorbells[0]);
    close(port->doorbells[1]);
    port->open = false;
}

static void set_flags(struct fake_fast_path *fake, const struct fake_port *port, uint32_t flags)
{
    if (fake->counters.memory)
        fake->counters.ports[port - fake->ports].flags = flags;
}

static struct fake_port *add_port(struct fake_fast_path *fake, const struct message_port_add *spec)
{
    struct fake_port *port = fake->ports;

    while (port->exists)
        port++;
    must(port < fake->ports + FAKE_PORTS_MAX, "too many ports");
    *port = (struct fake_port){.exists = true, .spec = *spec};
    if (!port->spec.n_queues)
        port->spec.n_queues = 1;
    set_flags(fake, port, SHARED_PORT_EXISTS);
    return port;
}

static void remove_port(struct fake_fast_path *fake, struct fake_port *port)
{
    close_rings(port);
    set_flags(fake, port, 0);
    port->exists = false;
    pthread_cond_broadcast(&fake->changed);
}

/* Messages */

struct outgoing {
    struct wire_writer writer;
    int fds[3];
    unsigned n_fds;
    uint8_t bytes[1024];
};

static struct wire_writer *begin(struct outgoing *out, enum message_type type, uint32_t request)
{
    out->n_fds = 0;
    out->writer = wire_writer(out->bytes, sizeof out->bytes);
    message_put_header(&out->writer, &(struct message_header){.type = type, .request = request});
    return &out->writer;
}

static void send_out(int client, struct outgoing *out)
{
    char control[CMSG_SPACE(sizeof out->fds)] __attribute__((aligned(8)));
    struct iovec vector = {.iov_base = out->bytes, .iov_len = wire_size(&out->writer)};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};

    if (out->n_fds)
        socket_attach_fds(&header, control, out->fds, out->n_fds);
    /* Who does not listen any more is noticed by the next receive. */
    if (sendmsg(client, &header, MSG_NOSIGNAL) < 0)
        return;
}

static void send_event(struct fake_fast_path *fake, enum event_kind kind, const struct fake_port *port)
{
    struct message_event event = {.kind = kind, .port = (uint16_t)(port - fake->ports)};
    struct outgoing out;

    memcpy(event.name, port->spec.name, sizeof event.name);
    message_put_event(begin(&out, MESSAGE_EVENT, 0), &event);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (fake->clients[i] >= 0 && fake->greeted[i])
            send_out(fake->clients[i], &out);
}

static void put_error(struct outgoing *out, uint32_t request, uint32_t code, const char *text)
{
    struct message_error error = {.code = code};

    snprintf(error.text, sizeof error.text, "%s", text);
    message_put_error(begin(out, MESSAGE_ERROR, request), &error);
}

static void put_ok(struct outgoing *out, uint32_t request, uint32_t count, uint64_t value)
{
    message_put_ok(begin(out, MESSAGE_OK, request), &(struct message_ok){.count = count, .value = value});
}

static void answer_attach(struct fake_fast_path *fake, struct wire_reader *body, uint32_t request,
                          struct outgoing *out)
{
    struct message_attach attach;
    struct message_attached attached = {.generation = 1, .started = fake->options.started};

    must(message_get_attach(body, &attach), "ATTACH is malformed");
    if (fake->options.attach_error) {
        put_error(out, request, fake->options.attach_error, "Another vSwitch is attached.");
        return;
    }
    shared_counters_close(&fake->counters);
    must(!shared_counters_create(&fake->counters, attach.n_slots, NULL), "shared counters");
    for (unsigned i = 0; i < FAKE_PORTS_MAX; i++)
        if (fake->ports[i].exists)
            set_flags(fake, &fake->ports[i], SHARED_PORT_EXISTS);
    attached.n_slots = attach.n_slots;
    message_put_attached(begin(out, MESSAGE_ATTACHED, request), &attached);
    out->fds[out->n_fds++] = fake->counters.fd;
}

static void answer_port_add(struct fake_fast_path *fake, struct wire_reader *body, uint32_t request,
                            struct outgoing *out)
{
    struct message_port_add spec;
    struct fake_port *port;

    must(message_get_port_add(body, &spec), "PORT_ADD is malformed");
    port = port_by_name(fake, spec.name);
    if (!port && spec.kind == MESSAGE_PORT_EXISTING)
        put_error(out, request, ENOENT, "There is no such port.");
    else if (port && spec.kind != MESSAGE_PORT_EXISTING && !(spec.flags & MESSAGE_PORT_ADOPT))
        put_error(out, request, EEXIST, "There is a port of that name.");
    else
        put_ok(out, request, 1, (uint64_t)((port ? port : add_port(fake, &spec)) - fake->ports));
}

static void answer_port_remove(struct fake_fast_path *fake, struct wire_reader *body, uint32_t request,
                               struct outgoing *out)
{
    struct message_port_name name;
    struct fake_port *port;

    must(message_get_port_name(body, &name), "PORT_REMOVE is malformed");
    port = port_by_name(fake, name.name);
    if (!port) {
        put_error(out, request, ENOENT, "There is no such port.");
        return;
    }
    remove_port(fake, port);
    put_ok(out, request, 1, 0);
}

static void answer_ring_open(struct fake_fast_path *fake, struct wire_reader *body, uint32_t request,
                             struct outgoing *out)
{
    struct message_port_name name;
    struct fake_port *port;
    int fd;

    must(message_get_port_name(body, &name), "RING_OPEN is malformed");
    port = port_by_name(fake, name.name);
    if (!port || port->open) {
        put_error(out, request, port ? EBUSY : ENOENT, "The port is not there, or busy.");
        return;
    }
    port->handle = ++fake->last_handle;
    port->n_rings = port->spec.n_queues;
    must(!packet_ring_create("fake", 2u * port->n_rings, RING_DATA_SIZE, &fd, NULL), "packet rings");
    must(!packet_ring_map(&port->memory, fd, NULL), "packet rings");
    for (uint32_t i = 0; i < port->n_rings; i++) {
        must(!packet_ring_producer_attach(&port->to_vswitch[i], &port->memory, 2 * i, NULL), "producer");
        must(!packet_ring_consumer_attach(&port->from_vswitch[i], &port->memory, 2 * i + 1, NULL), "consumer");
    }
    port->doorbells[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    port->doorbells[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    message_put_rings(begin(out, MESSAGE_RINGS, request),
                      &(struct message_rings){.handle = port->handle, .n_queues = port->n_rings});
    memcpy(out->fds, (int[]){fd, port->doorbells[0], port->doorbells[1]}, sizeof out->fds);
    out->n_fds = 3;
    port->open = true;
    pthread_cond_broadcast(&fake->changed);
}

static void answer_ring_close(struct fake_fast_path *fake, struct wire_reader *body, uint32_t request,
                              struct outgoing *out)
{
    uint32_t handle = wire_get_u32(body);

    for (unsigned i = 0; i < FAKE_PORTS_MAX; i++)
        if (fake->ports[i].open && fake->ports[i].handle == handle) {
            close_rings(&fake->ports[i]);
            pthread_cond_broadcast(&fake->changed);
            put_ok(out, request, 1, 0);
            return;
        }
    put_error(out, request, ENOENT, "There are no such rings.");
}

static void answer_hello(struct fake_fast_path *fake, struct wire_reader *body, uint32_t request,
                         struct outgoing *out)
{
    uint16_t version = fake->options.version ? fake->options.version : PROTOCOL_VERSION_MAX;
    struct message_hello hello;

    must(message_get_hello(body, &hello), "HELLO is malformed");
    if (version > hello.version_max)
        put_error(out, request, EPROTONOSUPPORT,
                  "This fast path speaks no version of the control protocol that the client does.");
    else
        message_put_hello(
            begin(out, MESSAGE_HELLO, request),
            &(struct message_hello){.version_min = version, .version_max = version, .software = "fake"});
}

/* False: the client is to be cut off. */
static bool answer(struct fake_fast_path *fake, unsigned i, uint8_t *bytes, size_t size)
{
    struct wire_reader body = wire_reader(bytes, size);
    struct message_header header;
    struct outgoing out;

    must(!message_get_header(&body, &header), "a message is malformed");
    switch (header.type) {
    case MESSAGE_HELLO: answer_hello(fake, &body, header.request, &out); break;
    case MESSAGE_ATTACH: answer_attach(fake, &body, header.request, &out); break;
    case MESSAGE_PORT_ADD: answer_port_add(fake, &body, header.request, &out); break;
    case MESSAGE_PORT_REMOVE: answer_port_remove(fake, &body, header.request, &out); break;
    case MESSAGE_RING_OPEN: answer_ring_open(fake, &body, header.request, &out); break;
    case MESSAGE_RING_CLOSE: answer_ring_close(fake, &body, header.request, &out); break;
    case MESSAGE_SUBSCRIBE:
        fake->greeted[i] = true;
        put_ok(&out, header.request, 0, 0);
        break;
    default: put_ok(&out, header.request, 1, 0);
    }
    send_out(fake->clients[i], &out);
    if (header.type == MESSAGE_RING_OPEN && out.n_fds)
        close(out.fds[0]); /* the memory stays mapped */
    return true;
}

/* The thread */

static void drop_client(struct fake_fast_path *fake, unsigned i)
{
    close(fake->clients[i]);
    fake->clients[i] = -1;
    fake->greeted[i] = false;
    for (unsigned k = 0; k < FAKE_PORTS_MAX; k++)
        close_rings(&fake->ports[k]);
    pthread_cond_broadcast(&fake->changed);
}

static void accept_client(struct fake_fast_path *fake)
{
    unsigned i = 0;

    while (i < CLIENTS_MAX && fake->clients[i] >= 0)
        i++;
    must(i < CLIENTS_MAX, "too many clients");
    fake->clients[i] = accept4(fake->listener, NULL, NULL, SOCK_CLOEXEC);
    must(fake->clients[i] >= 0, "accept");
    fake->n_connections++;
    pthread_cond_broadcast(&fake->changed);
}

/* Whether the client's next message is the one at which the fake is to hang. */
static bool hangs_at(struct fake_fast_path *fake, int client)
{
    uint8_t type[2];

    if (!fake->options.hang_at || recv(client, type, sizeof type, MSG_PEEK | MSG_DONTWAIT) != sizeof type ||
        (type[0] | type[1] << 8) != fake->options.hang_at)
        return false;
    fake->options.hang_at = 0;
    fake->hanging = true;
    pthread_cond_broadcast(&fake->changed);
    return true;
}

static void serve(struct fake_fast_path *fake, const struct pollfd polled[])
{
    static uint8_t bytes[MESSAGE_SIZE_MAX];

    if (polled[1].revents)
        accept_client(fake);
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        ssize_t size;

        if (fake->clients[i] < 0 || polled[2 + i].fd != fake->clients[i] || !polled[2 + i].revents)
            continue;
        if (hangs_at(fake, fake->clients[i]))
            return;
        size = recv(fake->clients[i], bytes, sizeof bytes, MSG_DONTWAIT);
        if (size <= 0 || !answer(fake, i, bytes, (size_t)size))
            drop_client(fake, i);
    }
}

static void *run(void *argument)
{
    struct fake_fast_path *fake = argument;

    pthread_mutex_lock(&fake->lock);
    while (!fake->ending) {
        struct pollfd polled[2 + CLIENTS_MAX] = {
            {.fd = fake->wake_fd, .events = POLLIN},
            {.fd = fake->hanging ? -1 : fake->listener, .events = POLLIN},
        };
        uint64_t rung;

        for (unsigned i = 0; i < CLIENTS_MAX; i++)
            polled[2 + i] = (struct pollfd){.fd = fake->hanging ? -1 : fake->clients[i], .events = POLLIN};
        pthread_mutex_unlock(&fake->lock);
        poll(polled, 2 + CLIENTS_MAX, -1);
        if (polled[0].revents && read(fake->wake_fd, &rung, sizeof rung) < 0)
            abort();
        pthread_mutex_lock(&fake->lock);
        if (!fake->hanging && !fake->ending)
            serve(fake, polled);
    }
    pthread_mutex_unlock(&fake->lock);
    return NULL;
}

static void wake(struct fake_fast_path *fake)
{
    const uint64_t one = 1;

    must(write(fake->wake_fd, &one, sizeof one) == sizeof one, "wake");
}

/* For tests */

struct fake_fast_path *fake_start(const char *path, const struct fake_options *options)
{
    struct fake_fast_path *fake = calloc(1, sizeof *fake);
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    must(fake, "memory");
    fake->options = *options;
    fake->counters.fd = -1;
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        fake->clients[i] = -1;
    strcpy(address.sun_path, path);
    strcpy(fake->path, path);
    fake->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    must(!bind(fake->listener, (struct sockaddr *)&address, sizeof address), "bind");
    must(!listen(fake->listener, CLIENTS_MAX), "listen");
    fake->wake_fd = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&fake->lock, NULL);
    pthread_cond_init(&fake->changed, NULL);
    must(!pthread_create(&fake->thread, NULL, run, fake), "thread");
    return fake;
}

void fake_stop(struct fake_fast_path *fake)
{
    pthread_mutex_lock(&fake->lock);
    fake->ending = true;
    pthread_mutex_unlock(&fake->lock);
    wake(fake);
    pthread_join(fake->thread, NULL);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (fake->clients[i] >= 0)
            drop_client(fake, i);
    for (unsigned i = 0; i < FAKE_PORTS_MAX; i++)
        close_rings(&fake->ports[i]);
    shared_counters_close(&fake->counters);
    close(fake->listener);
    close(fake->wake_fd);
    unlink(fake->path);
    pthread_mutex_destroy(&fake->lock);
    pthread_cond_destroy(&fake->changed);
    free(fake);
}

void fake_hang(struct fake_fast_path *fake, bool hang)
{
    pthread_mutex_lock(&fake->lock);
    fake->hanging = hang;
    pthread_mutex_unlock(&fake->lock);
    wake(fake);
}

void fake_add_port(struct fake_fast_path *fake, const char *name, uint16_t queues)
{
    struct message_port_add spec = {.kind = MESSAGE_PORT_VHOST, .n_queues = queues};

    strncpy(spec.name, name, sizeof spec.name - 1);
    pthread_mutex_lock(&fake->lock);
    add_port(fake, &spec);
    pthread_mutex_unlock(&fake->lock);
}

/* One wait, under the lock. */
static void await_change(struct fake_fast_path *fake, const char *what)
{
    struct timespec deadline;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += WAIT_S;
    must(!pthread_cond_clockwait(&fake->changed, &fake->lock, CLOCK_MONOTONIC, &deadline), what);
}

struct fake_port *fake_await_port(struct fake_fast_path *fake, const char *name)
{
    struct fake_port *port;

    pthread_mutex_lock(&fake->lock);
    while (!(port = port_by_name(fake, name)) || !port->open)
        await_change(fake, "no such port was opened");
    pthread_mutex_unlock(&fake->lock);
    return port;
}

void fake_await_no_port(struct fake_fast_path *fake, const char *name)
{
    pthread_mutex_lock(&fake->lock);
    while (port_by_name(fake, name))
        await_change(fake, "the port stays");
    pthread_mutex_unlock(&fake->lock);
}

void fake_await_hang(struct fake_fast_path *fake)
{
    pthread_mutex_lock(&fake->lock);
    while (!fake->hanging)
        await_change(fake, "no such message comes");
    pthread_mutex_unlock(&fake->lock);
}

void fake_await_connections(struct fake_fast_path *fake, unsigned n)
{
    pthread_mutex_lock(&fake->lock);
    while (fake->n_connections < n)
        await_change(fake, "nobody connects");
    pthread_mutex_unlock(&fake->lock);
}

void fake_remove_port(struct fake_fast_path *fake, const char *name)
{
    struct fake_port *port;

    pthread_mutex_lock(&fake->lock);
    port = port_by_name(fake, name);
    remove_port(fake, port);
    send_event(fake, EVENT_PORT_REMOVED, port);
    pthread_mutex_unlock(&fake->lock);
}

bool fake_has_port(struct fake_fast_path *fake, const char *name)
{
    bool has;

    pthread_mutex_lock(&fake->lock);
    has = port_by_name(fake, name);
    pthread_mutex_unlock(&fake->lock);
    return has;
}

bool fake_is_open(struct fake_fast_path *fake, const char *name)
{
    const struct fake_port *port;
    bool open;

    pthread_mutex_lock(&fake->lock);
    port = port_by_name(fake, name);
    open = port && port->open;
    pthread_mutex_unlock(&fake->lock);
    return open;
}

static void set_link(struct fake_fast_path *fake, const char *name, bool up, bool tell)
{
    struct fake_port *port;

    pthread_mutex_lock(&fake->lock);
    port = port_by_name(fake, name);
    set_flags(fake, port, SHARED_PORT_EXISTS | (up ? SHARED_PORT_UP : 0));
    if (tell)
        send_event(fake, up ? EVENT_PORT_UP : EVENT_PORT_DOWN, port);
    pthread_mutex_unlock(&fake->lock);
}

void fake_set_link(struct fake_fast_path *fake, const char *name, bool up)
{
    set_link(fake, name, up, true);
}

void fake_set_link_late(struct fake_fast_path *fake, const char *name, bool up)
{
    set_link(fake, name, up, false);
}

struct shared_port_counters *fake_counters(struct fake_fast_path *fake, const char *name)
{
    struct shared_port_counters *counters;

    pthread_mutex_lock(&fake->lock);
    counters = &fake->counters.ports[port_by_name(fake, name) - fake->ports];
    pthread_mutex_unlock(&fake->lock);
    return counters;
}
