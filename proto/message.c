/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/message.h"

#include <assert.h>

static const struct message_kind kinds[MESSAGE_END] = {
#define X(id, number, name, least, most, fds) [number] = {name, least, most, fds},
    MESSAGES(X)
#undef X
};

static const char *const event_names[EVENT_KIND_END] = {
#define X(id, number, name) [number] = name,
    EVENTS(X)
#undef X
};

static_assert(EVENT_KIND_END <= 32, "SUBSCRIBE has a bit for each event");

const struct message_kind *message_kind(unsigned type)
{
    return type < MESSAGE_END && kinds[type].name ? &kinds[type] : NULL;
}

const char *event_kind_name(unsigned kind)
{
    return kind < EVENT_KIND_END ? event_names[kind] : NULL;
}

void message_put_header(struct wire_writer *writer, const struct message_header *header)
{
    wire_put_u16(writer, header->type);
    wire_put_u16(writer, header->flags);
    wire_put_u32(writer, header->request);
}

const char *message_get_header(struct wire_reader *reader, struct message_header *header)
{
    const struct message_kind *kind;

    header->type = wire_get_u16(reader);
    header->flags = wire_get_u16(reader);
    header->request = wire_get_u32(reader);
    if (reader->bad)
        return "The message is shorter than its header.";
    kind = message_kind(header->type);
    if (!kind)
        return "The message has a type that this version does not know.";
    if (header->flags & ~MESSAGE_MORE)
        return "The message has a flag that this version does not know.";
    if (reader->left < kind->body_min)
        return "The message is shorter than its type allows.";
    if (reader->left > kind->body_max)
        return "The message is longer than its type allows.";
    return NULL;
}

/* A body has been read well when nothing was missing and nothing is left. */
static bool finished(const struct wire_reader *reader)
{
    return !reader->bad && !reader->left;
}

void message_put_hello(struct wire_writer *writer, const struct message_hello *hello)
{
    wire_put_u16(writer, hello->version_min);
    wire_put_u16(writer, hello->version_max);
    wire_put_text(writer, hello->software);
}

/*
 * Bytes behind the known ones are passed over: whatever later versions put there,
 * the two ends must be able to find out which version they share.
 */
bool message_get_hello(struct wire_reader *reader, struct message_hello *hello)
{
    hello->version_min = wire_get_u16(reader);
    hello->version_max = wire_get_u16(reader);
    wire_get_text(reader, hello->software, sizeof hello->software);
    return !reader->bad && hello->version_min <= hello->version_max;
}

void message_put_port_add(struct wire_writer *writer, const struct message_port_add *port)
{
    wire_put_u8(writer, port->kind);
    wire_put_u8(writer, port->flags);
    wire_put_u16(writer, port->n_queues);
    wire_put_u16(writer, port->mtu);
    wire_put_text(writer, port->name);
    wire_put_text(writer, port->target);
    wire_put_text(writer, port->slice);
}

bool message_get_port_add(struct wire_reader *reader, struct message_port_add *port)
{
    port->kind = wire_get_u8(reader);
    port->flags = wire_get_u8(reader);
    port->n_queues = wire_get_u16(reader);
    port->mtu = wire_get_u16(reader);
    wire_get_text(reader, port->name, sizeof port->name);
    wire_get_text(reader, port->target, sizeof port->target);
    wire_get_text(reader, port->slice, sizeof port->slice);
    return finished(reader) && port->kind >= MESSAGE_PORT_VHOST && port->kind <= MESSAGE_PORT_EXISTING &&
           !(port->flags & ~(MESSAGE_PORT_SERVER | MESSAGE_PORT_ADOPT));
}

void message_put_port_name(struct wire_writer *writer, const struct message_port_name *port)
{
    wire_put_text(writer, port->name);
}

bool message_get_port_name(struct wire_reader *reader, struct message_port_name *port)
{
    wire_get_text(reader, port->name, sizeof port->name);
    return finished(reader);
}

uint8_t *message_begin_items(struct wire_writer *writer)
{
    return wire_put_space(writer, 4);
}

void message_end_items(uint8_t *place, uint32_t n)
{
    struct wire_writer writer = wire_writer(place, 4);

    wire_put_u32(&writer, n);
}

