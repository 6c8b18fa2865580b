/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_CONNECTION_INTERNAL_H
#define PMD_CONNECTION_INTERNAL_H

/*
 * Shared by connection.c (the object), connection_thread.c (its thread) and connection_ports.c (what that asks for the
 * devices' ports).
 */

#include <pthread.h>

#include "pmd/connection.h"
#include "pmd/flow.h"
#include "proto/client.h"
#include "proto/shared_counters.h"

#define RETRY_FIRST_NS 10000000ull /* pause before trying again; it doubles ... */
#define RETRY_LAST_NS 200000000ull /* ... up to this */
#define SETUP_TIMEOUT_MS \
    5000 /* longest wait of the thread for the fast path to say hello, and to attach us */

enum request_kind {
    REQUEST_PORT_ADD,
    REQUEST_RING_OPEN,
    REQUEST_REMOVAL,
    REQUEST_RULES, /* flow.c's */
};

/* A request that is not answered yet. */
struct request {
    enum request_kind kind;
    struct representor *representor; /* PORT_ADD, RING_OPEN; NULL: the device was closed meanwhile */
    struct removal *removal;         /* REMOVAL */
    uint64_t cookie;                 /* RULES */
};

/* A port to be removed from the fast path; or, of a port that stays, the rings to be given back. */
struct removal {
    struct removal *next;
    bool sent, done;
    bool awaited;    /* who waits frees it */
    uint32_t handle; /* of the rings; 0: the port is meant */
    char name[PORT_NAME_SIZE];
};

struct connection {
    /* set once */
    char path[108];
    int wake_fd; /* eventfd */
    uint16_t switch_domain;
    struct flows *flows;

    /* under the lock of all connections */
    struct connection *next;
    unsigned n_references;

    /* any thread */
    _Atomic bool ending, asleep;
    _Atomic bool attached;
    _Atomic uint64_t n_reconnects;

    pthread_mutex_t lock; /* of the devices and removals */
    pthread_cond_t removed;
    struct representor *representors;
    struct removal *removals; /* in their order */
    bool connected;
    /* the thread writes these, under the lock */
    struct request requests[CLIENT_WINDOW]; /* in the order of their replies */
    unsigned first_request, n_requests;

    pthread_mutex_t counters_lock;
    struct shared_counters counters; /* mapped while attached */
    uint64_t started;                /* the fast path's start time; it stays after that is gone */

    /* the thread's own */
    struct client *client; /* NULL: not connected */
    struct message_attached attachment;
    bool unsent; /* the message begun was not taken by the socket yet */
    bool flows_told;
    uint64_t retry_at_ns, retry_delay_ns;
    uint64_t check_links_at_ns; /* 0: no need to */
    uint64_t linger_until_ns;   /* 0: it is in use */
    char complaint[256];
};

/* The thread. */
void connection_run(void *connection);

/* The thread's last act: frees the connection. */
void connection_end(struct connection *connection);

uint64_t connection_now_ns(void);

/*
 * Begins the next request that a device or a removal is due for. False: none is. 'wait_until_ns' is lowered to the
 * time at which one will be.
 */
bool connection_next_port_request(struct connection *connection, struct request *request,
                                  uint64_t *wait_until_ns);

/* The reply to a request of the above. Closes the reply's file descriptors, or takes them over. */
void connection_port_reply(struct connection *connection, const struct request *request, struct message *reply);

/* An event of the fast path, about a port. */
void connection_port_event(struct connection *connection, const struct message_event *event);

/* Whether a device is being set up for the first time since the fast path was reached. Under the lock. */
bool connection_is_setting_up(const struct connection *connection);

/* The fast path is gone: no device has a port any more. Under the lock. */
void connection_lose_ports(struct connection *connection);

/* A removal at the end of the list: of the port 'name', or of its rings if 'handle' is not 0. NULL: no memory. Under the lock. */
struct removal *connection_add_removal(struct connection *connection, const char *name, uint32_t handle);

/* Takes the device's port away, without telling anybody. Under the lock. */
void connection_lose_port(struct connection *connection, struct representor *representor);

/* Takes notice of what the shared counters say, because they, or the port, are about to go. Under the lock. */
void connection_note_totals(struct connection *connection, struct representor *representor);

#endif
