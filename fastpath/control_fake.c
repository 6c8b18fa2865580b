/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/control_fake.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fastpath/capture.h"
#include "fastpath/control.h"
#include "fastpath/flow_table.h"
#include "fastpath/offload.h"
#include "fastpath/port_internal.h"
#include "fastpath/representor.h"
#include "fastpath/worker_internal.h"
#include "proto/packet_ring.h"

uint32_t fake_n_synchronized;
uint32_t fake_rules_max = 200000;
bool fake_up[PORTS_MAX];
_Atomic(struct port *) ports[PORTS_MAX];

static struct {
    bool used;
    struct port_spec spec;
    struct port_rates rates;
} fake_ports[PORTS_MAX];

static struct {
    uint32_t capture, representor; /* handles, 0: none */
    int memory_fd, doorbell_fd, any_fd;
    struct packet_ring_memory memory;
} fake_held;

static struct flow_tables *tables;
static pthread_t thread;

static void must(int result, const struct error *error)
{
    if (result) {
        fprintf(stderr, "%s\n", error->text);
        exit(1);
    }
}

int port_add(const struct port_spec *spec, uint16_t *id, struct error *error)
{
    if (port_find(spec->name) != PORT_NONE)
        return error_set(error, EEXIST, "There is a port '%s' already.", spec->name);
    for (uint16_t i = 0; i < PORTS_MAX; i++)
        if (!fake_ports[i].used) {
            fake_ports[i].used = true;
            fake_ports[i].spec = *spec;
            fake_ports[i].rates = (struct port_rates){0};
            *id = i;
            return 0;
        }
    return error_set(error, ENOSPC, "There are %d ports already.", PORTS_MAX);
}

int port_remove(uint16_t id, struct error *error)
{
    flow_tables_remove_port(tables, id, true);
    workers_synchronize();
    flow_tables_reclaim(tables);
    fake_ports[id].used = false;
    return 0;
}

uint16_t port_find(const char *name)
{
    for (uint16_t i = 0; i < PORTS_MAX; i++)
        if (fake_ports[i].used && !strcmp(fake_ports[i].spec.name, name))
            return i;
    return PORT_NONE;
}

uint16_t port_next(uint16_t id)
{
    while (id < PORTS_MAX && !fake_ports[id].used)
        id++;
    return id < PORTS_MAX ? id : PORT_NONE;
}

const struct port_spec *port_get_spec(uint16_t id)
{
    return &fake_ports[id].spec;
}

void port_set_slice(uint16_t id, const char *slice)
{
    snprintf(fake_ports[id].spec.slice, sizeof fake_ports[id].spec.slice, "%s", slice);
}

/* Bursts nobody asked for, and what cannot be, are for port_rate_test.c. */
int port_set_rates(uint16_t id, const struct port_rates *change, struct error *error)
{
    struct port_rates *rates = &fake_ports[id].rates;

    rates->in = change->in == PORT_RATE_KEEP ? rates->in : change->in;
    rates->out = change->out == PORT_RATE_KEEP ? rates->out : change->out;
    rates->burst_in = change->burst_in == PORT_RATE_KEEP ? rates->burst_in : change->burst_in;
    rates->burst_out = change->burst_out == PORT_RATE_KEEP ? rates->burst_out : change->burst_out;
    return 0;
}

void port_get_rates(uint16_t id, struct port_rates *rates)
{
    *rates = fake_ports[id].rates;
}

uint64_t port_get_missed(uint16_t id)
{
    return 0;
}

void port_get_status(uint16_t id, struct port_status *status)
{
    *status = (struct port_status){
        .up = id % 2 == 0 || fake_up[id], .n_queues = 1, .features = 0x100000000, .n_connects = 3};
    if (!status->up)
        strcpy(status->reason, "nobody has connected");
}

void port_get_stats(uint16_t id, struct port_stats *stats)
{
    *stats = (struct port_stats){.rx_packets = 1234567, .rx_bytes = 98765432, .tx_packets = id};
    stats->drops[DROP_TX_FULL] = 42;
}

uint16_t workers_count(void)
{
    return 1;
}