void message_put_query(struct wire_writer *writer, const struct message_query *query)
{
    wire_put_text(writer, query->question);
    wire_put_u16(writer, query->n_arguments);
    for (unsigned i = 0; i < query->n_arguments; i++) {
        wire_put_text(writer, query->arguments[i].name);
        wire_put_u16(writer, query->arguments[i].size);
        wire_put_bytes(writer, query->arguments[i].value, query->arguments[i].size);
    }
}

bool message_get_query(struct wire_reader *reader, struct message_query *query)
{
    wire_get_text(reader, query->question, sizeof query->question);
    query->n_arguments = wire_get_u16(reader);
    if (query->n_arguments > MESSAGE_ARGUMENTS_MAX)
        return false;
    for (unsigned i = 0; i < query->n_arguments; i++) {
        struct message_argument *argument = &query->arguments[i];

        wire_get_text(reader, argument->name, sizeof argument->name);
        argument->size = wire_get_u16(reader);
        argument->value = (const char *)wire_get_bytes(reader, argument->size);
    }
    return finished(reader);
}

void message_put_capture(struct wire_writer *writer, const struct message_capture *capture)
{
    wire_put_u32(writer, capture->snap_size);
    wire_put_text(writer, capture->name);
}

bool message_get_capture(struct wire_reader *reader, struct message_capture *capture)
{
    capture->snap_size = wire_get_u32(reader);
    wire_get_text(reader, capture->name, sizeof capture->name);
    return finished(reader);
}

void message_put_ok(struct wire_writer *writer, const struct message_ok *ok)
{
    wire_put_u32(writer, ok->count);
    wire_put_u64(writer, ok->value);
}

bool message_get_ok(struct wire_reader *reader, struct message_ok *ok)
{
    ok->count = wire_get_u32(reader);
    ok->value = wire_get_u64(reader);
    return finished(reader);
}

void message_put_error(struct wire_writer *writer, const struct message_error *error)
{
    wire_put_u32(writer, error->code);
    wire_put_u32(writer, error->index);
    wire_put_u32(writer, error->done);
    wire_put_text(writer, error->text);
}

bool message_get_error(struct wire_reader *reader, struct message_error *error)
{
    error->code = wire_get_u32(reader);
    error->index = wire_get_u32(reader);
    error->done = wire_get_u32(reader);
    wire_get_text(reader, error->text, sizeof error->text);
    return finished(reader);
}

void message_put_rings(struct wire_writer *writer, const struct message_rings *rings)
{
    wire_put_u32(writer, rings->handle);
    wire_put_u32(writer, rings->n_queues);
}

bool message_get_rings(struct wire_reader *reader, struct message_rings *rings)
{
    rings->handle = wire_get_u32(reader);
    rings->n_queues = wire_get_u32(reader);
    return finished(reader);
}

void message_put_attach(struct wire_writer *writer, const struct message_attach *attach)
{
    wire_put_u32(writer, attach->n_slots);
    wire_put_text(writer, attach->software);
}

bool message_get_attach(struct wire_reader *reader, struct message_attach *attach)
{
    attach->n_slots = wire_get_u32(reader);
    wire_get_text(reader, attach->software, sizeof attach->software);
    return finished(reader);
}

void message_put_attached(struct wire_writer *writer, const struct message_attached *attached)
{
    wire_put_u32(writer, attached->n_slots);
    wire_put_u16(writer, attached->generation);
    wire_put_u16(writer, 0);
    wire_put_u64(writer, attached->started);
}

bool message_get_attached(struct wire_reader *reader, struct message_attached *attached)
{
    uint16_t unused;

    attached->n_slots = wire_get_u32(reader);
    attached->generation = wire_get_u16(reader);
    unused = wire_get_u16(reader);
    attached->started = wire_get_u64(reader);
    return finished(reader) && !unused;
}

void message_put_event(struct wire_writer *writer, const struct message_event *event)
{
    wire_put_u16(writer, event->kind);
    wire_put_u16(writer, event->port);
    wire_put_u64(writer, event->time);
    wire_put_u64(writer, event->count);
    wire_put_text(writer, event->name);
    wire_put_text(writer, event->text);
}

bool message_get_event(struct wire_reader *reader, struct message_event *event)
{
    event->kind = wire_get_u16(reader);
    event->port = wire_get_u16(reader);
    event->time = wire_get_u64(reader);
    event->count = wire_get_u64(reader);
    wire_get_text(reader, event->name, sizeof event->name);
    wire_get_text(reader, event->text, sizeof event->text);
    return finished(reader) && event->kind < EVENT_KIND_END;
}
