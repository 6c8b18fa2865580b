/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/connection_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pmd/representor.h"

#define LINGER_NS 10000000000ull   /* how long a connection that was given up waits for ports to be removed */
#define LINK_CHECK_NS 150000000ull /* the shared counters follow an event about a link within this ... */
#define LINK_RECHECK_NS 1000000000ull /* ... unless the machine is busy */

/* Connecting */

static void complain(struct connection *connection, const struct error *error)
{
    char text[sizeof connection->complaint];

    if (error->code == ENOENT || error->code == ECONNREFUSED)
        snprintf(text, sizeof text,
                 "no fast path answers at %s; its ports have no link until vnode-fastpath runs there",
                 connection->path);
    else
        snprintf(text, sizeof text, "%s", error->text);
    if (strcmp(connection->complaint, text) == 0)
        return;
    strcpy(connection->complaint, text);
    driver_log_warning("%s", text);
}

static int attach(struct connection *connection, struct client *client, struct error *error)
{
    struct message_attach attach = {.n_slots = FLOW_SLOTS, .software = "librte_net_vnode " VNODE_VERSION};
    const uint32_t events = 1u << EVENT_PORT_REMOVED | 1u << EVENT_PORT_UP | 1u << EVENT_PORT_DOWN;
    struct shared_counters counters;
    struct message reply;
    int result;

    message_put_attach(client_begin(client, MESSAGE_ATTACH), &attach);
    result = client_call(client, &reply, error);
    if (result)
        return result;
    if (reply.header.type != MESSAGE_ATTACHED || reply.n_fds != 1 ||
        !message_get_attached(&reply.body, &connection->attachment))
        result = error_set(error, EPROTO, "The fast path at %.100s has answered ATTACH with something else.",
                           connection->path);
    else
        result = shared_counters_map(&counters, reply.fds[0], error);
    message_close_fds(&reply);
    if (result)
        return result;
    pthread_mutex_lock(&connection->counters_lock);
    connection->counters = counters;
    connection->started = connection->attachment.started;
    pthread_mutex_unlock(&connection->counters_lock);
    wire_put_u32(client_begin(client, MESSAGE_SUBSCRIBE), events);
    return client_call(client, NULL, error);
}

/*
 * Removals that were asked for and not answered: the same fast path gets them again, but has taken rings back with the
 * connection; another one knows neither these ports nor any that devices had.
 */
static void renew_removals(struct connection *connection, bool same_process)
{
    struct removal *kept = NULL, **last = &kept;
    struct removal *next;

    for (struct removal *each = connection->removals; each; each = next) {
        next = each->next;
        each->next = NULL;
        each->sent = false;
        if (same_process && !each->handle) {
            *last = each;
            last = &each->next;
        } else {
            each->done = true;
            if (!each->awaited)
                free(each);
        }
    }
    connection->removals = kept;
    for (struct representor *each = connection->representors; each && !same_process; each = each->next)
        each->is_added = false;
    pthread_cond_broadcast(&connection->removed);
}

static void unmap_counters(struct connection *connection)
{
    pthread_mutex_lock(&connection->counters_lock);
    shared_counters_close(&connection->counters);
    pthread_mutex_unlock(&connection->counters_lock);
}

static void retry_later(struct connection *connection)
{
    uint64_t delay = connection->retry_delay_ns ? 2 * connection->retry_delay_ns : RETRY_FIRST_NS;

    connection->retry_delay_ns = delay < RETRY_LAST_NS ? delay : RETRY_LAST_NS;
    connection->retry_at_ns = connection_now_ns() + connection->retry_delay_ns;
}

static void connect_now(struct connection *connection)
{
    struct error error = {.code = 0};
    uint64_t started_before = connection->started;
    struct client *client =
        client_connect_within(connection->path, "librte_net_vnode " VNODE_VERSION, SETUP_TIMEOUT_MS, &error);

    if (client && (attach(connection, client, &error) ||
                   fcntl(client_fd(client), F_SETFL, fcntl(client_fd(client), F_GETFL) | O_NONBLOCK))) {
        unmap_counters(connection);
        client_close(client);
        client = NULL;
    }
    if (!client) {
        complain(connection, &error);
        retry_later(connection);
        return;
    }
    connection->client = client;
    connection->complaint[0] = '\0';
    connection->retry_delay_ns = 0;
    connection->flows_told = false;
    connection->unsent = false;
    pthread_mutex_lock(&connection->lock);
    connection->n_requests = 0;
    connection->connected = true;
    renew_removals(connection, started_before == connection->started);
    pthread_mutex_unlock(&connection->lock);
    driver_log_info("attached as the vSwitch of %s at %s", client_server_software(client), connection->path);
}

