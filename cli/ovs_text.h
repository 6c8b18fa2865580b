/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_OVS_TEXT_H
#define CLI_OVS_TEXT_H

#include <jansson.h>
#include <stdio.h>

/*
 * Writes a flow, an object of the answer to flows/list, on a line, spelled as `ovs-appctl dpctl/dump-flows` spells its
 * flows. What the fast path does not know of them (when they were used last, and so on) is not there.
 */
void ovs_text_print(const json_t *flow, FILE *stream);

#endif
