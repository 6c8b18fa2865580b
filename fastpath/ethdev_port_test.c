/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Uplinks on DPDK's net_ring, whose ports give back what they are sent, and net_null.
 * Needs neither hugepages nor privileges.
 */
#include "fastpath/ethdev_port.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <rte_eal.h>

#include "fastpath/worker_internal.h"

/* The workers that this test stands in for. */
static unsigned n_synchronized;

void workers_synchronize(void)
{
    n_synchronized++;
}

int worker_watch(const struct receive_queue *queue, int fd)
{
    return 0;
}

void worker_unwatch(const struct receive_queue *queue, int fd)
{
}

void worker_wake(const struct receive_queue *queue)
{
}

static struct worker worker;
static struct port_counters counters[2][WORKERS_MAX];
static uint8_t bytes[FRAME_SIZE_MAX];
static unsigned n_names;

/* A running port on a device of its own; id 0 or 1 is the test's choice. */
static struct port *add(uint16_t id, const char *driver, uint16_t mtu)
{
    struct port_spec spec = {.kind = PORT_ETHDEV, .n_queues = 2, .mtu = mtu};
    struct error why;
    struct port *port;

    strcpy(spec.name, "up0");
    snprintf(spec.devargs, sizeof spec.devargs, "%s%u", driver, n_names++);
    port = ethdev_port_ops.create(&spec, &why);
    if (!port) {
        print_error("%s\n", why.text);
        return NULL;
    }
    memset(counters[id], 0, sizeof counters[id]);
    port->id = id;
    port->counters = counters[id];
    assert_int_equal(port->ops->start(port, &why), 0);
    return port;
}

static void retire(struct port *port)
{
    port->ops->stop(port);
    port->ops->destroy(port);
}

static uint16_t send_one(struct port *port, struct packet *packet, bool shared)
{
    return port->send[0]->ops->send(port->send[0], &worker, &packet, 1, shared);
}

static uint16_t receive(struct port *port)
{
    return port->receive[0]->ops->receive(port->receive[0], &worker.burst, BURST_MAX);
}

static void release(struct port *port)
{
    port->receive[0]->ops->release(port->receive[0], &worker.burst);
}

/* Whether 'packet' is the first 'size' of 'bytes'. */
static bool is_frame(const struct packet *packet, uint32_t size)
{
    uint32_t done = packet->head_size;

    if (packet->size != size || memcmp(packet->head, bytes, done))
        return false;
    if (packet->tail_size && memcmp(packet->tail, bytes + done, packet->tail_size))
        return false;
    done += packet->tail_size;
    for (unsigned i = 0; i < packet->n_more; done += packet->more[i].size, i++)
        if (memcmp(packet->more[i].data, bytes + done, packet->more[i].size))
            return false;
    return done == size;
}

static void frames_of_all_sizes_pass(void **state)
{
    struct port *port = add(0, "net_ring", 9000);
    uint64_t n_bytes = 0, n = 0;

    assert_non_null(port);
    assert_int_equal(port->n_receive, 2);
    assert_int_equal(port->frame_size_max, 9000 + PORT_FRAME_OVERHEAD);
    for (uint32_t size = 14; size <= 9022; size += size < 300 ? 1 : 61, n++) {
        const struct packet_segment more[] = {
            {bytes + 200, (size - 200) / 2}, {bytes + 200 + (size - 200) / 2, size - 200 - (size - 200) / 2}};
        struct packet packet = {.head = bytes, .head_size = size < 128 ? size : 128, .size = size};

        if (size > 128) {
            packet.tail = bytes + 128;
            packet.tail_size = size > 200 ? 72 : size - 128;
        }
        if (size > 200) {
            packet.more = more;
            packet.n_more = 2;
        }
        assert_int_equal(send_one(port, &packet, false), 1);
        assert_int_equal(receive(port), 1);
        assert_int_equal(worker.burst.n, 1);
        assert_true(is_frame(&worker.burst.packets[0], size));
        assert_int_equal(worker.burst.packets[0].offload.flags, 0);
        release(port);
        n_bytes += size;
    }
    assert_int_equal(counters[0][0].tx_packets, n);
    assert_int_equal(counters[0][0].tx_bytes, n_bytes);
    assert_int_equal(receive(port), 0);
    n_synchronized = 0;
    retire(port);
    assert_true(n_synchronized > 0);
}

