/* SPDX-License-Identifier: Apache-2.0 */
#include "slice/quantity.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define FRACTION_DIGITS_MAX 6

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit bytes[] = {
    {"B", 1},
    {"kB", 1000},
    {"MB", 1000000},
    {"GB", 1000000000},
    {"TB", 1000000000000},
    {"KiB", 1ull << 10},
    {"MiB", 1ull << 20},
    {"GiB", 1ull << 30},
    {"TiB", 1ull << 40},
    {NULL, 0},
};
static const struct unit rates[] = {
    {"bit", 1}, {"kbit", 1000}, {"Mbit", 1000000}, {"Gbit", 1000000000}, {"Tbit", 1000000000000}, {NULL, 0},
};
static const struct unit packet_rates[] = {
    {"pps", 1},
    {"kpps", 1000},
    {"Mpps", 1000000},
    {NULL, 0},
};
static const struct unit times[] = {
    {"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0},
};

static const struct {
    const struct unit *units;
    const char *example;
} quantities[] = {
    [QUANTITY_BYTES] = {bytes, "256MiB or 4GiB"},
    [QUANTITY_RATE] = {rates, "500Mbit or 2.5Gbit"},
    [QUANTITY_PACKET_RATE] = {packet_rates, "100pps or 2kpps"},
    [QUANTITY_TIME] = {times, "500ms, 10s or 8h"},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static uint64_t factor_of(const struct unit *units, const char *name)
{
    for (; units->name; units++)
        if (!strcmp(units->name, name))
            return units->factor;
    return 0;
}

int quantity_parse(enum quantity quantity, const char *text, uint64_t *value)
{
    uint64_t whole = 0, fraction = 0, scale = 1, factor;
    unsigned n_digits = 0;

    if (!is_digit(*text))
        return EINVAL;
    for (; is_digit(*text); text++)
        if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, *text - '0', &whole))
            return ERANGE;
    if (*text == '.') {
        for (text++; is_digit(*text) && n_digits < FRACTION_DIGITS_MAX; text++, n_digits++, scale *= 10)
            fraction = fraction * 10 + (uint64_t)(*text - '0');
        if (!n_digits)
            return EINVAL;
    }
    while (*text == ' ')
        text++;
    factor = factor_of(quantities[quantity].units, text);
    if (!factor)
        return EINVAL;
    /* At most 10^6 times 2^40: no overflow. */
    fraction = fraction * factor / scale;
    if (__builtin_mul_overflow(whole, factor, &whole) || __builtin_add_overflow(whole, fraction, value) ||
        *value > INT64_MAX)
        return ERANGE;
    return 0;
}

const char *quantity_example(enum quantity quantity)
{
    return quantities[quantity].example;
}