static void disconnect(struct connection *connection, const struct error *error)
{
    bool told = connection->flows_told;

    atomic_store_explicit(&connection->attached, false, memory_order_release);
    client_close(connection->client);
    connection->client = NULL;
    connection->flows_told = false;
    if (told)
        flows_detached(connection->flows);
    pthread_mutex_lock(&connection->lock);
    connection->n_requests = 0;
    connection->connected = false;
    connection_lose_ports(connection);
    pthread_mutex_unlock(&connection->lock);
    unmap_counters(connection);
    if (error) {
        atomic_fetch_add_explicit(&connection->n_reconnects, 1, memory_order_relaxed);
        driver_log_warning("%s", error->text);
        connection->retry_at_ns = 0;
    }
}

/* Sending */

/* Flow.c learns of the attachment once each device had its chance to get its port. */
static void tell_flows(struct connection *connection)
{
    bool ready;

    if (connection->flows_told)
        return;
    pthread_mutex_lock(&connection->lock);
    ready = !connection_is_setting_up(connection);
    pthread_mutex_unlock(&connection->lock);
    if (!ready)
        return;
    connection->flows_told = true;
    atomic_store_explicit(&connection->attached, true, memory_order_release);
    flows_attached(connection->flows, &connection->attachment);
}

static bool begin_next(struct connection *connection, uint64_t *wait_until_ns)
{
    struct request request = {.kind = REQUEST_RULES};
    bool begun;

    if (connection->n_requests == CLIENT_WINDOW)
        return false;
    pthread_mutex_lock(&connection->lock);
    begun = connection_next_port_request(connection, &request, wait_until_ns);
    if (begun)
        connection->requests[(connection->first_request + connection->n_requests++) % CLIENT_WINDOW] = request;
    pthread_mutex_unlock(&connection->lock);
    if (begun)
        return true;
    tell_flows(connection);
    if (!connection->flows_told || !flows_next_request(connection->flows, connection->client, &request.cookie))
        return false;
    pthread_mutex_lock(&connection->lock);
    connection->requests[(connection->first_request + connection->n_requests++) % CLIENT_WINDOW] = request;
    pthread_mutex_unlock(&connection->lock);
    return true;
}

/* Sends all that can be sent now. */
static int send_requests(struct connection *connection, uint64_t *wait_until_ns, struct error *error)
{
    while (connection->unsent || begin_next(connection, wait_until_ns)) {
        int result = client_send(connection->client, NULL, error);

        connection->unsent = result == ETIMEDOUT;
        if (result)
            return connection->unsent ? 0 : result;
    }
    return 0;
}

/* Receiving */

static int take_message(struct connection *connection, struct message *message, struct error *error)
{
    struct message_event event;
    struct request request;

    if (message->header.type == MESSAGE_EVENT) {
        if (!message_get_event(&message->body, &event))
            return error_set(error, EPROTO, "The fast path at %.100s sent a malformed event.",
                             connection->path);
        pthread_mutex_lock(&connection->lock);
        connection_port_event(connection, &event);
        pthread_mutex_unlock(&connection->lock);
        connection->check_links_at_ns = connection_now_ns() + LINK_CHECK_NS;
        return 0;
    }
    pthread_mutex_lock(&connection->lock);
    if (connection->n_requests == 0) {
        pthread_mutex_unlock(&connection->lock);
        return error_set(error, EPROTO, "The fast path at %.100s answered what nobody asked.",
                         connection->path);
    }
    request = connection->requests[connection->first_request];
    connection->first_request = (connection->first_request + 1) % CLIENT_WINDOW;
    connection->n_requests--;
    if (request.kind != REQUEST_RULES)
        connection_port_reply(connection, &request, message);
    pthread_mutex_unlock(&connection->lock);
    if (request.kind != REQUEST_RULES)
        connection->check_links_at_ns = connection_now_ns() + LINK_CHECK_NS;
    else
        flows_reply(connection->flows, request.cookie, message);
    return 0;
}

