/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What DPDK's vhost library, 22.11, leaves to us (lib/vhost/vhost_user.c):
 *
 * - A message whose payload does not come stops its only thread, in read(), and with it the control
 *   plane of all ports; so does a front end that does not read its answers.
 * - A payload shorter than the request needs is used all the same.
 * - Descriptors leak when a ring's index is too large, when a memory region can not be mapped, and
 *   with each request that a callback of ours refuses.
 * - SET_INFLIGHT_FD writes behind the mapping that the front end sized; GET_INFLIGHT_FD allocates and
 *   clears as much memory as it is told to (68 GB); both are served though not negotiated. So are
 *   POSTCOPY_ADVISE, which leaks a descriptor each time, and POSTCOPY_LISTEN, after which the front end can
 *   stop any thread that touches its memory, and IOTLB_MSG.
 * - Any descriptor will do as an eventfd, and any file as memory: a pipe or socket that is full or closed
 *   by the reader (SIGPIPE), a file system in user space that stops us at the next page fault.
 */
#include "fastpath/vhost_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fastpath/guest_memory.h"
#include "lib/clock.h"
#include "lib/limits.h"

#define HEADER_SIZE 12u
#define PAYLOAD_SIZE_MAX 512u /* more than any request that is let through needs */
#define RINGS_MAX (2 * QUEUES_MAX)
/* How long a payload may take to follow its header. Front ends send both at once. */
#define PAYLOAD_WAIT_MS 50
#define NO_FD 0x100u

/* Messages are in the host's byte order: vhost-user, "Message Specification". */
struct header {
    uint32_t request, flags, size;
};

struct memory_region {
    uint64_t guest_address, size, user_address, file_offset;
};

struct memory_table {
    uint32_t n_regions, padding;
    struct memory_region regions[GUEST_REGIONS_MAX];
};

struct message {
    struct header header;
    union {
        uint64_t u64;
        uint32_t ring; /* first of a vring state or address */
        struct memory_table memory;
        uint8_t bytes[PAYLOAD_SIZE_MAX];
    } payload;
    const int *fds;
    unsigned n_fds;
};

static _Thread_local const char *refusal = "";

const char *vhost_guard_take_refusal(void)
{
    const char *taken = refusal;

    refusal = "";
    return taken;
}

static bool refuse(const char *reason)
{
    refusal = reason;
    return false;
}

static bool check_ring(const struct message *message)
{
    return message->payload.ring < RINGS_MAX || refuse("it named a ring that does not exist");
}

static bool is_eventfd(int fd)
{
    static const char wanted[] = "anon_inode:[eventfd]";
    char link[32], target[sizeof wanted];

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return readlink(link, target, sizeof target) == sizeof wanted - 1 &&
           !memcmp(target, wanted, sizeof wanted - 1);
}

static bool check_eventfd(const struct message *message)
{
    uint64_t value = message->payload.u64;

    if (value & ~(uint64_t)(NO_FD | 0xff) || (value & 0xff) >= RINGS_MAX)
        return refuse("it named a ring that does not exist");
    if (message->n_fds != (value & NO_FD ? 0 : 1))
        return refuse("it sent a wrong number of file descriptors");
    return !message->n_fds || is_eventfd(message->fds[0]) ||
           refuse("it sent a file descriptor that is not an eventfd to notify by");
}

/* Whether the library will be able to map 'region' of file 'fd', and pages of it come without waiting for anybody. */
static bool check_region(const struct memory_region *region, int fd)
{
    uint64_t end = region->file_offset + region->size;
    struct stat status;
    uint64_t block;
    void *address;

    /* First, since of these files the kernel tells the seals by itself; to tell anything else it may ask a user's process. */
    if (fcntl(fd, F_GET_SEALS) < 0)
        return refuse("it offered memory that is not a file of memfd, tmpfs or hugetlbfs; others may block");
    if (fstat(fd, &status) || !S_ISREG(status.st_mode))
        return refuse("it offered memory that is not a file");
    if (!region->size || end < region->size || end > (uint64_t)status.st_size ||
        region->guest_address + region->size < region->size ||
        region->user_address + region->size < region->size)
        return refuse("it offered a memory region that is empty, wraps around or ends behind its file");
    block = (uint64_t)status.st_blksize; /* of hugepages: only whole ones can be unmapped */
    end = (end + block - 1) / block * block;
    address = mmap(NULL, end, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED)
        return refuse("it offered memory that cannot be mapped");
    munmap(address, end);
    return true;
}

static bool check_memory(const struct message *message)
{
    const struct memory_table *table = &message->payload.memory;

    if (!table->n_regions || table->n_regions > GUEST_REGIONS_MAX ||
        message->header.size < offsetof(struct memory_table, regions[table->n_regions]))
        return refuse("its memory table has an impossible size");
    if (message->n_fds != table->n_regions)
        return refuse("it sent a wrong number of file descriptors");
    for (uint32_t i = 0; i < table->n_regions; i++)
        if (!check_region(&table->regions[i], message->fds[i]))
            return false;
    return true;
}

