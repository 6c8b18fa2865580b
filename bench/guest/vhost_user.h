/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_VHOST_USER_H
#define GUEST_VHOST_USER_H

/*
 * Messages of the vhost-user protocol, as QEMU's document docs/interop/vhost-user
 * describes them. All fields are in host byte order.
 */

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum vhost_user_request {
    VHOST_USER_GET_FEATURES = 1,
    VHOST_USER_SET_FEATURES = 2,
    VHOST_USER_SET_OWNER = 3,
    VHOST_USER_RESET_OWNER = 4,
    VHOST_USER_SET_MEM_TABLE = 5,
    VHOST_USER_SET_LOG_BASE = 6,
    VHOST_USER_SET_LOG_FD = 7,
    VHOST_USER_SET_VRING_NUM = 8,
    VHOST_USER_SET_VRING_ADDR = 9,
    VHOST_USER_SET_VRING_BASE = 10,
    VHOST_USER_GET_VRING_BASE = 11,
    VHOST_USER_SET_VRING_KICK = 12,
    VHOST_USER_SET_VRING_CALL = 13,
    VHOST_USER_SET_VRING_ERR = 14,
    VHOST_USER_GET_PROTOCOL_FEATURES = 15,
    VHOST_USER_SET_PROTOCOL_FEATURES = 16,
    VHOST_USER_GET_QUEUE_NUM = 17,
    VHOST_USER_SET_VRING_ENABLE = 18,
    VHOST_USER_SEND_RARP = 19,
    VHOST_USER_NET_SET_MTU = 20,
    VHOST_USER_SET_BACKEND_REQ_FD = 21,
    VHOST_USER_IOTLB_MSG = 22,
    VHOST_USER_SET_VRING_ENDIAN = 23,
    VHOST_USER_GET_CONFIG = 24,
    VHOST_USER_SET_CONFIG = 25,
    VHOST_USER_POSTCOPY_ADVISE = 28,
    VHOST_USER_POSTCOPY_LISTEN = 29,
    VHOST_USER_POSTCOPY_END = 30,
    VHOST_USER_GET_INFLIGHT_FD = 31,
    VHOST_USER_SET_INFLIGHT_FD = 32,
    VHOST_USER_RESET_DEVICE = 34,
    VHOST_USER_VRING_KICK = 35,
    VHOST_USER_GET_MAX_MEM_SLOTS = 36,
    VHOST_USER_ADD_MEM_REG = 37,
    VHOST_USER_REM_MEM_REG = 38,
    VHOST_USER_SET_STATUS = 39,
    VHOST_USER_GET_STATUS = 40,
};

/* Bits of a message's flags. */
#define VHOST_USER_VERSION 1u
#define VHOST_USER_VERSION_MASK 3u
#define VHOST_USER_REPLY 4u
#define VHOST_USER_NEED_REPLY 8u

/* A virtio feature bit that only the two ends of the socket use. */
#define VHOST_USER_F_PROTOCOL_FEATURES 30

/* Protocol feature bits. */
#define VHOST_USER_PROTOCOL_F_MQ 0
#define VHOST_USER_PROTOCOL_F_LOG_SHMFD 1
#define VHOST_USER_PROTOCOL_F_RARP 2
#define VHOST_USER_PROTOCOL_F_REPLY_ACK 3
#define VHOST_USER_PROTOCOL_F_MTU 4
#define VHOST_USER_PROTOCOL_F_BACKEND_REQ 5
#define VHOST_USER_PROTOCOL_F_CONFIG 9
#define VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD 12
#define VHOST_USER_PROTOCOL_F_RESET_DEVICE 13
#define VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS 15
#define VHOST_USER_PROTOCOL_F_STATUS 16

#define VHOST_USER_REGIONS_MAX 8
#define VHOST_USER_FDS_MAX 8

/*
 * In the payload of SET_VRING_KICK, _CALL and _ERR: the low byte is the queue; this bit: no descriptor comes
 * with it.
 */
#define VHOST_USER_NO_FD 0x100u

struct vhost_user_region {
    uint64_t guest_address;
    uint64_t size;
    uint64_t user_address; /* in the front end's address space */
    uint64_t mmap_offset;  /* in the descriptor that comes with it */
};

struct vhost_user_memory {
    uint32_t n_regions;
    uint32_t padding;
    struct vhost_user_region regions[VHOST_USER_REGIONS_MAX];
};

struct vhost_user_single_region {
    uint64_t padding;
    struct vhost_user_region region;
};

struct vhost_user_vring_state {
    uint32_t index;
    uint32_t num;
};

struct vhost_user_vring_address {
    uint32_t index;
    uint32_t flags; /* bit 0: log writes to the used ring */
    uint64_t descriptor;
    uint64_t used;
    uint64_t available;
    uint64_t log;
};

struct vhost_user_log {
    uint64_t mmap_size;
    uint64_t mmap_offset;
};

struct vhost_user_inflight {
    uint64_t mmap_size;
    uint64_t mmap_offset;
    uint16_t n_queues;
    uint16_t queue_size;
} __attribute__((packed, aligned(4)));

#define VHOST_USER_HEADER_SIZE 12u

struct vhost_user_message {
    uint32_t request;
    uint32_t flags;
    uint32_t size; /* bytes of payload */
    union {
        uint64_t u64;
        struct vhost_user_vring_state state;
        struct vhost_user_vring_address address;
        struct vhost_user_memory memory;
        struct vhost_user_single_region region;
        struct vhost_user_log log;
        struct vhost_user_inflight inflight;
        uint8_t bytes[4096];
    } __attribute__((packed, aligned(4))) payload;
};

static_assert(sizeof(struct vhost_user_vring_address) == 40, "as on the wire");
static_assert(sizeof(struct vhost_user_region) == 32, "as on the wire");
static_assert(sizeof(struct vhost_user_inflight) == 20, "as on the wire");
static_assert(offsetof(struct vhost_user_message, payload) == VHOST_USER_HEADER_SIZE, "as on the wire");

#endif