static int receive_messages(struct connection *connection, struct error *error)
{
    struct message message;
    int result;

    while (!(result = client_receive(connection->client, &message, error))) {
        result = take_message(connection, &message, error);
        message_close_fds(&message);
        if (result)
            return result;
    }
    return result == ETIMEDOUT ? 0 : result;
}

/* The thread */

static void check_links(struct connection *connection, uint64_t now, uint64_t *wait_until_ns)
{
    if (!connection->check_links_at_ns)
        return;
    if (connection->check_links_at_ns > now) {
        if (connection->check_links_at_ns < *wait_until_ns)
            *wait_until_ns = connection->check_links_at_ns;
        return;
    }
    connection->check_links_at_ns = 0;
    pthread_mutex_lock(&connection->lock);
    for (struct representor *each = connection->representors; each; each = each->next) {
        representor_link_changed(each);
        /* A link that is taken to be down though it is up would cost all of the port's packets. */
        if (each->state == REPRESENTOR_READY && !connection_port_is_up(connection, each))
            connection->check_links_at_ns = now + LINK_RECHECK_NS;
    }
    pthread_mutex_unlock(&connection->lock);
    if (connection->check_links_at_ns && connection->check_links_at_ns < *wait_until_ns)
        *wait_until_ns = connection->check_links_at_ns;
}

/* Does all that can be done now, and returns the time of the next thing to do. */
static uint64_t work(struct connection *connection)
{
    uint64_t now = connection_now_ns();
    uint64_t wait_until_ns = UINT64_MAX;
    struct error error;

    if (!connection->client && connection->retry_at_ns <= now && !atomic_load(&connection->ending))
        connect_now(connection);
    if (connection->client &&
        (receive_messages(connection, &error) || send_requests(connection, &wait_until_ns, &error)))
        disconnect(connection, &error);
    if (!connection->client && connection->retry_at_ns < wait_until_ns)
        wait_until_ns = connection->retry_at_ns;
    check_links(connection, now, &wait_until_ns);
    return wait_until_ns;
}

static void wait_for_work(struct connection *connection, uint64_t until_ns)
{
    struct pollfd polled[2] = {
        {.fd = connection->wake_fd, .events = POLLIN},
        {.fd = connection->client ? client_fd(connection->client) : -1,
         .events = (short)(POLLIN | (connection->unsent ? POLLOUT : 0))},
    };
    uint64_t now = connection_now_ns(), rung;
    struct timespec pause = {.tv_sec = 3600};

    if (until_ns <= now)
        return;
    if ((until_ns - now) / 1000000000 < 3600)
        pause = (struct timespec){.tv_sec = (time_t)((until_ns - now) / 1000000000),
                                  .tv_nsec = (long)((until_ns - now) % 1000000000)};
    if (ppoll(polled, 2, &pause, NULL) > 0 && polled[0].revents & POLLIN &&
        read(connection->wake_fd, &rung, sizeof rung) < 0)
        return; /* somebody else cannot have read it; the next round looks again anyway */
}

/*
 * False: it is time to end. A fast path that hangs may still remove the ports that it was asked to, if the connection
 * stays; nobody waits for that.
 */
static bool is_needed(struct connection *connection)
{
    bool removing;

    if (!atomic_load(&connection->ending))
        return true;
    pthread_mutex_lock(&connection->lock);
    removing = connection->client && connection->removals;
    pthread_mutex_unlock(&connection->lock);
    if (!connection->linger_until_ns)
        connection->linger_until_ns = connection_now_ns() + LINGER_NS;
    return removing && connection_now_ns() < connection->linger_until_ns;
}

void connection_run(void *argument)
{
    struct connection *connection = argument;

    while (is_needed(connection)) {
        uint64_t until_ns;

        work(connection);
        /* Sequentially consistent: whoever leaves something for us behind this sees that we sleep, and wakes us. */
        atomic_store(&connection->asleep, true);
        until_ns = work(connection);
        if (is_needed(connection))
            wait_for_work(connection, connection->linger_until_ns ? connection->linger_until_ns : until_ns);
        atomic_store(&connection->asleep, false);
    }
    if (connection->client)
        disconnect(connection, NULL);
    connection_end(connection);
}