/* The requests that are let through. */
static const struct request {
    uint32_t number;
    uint32_t size; /* bytes of payload, at least */
    unsigned n_fds_max;
    bool (*check)(const struct message *message);
} requests[] = {
    {1, 0, 0, NULL},                         /* GET_FEATURES */
    {2, 8, 0, NULL},                         /* SET_FEATURES */
    {3, 0, 0, NULL},                         /* SET_OWNER */
    {4, 0, 0, NULL},                         /* RESET_OWNER */
    {5, 8, GUEST_REGIONS_MAX, check_memory}, /* SET_MEM_TABLE */
    {8, 8, 0, check_ring},                   /* SET_VRING_NUM */
    {9, 40, 0, check_ring},                  /* SET_VRING_ADDR */
    {10, 8, 0, check_ring},                  /* SET_VRING_BASE */
    {11, 8, 0, check_ring},                  /* GET_VRING_BASE */
    {12, 8, 1, check_eventfd},               /* SET_VRING_KICK */
    {13, 8, 1, check_eventfd},               /* SET_VRING_CALL */
    {14, 8, 1, check_eventfd},               /* SET_VRING_ERR */
    {15, 0, 0, NULL},                        /* GET_PROTOCOL_FEATURES */
    {16, 8, 0, NULL},                        /* SET_PROTOCOL_FEATURES */
    {17, 0, 0, NULL},                        /* GET_QUEUE_NUM */
    {18, 8, 0, check_ring},                  /* SET_VRING_ENABLE */
    {19, 8, 0, NULL},                        /* SEND_RARP */
    {20, 8, 0, NULL},                        /* NET_SET_MTU */
    {21, 0, 1, NULL},                        /* SET_BACKEND_REQ_FD */
    {39, 8, 0, NULL},                        /* SET_STATUS */
    {40, 0, 0, NULL},                        /* GET_STATUS */
};

static bool check_message(const struct message *message)
{
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        const struct request *request = &requests[i];

        if (request->number != message->header.request)
            continue;
        if (message->header.size < request->size)
            return refuse("it sent a message that is too short");
        if (message->n_fds > request->n_fds_max)
            return refuse("it sent a wrong number of file descriptors");
        return !request->check || request->check(message);
    }
    return refuse("it sent a request that was not agreed on");
}

/* Waits for the payload, and leaves it to be read by the library. */
static bool peek_payload(int fd, struct message *message)
{
    int64_t deadline = clock_ms() + PAYLOAD_WAIT_MS;
    uint32_t size = message->header.size;

    if (size > PAYLOAD_SIZE_MAX)
        return refuse("it sent a message that is too long");
    while (size && recv(fd, message->payload.bytes, size, MSG_PEEK | MSG_DONTWAIT) != (ssize_t)size) {
        struct pollfd hang_up = {.fd = fd, .events = POLLRDHUP};

        /* Interrupted, it looks again: doorbell.c sends this thread signals. */
        if (poll(&hang_up, 1, 1) > 0 || clock_ms() >= deadline)
            return refuse("it sent half a message");
    }
    return true;
}

static bool reads_answers(int fd)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};

    return poll(&room, 1, 0) == 1 || refuse("it does not read the answers to its messages");
}

/* Takes the descriptors that came with 'header' out of it; they stay where they are. */
static void find_fds(struct msghdr *header, struct message *message)
{
    struct cmsghdr *item = CMSG_FIRSTHDR(header);

    if (!item || item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS)
        return;
    message->fds = (const int *)(const void *)CMSG_DATA(item);
    message->n_fds = (unsigned)((item->cmsg_len - CMSG_LEN(0)) / sizeof(int));
}

/* How the library receives the header of a message; nobody else in this process does it so. */
static bool is_from_library(const struct msghdr *header, int flags)
{
    return !flags && header->msg_iovlen == 1 && header->msg_iov[0].iov_len == HEADER_SIZE &&
           header->msg_controllen == CMSG_SPACE(GUEST_REGIONS_MAX * sizeof(int));
}

ssize_t recvmsg(int fd, struct msghdr *header, int flags)
{
    bool guarded = is_from_library(header, flags);
    ssize_t size = syscall(SYS_recvmsg, fd, header, flags);
    struct message message = {0};

    if (!guarded || size != HEADER_SIZE)
        return size;
    memcpy(&message.header, header->msg_iov[0].iov_base, HEADER_SIZE);
    find_fds(header, &message);
    if (header->msg_flags & MSG_CTRUNC)
        refuse("it sent a wrong number of file descriptors");
    else if (peek_payload(fd, &message) && check_message(&message) && reads_answers(fd))
        return size;
    for (unsigned i = 0; i < message.n_fds; i++)
        close(message.fds[i]);
    header->msg_controllen = 0;
    return 0;
}