void workers_synchronize(void)
{
    fake_n_synchronized++;
}

void worker_get_stats(uint16_t index, struct worker_stats *stats)
{
    *stats = (struct worker_stats){.n_packets = 1000,
                                   .n_bursts = 100,
                                   .busy_cycles = 70000,
                                   .idle_cycles = 20000,
                                   .sleep_cycles = 10000,
                                   .cpu = 1,
                                   .n_queues = 2};
}

static void *serve(void *argument)
{
    while (!control_stop_requested()) {
        struct pollfd poll_fd = {.fd = control_fd(), .events = POLLIN};

        int n = ppoll(&poll_fd, 1, control_tick_due(), NULL);

        control_tick();
        if (n > 0)
            control_dispatch();
    }
    return NULL;
}

static void start_offload(void)
{
    const struct offload_options options = {
        .rules_max = fake_rules_max, .mode = OFFLOAD_ON, .orphans_hold_s = OFFLOAD_ORPHANS_HOLD_S_DEFAULT};
    struct error error = {.text = "No memory."};

    must(offload_init(tables, &options, 0, &error), &error);
}

void fake_restart_offload(void)
{
    offload_finish();
    start_offload();
}

void fake_create(const char *path)
{
    struct error error = {.text = "No memory."};

    fake_held.any_fd = eventfd(0, EFD_CLOEXEC);
    tables = flow_tables_create(fake_rules_max, &error);
    must(!tables, &error);
    start_offload();
    must(control_create(path, NULL, tables, &error), &error);
}

void fake_start(const char *path)
{
    fake_create(path);
    must(pthread_create(&thread, NULL, serve, NULL), &(struct error){.text = "No thread."});
}

void fake_finish(void)
{
    pthread_join(thread, NULL);
    fake_destroy();
}

void fake_destroy(void)
{
    control_destroy();
    offload_finish();
    flow_tables_destroy(tables);
    close(fake_held.any_fd);
    memset(fake_ports, 0, sizeof fake_ports);
    memset(fake_up, 0, sizeof fake_up);
}

/* One ring with three frames in it, and a doorbell. */
int capture_start(uint16_t port, uint32_t snap_size, struct capture_offer *offer, struct error *error)
{
    static const uint8_t frame[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};
    struct packet_ring_producer producer;
    uint32_t size = snap_size && snap_size < sizeof frame ? snap_size : sizeof frame;

    if (fake_held.capture)
        return error_set(error, EBUSY, "The port is being captured already.");
    must(packet_ring_create("fake", 1, PACKET_RING_SIZE_MIN, &fake_held.memory_fd, error), error);
    must(packet_ring_map(&fake_held.memory, fake_held.memory_fd, error), error);
    must(packet_ring_producer_attach(&producer, &fake_held.memory, 0, error), error);
    for (int i = 0; i < 3; i++) {
        memcpy(packet_ring_reserve(&producer, size), frame, size);
        packet_ring_commit(&producer, &(struct packet_ring_frame){.size = size,
                                                                  .mark = capture_mark(sizeof frame, i % 2),
                                                                  .metadata = 1700000000000000000ull + i});
    }
    packet_ring_publish(&producer);
    fake_held.doorbell_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    fake_held.capture = 7;
    *offer = (struct capture_offer){fake_held.memory_fd, fake_held.doorbell_fd, 1, 7};
    return 0;
}

void capture_stop(uint32_t handle)
{
    if (fake_held.capture != handle)
        return;
    fake_held.capture = 0;
    packet_ring_unmap(&fake_held.memory);
    close(fake_held.memory_fd);
    close(fake_held.doorbell_fd);
}

int representor_open(uint16_t port, struct representor_offer *offer, struct error *error)
{
    if (fake_held.representor)
        return error_set(error, EBUSY, "Another peer has the port's representor.");
    fake_held.representor = 9;
    *offer = (struct representor_offer){fake_held.any_fd, fake_held.any_fd, fake_held.any_fd, 1, 9};
    return 0;
}

void representor_close(uint32_t handle)
{
    if (fake_held.representor == handle)
        fake_held.representor = 0;
}
