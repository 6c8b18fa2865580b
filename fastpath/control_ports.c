/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "fastpath/control_internal.h"
#include "fastpath/port.h"
#include "proto/value_text.h"

/* The number that argument 'name' gives; PORT_RATE_KEEP if it is not there. */
static int number_argument(const struct message_query *change, const char *name, uint64_t *number,
                           struct error *error)
{
    char text[24];

    *number = PORT_RATE_KEEP;
    if (!query_has_argument(change, name))
        return 0;
    if (!query_argument(change, name, text, sizeof text) || !number_parse(text, INT64_MAX, number))
        return error_set(error, EINVAL, "'%s' is a number; 0 takes the limit away.", name);
    return 0;
}

int control_set_port(const struct message_query *query, struct error *error)
{
    struct port_rates change;
    uint16_t port;
    int result = query_port(query, "port", &port, error);

    if (!result)
        result = number_argument(query, "rate", &change.in, error);
    if (!result)
        result = number_argument(query, "burst", &change.burst_in, error);
    if (!result)
        result = number_argument(query, "rate_out", &change.out, error);
    if (!result)
        result = number_argument(query, "burst_out", &change.burst_out, error);
    return result ? result : port_set_rates(port, &change, error);
}
