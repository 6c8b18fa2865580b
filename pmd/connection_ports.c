/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/connection_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pmd/burst.h"
#include "pmd/representor.h"

/*
 * A device's way to its port: ABSENT, PORT_ADD, ADDING, RING_OPEN, OPENING, READY. Any failure leads back to ABSENT, and
 * another attempt after a pause: what is wrong can be mended in the fast path at any time.
 */

/* Counters */

static void read_totals(const struct shared_port_counters *port, struct representor_totals *totals)
{
    *totals = (struct representor_totals){
        .rx_packets = atomic_load_explicit(&port->rx_packets, memory_order_relaxed),
        .rx_bytes = atomic_load_explicit(&port->rx_bytes, memory_order_relaxed),
        .rx_dropped = atomic_load_explicit(&port->rx_dropped, memory_order_relaxed),
        .tx_packets = atomic_load_explicit(&port->tx_packets, memory_order_relaxed),
        .tx_bytes = atomic_load_explicit(&port->tx_bytes, memory_order_relaxed),
        .tx_dropped = atomic_load_explicit(&port->tx_dropped, memory_order_relaxed),
    };
}

static void add_totals(struct representor_totals *sum, const struct representor_totals *more)
{
    sum->rx_packets += more->rx_packets;
    sum->rx_bytes += more->rx_bytes;
    sum->rx_dropped += more->rx_dropped;
    sum->tx_packets += more->tx_packets;
    sum->tx_bytes += more->tx_bytes;
    sum->tx_dropped += more->tx_dropped;
}

void connection_note_totals(struct connection *connection, struct representor *representor)
{
    int32_t port_id = representor->port_id;

    if (port_id >= 0 && connection->counters.memory)
        read_totals(&connection->counters.ports[port_id], &representor->latest);
}

void connection_port_totals(struct connection *connection, const struct representor *representor,
                            struct representor_totals *totals)
{
    struct representor_totals latest;
    int32_t port_id;

    pthread_mutex_lock(&connection->counters_lock);
    latest = representor->latest;
    *totals = representor->earlier;
    port_id = representor->port_id;
    if (port_id >= 0 && connection->counters.memory)
        read_totals(&connection->counters.ports[port_id], &latest);
    add_totals(totals, &latest);
    pthread_mutex_unlock(&connection->counters_lock);
}

bool connection_port_is_up(struct connection *connection, const struct representor *representor)
{
    const uint32_t wanted = SHARED_PORT_EXISTS | SHARED_PORT_UP;
    int32_t port_id;
    bool up;

    pthread_mutex_lock(&connection->counters_lock);
    port_id = representor->port_id;
    up = port_id >= 0 && atomic_load_explicit(&representor->n_rings, memory_order_relaxed) > 0 &&
         connection->counters.memory &&
         (atomic_load_explicit(&connection->counters.ports[port_id].flags, memory_order_relaxed) & wanted) ==
             wanted;
    pthread_mutex_unlock(&connection->counters_lock);
    return up;
}

/* The port's counters count from 0 when the fast path is another process, or the port was made anew. */
static void set_port_id(struct connection *connection, struct representor *representor, int32_t port_id)
{
    pthread_mutex_lock(&connection->counters_lock);
    if (port_id < 0) {
        connection_note_totals(connection, representor);
    } else {
        struct representor_totals now;

        read_totals(&connection->counters.ports[port_id], &now);
        if (representor->counted_by != connection->started || now.rx_packets < representor->latest.rx_packets ||
            now.tx_packets < representor->latest.tx_packets) {
            add_totals(&representor->earlier, &representor->latest);
            representor->latest = (struct representor_totals){.rx_packets = 0};
            representor->counted_by = connection->started;
        }
    }
    representor->port_id = port_id;
    pthread_mutex_unlock(&connection->counters_lock);
}

/* States */

static void complain(struct representor *representor, const char *text)
{
    if (strcmp(representor->complaint, text) == 0)
        return;
    snprintf(representor->complaint, sizeof representor->complaint, "%s", text);
    driver_log_warning("port %s: %s", representor->spec.name, text);
}

