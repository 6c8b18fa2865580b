/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "fastpath/control.h"
#include "fastpath/control_internal.h"
#include "fastpath/offload.h"
#include "fastpath/port.h"

static int malformed(struct error *error, const char *name)
{
    return error_set(error, EPROTO, "The %s message is malformed.", name);
}

int control_port(const char *name, uint16_t *port, struct error *error)
{
    *port = port_find(name);
    if (*port == PORT_NONE)
        return error_set(error, ENOENT, "There is no port '%s'; 'vnode port list' shows the ports.", name);
    return 0;
}

int control_check_name(const char *what, const char *name, struct error *error)
{
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._:-", *c))
            return error_set(error, EINVAL,
                             "%s name \"%s\" has a character that is not a letter, a digit or one of \"._:-\".",
                             what, name);
    return 0;
}

static int spec_from_message(const struct message_port_add *message, struct port_spec *spec, struct error *error)
{
    *spec = (struct port_spec){0};
    spec->kind = message->kind == MESSAGE_PORT_VHOST ? PORT_VHOST : PORT_ETHDEV;
    spec->server = message->flags & MESSAGE_PORT_SERVER;
    spec->n_queues = message->n_queues ? message->n_queues : 1;
    spec->mtu = message->mtu;
    memcpy(spec->name, message->name, sizeof spec->name);
    memcpy(spec->slice, message->slice, sizeof spec->slice);
    if (spec->kind == PORT_VHOST && strlen(message->target) >= sizeof spec->path)
        return error_set(error, ENAMETOOLONG, "The path of port '%s' is longer than %zu bytes.", spec->name,
                         sizeof spec->path - 1);
    if (spec->kind == PORT_VHOST)
        strcpy(spec->path, message->target);
    else
        strcpy(spec->devargs, message->target);
    return 0;
}

/* Whether 'port' is what 'asked' asks for, if that says more than a name. */
static int check_same(uint16_t port, const struct port_spec *asked, struct error *error)
{
    const struct port_spec *spec = port_get_spec(port);

    if (spec->kind != asked->kind || spec->server != asked->server || strcmp(spec->path, asked->path) ||
        strcmp(spec->devargs, asked->devargs))
        return error_set(error, EEXIST, "There is a port '%s' already, but at %s%s; remove it first.",
                         spec->name, spec->path, spec->devargs);
    if (spec->n_queues != asked->n_queues)
        return error_set(error, EEXIST, "There is a port '%s' already, but with %u queues; remove it first.",
                         spec->name, spec->n_queues);
    return 0;
}

/* A port that is nobody's becomes the slice's. */
static int adopt_port(uint16_t port, const char *slice, struct error *error)
{
    const struct port_spec *spec = port_get_spec(port);

    if (!slice[0] || !strcmp(spec->slice, slice))
        return 0;
    if (spec->slice[0])
        return error_set(error, EEXIST, "Port '%s' belongs to the slice '%s', not to '%s'.", spec->name,
                         spec->slice, slice);
    port_set_slice(port, slice);
    offload_port_changed(port);
    return 0;
}

/* The reply's count says whether the port is new. */
static int handle_port_add(struct control_client *client, const struct message_header *header,
                           struct wire_reader *body, struct error *error)
{
    struct message_port_add message;
    struct port_spec spec;
    uint16_t port;
    bool found;
    int result;

    if (!message_get_port_add(body, &message))
        return malformed(error, "PORT_ADD");
    result = spec_from_message(&message, &spec, error);
    if (!result)
        result = control_check_name("Slice", spec.slice, error);
    if (result)
        return result;
    port = port_find(spec.name);
    found = port != PORT_NONE && (message.kind == MESSAGE_PORT_EXISTING || message.flags & MESSAGE_PORT_ADOPT);
    if (found) {
        if (message.kind != MESSAGE_PORT_EXISTING)
            result = check_same(port, &spec, error);
        if (!result)
            result = adopt_port(port, spec.slice, error);
    } else if (message.kind == MESSAGE_PORT_EXISTING) {
        result = control_port(spec.name, &port, error);
    } else {
        result = port_add(&spec, &port, error);
        if (!result) {
            offload_port_changed(port);
            control_event(EVENT_PORT_ADDED, port, spec.name, "");
        }
    }
    if (!result)
        control_reply_ok(client, header->request, !found, port);
    return result;
}

static int handle_port_remove(struct control_client *client, const struct message_header *header,
                              struct wire_reader *body, struct error *error)
{
    struct message_port_name message;
    uint16_t port;
    int result;

    if (!message_get_port_name(body, &message))
        return malformed(error, "PORT_REMOVE");
    result = control_port(message.name, &port, error);
    if (!result)
        result = port_remove(port, error);
    if (result)
        return result;
    offload_rules_removed();
    offload_port_removed(port);
    control_event(EVENT_PORT_REMOVED, port, message.name, "");
    control_reply_ok(client, header->request, 1, port);
    return 0;
}

static int handle_stop(struct control_client *client, const struct message_header *header,
                       struct wire_reader *body, struct error *error)
{
    control_request_stop();
    control_reply_ok(client, header->request, 0, 0);
    return 0;
}

control_handler *control_handler_of(unsigned type)
{
    static control_handler *const handlers[MESSAGE_END] = {
        [MESSAGE_PORT_ADD] = handle_port_add,
        [MESSAGE_PORT_REMOVE] = handle_port_remove,
        [MESSAGE_RULE_ADD] = control_rule_add,
        [MESSAGE_RULE_REMOVE] = control_rule_remove,
        [MESSAGE_RULE_FLUSH] = control_rule_flush,
        [MESSAGE_QUERY] = control_query,
        [MESSAGE_CAPTURE_START] = control_capture_start,
        [MESSAGE_CAPTURE_STOP] = control_capture_stop,
        [MESSAGE_RING_OPEN] = control_ring_open,
        [MESSAGE_STOP] = handle_stop,
        [MESSAGE_ATTACH] = control_attach,
        [MESSAGE_CHANGE] = control_change,
        [MESSAGE_RING_CLOSE] = control_ring_close,
    };

    return type < MESSAGE_END ? handlers[type] : NULL;
}
