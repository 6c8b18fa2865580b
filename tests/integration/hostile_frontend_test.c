/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Front ends that attack a running fast path with the messages of vhost-user, and with the
 * file descriptors that come with them, while honest guests go on. Cases from
 * the history of DPDK's vhost library bear its numbers.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/integration/attack.h"

#define FDS_MAX 64

/* An attacker whose rings are in use, unless 'start' is unset: then it is only connected. */
static void begin(bool start)
{
    struct guest_config config;

    arena_config(&arena, &config);
    config.start = start;
    attack_begin(&config);
}

/* Sends a message as it is, with 'n_fds' descriptors that are all 'fd'. */
static void send_message(uint32_t request, const void *payload, uint32_t size, int fd, unsigned n_fds)
{
    struct vhost_user_message message = {.request = request, .flags = VHOST_USER_VERSION, .size = size};
    struct error error = {0};
    int fds[FDS_MAX];

    assert_true(size <= sizeof message.payload && n_fds <= FDS_MAX);
    if (size)
        memcpy(&message.payload, payload, size);
    for (unsigned i = 0; i < n_fds; i++)
        fds[i] = fd;
    if (frontend_send(&attacker.frontend, &message, VHOST_USER_HEADER_SIZE + size, fds, n_fds, &error))
        fail_msg("%s", error.text);
}

/* One message to a fresh connection, which is cut off for 'reason'. */
static void attack_with(uint32_t request, const void *payload, uint32_t size, int fd, unsigned n_fds,
                        const char *reason)
{
    begin(true);
    send_message(request, payload, size, fd, n_fds);
    attack_leave(reason);
}

static void attack_with_u64(uint32_t request, uint64_t value, int fd, unsigned n_fds, const char *reason)
{
    attack_with(request, &value, sizeof value, fd, n_fds, reason);
}

/* CVE-2019-14818: descriptors that nobody asked for, too many of them, the same one twice. */
static void descriptors_in_excess(void **state)
{
    static const char reason[] = "cut off: it sent a wrong number of file descriptors";
    static const uint32_t without[] = {VHOST_USER_GET_FEATURES,   VHOST_USER_SET_FEATURES,
                                       VHOST_USER_SET_OWNER,      VHOST_USER_SET_VRING_NUM,
                                       VHOST_USER_SET_VRING_ADDR, VHOST_USER_GET_VRING_BASE,
                                       VHOST_USER_GET_QUEUE_NUM,  VHOST_USER_SET_VRING_ENABLE,
                                       VHOST_USER_NET_SET_MTU,    VHOST_USER_GET_STATUS};
    static const uint32_t with_one[] = {VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_VRING_CALL,
                                        VHOST_USER_SET_VRING_ERR, VHOST_USER_SET_BACKEND_REQ_FD};
    const uint8_t nothing[40] = {0};
    struct vhost_user_memory table;
    int fd = eventfd(0, EFD_CLOEXEC);

    for (unsigned i = 0; i < sizeof without / sizeof *without; i++)
        attack_with(without[i], nothing, sizeof nothing, fd, i % 8 + 1, reason);
    for (unsigned i = 0; i < sizeof with_one / sizeof *with_one; i++) {
        attack_with(with_one[i], nothing, 8, fd, 2, reason);
        attack_with(with_one[i], nothing, 8, fd, 8, reason);
        attack_with(with_one[i], nothing, 8, fd, FDS_MAX, reason);
    }
    attack_with_u64(VHOST_USER_SET_VRING_KICK, VHOST_USER_NO_FD, fd, 1, reason);
    attack_with_u64(VHOST_USER_SET_VRING_KICK, 0, fd, 0, reason);
    for (unsigned n = 0; n <= 8; n += 4) {
        begin(true);
        guest_memory_table(&attacker.memory, &table);
        send_message(VHOST_USER_SET_MEM_TABLE, &table, sizeof table, attacker.memory.fd, n);
        attack_leave(reason);
    }
    close(fd);
    arena_check(&arena);
}

