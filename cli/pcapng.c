/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pcapng.h"

#include "lib/limits.h"
#include "proto/wire.h"

/* Block types and option codes of the specification, sections 4.1 to 4.6. */
#define SECTION_HEADER 0x0a0d0d0a
#define BYTE_ORDER_MAGIC 0x1a2b3c4d
#define INTERFACE_DESCRIPTION 1
#define LINKTYPE_ETHERNET 1
#define ENHANCED_PACKET 6
#define INTERFACE_STATISTICS 5
#define OPTION_END 0
#define SHB_USERAPPL 4
#define IF_NAME 2
#define IF_TSRESOL 9
#define EPB_FLAGS 2
#define ISB_IFRECV 4
#define ISB_IFDROP 5

/* A block under way: one at a time. */
static uint8_t block[FRAME_SIZE_MAX + 256];

static struct wire_writer begin(uint32_t type)
{
    struct wire_writer writer = wire_writer(block, sizeof block);

    wire_put_u32(&writer, type);
    wire_put_u32(&writer, 0); /* the length, see finish() */
    return writer;
}

static void pad(struct wire_writer *writer)
{
    while (wire_size(writer) % 4)
        wire_put_u8(writer, 0);
}

static void put_option(struct wire_writer *writer, uint16_t code, const void *value, uint16_t size)
{
    wire_put_u16(writer, code);
    wire_put_u16(writer, size);
    wire_put_bytes(writer, value, size);
    pad(writer);
}

static void put_option_u64(struct wire_writer *writer, uint16_t code, uint64_t value)
{
    wire_put_u16(writer, code);
    wire_put_u16(writer, 8);
    wire_put_u64(writer, value);
}

/* A time stamp has its high half first, whatever the byte order. */
static void put_time(struct wire_writer *writer, uint64_t time_ns)
{
    wire_put_u32(writer, time_ns >> 32);
    wire_put_u32(writer, time_ns);
}

static void finish(struct wire_writer *writer, FILE *stream)
{
    uint32_t size;
    struct wire_writer length = wire_writer(block + 4, 4);

    put_option(writer, OPTION_END, NULL, 0);
    size = wire_size(writer) + 4;
    wire_put_u32(writer, size);
    wire_put_u32(&length, size);
    fwrite(block, 1, size, stream);
}

void pcapng_write_start(FILE *stream, const char *interface, uint32_t snap_size)
{
    static const char application[] = "vnode " VNODE_VERSION;
    static const uint8_t nanoseconds = 9;
    struct wire_writer writer = begin(SECTION_HEADER);

    wire_put_u32(&writer, BYTE_ORDER_MAGIC);
    wire_put_u16(&writer, 1);
    wire_put_u16(&writer, 0);
    wire_put_u64(&writer, UINT64_MAX); /* the section's length is not known */
    put_option(&writer, SHB_USERAPPL, application, sizeof application - 1);
    finish(&writer, stream);
    writer = begin(INTERFACE_DESCRIPTION);
    wire_put_u16(&writer, LINKTYPE_ETHERNET);
    wire_put_u16(&writer, 0);
    wire_put_u32(&writer, snap_size);
    put_option(&writer, IF_NAME, interface, strlen(interface));
    put_option(&writer, IF_TSRESOL, &nanoseconds, 1);
    finish(&writer, stream);
}

void pcapng_write_packet(FILE *stream, uint64_t time_ns, const uint8_t *data, uint32_t size,
                         uint32_t packet_size, bool outbound)
{
    struct wire_writer writer = begin(ENHANCED_PACKET);

    wire_put_u32(&writer, 0); /* the interface */
    put_time(&writer, time_ns);
    wire_put_u32(&writer, size);
    wire_put_u32(&writer, packet_size);
    wire_put_bytes(&writer, data, size);
    pad(&writer);
    wire_put_u16(&writer, EPB_FLAGS);
    wire_put_u16(&writer, 4);
    wire_put_u32(&writer, outbound ? 2 : 1);
    finish(&writer, stream);
}

void pcapng_write_end(FILE *stream, uint64_t time_ns, uint64_t n_packets, uint64_t n_missed)
{
    struct wire_writer writer = begin(INTERFACE_STATISTICS);

    wire_put_u32(&writer, 0);
    put_time(&writer, time_ns);
    put_option_u64(&writer, ISB_IFRECV, n_packets + n_missed);
    put_option_u64(&writer, ISB_IFDROP, n_missed);
    finish(&writer, stream);
}
