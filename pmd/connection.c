/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/connection_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <ethdev_driver.h>

#include "pmd/thread.h"

/* All connections, and whoever waits for one to end. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    struct connection *first;
} connections = {.lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};

uint64_t connection_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* DRIVER_WAIT_MS from now, for pthread_cond_clockwait(). */
static struct timespec wait_deadline(void)
{
    uint64_t then = connection_now_ns() + DRIVER_WAIT_MS * 1000000ull;

    return (struct timespec){.tv_sec = (time_t)(then / 1000000000), .tv_nsec = (long)(then % 1000000000)};
}

/* Making and ending */

static void connection_free(struct connection *connection)
{
    while (connection->removals) {
        struct removal *removal = connection->removals;

        connection->removals = removal->next;
        free(removal);
    }
    if (connection->flows)
        flows_destroy(connection->flows);
    if (connection->switch_domain != RTE_ETH_DEV_SWITCH_DOMAIN_ID_INVALID)
        rte_eth_switch_domain_free(connection->switch_domain);
    if (connection->wake_fd >= 0)
        close(connection->wake_fd);
    pthread_mutex_destroy(&connection->lock);
    pthread_mutex_destroy(&connection->counters_lock);
    pthread_cond_destroy(&connection->removed);
    free(connection);
}

static struct connection *connection_create(const char *path)
{
    struct connection *connection = calloc(1, sizeof *connection);

    if (!connection)
        return NULL;
    snprintf(connection->path, sizeof connection->path, "%s", path);
    connection->counters.fd = -1;
    connection->n_references = 1;
    pthread_mutex_init(&connection->lock, NULL);
    pthread_mutex_init(&connection->counters_lock, NULL);
    pthread_cond_init(&connection->removed, NULL);
    connection->switch_domain = RTE_ETH_DEV_SWITCH_DOMAIN_ID_INVALID;
    connection->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    connection->flows = flows_create(connection);
    if (connection->wake_fd < 0 || !connection->flows ||
        rte_eth_switch_domain_alloc(&connection->switch_domain) || thread_start(connection_run, connection)) {
        connection_free(connection);
        return NULL;
    }
    return connection;
}

struct connection *connection_get(const char *path)
{
    struct connection *connection;

    pthread_mutex_lock(&connections.lock);
    for (connection = connections.first; connection; connection = connection->next)
        if (!connection->ending && strcmp(connection->path, path) == 0)
            break;
    if (connection) {
        connection->n_references++;
    } else {
        connection = connection_create(path);
        if (connection) {
            connection->next = connections.first;
            connections.first = connection;
        }
    }
    pthread_mutex_unlock(&connections.lock);
    return connection;
}

void connection_end(struct connection *connection)
{
    struct connection **link = &connections.first;

    pthread_mutex_lock(&connections.lock);
    while (*link != connection)
        link = &(*link)->next;
    *link = connection->next;
    connection_free(connection);
    pthread_cond_broadcast(&connections.ended);
    pthread_mutex_unlock(&connections.lock);
}

static bool is_there(const struct connection *connection)
{
    const struct connection *each = connections.first;

    while (each && each != connection)
        each = each->next;
    return each;
}

void connection_put(struct connection *connection)
{
    struct timespec deadline = wait_deadline();

    pthread_mutex_lock(&connections.lock);
    if (--connection->n_references == 0) {
        connection->ending = true;
        connection_wake(connection);
        while (is_there(connection) &&
               !pthread_cond_clockwait(&connections.ended, &connections.lock, CLOCK_MONOTONIC, &deadline))
            continue;
    }
    pthread_mutex_unlock(&connections.lock);
}

/* Devices */

void connection_add(struct connection *connection, struct representor *representor)
{
    pthread_mutex_lock(&connection->lock);
    representor->state = REPRESENTOR_ABSENT;
    representor->next = connection->representors;
    connection->representors = representor;
    pthread_mutex_unlock(&connection->lock);
    connection_wake(connection);
}

static void forget(struct connection *connection, const struct representor *representor)
{
    struct representor **link = &connection->representors;

    while (*link != representor)
        link = &(*link)->next;
    *link = representor->next;
    for (unsigned i = 0; i < CLIENT_WINDOW; i++)
        if (connection->requests[i].representor == representor)
            connection->requests[i].representor = NULL;
}

/* Asks for the removal of the port, or of its rings if 'handle' is not 0, and waits a little for it. Under the lock. */
static void remove_now(struct connection *connection, const char *name, uint32_t handle)
{
    struct removal *removal = connection_add_removal(connection, name, handle);
    struct timespec deadline = wait_deadline();

    if (!removal)
        return;
    removal->awaited = true;
    connection_wake(connection);
    while (!removal->done && connection->connected &&
           !pthread_cond_clockwait(&connection->removed, &connection->lock, CLOCK_MONOTONIC, &deadline))
        continue;
    removal->awaited = false;
    if (removal->done) {
        free(removal);
        return;
    }
    driver_log_warning("port %s: the fast path at %s does not answer; it will %s when it does", name,
                       connection->path, handle ? "take the port's rings back" : "remove the port");
}

void connection_remove(struct connection *connection, struct representor *representor)
{
    bool has_port;
    uint32_t handle;

    pthread_mutex_lock(&connection->lock);
    handle = representor->handle;
    has_port = representor->state != REPRESENTOR_ABSENT || representor->is_added;
    forget(connection, representor);
    connection_lose_port(connection, representor);
    if (has_port && representor->spec.kind != MESSAGE_PORT_EXISTING)
        remove_now(connection, representor->spec.name, 0);
    else if (handle)
        remove_now(connection, representor->spec.name, handle);
    pthread_mutex_unlock(&connection->lock);
}

/* Answers */

void connection_wake(struct connection *connection)
{
    const uint64_t one = 1;

    /* Sequentially consistent: either the thread finds what the caller left for it, or we see it asleep. */
    if (atomic_exchange(&connection->asleep, false) && write(connection->wake_fd, &one, sizeof one) < 0)
        return; /* EAGAIN: it has many reasons to wake up already */
}

bool connection_is_attached(const struct connection *connection)
{
    return atomic_load_explicit(&connection->attached, memory_order_acquire);
}

struct flows *connection_flows(const struct connection *connection)
{
    return connection->flows;
}

bool connection_rule_counters(struct connection *connection, uint32_t slot, uint64_t *packets, uint64_t *bytes)
{
    bool there;

    pthread_mutex_lock(&connection->counters_lock);
    there = connection->counters.memory && slot < connection->counters.n_slots;
    if (there) {
        *packets = atomic_load_explicit(&connection->counters.slots[slot].packets, memory_order_relaxed);
        *bytes = atomic_load_explicit(&connection->counters.slots[slot].bytes, memory_order_relaxed);
    }
    pthread_mutex_unlock(&connection->counters_lock);
    return there;
}

uint64_t connection_n_reconnects(const struct connection *connection)
{
    return atomic_load_explicit(&connection->n_reconnects, memory_order_relaxed);
}

uint16_t connection_switch_domain(const struct connection *connection)
{
    return connection->switch_domain;
}