static void retry_later(struct representor *representor)
{
    uint64_t delay = representor->retry_delay_ns ? 2 * representor->retry_delay_ns : RETRY_FIRST_NS;

    representor->retry_delay_ns = delay < RETRY_LAST_NS ? delay : RETRY_LAST_NS;
    representor->retry_at_ns = connection_now_ns() + representor->retry_delay_ns;
    representor->state = REPRESENTOR_ABSENT;
}

static void unmap_rings(struct representor *representor)
{
    packet_ring_unmap(&representor->memory);
    for (unsigned i = 0; i < 2; i++) {
        if (representor->doorbells[i] >= 0)
            close(representor->doorbells[i]);
        representor->doorbells[i] = -1;
    }
}

void connection_lose_port(struct connection *connection, struct representor *representor)
{
    representor_detach_rings(representor);
    unmap_rings(representor);
    representor->handle = 0;
    if (representor->port_id >= 0)
        set_port_id(connection, representor, -1);
    representor->state = REPRESENTOR_ABSENT;
}

/* The device has got its port, or lost it. */
static void tell_change(struct connection *connection, struct representor *representor)
{
    if (connection->flows_told)
        flows_representor_changed(connection->flows, representor);
    representor_link_changed(representor);
}

void connection_lose_ports(struct connection *connection)
{
    for (struct representor *each = connection->representors; each; each = each->next) {
        connection_lose_port(connection, each);
        tell_change(connection, each);
        each->retry_at_ns = 0;
        each->retry_delay_ns = 0;
    }
}

bool connection_is_setting_up(const struct connection *connection)
{
    for (const struct representor *each = connection->representors; each; each = each->next)
        if (each->state == REPRESENTOR_ADDING || each->state == REPRESENTOR_OPENING ||
            (each->state == REPRESENTOR_ABSENT && each->retry_delay_ns == 0))
            return true;
    return false;
}

/* Requests */

static void begin_port_add(struct connection *connection, struct representor *representor,
                           struct request *request)
{
    message_put_port_add(client_begin(connection->client, MESSAGE_PORT_ADD), &representor->spec);
    representor->state = REPRESENTOR_ADDING;
    *request = (struct request){.kind = REQUEST_PORT_ADD, .representor = representor};
}

static void begin_ring_open(struct connection *connection, struct representor *representor,
                            struct request *request)
{
    struct message_port_name name;

    memcpy(name.name, representor->spec.name, sizeof name.name);
    message_put_port_name(client_begin(connection->client, MESSAGE_RING_OPEN), &name);
    *request = (struct request){.kind = REQUEST_RING_OPEN, .representor = representor};
}

struct removal *connection_add_removal(struct connection *connection, const char *name, uint32_t handle)
{
    struct removal *removal = calloc(1, sizeof *removal);
    struct removal **link = &connection->removals;

    if (!removal)
        return NULL;
    snprintf(removal->name, sizeof removal->name, "%s", name);
    removal->handle = handle;
    while (*link)
        link = &(*link)->next;
    *link = removal;
    return removal;
}

static void begin_removal(struct connection *connection, struct removal *removal, struct request *request)
{
    struct message_port_name name;

    memcpy(name.name, removal->name, sizeof name.name);
    if (removal->handle)
        wire_put_u32(client_begin(connection->client, MESSAGE_RING_CLOSE), removal->handle);
    else
        message_put_port_name(client_begin(connection->client, MESSAGE_PORT_REMOVE), &name);
    removal->sent = true;
    *request = (struct request){.kind = REQUEST_REMOVAL, .removal = removal};
}

bool connection_next_port_request(struct connection *connection, struct request *request,
                                  uint64_t *wait_until_ns)
{
    uint64_t now = connection_now_ns();

    /* Removals first: a device may have come back under the name of one, or stands for a port whose rings one gives back. */
    for (struct removal *each = connection->removals; each; each = each->next) {
        if (!each->sent) {
            begin_removal(connection, each, request);
            return true;
        }
    }
    for (struct representor *each = connection->representors; each; each = each->next) {
        if (each->state == REPRESENTOR_OPENING && !each->opening_sent) {
            each->opening_sent = true;
            begin_ring_open(connection, each, request);
            return true;
        }
        if (each->state == REPRESENTOR_ABSENT && each->retry_at_ns <= now) {
            begin_port_add(connection, each, request);
            return true;
        }
        if (each->state == REPRESENTOR_ABSENT && each->retry_at_ns < *wait_until_ns)
            *wait_until_ns = each->retry_at_ns;
    }
    return false;
}

