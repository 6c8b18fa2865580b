/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/guest/fake_backend.h"
#include "bench/guest/guest.h"

#define BIT(n) (UINT64_C(1) << (n))
#define WAIT_MS 5000

static char directory[] = "/tmp/guest_test.XXXXXX";
static char path[64];

struct setup {
    struct guest guest;
    struct fake_backend backend;
    struct guest_config config;
    struct fake_backend_config backend_config;
};

static void setup_default(struct setup *setup, uint64_t features)
{
    guest_config_default(&setup->config, path);
    setup->config.want_huge = false;
    setup->config.features = features | BIT(VIRTIO_F_VERSION_1);
    memset(&setup->backend_config, 0, sizeof setup->backend_config);
    strcpy(setup->backend_config.path, path);
    setup->backend_config.features = features | BIT(VIRTIO_F_VERSION_1) | BIT(VHOST_USER_F_PROTOCOL_FEATURES);
    setup->backend_config.protocol_features =
        BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK);
    setup->backend_config.n_queue_pairs = 4;
}

static void setup_connect(struct setup *setup)
{
    struct error error = {0};

    if (guest_create(&setup->guest, &setup->config, &error))
        fail_msg("%s", error.text);
    assert_int_equal(fake_backend_start(&setup->backend, &setup->backend_config), 0);
    if (guest_connect(&setup->guest, WAIT_MS, &error))
        fail_msg("%s", error.text);
}

static void setup_end(struct setup *setup)
{
    fake_backend_stop(&setup->backend);
    guest_destroy(&setup->guest);
    assert_int_not_equal(access(path, F_OK), 0);
}

/*
 * Waits for a frame on a receive queue and collects it from all its buffers. Returns its size without header.
 */
static uint32_t receive_frame(struct virtqueue *queue, uint8_t *frame)
{
    const struct virtio_net_hdr_mrg_rxbuf *header = NULL;
    uint32_t size = 0;
    unsigned left = 1;

    while (left) {
        struct virtqueue_buffer buffer;

        assert_true(virtqueue_has_used(queue) || virtqueue_wait(queue, WAIT_MS));
        assert_int_equal(virtqueue_take(queue, &buffer, 1), 1);
        assert_false(queue->is_broken);
        assert_true(buffer.size <= queue->capacity);
        if (!header) {
            header = (const void *)buffer.start;
            left = header->num_buffers;
            assert_int_not_equal(left, 0);
            buffer.start += queue->header_size;
            buffer.size -= queue->header_size;
        }
        memcpy(frame + size, buffer.start, buffer.size);
        size += buffer.size;
        left--;
        virtqueue_post(queue, &buffer, 1);
    }
    return size;
}

static uint8_t pattern(unsigned frame, unsigned byte)
{
    return (uint8_t)(frame * 31 + byte * 7 + (byte >> 8));
}

static void send_frame(struct virtqueue *queue, unsigned number, uint32_t size)
{
    struct virtqueue_buffer buffer;

    while (!virtqueue_take(queue, &buffer, 1))
        assert_true(virtqueue_wait(queue, WAIT_MS));
    memset(buffer.start, 0, queue->header_size);
    for (uint32_t i = 0; i < size; i++)
        buffer.start[queue->header_size + i] = pattern(number, i);
    buffer.size = queue->header_size + size;
    virtqueue_post(queue, &buffer, 1);
}

static void assert_frame(const uint8_t *frame, unsigned number, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        if (frame[i] != pattern(number, i))
            fail_msg("frame %u of %u bytes differs at byte %u", number, size, i);
    }
}

/* Sends 'n_frames' of many sizes in bursts, and checks that each comes back, whole and in order. */
static void exchange(struct setup *setup, uint16_t pair, unsigned n_frames)
{
    struct virtqueue *send = guest_send_queue(&setup->guest, pair);
    struct virtqueue *receive = guest_receive_queue(&setup->guest, pair);
    uint32_t size_max = send->capacity - send->header_size;
    uint8_t *frame = malloc(size_max);
    unsigned n_received = 0;

    for (unsigned i = 0; i < n_frames; i++) {
        send_frame(send, i, 60 + i * 37 % (size_max - 59));
        if (i % 8 == 7 || i + 1 == n_frames) {
            for (; n_received <= i; n_received++) {
                uint32_t size = 60 + n_received * 37 % (size_max - 59);

                assert_int_equal(receive_frame(receive, frame), size);
                assert_frame(frame, n_received, size);
            }
        }
    }
    free(frame);
}

