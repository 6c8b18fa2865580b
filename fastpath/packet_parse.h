/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_PACKET_PARSE_H
#define FASTPATH_PACKET_PARSE_H

/*
 * packet_parse() itself is declared in packet.h. It takes a short way for the
 * common headers and this one for all others; tests compare the two.
 */

#include "fastpath/packet.h"

/* Does what packet_parse() does, for any frame, without the short way. */
void packet_parse_general(struct packet *packet, struct flow_key *key);

#endif
