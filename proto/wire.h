/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

/*
 * Cursors that read and write the control protocol's bytes (docs/protocol.md):
 * little-endian integers, byte strings, and text with a length in front. A
 * cursor never leaves its buffer: the first access that would do so marks it
 * 'bad', and from then on reads return zeros and writes do nothing, so that
 * callers check once, at the end.
 *
 *     struct wire_reader reader = wire_reader(message, size);
 *     uint16_t kind = wire_get_u16(&reader);
 *     uint64_t id = wire_get_u64(&reader);
 *     if (reader.bad)
 *         return EPROTO;
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct wire_reader {
    const uint8_t *next;
    size_t left;
    bool bad;
};

struct wire_writer {
    uint8_t *start;
    uint8_t *next;
    size_t left;
    bool bad;
};

static inline struct wire_reader wire_reader(const void *data, size_t size)
{
    return (struct wire_reader){.next = data, .left = size};
}

static inline struct wire_writer wire_writer(void *data, size_t size)
{
    return (struct wire_writer){.start = data, .next = data, .left = size};
}

/* Bytes written so far. */
static inline size_t wire_size(const struct wire_writer *writer)
{
    return writer->next - writer->start;
}

/* The next 'size' bytes, where they lie, or NULL (and the reader is bad) when fewer are left. */
static inline const uint8_t *wire_get_bytes(struct wire_reader *reader, size_t size)
{
    const uint8_t *bytes = reader->next;

    if (reader->bad || size > reader->left) {
        reader->bad = true;
        return NULL;
    }
    reader->next += size;
    reader->left -= size;
    return bytes;
}

static inline uint64_t wire_get_integer(struct wire_reader *reader, unsigned size)
{
    const uint8_t *bytes = wire_get_bytes(reader, size);
    uint64_t value = 0;

    if (bytes)
        for (unsigned i = 0; i < size; i++)
            value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static inline uint8_t wire_get_u8(struct wire_reader *reader)
{
    return wire_get_integer(reader, 1);
}

static inline uint16_t wire_get_u16(struct wire_reader *reader)
{
    return wire_get_integer(reader, 2);
}

static inline uint32_t wire_get_u32(struct wire_reader *reader)
{
    return wire_get_integer(reader, 4);
}

static inline uint64_t wire_get_u64(struct wire_reader *reader)
{
    return wire_get_integer(reader, 8);
}

/*
 * Reads text (u16 size, then that many bytes) into 'text', which has room for
 * 'room' bytes with the final NUL. Text that is longer, or has a NUL in it,
 * makes the reader bad and 'text' empty.
 */
static inline void wire_get_text(struct wire_reader *reader, char *text, size_t room)
{
    size_t size = wire_get_u16(reader);
    const uint8_t *bytes = wire_get_bytes(reader, size);

    text[0] = '\0';
    if (!bytes || size >= room || memchr(bytes, '\0', size)) {
        reader->bad = true;
        return;
    }
    memcpy(text, bytes, size);
    text[size] = '\0';
}

static inline uint8_t *wire_put_space(struct wire_writer *writer, size_t size)
{
    uint8_t *space = writer->next;

    if (writer->bad || size > writer->left) {
        writer->bad = true;
        return NULL;
    }
    writer->next += size;
    writer->left -= size;
    return space;
}

static inline void wire_put_bytes(struct wire_writer *writer, const void *bytes, size_t size)
{
    uint8_t *space = wire_put_space(writer, size);

    if (space && size)
        memcpy(space, bytes, size);
}

static inline void wire_put_integer(struct wire_writer *writer, uint64_t value, unsigned size)
{
    uint8_t *space = wire_put_space(writer, size);

    if (space)
        for (unsigned i = 0; i < size; i++)
            space[i] = value >> (8 * i);
}

static inline void wire_put_u8(struct wire_writer *writer, uint8_t value)
{
    wire_put_integer(writer, value, 1);
}

static inline void wire_put_u16(struct wire_writer *writer, uint16_t value)
{
    wire_put_integer(writer, value, 2);
}

static inline void wire_put_u32(struct wire_writer *writer, uint32_t value)
{
    wire_put_integer(writer, value, 4);
}

static inline void wire_put_u64(struct wire_writer *writer, uint64_t value)
{
    wire_put_integer(writer, value, 8);
}

/* Writes text with its size in front; more than 65,535 bytes make the writer bad. */
static inline void wire_put_text(struct wire_writer *writer, const char *text)
{
    size_t size = strlen(text);

    if (size > UINT16_MAX) {
        writer->bad = true;
        return;
    }
    wire_put_u16(writer, size);
    wire_put_bytes(writer, text, size);
}

#endif
