/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/arguments.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pmd/driver.h"

/* Takes the next argument off '*text': up to a comma outside brackets. NULL: there is none, or it is too long. */
static const char *next_argument(const char **text, char *room, size_t size)
{
    unsigned depth = 0;
    size_t n = 0;

    while (**text == ',')
        ++*text;
    if (!**text)
        return NULL;
    for (; **text && (depth || **text != ','); ++*text) {
        depth += **text == '[';
        depth -= depth && **text == ']';
        if (n + 1 < size)
            room[n] = **text;
        n++;
    }
    room[n < size ? n : size - 1] = '\0';
    return room;
}

static bool set_text(char *field, size_t size, const char *value)
{
    size_t n = strlen(value);

    if (n > 1 && value[0] == '[' && value[n - 1] == ']') {
        value++;
        n -= 2;
    }
    if (n == 0 || n >= size)
        return false;
    memcpy(field, value, n);
    field[n] = '\0';
    return true;
}

static bool set_number(uint16_t *field, const char *value, unsigned least, unsigned most)
{
    char *end;
    unsigned long number = strtoul(value, &end, 10);

    if (*value < '0' || *value > '9' || *end || number < least || number > most)
        return false;
    *field = (uint16_t)number;
    return true;
}

/* Which port is meant: one of three, once. */
static bool set_kind(struct message_port_add *port, enum message_port_kind kind)
{
    if (port->kind)
        return false;
    port->kind = kind;
    return true;
}

static bool set_server(struct message_port_add *port, const char *value)
{
    if (strcmp(value, "1") != 0 && strcmp(value, "0") != 0)
        return false;
    if (*value == '1')
        port->flags |= MESSAGE_PORT_SERVER;
    return true;
}

static bool set(struct arguments *arguments, const char *name, const char *value)
{
    struct message_port_add *port = &arguments->port;

    if (strcmp(name, "fastpath") == 0)
        return set_text(arguments->socket, sizeof arguments->socket, value);
    if (strcmp(name, "vhost") == 0)
        return set_kind(port, MESSAGE_PORT_VHOST) && set_text(port->target, sizeof port->target, value);
    if (strcmp(name, "uplink") == 0)
        return set_kind(port, MESSAGE_PORT_ETHDEV) && set_text(port->target, sizeof port->target, value);
    if (strcmp(name, "port") == 0)
        return set_kind(port, MESSAGE_PORT_EXISTING) && set_text(port->name, sizeof port->name, value);
    if (strcmp(name, "server") == 0)
        return set_server(port, value);
    if (strcmp(name, "queues") == 0)
        return set_number(&port->n_queues, value, 1, QUEUES_MAX);
    if (strcmp(name, "mtu") == 0)
        return set_number(&port->mtu, value, RTE_ETHER_MIN_MTU, REPRESENTOR_MTU_MAX);
    if (strcmp(name, "slice") == 0)
        return set_text(port->slice, sizeof port->slice, value);
    return false;
}

/* What the arguments together have to be. */
static int check(const struct arguments *arguments, const char *device_name, struct error *error)
{
    const struct message_port_add *port = &arguments->port;

    if (!port->kind)
        return error_set(
            error, EINVAL,
            "%s: give it vhost=PATH (a guest), uplink=DEVICE (any DPDK device; [...] around its own commas) "
            "or port=NAME (a port that the fast path has).",
            device_name);
    if (port->flags & MESSAGE_PORT_SERVER && port->kind != MESSAGE_PORT_VHOST)
        return error_set(error, EINVAL, "%s: server=1 goes with vhost=PATH only.", device_name);
    if (!*port->name)
        return error_set(error, EINVAL, "%s: the port's name is missing: call the device %sNAME.",
                         device_name, DRIVER_NAME_PREFIX);
    return 0;
}

int arguments_parse(struct arguments *arguments, const char *device_name, const char *text, struct error *error)
{
    struct message_port_add *port = &arguments->port;
    char argument[sizeof port->target + 32];

    *arguments = (struct arguments){.socket = DEFAULT_SOCKET_PATH};
    while (text && next_argument(&text, argument, sizeof argument)) {
        char *value = strchr(argument, '=');

        if (value)
            *value++ = '\0';
        if (!value || !set(arguments, argument, value))
            return error_set(
                error, EINVAL,
                "%s: '%.20s%s%.40s' is unknown or malformed. Arguments are fastpath=SOCKET, "
                "vhost=PATH[,server=1], uplink=DEVICE, port=NAME, queues=1..%u, mtu=68..%u, slice=NAME.",
                device_name, argument, value ? "=" : "", value ? value : "", QUEUES_MAX, REPRESENTOR_MTU_MAX);
    }
    if (port->kind != MESSAGE_PORT_EXISTING &&
        strncmp(device_name, DRIVER_NAME_PREFIX, strlen(DRIVER_NAME_PREFIX)) == 0)
        snprintf(port->name, sizeof port->name, "%s", device_name + strlen(DRIVER_NAME_PREFIX));
    if (port->kind != MESSAGE_PORT_EXISTING)
        port->flags |= MESSAGE_PORT_ADOPT;
    return check(arguments, device_name, error);
}
