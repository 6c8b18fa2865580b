/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/driver_testbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <rte_bus_vdev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_log.h>

#define WAIT_S 60
#define POOL_SIZE TESTBED_POOL_SIZE

char testbed_socket[64];
struct rte_mempool *testbed_pool;
struct fake_fast_path *fake;

static char directory[] = "/tmp/vnode-driver-test-XXXXXX";

/* The log, and links: what tests wait for */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char text[65536];
    size_t size;
} happened = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static ssize_t write_log(void *cookie, const char *text, size_t size)
{
    pthread_mutex_lock(&happened.lock);
    if (size < sizeof happened.text - happened.size) {
        memcpy(happened.text + happened.size, text, size);
        happened.size += size;
        happened.text[happened.size] = '\0';
    }
    pthread_cond_broadcast(&happened.changed);
    pthread_mutex_unlock(&happened.lock);
    return (ssize_t)size;
}

static int link_changed(uint16_t ethdev_id, enum rte_eth_event_type event, void *argument, void *result)
{
    pthread_mutex_lock(&happened.lock);
    pthread_cond_broadcast(&happened.changed);
    pthread_mutex_unlock(&happened.lock);
    return 0;
}

/* One wait, under the lock. */
static void await_something(const char *what)
{
    struct timespec deadline;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += WAIT_S;
    if (pthread_cond_clockwait(&happened.changed, &happened.lock, CLOCK_MONOTONIC, &deadline)) {
        fprintf(stderr, "%s", happened.text);
        pthread_mutex_unlock(&happened.lock);
        fail_msg("waited in vain for %s", what);
    }
}

const char *logged(void)
{
    return happened.text;
}

void await_log(const char *words)
{
    pthread_mutex_lock(&happened.lock);
    while (!strstr(happened.text, words))
        await_something(words);
    pthread_mutex_unlock(&happened.lock);
}

bool link_is_up(uint16_t ethdev_id)
{
    struct rte_eth_link link;

    assert_int_equal(rte_eth_link_get_nowait(ethdev_id, &link), 0);
    return link.link_status == RTE_ETH_LINK_UP;
}

void await_link(uint16_t ethdev_id, bool up)
{
    pthread_mutex_lock(&happened.lock);
    while (link_is_up(ethdev_id) != up)
        await_something(up ? "a link" : "no link");
    pthread_mutex_unlock(&happened.lock);
}

/* Devices */

uint16_t plug_with(const char *name, const char *arguments)
{
    char all[256];
    uint16_t ethdev_id;

    snprintf(all, sizeof all, "fastpath=%s,%s", testbed_socket, arguments);
    assert_int_equal(rte_vdev_init(name, all), 0);
    assert_int_equal(rte_eth_dev_get_port_by_name(name, &ethdev_id), 0);
    return ethdev_id;
}

void start_device(uint16_t ethdev_id, uint16_t n_receive, uint16_t n_send)
{
    const struct rte_eth_conf configuration = {.intr_conf.lsc = 1};

    assert_int_equal(rte_eth_dev_configure(ethdev_id, n_receive, n_send, &configuration), 0);
    for (uint16_t i = 0; i < n_receive; i++)
        assert_int_equal(rte_eth_rx_queue_setup(ethdev_id, i, 2048, SOCKET_ID_ANY, NULL, testbed_pool), 0);
    for (uint16_t i = 0; i < n_send; i++)
        assert_int_equal(rte_eth_tx_queue_setup(ethdev_id, i, 2048, SOCKET_ID_ANY, NULL), 0);
    assert_int_equal(rte_eth_dev_start(ethdev_id), 0);
}

/* A running device for the guest port "vm1". */
uint16_t plug(void)
{
    uint16_t ethdev_id = plug_with("net_vnode_vm1", "vhost=/nowhere/vm1.sock");

    start_device(ethdev_id, 1, 2);
    return ethdev_id;
}

unsigned elapsed_ms(const struct timespec *since)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (unsigned)((now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / 1000000);
}

void unplug(uint16_t ethdev_id)
{
    struct rte_eth_dev_info information;

    assert_int_equal(rte_eth_dev_info_get(ethdev_id, &information), 0);
    assert_int_equal(rte_eth_dev_stop(ethdev_id), 0);
    assert_int_equal(rte_eth_dev_close(ethdev_id), 0);
    assert_int_equal(rte_dev_remove(information.device), 0);
    assert_int_equal(rte_mempool_avail_count(testbed_pool), POOL_SIZE);
}

void start_fake(uint64_t started)
{
    fake = fake_start(testbed_socket, &(struct fake_options){.started = started});
}

