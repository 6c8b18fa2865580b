/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/value_text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    uint8_t value, mask; /* of flow key bits: 1 a fragment, 2 not the first one */
} fragments[] = {
    {"no", 0, 1}, {"yes", 1, 1}, {"first", 1, 3}, {"later", 3, 3}, {"not-later", 0, 2},
};

static const char tcp_flag_names[8][4] = {"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"};

bool number_parse(const char *text, uint64_t most, uint64_t *number)
{
    bool hexadecimal = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    char *end;

    if (!isdigit((unsigned char)text[0]) || (hexadecimal && !isxdigit((unsigned char)text[2])))
        return false;
    errno = 0;
    *number = strtoull(text, &end, hexadecimal ? 16 : 10);
    return !errno && !*end && *number <= most;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t hex_parse(const char *text, uint8_t *bytes, size_t room)
{
    size_t n = 0;

    while (*text) {
        int high, low;

        if (*text == ':' || isspace((unsigned char)*text)) {
            text++;
            continue;
        }
        high = hex_digit(text[0]);
        low = high < 0 ? -1 : hex_digit(text[1]);
        if (low < 0 || n == room)
            return 0;
        bytes[n++] = high << 4 | low;
        text += 2;
    }
    return n;
}

static void put_number(uint64_t number, uint8_t *bytes, size_t size)
{
    for (size_t i = size; i-- > 0; number >>= 8)
        bytes[i] = number;
}

static uint64_t get_number(const uint8_t *bytes, size_t size)
{
    uint64_t number = 0;

    for (size_t i = 0; i < size; i++)
        number = number << 8 | bytes[i];
    return number;
}

static uint64_t all_bits(const struct wire_item *item)
{
    return (1ull << item->bits) - 1;
}

static bool parse_mac(const char *text, uint8_t mac[6])
{
    for (int i = 0; i < 6; i++) {
        int high = hex_digit(text[0]);
        int low = high < 0 ? -1 : hex_digit(text[1]);

        if (low < 0 || text[2] != (i < 5 ? ':' : '\0'))
            return false;
        mac[i] = high << 4 | low;
        text += 3;
    }
    return true;
}

/* The size of the address, or 0. */
static uint8_t parse_address(const char *text, uint8_t address[16])
{
    if (inet_pton(AF_INET, text, address) == 1)
        return 4;
    return inet_pton(AF_INET6, text, address) == 1 ? 16 : 0;
}

static bool parse_address_mask(const char *text, uint8_t size, uint8_t mask[16])
{
    uint8_t address[16];
    uint64_t prefix;

    if (number_parse(text, size * 8, &prefix)) {
        for (unsigned i = 0; i < size; i++) {
            unsigned bits = prefix < 8 ? prefix : 8;

            mask[i] = 0xff00 >> bits;
            prefix -= bits;
        }
        return true;
    }
    if (parse_address(text, address) != size)
        return false;
    memcpy(mask, address, size);
    return true;
}

static bool parse_fragment(const char *text, uint8_t *value, uint8_t *mask)
{
    for (size_t i = 0; i < sizeof fragments / sizeof *fragments; i++)
        if (!strcmp(text, fragments[i].name)) {
            *value = fragments[i].value;
            *mask = fragments[i].mask;
            return true;
        }
    return false;
}

/* "+syn-ack": SYN set, ACK clear. */
static bool parse_tcp_flags(const char *text, uint8_t *value, uint8_t *mask)
{
    *value = 0;
    *mask = 0;
    while (*text == '+' || *text == '-') {
        int bit = 0;

        while (bit < 8 && strncmp(text + 1, tcp_flag_names[bit], 3))
            bit++;
        if (bit == 8 || *mask & 1 << bit)
            return false;
        *mask |= 1 << bit;
        if (*text == '+')
            *value |= 1 << bit;
        text += 4;
    }
    return *mask && !*text;
}

static bool parse_plain(const struct wire_item *item, const char *text, struct wire_value *value)
{
    uint64_t number;

    switch (item->kind) {
    case VALUE_MAC:
        value->size = 6;
        memset(value->mask, 0xff, 6);
        return parse_mac(text, value->value);
    case VALUE_ADDRESS:
        value->size = parse_address(text, value->value);
        memset(value->mask, 0xff, value->size);
        return value->size > 0;
    case VALUE_FRAGMENT:
        value->size = 1;
        if (parse_fragment(text, value->value, value->mask))
            return true;
        break;
    case VALUE_TCP_FLAGS:
        value->size = 1;
        if (parse_tcp_flags(text, value->value, value->mask))
            return true;
        break;
    case VALUE_BYTES: value->size = hex_parse(text, value->value, item->size); return value->size > 0;
    default: break;
    }
    if (!number_parse(text, all_bits(item), &number))
        return false;
    value->size = item->size;
    put_number(number, value->value, item->size);
    put_number(all_bits(item), value->mask, item->size);
    return true;
}

static bool parse_mask(const struct wire_item *item, const char *text, struct wire_value *value)
{
    uint64_t number;

    switch (item->kind) {
    case VALUE_MAC: return parse_mac(text, value->mask);
    case VALUE_ADDRESS: return parse_address_mask(text, value->size, value->mask);
    case VALUE_HEX:
    case VALUE_DECIMAL:
    case VALUE_FRAGMENT:
    case VALUE_TCP_FLAGS:
        if (!number_parse(text, all_bits(item), &number))
            return false;
        put_number(number, value->mask, item->size);
        return true;
    default: return false;
    }
}

/* What to write for a value of this item. */
static const char *example(const struct wire_item *item)
{
    switch (item->kind) {
    case VALUE_MAC: return "a MAC address such as 02:00:00:00:00:01";
    case VALUE_ADDRESS: return "an IPv4 or IPv6 address such as 10.0.0.1 or fd00::1";
    case VALUE_FRAGMENT: return "no, yes, first, later or not-later";
    case VALUE_TCP_FLAGS: return "TCP flags such as +syn-ack";
    case VALUE_BYTES: return "hexadecimal digits, two for each byte, and not too many";
    default: return NULL;
    }
}

int value_parse(const struct wire_item *item, const char *text, bool masked, struct wire_value *value,
                struct error *error)
{
    char plain[2 * RAW_ENCAP_SIZE_MAX + 1];
    const char *slash = masked ? strchr(text, '/') : NULL;
    size_t size = slash ? (size_t)(slash - text) : strlen(text);

    if (size < sizeof plain) {
        memcpy(plain, text, size);
        plain[size] = '\0';
    }
    if (size >= sizeof plain || !parse_plain(item, plain, value)) {
        if (example(item))
            return error_set(error, EINVAL, "'%.60s' is no value for %s: write %s.", text, item->name,
                             example(item));
        return error_set(error, EINVAL, "'%.60s' is no value for %s: write a number from 0 to %llu.", text,
                         item->name, (unsigned long long)all_bits(item));
    }
    if (slash && !parse_mask(item, slash + 1, value))
        return error_set(error, EINVAL, "'%.60s' is no mask for %s.", slash + 1, item->name);
    if (item->kind != VALUE_BYTES)
        for (unsigned i = 0; i < value->size; i++)
            value->value[i] &= value->mask[i];
    return 0;
}

static void format_mac(const uint8_t mac[6], char *text, size_t room)
{
    snprintf(text, room, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

/* The length of the prefix that 'mask' is, or -1. */
static int prefix_length(const uint8_t *mask, size_t size)
{
    unsigned length = 0;

    while (length < size * 8 && mask[length / 8] & 0x80 >> length % 8)
        length++;
    for (unsigned i = length; i < size * 8; i++)
        if (mask[i / 8] & 0x80 >> i % 8)
            return -1;
    return length;
}

static void format_address(const uint8_t *value, const uint8_t *mask, size_t size, char *text, size_t room)
{
    int family = size == 4 ? AF_INET : AF_INET6;
    char address[INET6_ADDRSTRLEN], mask_text[INET6_ADDRSTRLEN];
    int length = mask ? prefix_length(mask, size) : (int)size * 8;

    inet_ntop(family, value, address, sizeof address);
    if (length == (int)size * 8)
        snprintf(text, room, "%s", address);
    else if (length >= 0)
        snprintf(text, room, "%s/%d", address, length);
    else
        snprintf(text, room, "%s/%s", address, inet_ntop(family, mask, mask_text, sizeof mask_text));
}

/* Without a mask, a packet's flags: those that are set. */
static void format_tcp_flags(uint8_t value, uint8_t mask, char *text, size_t room)
{
    size_t used = 0;

    text[0] = '\0';
    for (int bit = 0; bit < 8 && used < room; bit++)
        if (mask & 1 << bit)
            used += snprintf(text + used, room - used, "%c%.3s", value & 1 << bit ? '+' : '-',
                             tcp_flag_names[bit]);
}

static void format_number(const struct wire_item *item, const uint8_t *value, const uint8_t *mask,
                          size_t size, char *text, size_t room)
{
    bool hexadecimal = item->kind != VALUE_DECIMAL;
    uint64_t bits = mask ? get_number(mask, size) : all_bits(item);
    int used;

    used = snprintf(text, room, hexadecimal ? "0x%0*llx" : "%.*llu", hexadecimal ? (int)size * 2 : 1,
                    (unsigned long long)get_number(value, size));
    if (bits != all_bits(item) && used > 0 && (size_t)used < room)
        snprintf(text + used, room - used, "/0x%llx", (unsigned long long)bits);
}

void value_format(const struct wire_item *item, const uint8_t *value, const uint8_t *mask, size_t size,
                  char *text, size_t room)
{
    static const uint8_t ones[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    switch (item->kind) {
    case VALUE_MAC:
        format_mac(value, text, room);
        if (mask && memcmp(mask, ones, 6) && room > 18) {
            text[17] = '/';
            format_mac(mask, text + 18, room - 18);
        }
        return;
    case VALUE_ADDRESS: format_address(value, mask, size, text, room); return;
    case VALUE_FRAGMENT:
        if (!mask) {
            snprintf(text, room, "%s", !value[0] ? "no" : value[0] & 2 ? "later" : "first");
            return;
        }
        for (size_t i = 0; i < sizeof fragments / sizeof *fragments; i++)
            if (value[0] == fragments[i].value && mask[0] == fragments[i].mask) {
                snprintf(text, room, "%s", fragments[i].name);
                return;
            }
        break;
    case VALUE_TCP_FLAGS:
        if (mask ? mask[0] : value[0]) {
            format_tcp_flags(value[0], mask ? mask[0] : value[0], text, room);
            return;
        }
        break;
    case VALUE_BYTES:
        for (size_t i = 0; i < size && 2 * i + 2 < room; i++)
            snprintf(text + 2 * i, room - 2 * i, "%02x", value[i]);
        return;
    default: break;
    }
    format_number(item, value, mask, size, text, room);
}
