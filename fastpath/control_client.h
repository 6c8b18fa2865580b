/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_CONTROL_CLIENT_H
#define FASTPATH_CONTROL_CLIENT_H

/*
 * The server's end of one connection: reads requests while there is room for
 * their replies, queues what the client does not take at once, up to a limit.
 */

#include "fastpath/control_internal.h"

#define CLIENT_QUEUE_LOW 65536     /* bytes queued above which no further request is read */
#define CLIENT_QUEUE_MAX (1 << 20) /* bytes queued above which events end the connection */
#define CLIENT_ROUND_MAX \
    16 /* requests, or pieces of an answer, served before other clients have their turn */

struct control_output {
    struct control_output *next;
    uint32_t size;
    uint32_t n_fds;
    int fds[MESSAGE_FDS_MAX];
    uint8_t data[];
};

struct control_client {
    int fd;
    uint32_t epoll_events; /* what epoll watches for now */
    uint32_t event_mask;   /* subscribed */
    bool greeted;
    bool closing;   /* the connection ends once the queue is empty */
    bool dead;      /* the connection has ended */
    uint64_t since; /* order of arrival */
    struct control_output *first, **last;
    size_t queued; /* bytes */
    struct control_answer *answer;
    struct control_holding *holdings;
};

/* Takes over the connected socket 'fd'. NULL: no memory. */
struct control_client *control_client_create(int fd);
void control_client_destroy(struct control_client *client);

/* Does what epoll reports as possible: sends what is queued, reads and handles requests. */
void control_client_serve(struct control_client *client, uint32_t epoll_events);

/* What epoll has to watch for. */
uint32_t control_client_interest(const struct control_client *client);

/* Sends an ERROR that belongs to no request, and ends the connection. */
void control_client_refuse(struct control_client *client, uint32_t request, int code, const char *sentence);

/* Sends an event; a client whose queue is full is disconnected. */
void control_client_event(struct control_client *client, const struct message_event *event);

#endif
