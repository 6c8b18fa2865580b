/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_PACKET_BUILD_H
#define CLI_PACKET_BUILD_H

#include "lib/error.h"
#include "proto/rule.h"

/*
 * Builds a frame that has the fields of 'fields' (the matches of a rule; masks are not looked at) and
 * defaults for all others, with right lengths and checksums, padded to 'size' bytes (60 at
 * least). Returns its size, or 0 with 'error' when it does not fit 'room'.
 */
size_t packet_build(const struct wire_rule *fields, size_t size, uint8_t *frame, size_t room,
                    struct error *error);

#endif