/*
 * What was not agreed on: migration logs (CVE-2020-10722), inflight memory (CVE-2020-10724, 2021-3839,
 * 2022-0669), crypto sessions (CVE-2020-10725, 2020-14374 to 14378), page faults handled by the
 * front end, a device's own addresses, and numbers that mean nothing.
 */
static void requests_not_agreed_on(void **state)
{
    static const uint32_t requests[] = {0,  6,  7,  22, 23, 24, 25, 26, 27, 28,   29,
                                        30, 31, 32, 33, 34, 36, 37, 38, 41, 1000, UINT32_MAX};
    const struct vhost_user_log log = {UINT64_MAX, 4096};
    struct vhost_user_inflight inflight = {4096, 0, 0, 1};
    const uint8_t ones[256] = {[0 ... 255] = 0xff};
    int fd = memfd_create("log", MFD_CLOEXEC);

    assert_int_equal(ftruncate(fd, 4096), 0);
    for (unsigned i = 0; i < sizeof requests / sizeof *requests; i++)
        attack_with(requests[i], ones, sizeof ones, fd, i % 9,
                    "cut off: it sent a request that was not agreed on");
    attack_with(VHOST_USER_SET_LOG_BASE, &log, sizeof log, fd, 1, "that was not agreed on");
    for (unsigned n_queues = 0; n_queues < 0x20000; n_queues += 0xffff) {
        inflight.n_queues = (uint16_t)n_queues;
        inflight.queue_size = (uint16_t)(n_queues | 1);
        attack_with(VHOST_USER_SET_INFLIGHT_FD, &inflight, sizeof inflight, fd, 1, "that was not agreed on");
        attack_with(VHOST_USER_GET_INFLIGHT_FD, &inflight, sizeof inflight, -1, 0, "that was not agreed on");
    }
    close(fd);
    arena_check(&arena);
}

/* CVE-2020-10726's kind: rings that do not exist, by any request that names one. */
static void rings_that_do_not_exist(void **state)
{
    static const uint32_t requests[] = {VHOST_USER_SET_VRING_NUM, VHOST_USER_SET_VRING_BASE,
                                        VHOST_USER_GET_VRING_BASE, VHOST_USER_SET_VRING_ENABLE,
                                        VHOST_USER_SET_VRING_ADDR};
    static const uint32_t indices[] = {32, 255, 256, 0x10000, UINT32_MAX};
    int fd = eventfd(0, EFD_CLOEXEC);

    for (unsigned i = 0; i < sizeof indices / sizeof *indices; i++) {
        struct vhost_user_vring_address address = {.index = indices[i]};

        for (unsigned j = 0; j < sizeof requests / sizeof *requests; j++)
            attack_with(requests[j], &address, sizeof address, -1, 0,
                        "cut off: it named a ring that does not exist");
    }
    attack_with_u64(VHOST_USER_SET_VRING_KICK, 255, fd, 1, "cut off: it named a ring that does not exist");
    attack_with_u64(VHOST_USER_SET_VRING_CALL, UINT64_MAX & ~(uint64_t)VHOST_USER_NO_FD, fd, 1,
                    "ring that does not exist");
    close(fd);
    /* These exist for the library, but not at this port, which has two pairs. */
    begin(true);
    for (uint32_t ring = 4; ring < 32; ring++) {
        struct error error = {0};

        assert_int_equal(
            frontend_set_vring(&attacker.frontend, VHOST_USER_SET_VRING_NUM, ring, 32768, &error), EPROTO);
    }
    arena_echo(&attacker, 16);
    attack_end(NULL);
}

