/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_ARGUMENTS_H
#define PMD_ARGUMENTS_H

/*
 * A device's arguments: NAME=VALUE, separated by commas. Commas within square brackets belong to the value
 * (uplink=[net_tap0,iface=x]), and brackets around a whole value are not part of it.
 */

#include "lib/error.h"
#include "proto/message.h"

struct arguments {
    char socket[108];             /* of the fast path */
    struct message_port_add port; /* what to ask it for */
};

/*
 * Reads the arguments 'text' of the device 'device_name' ("net_vnode_vm1"). EINVAL: the sentence says what is
 * wrong, and how it should look.
 */
int arguments_parse(struct arguments *arguments, const char *device_name, const char *text,
                    struct error *error);

#endif
