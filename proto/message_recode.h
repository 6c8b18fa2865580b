/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_MESSAGE_RECODE_H
#define PROTO_MESSAGE_RECODE_H

/* For the codec's test and fuzz target: what is read of a message, written again, is the same message. */

#include "proto/message.h"

static bool recode_rules(struct wire_reader *body, struct wire_writer *writer)
{
    static struct wire_rule rule;
    uint32_t n = wire_get_u32(body);
    uint8_t *place = message_begin_items(writer);

    for (uint32_t i = 0; i < n; i++)
        if (wire_get_rule(body, &rule) || !wire_put_rule(writer, &rule))
            return false;
    message_end_items(place, n);
    return !body->bad && !body->left;
}

static bool recode_ids(struct wire_reader *body, struct wire_writer *writer)
{
    uint32_t n = wire_get_u32(body);
    uint8_t *place = message_begin_items(writer);

    for (uint32_t i = 0; i < n && !body->bad; i++)
        wire_put_u64(writer, wire_get_u64(body));
    message_end_items(place, n);
    return !body->bad && !body->left;
}

#define RECODE(type, name)                     \
    {                                          \
        struct message_##type name;            \
        if (!message_get_##name(&body, &name)) \
            return false;                      \
        message_put_##name(writer, &name);     \
        return true;                           \
    }

/*
 * Decodes a message of 'size' bytes at 'data' and encodes it again to 'writer'; false when it is malformed.
 */
static bool recode(const uint8_t *data, size_t size, struct wire_writer *writer)
{
    struct wire_reader body = wire_reader(data, size);
    struct message_header header;

    if (message_get_header(&body, &header))
        return false;
    message_put_header(writer, &header);
    switch (header.type) {
    case MESSAGE_HELLO: RECODE(hello, hello)
    case MESSAGE_PORT_ADD: RECODE(port_add, port_add)
    case MESSAGE_PORT_REMOVE:
    case MESSAGE_RING_OPEN: RECODE(port_name, port_name)
    case MESSAGE_RULE_ADD: return recode_rules(&body, writer);
    case MESSAGE_RULE_REMOVE: return recode_ids(&body, writer);
    case MESSAGE_ATTACH: RECODE(attach, attach)
    case MESSAGE_ATTACHED: RECODE(attached, attached)
    case MESSAGE_CHANGE:
    case MESSAGE_QUERY: RECODE(query, query)
    case MESSAGE_CAPTURE_START: RECODE(capture, capture)
    case MESSAGE_OK: RECODE(ok, ok)
    case MESSAGE_ERROR: RECODE(error, error)
    case MESSAGE_RINGS: RECODE(rings, rings)
    case MESSAGE_EVENT: RECODE(event, event)
    case MESSAGE_RULE_FLUSH: wire_put_u16(writer, wire_get_u16(&body)); break;
    case MESSAGE_CAPTURE_STOP:
    case MESSAGE_RING_CLOSE:
    case MESSAGE_SUBSCRIBE: wire_put_u32(writer, wire_get_u32(&body)); break;
    default: wire_put_bytes(writer, body.next, body.left); return true;
    }
    return !body.bad && !body.left;
}

#endif