struct fake_port *port_with_link(uint16_t ethdev_id, const char *name)
{
    struct fake_port *port = fake_await_port(fake, name);

    fake_set_link(fake, name, true);
    await_link(ethdev_id, true);
    return port;
}

uint64_t extended_counter(uint16_t ethdev_id, const char *name)
{
    uint64_t id, value;

    assert_int_equal(rte_eth_xstats_get_id_by_name(ethdev_id, name, &id), 0);
    assert_int_equal(rte_eth_xstats_get_by_id(ethdev_id, &id, &value, 1), 1);
    return value;
}

/* Frames: every byte tells its place and the frame's number. */

static uint8_t byte_of(unsigned number, uint32_t place)
{
    return (uint8_t)(number * 31 + place * 7 + (place >> 8));
}

bool offer_frame(struct packet_ring_producer *ring, unsigned number, uint32_t size, uint8_t offload_flags)
{
    struct packet_ring_frame frame = {.size = size, .offload.flags = offload_flags};
    uint8_t *data = packet_ring_reserve(ring, size);

    if (!data)
        return false;
    for (uint32_t i = 0; i < size; i++)
        data[i] = byte_of(number, i);
    packet_ring_commit(ring, &frame);
    packet_ring_publish(ring);
    return true;
}

void check_packet(const struct rte_mbuf *packet, unsigned number, uint32_t size)
{
    const uint8_t *data = rte_pktmbuf_mtod(packet, const uint8_t *);

    assert_int_equal(packet->pkt_len, size);
    assert_int_equal(packet->data_len, size);
    assert_int_equal(packet->nb_segs, 1);
    for (uint32_t i = 0; i < size; i++)
        if (data[i] != byte_of(number, i))
            fail_msg("byte %u of packet %u is wrong", i, number);
}

/* A packet in pieces of up to 'piece' bytes. */
struct rte_mbuf *make_packet(unsigned number, uint32_t size, uint32_t piece)
{
    struct rte_mbuf *packet = NULL;

    for (uint32_t done = 0; done < size; done += piece) {
        struct rte_mbuf *segment = rte_pktmbuf_alloc(testbed_pool);
        uint32_t n = size - done < piece ? size - done : piece;
        uint8_t *data = (uint8_t *)rte_pktmbuf_append(segment, (uint16_t)n);

        for (uint32_t i = 0; i < n; i++)
            data[i] = byte_of(number, done + i);
        if (packet)
            assert_int_equal(rte_pktmbuf_chain(packet, segment), 0);
        else
            packet = segment;
    }
    return packet;
}

void check_frame(const struct packet_ring_frame *frame, unsigned number, uint32_t size)
{
    assert_int_equal(frame->size, size);
    for (uint32_t i = 0; i < size; i++)
        if (frame->data[i] != byte_of(number, i))
            fail_msg("byte %u of frame %u is wrong", i, number);
}

/* Frame */

int before_each(void **state)
{
    pthread_mutex_lock(&happened.lock);
    happened.size = 0;
    happened.text[0] = '\0';
    pthread_mutex_unlock(&happened.lock);
    fake = NULL;
    return 0;
}

int after_each(void **state)
{
    if (fake)
        fake_stop(fake);
    fake = NULL;
    return 0;
}

int start_eal(void **state)
{
    static const cookie_io_functions_t log_functions = {.write = write_log};
    static char texts[][32] = {"test",
                               "--no-huge",
                               "--no-pci",
                               "-m",
                               "256",
                               "--no-shconf",
                               "--lcores=0",
                               "--no-telemetry",
                               "--log-level=lib.*:error"};
    char *arguments[sizeof texts / sizeof texts[0] + 1] = {NULL};
    FILE *log = fopencookie(NULL, "w", log_functions);

    if (!mkdtemp(directory) || !log)
        return -1;
    snprintf(testbed_socket, sizeof testbed_socket, "%s/fastpath.sock", directory);
    setvbuf(log, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        arguments[i] = texts[i];
    if (rte_eal_init(sizeof texts / sizeof texts[0], arguments) < 0)
        return -1;
    rte_openlog_stream(log);
    testbed_pool = rte_pktmbuf_pool_create("test", POOL_SIZE, 0, 0, RTE_PKTMBUF_HEADROOM + 2048, SOCKET_ID_ANY);
    if (!testbed_pool)
        return -1;
    return rte_eth_dev_callback_register(RTE_ETH_ALL, RTE_ETH_EVENT_INTR_LSC, link_changed, NULL);
}

int stop_eal(void **state)
{
    rmdir(directory);
    rte_mempool_free(testbed_pool);
    rte_openlog_stream(NULL);
    return rte_eal_cleanup();
}