/* Descriptors to notify by that are something else: to write to them would block, or raise SIGPIPE. */
static void notifiers_that_are_not_eventfds(void **state)
{
    static const char reason[] = "cut off: it sent a file descriptor that is not an eventfd";
    int full[2], broken[2], sockets[2], fds[6];
    char block[4096] = {0};

    assert_int_equal(pipe2(full, O_NONBLOCK | O_CLOEXEC), 0);
    while (write(full[1], block, sizeof block) > 0)
        ;
    assert_int_equal(pipe2(broken, O_CLOEXEC), 0);
    close(broken[0]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    close(sockets[0]);
    fds[0] = full[1];
    fds[1] = broken[1];
    fds[2] = sockets[1];
    fds[3] = open("/dev/null", O_RDWR | O_CLOEXEC);
    fds[4] = memfd_create("file", MFD_CLOEXEC);
    fds[5] = open("/", O_PATH | O_CLOEXEC);
    for (unsigned i = 0; i < 6; i++) {
        attack_with_u64(VHOST_USER_SET_VRING_CALL, 0, fds[i], 1, reason);
        attack_with_u64(VHOST_USER_SET_VRING_KICK, 1, fds[i], 1, reason);
        close(fds[i]);
    }
    close(full[0]);
    arena_check(&arena);
}

/* Memory that is not there, wraps around, ends too early, or lies where a page fault may take for ever. */
static void memory_tables_that_lie(void **state)
{
    static const struct {
        struct vhost_user_region region;
        const char *reason;
    } cases[] = {
        {{0, 0, 0, 0}, "cut off: it offered a memory region that is empty"},
        {{0, 4096, 0, UINT64_MAX - 4095}, "cut off: it offered a memory region that is empty"},
        {{0, UINT64_MAX, 0, 0}, "cut off: it offered a memory region that is empty"},
        {{UINT64_MAX - 100, 4096, 0, 0}, "cut off: it offered a memory region that is empty"},
        {{0, 4096, UINT64_MAX - 100, 0}, "cut off: it offered a memory region that is empty"},
        {{0, UINT64_C(1) << 40, 0, 0}, "cut off: it offered a memory region that is empty"},
        {{0, 4096, 0, UINT64_C(1) << 40}, "cut off: it offered a memory region that is empty"},
    };
    struct vhost_user_memory table = {.n_regions = 1, .regions[0].size = 4096};
    char path[] = "/tmp/vnode-test-memory.XXXXXX";
    int fds[2], disk = mkstemp(path);

    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(true);
        table.regions[0] = cases[i].region;
        send_message(VHOST_USER_SET_MEM_TABLE, &table, 8 + sizeof table.regions[0], attacker.memory.fd, 1);
        attack_leave(cases[i].reason);
    }
    table.regions[0] = (struct vhost_user_region){.size = 4096};
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    attack_with(VHOST_USER_SET_MEM_TABLE, &table, 40, fds[0], 1,
                "cut off: it offered memory that is not a file");
    close(fds[0]);
    close(fds[1]);
    fds[0] = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fds[0], 4096), 0);
    assert_int_equal(fcntl(fds[0], F_ADD_SEALS, F_SEAL_WRITE), 0);
    attack_with(VHOST_USER_SET_MEM_TABLE, &table, 40, fds[0], 1,
                "cut off: it offered memory that cannot be mapped");
    close(fds[0]);
    table.n_regions = 9;
    attack_with(VHOST_USER_SET_MEM_TABLE, &table, sizeof table, disk, 8,
                "cut off: its memory table has an impossible size");
    table.n_regions = UINT32_MAX;
    attack_with(VHOST_USER_SET_MEM_TABLE, &table, sizeof table, disk, 8,
                "cut off: its memory table has an impossible size");
    unlink(path);
    close(disk);
    arena_check(&arena);
}

static void send_bytes(const void *bytes, size_t size)
{
    struct error error = {0};

    assert_int_equal(frontend_send(&attacker.frontend, bytes, size, NULL, 0, &error), 0);
}