static void frame_larger_than_a_buffer_is_chained(void **state)
{
    struct port *port = add(0, "net_ring", 1500);
    struct packet packet = {
        .head = bytes, .head_size = 128, .tail = bytes + 128, .tail_size = 8000, .size = 8128};

    assert_int_equal(send_one(port, &packet, false), 1);
    assert_int_equal(receive(port), 1);
    assert_true(worker.burst.packets[0].n_more > 2);
    assert_true(is_frame(&worker.burst.packets[0], 8128));
    release(port);
    retire(port);
}

static void received_mbuf_is_passed_on_uncopied(void **state)
{
    struct port *from = add(0, "net_ring", 9000), *to = add(1, "net_ring", 9000);
    struct packet packet = {
        .head = bytes + 4, .head_size = 128, .tail = bytes + 132, .tail_size = 872, .size = 1000};
    struct packet *received = &worker.burst.packets[0];
    const struct rte_mbuf *mbuf;

    assert_int_equal(send_one(from, &packet, false), 1);
    assert_int_equal(receive(from), 1);
    mbuf = received->mbuf;

    /* To several outputs: a copy for each but the last. */
    assert_int_equal(send_one(to, received, true), 1);
    assert_ptr_equal(received->mbuf, mbuf);

    /* With four more bytes in front, as a VLAN tag would be. */
    received->head -= 4;
    received->head_size += 4;
    received->size += 4;
    memcpy(received->head, bytes, 4);
    assert_int_equal(send_one(to, received, false), 1);
    assert_null(received->mbuf);
    release(from);

    assert_int_equal(receive(to), 2);
    assert_ptr_not_equal(worker.burst.packets[0].mbuf, mbuf);
    assert_int_equal(worker.burst.packets[0].size, 1000);
    assert_ptr_equal(worker.burst.packets[1].mbuf, mbuf);
    assert_true(is_frame(&worker.burst.packets[1], 1004));
    release(to);
    retire(from);
    retire(to);
}

static void piece_of_a_received_frame_is_copied(void **state)
{
    struct port *port = add(0, "net_ring", 9000);
    struct packet packet = {
        .head = bytes, .head_size = 128, .tail = bytes + 128, .tail_size = 872, .size = 1000};
    struct packet *received = &worker.burst.packets[0];
    struct packet shorter, headed;

    assert_int_equal(send_one(port, &packet, false), 1);
    assert_int_equal(receive(port), 1);
    shorter = headed = *received;
    shorter.size -= 100;
    shorter.tail_size -= 100;
    headed.head = bytes; /* not in the mbuf */
    assert_int_equal(send_one(port, &shorter, false), 1);
    assert_int_equal(send_one(port, &headed, false), 1);
    assert_non_null(received->mbuf);
    release(port);
    assert_int_equal(receive(port), 2);
    assert_true(is_frame(&worker.burst.packets[0], 900));
    assert_true(is_frame(&worker.burst.packets[1], 1000));
    release(port);
    retire(port);
}

static void full_device_drops_are_counted(void **state)
{
    struct port *port = add(0, "net_ring", 1500);
    struct packet packet = {.head = bytes, .head_size = 60, .size = 60};
    uint64_t n = 0;

    for (unsigned i = 0; i < 8000; i++)
        n += send_one(port, &packet, false);
    assert_true(n > 0 && n < 8000);
    assert_int_equal(counters[0][0].tx_packets, n);
    assert_int_equal(counters[0][0].drops[DROP_TX_FULL] + counters[0][0].drops[DROP_NO_MEMORY], 8000 - n);
    retire(port);
}

static void runts_and_giants_are_counted(void **state)
{
    struct port *port = add(0, "net_ring", 9000);
    struct packet packet = {.head = bytes, .head_size = 13, .size = 13};

    assert_int_equal(send_one(port, &packet, false), 1);
    packet = (struct packet){.head = bytes, .head_size = 60, .tail = bytes, .tail_size = 65500, .size = 65560};
    assert_int_equal(send_one(port, &packet, false), 1);
    assert_int_equal(receive(port), 2);
    assert_int_equal(worker.burst.n, 0);
    assert_int_equal(counters[0][0].drops[DROP_RX_TOO_SHORT], 1);
    assert_int_equal(counters[0][0].drops[DROP_RX_TOO_LONG], 1);
    release(port);
    retire(port);
}

