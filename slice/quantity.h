/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLICE_QUANTITY_H
#define SLICE_QUANTITY_H

/*
 * Quantities with units, as people write them: "256MiB", "1.5Gbit", "10s". The unit is required, since
 * a bare number is the usual mistake; its letters are as the SI and IEC write them.
 */

#include <stdint.h>

enum quantity {
    QUANTITY_BYTES,       /* B, kB, MB, GB, TB; KiB, MiB, GiB, TiB: in bytes */
    QUANTITY_RATE,        /* bit, kbit, Mbit, Gbit, each per second: in bit/s */
    QUANTITY_PACKET_RATE, /* pps, kpps, Mpps: in packets/s */
    QUANTITY_TIME,        /* ms, s, min, h, d: in milliseconds */
};

/*
 * Parses 'text', all of it. Returns 0 and the value in the unit named above, rounded down; EINVAL when it is
 * not such a quantity, ERANGE when it does not fit 63 bits.
 */
int quantity_parse(enum quantity quantity, const char *text, uint64_t *value);

/* What a quantity looks like, for error messages: "256MiB or 4GiB". */
const char *quantity_example(enum quantity quantity);

#endif