static void attack_with_bytes(const void *bytes, size_t size, const char *reason)
{
    begin(true);
    send_bytes(bytes, size);
    attack_end(reason);
}

/* Half messages, and sizes that lie: the library's only thread must not wait for the rest. */
static void half_messages(void **state)
{
    const uint32_t header[3] = {VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, 8};
    const uint32_t long_header[3] = {VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, 4096};
    const uint32_t huge_header[3] = {VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, UINT32_MAX};
    const uint32_t short_header[3] = {VHOST_USER_SET_VRING_ADDR, VHOST_USER_VERSION, 8};

    for (size_t size = 1; size < 12; size += 5)
        attack_with_bytes(header, size, "no guest is connected");
    attack_with_bytes(header, sizeof header, "cut off: it sent half a message");
    attack_with_bytes(long_header, sizeof long_header, "cut off: it sent a message that is too long");
    attack_with_bytes(huge_header, sizeof huge_header, "cut off: it sent a message that is too long");
    begin(true);
    send_bytes(short_header, sizeof short_header);
    send_bytes(header, 8);
    attack_end("cut off: it sent a message that is too short");
}

/* A front end that asks and asks and does not listen. */
static void answers_not_read(void **state)
{
    const uint32_t question[3] = {VHOST_USER_GET_FEATURES, VHOST_USER_VERSION, 0};

    begin(true);
    while (send(attacker.frontend.fd, question, sizeof question, MSG_NOSIGNAL) == sizeof question)
        ;
    attack_end("cut off: it does not read the answers");
}

/* A ring that becomes larger, or starts elsewhere, or moves, while it is in use. */
static void rings_changed_under_way(void **state)
{
    static const char reason[] = "the ring's size, address or alignment is not what";
    struct vhost_user_vring_address address;
    struct error error = {0};

    for (unsigned i = 0; i < 5; i++) {
        begin(true);
        arena_echo(&attacker, 16);
        address = attack_ring_address(1);
        if (i == 0)
            address.descriptor += 8;
        else if (i == 1)
            address.available += 1;
        else if (i == 2)
            address.used = (uintptr_t)attacker.memory.base + attacker.memory.size - 8;
        else if (i == 3)
            address.descriptor = UINT64_MAX - 15;
        else
            address.descriptor =
                (uintptr_t)attacker.memory.base + attacker.memory.size - 64 * sizeof(struct vring_desc);
        frontend_request(&attacker.frontend, VHOST_USER_SET_VRING_ADDR, &address, sizeof address, NULL, 0,
                         &error);
        if (i == 4) /* at the end of memory, and then longer than that */
            frontend_set_vring(&attacker.frontend, VHOST_USER_SET_VRING_NUM, 1, 32768, &error);
        attack_end(i == 2 || i == 3 ? NULL : reason);
    }
}

/* Memory taken away under traffic: a new table without the region that the rings and buffers are in. */
static void memory_removed_under_way(void **state)
{
    struct vhost_user_memory table;
    struct error error = {0};

    for (unsigned i = 0; i < 4; i++) {
        begin(true);
        arena_echo(&attacker, 64);
        guest_memory_table(&attacker.memory, &table);
        table.n_regions = 1;
        table.regions[0] = table.regions[i % 2];
        if (i >= 2)
            table.regions[0].user_address += 4096;
        frontend_request(&attacker.frontend, VHOST_USER_SET_MEM_TABLE, &table, 40, &attacker.memory.fd, 1,
                         &error);
        virtqueue_kick(guest_send_queue(&attacker, 0));
        attack_end(NULL);
    }
    /* ... and with regions that follow one another differently: what was mapped before is not used any more. */
    begin(true);
    arena_echo(&attacker, 64);
    for (unsigned i = 0; i < 50; i++) {
        int fds[2] = {attacker.memory.fd, attacker.memory.fd};

        guest_memory_table(&attacker.memory, &table);
        table.regions[1].guest_address += i % 2 ? 4096 : 0;
        assert_int_equal(frontend_request(&attacker.frontend, VHOST_USER_SET_MEM_TABLE, &table, sizeof table,
                                          fds, 2, &error),
                         0);
    }
    attack_end(NULL);
}

