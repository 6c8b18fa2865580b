/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guest-agent/guest_agent_internal.h"

/* The value of a character, or 64. */
static uint32_t value_of(char c)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c ? strchr(alphabet, c) : NULL;

    return found ? (uint32_t)(found - alphabet) : 64;
}

char *base64_decode(const char *text, size_t size, size_t *n_bytes)
{
    size_t padding = size && text[size - 1] == '=' ? (size > 1 && text[size - 2] == '=' ? 2 : 1) : 0, n = 0;
    char *bytes = size % 4 ? NULL : malloc(size / 4 * 3 + 1);

    for (size_t i = 0; bytes && i < size; i += 4) {
        uint32_t group = 0;

        for (size_t j = i; j < i + 4; j++) {
            uint32_t value = j >= size - padding ? 0 : value_of(text[j]);

            if (value == 64) {
                free(bytes);
                return NULL;
            }
            group = group << 6 | value;
        }
        bytes[n++] = (char)(group >> 16);
        bytes[n++] = (char)(group >> 8);
        bytes[n++] = (char)group;
    }
    if (!bytes)
        return NULL;
    *n_bytes = n - padding;
    bytes[*n_bytes] = '\0';
    return bytes;
}
