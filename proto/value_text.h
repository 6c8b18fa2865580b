/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_VALUE_TEXT_H
#define PROTO_VALUE_TEXT_H

/*
 * Values of fields and operands of actions as text, as people type and read
 * them. What value_format() writes, value_parse() reads back to the same bytes.
 */

#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"
#include "proto/rule.h"

#define VALUE_TEXT_SIZE 300 /* room for any value that value_format() writes */

struct wire_value {
    uint8_t size;
    uint8_t value[RAW_ENCAP_SIZE_MAX];
    uint8_t mask[RAW_ENCAP_SIZE_MAX]; /* all bits, when the text has none; not for VALUE_BYTES */
};

/*
 * Parses "VALUE" or, when 'masked', "VALUE/MASK" (addresses: also "VALUE/PREFIX"),
 * for any kind but VALUE_PORT and VALUE_NONE. Bits of the value outside the mask are cleared.
 * 'item->name' is what an error sentence calls it. Returns 0 or EINVAL.
 */
int value_parse(const struct wire_item *item, const char *text, bool masked, struct wire_value *value,
                struct error *error);

/* Writes the value, and the mask where it does not cover all bits ('mask' NULL: no mask). */
void value_format(const struct wire_item *item, const uint8_t *value, const uint8_t *mask, size_t size,
                  char *text, size_t room);

/* Parses a decimal or 0x-hexadecimal number up to 'most'; nothing may be around it. */
bool number_parse(const char *text, uint64_t most, uint64_t *number);

/*
 * Parses pairs of hexadecimal digits (colons, spaces and line ends between them are passed over); returns
 * the number of bytes, 0 on error.
 */
size_t hex_parse(const char *text, uint8_t *bytes, size_t room);

#endif