static void run_exchange(struct setup *setup, unsigned n_frames)
{
    setup_connect(setup);
    exchange(setup, 0, n_frames);
    setup_end(setup);
}

/* Each ring format, with each combination of its options, and with each layout of buffers. */
static void test_exchange_in_all_formats(void **state)
{
    static const uint64_t options[] = {BIT(VIRTIO_F_RING_PACKED), BIT(VIRTIO_RING_F_EVENT_IDX),
                                       BIT(VIRTIO_F_IN_ORDER), BIT(VIRTIO_NET_F_MRG_RXBUF)};

    for (unsigned combination = 0; combination < 16; combination++) {
        for (unsigned layout = 0; layout < 4; layout++) {
            struct setup setup;
            uint64_t features = BIT(VIRTIO_RING_F_INDIRECT_DESC);

            for (unsigned i = 0; i < 4; i++)
                features |= combination >> i & 1 ? options[i] : 0;
            setup_default(&setup, features);
            setup.config.receive.size = setup.config.send.size = 64;
            setup.config.send.pieces = layout == 1 || layout == 3 ? 4 : 1;
            setup.config.send.indirect = layout >= 2;
            setup.config.receive.pieces = setup.config.send.pieces;
            setup.config.receive.indirect = layout == 3;
            if (features & BIT(VIRTIO_NET_F_MRG_RXBUF))
                setup.config.receive.buffer_size = 200;
            setup.backend_config.used_in_batches = layout % 2;
            run_exchange(&setup, 500);
        }
    }
}

static void test_packed_ring_of_odd_size(void **state)
{
    struct setup setup;

    setup_default(&setup, BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_EVENT_IDX));
    setup.config.receive.size = 37;
    setup.config.send.size = 41;
    setup.config.send.pieces = 3;
    run_exchange(&setup, 1000);
}

static void test_large_frames_over_many_regions(void **state)
{
    struct setup setup;

    setup_default(&setup, BIT(VIRTIO_NET_F_MRG_RXBUF));
    setup.config.n_regions = 5;
    setup.config.send.buffer_size = 65550;
    setup.config.send.pieces = 18;
    setup.config.receive.buffer_size = 4096;
    run_exchange(&setup, 100);
}

static void test_multiple_queue_pairs(void **state)
{
    struct setup setup;

    setup_default(&setup, BIT(VIRTIO_NET_F_MQ));
    setup.config.n_queue_pairs = 6;
    setup_connect(&setup);
    assert_int_equal(setup.guest.n_queue_pairs, 4);
    for (uint16_t pair = 0; pair < 4; pair++)
        exchange(&setup, pair, 100);
    setup_end(&setup);
}

static void test_legacy_guest_without_protocol_features(void **state)
{
    struct setup setup;

    setup_default(&setup, 0);
    setup.config.protocol_features = 0;
    setup.config.n_regions = 2;
    setup_connect(&setup);
    assert_int_equal(setup.guest.frontend.features, BIT(VIRTIO_F_VERSION_1));
    setup_end(&setup);
}

static void test_required_feature_is_missing(void **state)
{
    struct setup setup;
    struct error error;

    setup_default(&setup, 0);
    setup.config.features_required = BIT(VIRTIO_F_RING_PACKED);
    assert_int_equal(guest_create(&setup.guest, &setup.config, &error), 0);
    assert_int_equal(fake_backend_start(&setup.backend, &setup.backend_config), 0);
    assert_int_equal(guest_connect(&setup.guest, WAIT_MS, &error), EPROTO);
    assert_false(guest_is_connected(&setup.guest));
    setup_end(&setup);
}