static void stashed_packets_are_handed_out(void **state)
{
    struct port *port = add(0, "net_ring", 1500);
    struct packet packet = {.head = bytes, .head_size = 60, .size = 60};

    assert_int_equal(send_one(port, &packet, false), 1);
    assert_false(ethdev_receive_ops.arm(port->receive[0]));
    assert_false(ethdev_receive_ops.arm(port->receive[0]));
    ethdev_receive_ops.disarm(port->receive[0]);
    assert_int_equal(receive(port), 1);
    assert_true(is_frame(&worker.burst.packets[0], 60));
    release(port);
    assert_true(ethdev_receive_ops.arm(port->receive[0]));
    assert_int_equal(send_one(port, &packet, false), 1);
    assert_false(ethdev_receive_ops.arm(port->receive[0])); /* and never handed out: it must not leak */
    retire(port);
}

/* A port is removed while another's device still holds its packets. */
static void pool_outlives_its_port(void **state)
{
    struct port *from = add(0, "net_ring", 1500), *to = add(1, "net_ring", 1500);
    struct packet packet = {.head = bytes, .head_size = 60, .size = 60};
    char name[RTE_MEMPOOL_NAMESIZE];

    strcpy(name, ((struct ethdev_send_queue *)from->send[0])->pool->name);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(send_one(from, &packet, false), 1);
        assert_int_equal(receive(from), 1);
        assert_int_equal(send_one(to, &worker.burst.packets[0], false), 1);
        release(from);
    }
    retire(from);
    assert_non_null(rte_mempool_lookup(name));
    while (receive(to) > 0) {
        assert_true(is_frame(&worker.burst.packets[0], 60));
        release(to);
    }
    retire(to);
    assert_null(rte_mempool_lookup(name));
}

static void mistakes_have_sentences(void **state)
{
    struct port_spec spec = {.name = "up0", .kind = PORT_ETHDEV, .n_queues = 1, .mtu = 1500};
    struct port *port = add(0, "net_null", 1500);
    struct error error;

    assert_non_null(port);
    assert_null(ethdev_port_ops.create(&spec, &error));
    assert_int_equal(error.code, EINVAL);
    memcpy(spec.devargs, port->spec.devargs, sizeof spec.devargs);
    assert_null(ethdev_port_ops.create(&spec, &error));
    assert_int_equal(error.code, EEXIST);
    strcpy(spec.devargs, "net_nonsense0");
    assert_null(ethdev_port_ops.create(&spec, &error));
    assert_non_null(strstr(error.text, "net_nonsense0"));
    retire(port);
}

static void device_can_be_taken_again(void **state)
{
    for (unsigned i = 0; i < 20; i++) {
        struct port_status status = {.up = false};
        struct port *port;

        n_names = 1000;
        port = add(0, "net_null", 9000);
        assert_non_null(port);
        port->ops->get_status(port, &status);
        assert_true(status.up);
        assert_int_equal(status.n_queues, 2);
        retire(port);
    }
}

static int start_eal(void **state)
{
    static char texts[][24] = {"ethdev_port_test",
                               "--no-huge",
                               "--no-pci",
                               "-m",
                               "256",
                               "--no-shconf",
                               "--lcores=0",
                               "--no-telemetry",
                               "--log-level=lib.*:error"};
    char *arguments[sizeof texts / sizeof texts[0] + 1] = {NULL};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        arguments[i] = texts[i];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 13 + (i >> 8));
    worker.burst.worker = &worker;
    return rte_eal_init(sizeof texts / sizeof texts[0], arguments) < 0;
}

static int stop_eal(void **state)
{
    return rte_eal_cleanup();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_of_all_sizes_pass),
        cmocka_unit_test(frame_larger_than_a_buffer_is_chained),
        cmocka_unit_test(received_mbuf_is_passed_on_uncopied),
        cmocka_unit_test(piece_of_a_received_frame_is_copied),
        cmocka_unit_test(full_device_drops_are_counted),
        cmocka_unit_test(runts_and_giants_are_counted),
        cmocka_unit_test(stashed_packets_are_handed_out),
        cmocka_unit_test(pool_outlives_its_port),
        cmocka_unit_test(mistakes_have_sentences),
        cmocka_unit_test(device_can_be_taken_again),
    };

    return cmocka_run_group_tests(tests, start_eal, stop_eal);
}
