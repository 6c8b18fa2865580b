/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "fastpath/capture.h"
#include "fastpath/control_internal.h"
#include "fastpath/port.h"
#include "fastpath/representor.h"

/* A port has at most one of each, so the ports bound the length of all clients' lists. */
struct control_holding {
    struct control_holding *next;
    void (*release)(uint32_t handle);
    uint32_t handle;
};

void control_release_holdings(struct control_holding **holdings)
{
    while (*holdings) {
        struct control_holding *holding = *holdings;

        *holdings = holding->next;
        holding->release(holding->handle);
        free(holding);
    }
}

int control_hold(struct control_client *client, uint32_t handle, void (*release)(uint32_t handle),
                 struct error *error)
{
    struct control_holding **holdings = control_holdings(client), *holding = malloc(sizeof *holding);

    if (!holding) {
        release(handle);
        return error_set(error, ENOMEM, "No memory to remember what the client holds.");
    }
    *holding = (struct control_holding){.next = *holdings, .release = release, .handle = handle};
    *holdings = holding;
    return 0;
}

/* Gives back what the client holds under the handle in the request; 'what' says that to people. */
static int give_back(struct control_client *client, const struct message_header *header,
                     struct wire_reader *body, void (*release)(uint32_t handle), const char *what,
                     struct error *error)
{
    uint32_t handle = wire_get_u32(body);

    for (struct control_holding **link = control_holdings(client); *link; link = &(*link)->next)
        if ((*link)->handle == handle && (*link)->release == release) {
            struct control_holding *holding = *link;

            *link = holding->next;
            free(holding);
            release(handle);
            control_reply_ok(client, header->request, 1, 0);
            return 0;
        }
    return error_set(error, ENOENT, "This client has no %s with the handle %u.", what, handle);
}

int control_capture_start(struct control_client *client, const struct message_header *header,
                          struct wire_reader *body, struct error *error)
{
    struct message_capture message;
    struct capture_offer offer;
    uint16_t port;
    int result;

    if (!message_get_capture(body, &message))
        return error_set(error, EPROTO, "The CAPTURE_START message is malformed.");
    result = control_port(message.name, &port, error);
    if (!result)
        result = capture_start(port, message.snap_size, &offer, error);
    if (!result)
        result = control_hold(client, offer.handle, capture_stop, error);
    if (result)
        return result;
    message_put_rings(control_begin(client, MESSAGE_RINGS, 0, header->request),
                      &(struct message_rings){.handle = offer.handle, .n_queues = offer.n_rings});
    control_send(client, (const int[]){offer.memory_fd, offer.doorbell_fd}, 2);
    return 0;
}

int control_capture_stop(struct control_client *client, const struct message_header *header,
                         struct wire_reader *body, struct error *error)
{
    return give_back(client, header, body, capture_stop, "capture", error);
}

/* The representor is the client's until it closes it, or disconnects. */
int control_ring_open(struct control_client *client, const struct message_header *header,
                      struct wire_reader *body, struct error *error)
{
    struct message_port_name message;
    struct representor_offer offer;
    uint16_t port;
    int result;

    if (!message_get_port_name(body, &message))
        return error_set(error, EPROTO, "The RING_OPEN message is malformed.");
    result = control_port(message.name, &port, error);
    if (!result)
        result = representor_open(port, &offer, error);
    if (!result)
        result = control_hold(client, offer.handle, representor_close, error);
    if (result)
        return result;
    message_put_rings(control_begin(client, MESSAGE_RINGS, 0, header->request),
                      &(struct message_rings){.handle = offer.handle, .n_queues = offer.n_queues});
    control_send(client, (const int[]){offer.memory_fd, offer.to_vswitch_fd, offer.from_vswitch_fd}, 3);
    return 0;
}

int control_ring_close(struct control_client *client, const struct message_header *header,
                       struct wire_reader *body, struct error *error)
{
    return give_back(client, header, body, representor_close, "representor", error);
}
