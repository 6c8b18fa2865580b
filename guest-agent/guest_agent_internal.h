/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_AGENT_GUEST_AGENT_INTERNAL_H
#define GUEST_AGENT_GUEST_AGENT_INTERNAL_H

#include "guest-agent/guest_agent.h"

/* A client on a connected socket, which it takes over, that does without the handshake of guest_agent_open(). */
int guest_agent_adopt(struct guest_agent **agent, int fd, struct error *error);

/*
 * Decodes base64 (RFC 4648) of 'size' bytes. Returns the bytes with a NUL behind them, to be freed, and their number; NULL when it is
 * no base64, or there is no memory.
 */
char *base64_decode(const char *text, size_t size, size_t *n_bytes);

#endif