static void test_stop_and_start(void **state)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        struct setup setup;
        struct error error;

        setup_default(&setup, packed ? BIT(VIRTIO_F_RING_PACKED) : 0);
        setup_connect(&setup);
        for (unsigned i = 0; i < 5; i++) {
            exchange(&setup, 0, 77);
            assert_int_equal(guest_stop(&setup.guest, &error), 0);
            assert_int_equal(guest_start(&setup.guest, &error), 0);
        }
        setup_end(&setup);
    }
}

/*
 * A back end that dies with frames under way: its successor continues with the same rings, and returns all
 * frames.
 */
static void test_reconnect_keeps_rings(void **state)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        struct setup setup;
        struct error error = {0};
        uint8_t frame[1518];

        setup_default(&setup, packed ? BIT(VIRTIO_F_RING_PACKED) : 0);
        setup_connect(&setup);
        exchange(&setup, 0, 300);
        fake_backend_stop(&setup.backend);
        assert_false(guest_is_connected(&setup.guest));
        for (unsigned i = 0; i < 10; i++)
            send_frame(guest_send_queue(&setup.guest, 0), i, 100 + i);
        assert_int_equal(fake_backend_start(&setup.backend, &setup.backend_config), 0);
        if (guest_connect(&setup.guest, WAIT_MS, &error))
            fail_msg("%s", error.text);
        for (unsigned i = 0; i < 10; i++) {
            assert_int_equal(receive_frame(guest_receive_queue(&setup.guest, 0), frame), 100 + i);
            assert_frame(frame, i, 100 + i);
        }
        exchange(&setup, 0, 300);
        setup_end(&setup);
    }
}

static void test_broken_device_is_noticed(void **state)
{
    struct setup setup;
    struct virtqueue *queue;
    struct virtqueue_buffer buffer;

    setup_default(&setup, 0);
    setup_connect(&setup);
    fake_backend_stop(&setup.backend);
    queue = guest_receive_queue(&setup.guest, 0);
    queue->split.used->ring[0].id = 256;
    queue->split.used->idx = 1;
    assert_int_equal(virtqueue_take(queue, &buffer, 1), 1);
    assert_true(queue->is_broken);
    queue->is_broken = false;
    queue->split.used->idx = 1000;
    assert_int_equal(virtqueue_take(queue, &buffer, 1), 0);
    assert_true(queue->is_broken);
    guest_destroy(&setup.guest);
}

static void test_configuration_is_checked(void **state)
{
    struct guest_memory memory;
    struct virtqueue queue;
    struct virtqueue_config good = {.size = 64, .pieces = 2, .buffer_size = 1518};
    struct virtqueue_config config;

    assert_int_equal(guest_memory_create(&memory, 1 << 20, 9, false, NULL), EINVAL);
    assert_int_equal(guest_memory_create(&memory, 1 << 20, 1, false, NULL), 0);
    assert_int_equal(virtqueue_init(&queue, &good, 0, true, &memory, NULL), 0);
    config = good;
    config.size = 65;
    assert_int_equal(virtqueue_init(&queue, &config, 0, true, &memory, NULL), EINVAL);
    config = good;
    config.indirect = true;
    assert_int_equal(virtqueue_init(&queue, &config, 0, true, &memory, NULL), EINVAL);
    config = good;
    config.pieces = 3;
    assert_int_equal(virtqueue_init(&queue, &config, BIT(VIRTIO_F_IN_ORDER), true, &memory, NULL), EINVAL);
    config = good;
    config.buffer_size = 1 << 20;
    assert_int_equal(virtqueue_init(&queue, &config, 0, true, &memory, NULL), ENOMEM);
    guest_memory_destroy(&memory);
}

static int make_directory(void **state)
{
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/s", directory);
    return 0;
}

static int remove_directory(void **state)
{
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchange_in_all_formats),
        cmocka_unit_test(test_packed_ring_of_odd_size),
        cmocka_unit_test(test_large_frames_over_many_regions),
        cmocka_unit_test(test_multiple_queue_pairs),
        cmocka_unit_test(test_legacy_guest_without_protocol_features),
        cmocka_unit_test(test_required_feature_is_missing),
        cmocka_unit_test(test_stop_and_start),
        cmocka_unit_test(test_reconnect_keeps_rings),
        cmocka_unit_test(test_broken_device_is_noticed),
        cmocka_unit_test(test_configuration_is_checked),
    };

    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