/* Replies */

static void port_added(struct connection *connection, struct representor *representor, struct message *reply)
{
    struct message_ok ok;

    if (reply->header.type != MESSAGE_OK || !message_get_ok(&reply->body, &ok) || ok.value >= PORTS_MAX) {
        complain(representor, "the fast path's reply to its adding makes no sense");
        retry_later(representor);
        return;
    }
    representor->added_id = (int32_t)ok.value;
    representor->is_added = true;
    representor->state = REPRESENTOR_OPENING;
    representor->opening_sent = false;
}

static bool get_rings(struct message *reply, struct message_rings *rings)
{
    return reply->header.type == MESSAGE_RINGS && message_get_rings(&reply->body, rings) && reply->n_fds == 3;
}

static int take_rings(struct representor *representor, struct message *reply, struct error *error)
{
    struct message_rings rings;
    int result;

    if (!get_rings(reply, &rings))
        return error_set(error, EPROTO, "The reply to RING_OPEN holds no rings.");
    representor->handle = rings.handle;
    result = packet_ring_map(&representor->memory, reply->fds[0], error);
    if (result)
        return result;
    representor->doorbells[0] = reply->fds[1];
    representor->doorbells[1] = reply->fds[2];
    close(reply->fds[0]);
    reply->n_fds = 0;
    return representor_attach_rings(representor, error);
}

static void rings_opened(struct connection *connection, struct representor *representor, struct message *reply)
{
    struct error error;

    set_port_id(connection, representor, representor->added_id);
    if (take_rings(representor, reply, &error)) {
        complain(representor, error.text);
        if (representor->handle)
            connection_add_removal(connection, representor->spec.name, representor->handle);
        connection_lose_port(connection, representor);
        retry_later(representor);
        return;
    }
    representor->state = REPRESENTOR_READY;
    representor->retry_delay_ns = 0;
    representor->complaint[0] = '\0';
    driver_log_info("port %s: it is port %d of the fast path at %s, with %u queue%s", representor->spec.name,
                    representor->added_id, connection->path, representor->n_rings,
                    representor->n_rings == 1 ? "" : "s");
    tell_change(connection, representor);
}

static void removal_done(struct connection *connection, struct removal *removal, const struct message *reply,
                         const struct error *error)
{
    struct removal **link = &connection->removals;

    if (reply->header.type == MESSAGE_ERROR && error->code != ENOENT)
        driver_log_warning("port %s: the fast path has not %s: %s", removal->name,
                           removal->handle ? "taken its rings back" : "removed it", error->text);
    while (*link != removal)
        link = &(*link)->next;
    *link = removal->next;
    removal->done = true;
    if (!removal->awaited)
        free(removal);
    pthread_cond_broadcast(&connection->removed);
}

void connection_port_reply(struct connection *connection, const struct request *request, struct message *reply)
{
    struct representor *representor = request->representor;
    struct message_rings rings;
    struct error error = {.code = 0};

    if (reply->header.type == MESSAGE_ERROR)
        message_to_error(reply, NULL, NULL, &error);
    if (request->kind == REQUEST_REMOVAL) {
        removal_done(connection, request->removal, reply, &error);
    } else if (!representor) {
        /* The device was closed meanwhile. A port of its own is among the removals; its rings are not. */
        if (request->kind == REQUEST_RING_OPEN && get_rings(reply, &rings))
            connection_add_removal(connection, "of a closed device", rings.handle);
    } else if (error.code) {
        complain(representor, error.text);
        retry_later(representor);
    } else if (request->kind == REQUEST_PORT_ADD) {
        port_added(connection, representor, reply);
    } else {
        rings_opened(connection, representor, reply);
    }
    message_close_fds(reply);
}

void connection_port_event(struct connection *connection, const struct message_event *event)
{
    for (struct representor *each = connection->representors; each; each = each->next) {
        if (each->state != REPRESENTOR_READY || strcmp(each->spec.name, event->name) != 0)
            continue;
        if (event->kind == EVENT_PORT_REMOVED) {
            complain(each, "it was removed from the fast path by somebody else");
            connection_lose_port(connection, each);
            each->is_added = false;
            tell_change(connection, each);
            retry_later(each);
        } else {
            representor_link_changed(each);
        }
    }
}