/* Hundreds of connections that end at any stage. */
static void reconnect_storm(void **state)
{
    struct guest_config config;
    struct error error = {0};

    arena_config(&arena, &config);
    for (unsigned i = 0; i < 300; i++) {
        config.start = i % 3 == 0;
        assert_int_equal(guest_create(&attacker, &config, &error), 0);
        if (i % 3 == 2)
            frontend_connect(&attacker.frontend, TEST_GUEST_WAIT_MS, &error);
        else
            guest_connect(&attacker, TEST_GUEST_WAIT_MS,
                          &error); /* may be turned away while the one before leaves */
        guest_destroy(&attacker);
    }
    begin(true);
    arena_echo(&attacker, 16);
    attack_end(NULL);
}

/* Whoever comes second to a port is turned away, and the first one does not notice. */
static void second_front_end(void **state)
{
    struct guest_config config;
    struct error error = {0};
    static struct guest second;

    begin(true);
    arena_config(&arena, &config);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(guest_create(&second, &config, &error), 0);
        assert_int_not_equal(guest_connect(&second, TEST_GUEST_WAIT_MS, &error), 0);
        guest_destroy(&second);
        arena_echo(&attacker, 16);
    }
    attack_end(NULL);
}

/* Requests that are allowed, in an order and with values that make no sense. */
static void allowed_requests_at_random(void **state)
{
    static const uint32_t requests[] = {1, 2, 3, 4, 8, 9, 10, 11, 15, 16, 17, 18, 19, 20, 39, 40};
    unsigned seed = 7;

    for (unsigned round = 0; round < 60; round++) {
        begin(round % 2);
        fcntl(attacker.frontend.fd, F_SETFL, O_NONBLOCK);
        for (unsigned i = 0; i < 100; i++) {
            struct vhost_user_message message = {.request = requests[(unsigned)rand_r(&seed) % 16],
                                                 .flags = VHOST_USER_VERSION | VHOST_USER_NEED_REPLY};
            char drain[4096];

            message.size = 40;
            message.payload.address.index = (uint32_t)rand_r(&seed) % 5;
            message.payload.address.flags = (uint32_t)rand_r(&seed) >> (rand_r(&seed) % 31);
            message.payload.address.descriptor =
                (uintptr_t)attacker.memory.base + (uint32_t)rand_r(&seed) % 65536;
            message.payload.address.available =
                (uintptr_t)attacker.memory.base + (uint32_t)rand_r(&seed) % 65536;
            message.payload.address.used = (uintptr_t)attacker.memory.base + (uint32_t)rand_r(&seed) % 65536;
            if (send(attacker.frontend.fd, &message, VHOST_USER_HEADER_SIZE + 40, MSG_NOSIGNAL) < 0)
                break;
            while (recv(attacker.frontend.fd, drain, sizeof drain, 0) > 0)
                ;
        }
        guest_destroy(&attacker);
    }
    arena_check(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_opens),
        ATTACK_TEST(descriptors_in_excess),
        ATTACK_TEST(requests_not_agreed_on),
        ATTACK_TEST(rings_that_do_not_exist),
        ATTACK_TEST(notifiers_that_are_not_eventfds),
        ATTACK_TEST(memory_tables_that_lie),
        ATTACK_TEST(half_messages),
        ATTACK_TEST(answers_not_read),
        ATTACK_TEST(rings_changed_under_way),
        ATTACK_TEST(memory_removed_under_way),
        ATTACK_TEST(reconnect_storm),
        ATTACK_TEST(second_front_end),
        ATTACK_TEST(allowed_requests_at_random),
        cmocka_unit_test(arena_closes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
