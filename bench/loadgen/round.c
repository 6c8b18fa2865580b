/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/loadgen/round.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

#define CHECK_CONNECTION_US 10000
#define CALIBRATION_NS 50000000

/* What the loop of a round knows, beside the players. */
struct loop {
    struct player *players;
    unsigned n_players;
    const struct round_spec *spec;
    struct round_result *result;
    uint64_t start, end; /* TSC: of sending */
    double rate_per_tick;
    uint64_t busy_ticks;
    uint64_t next_check;
};

static uint64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC_RAW, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

double round_tsc_hz(void)
{
    static double hz;

    if (hz == 0) {
        uint64_t start_ns = now_ns();
        uint64_t start = __rdtsc();
        uint64_t elapsed_ns;

        do
            elapsed_ns = now_ns() - start_ns;
        while (elapsed_ns < CALIBRATION_NS);
        hz = (double)(__rdtsc() - start) * 1e9 / (double)elapsed_ns;
    }
    return hz;
}

static uint64_t ticks_of_us(double us)
{
    return (uint64_t)(us * round_tsc_hz() / 1e6);
}

int player_create(struct player *player, unsigned index, const struct guest_config *config,
                  struct player *home, struct error *error)
{
    player->index = (uint8_t)index;
    player->home = home ? home : player;
    player->home->n_sharing++;
    if (home)
        return 0;
    player->slot_builds = calloc(config->send.size, sizeof *player->slot_builds);
    if (!player->slot_builds)
        return error_set(error, ENOMEM, "no memory for %u slots", config->send.size);
    return guest_create(&player->guest, config, error);
}

void player_destroy(struct player *player)
{
    if (player->home == player)
        guest_destroy(&player->guest);
    traffic_check_free(&player->check);
    free(player->slot_builds);
}

/* Frames that may be sent now: by the rate, the window, and what a burst takes. */
static uint16_t send_allowance(const struct loop *loop, struct player *player, uint64_t now)
{
    uint64_t allowed = ROUND_BURST;
    uint64_t under_way;

    if (loop->rate_per_tick > 0) {
        double due = (double)(now - loop->start) * loop->rate_per_tick - (double)player->n_sent;

        if (due < 1)
            return 0;
        if (due < (double)allowed)
            allowed = (uint64_t)due;
    }
    if (loop->spec->window) {
        struct traffic_check *check = &player->peer->check;

        under_way = player->n_sent - check->n_received - player->n_written_off;
        if ((int64_t)under_way < 0) { /* some came that were written off */
            player->n_written_off += under_way;
            under_way = 0;
        }
        if (under_way >= loop->spec->window) {
            if (now - player->peer->last_receive > ticks_of_us(loop->spec->write_off_seconds * 1e6)) {
                player->n_written_off += under_way;
                player->peer->last_receive = now;
            }
            return 0;
        }
        if (loop->spec->window - under_way < allowed)
            allowed = loop->spec->window - under_way;
    }
    return (uint16_t)allowed;
}

static unsigned send_burst(struct loop *loop, struct player *player, uint64_t now)
{
    struct player *home = player->home;
    struct virtqueue *queue = guest_send_queue(&home->guest, 0);
    struct traffic *traffic = &player->traffic;
    struct virtqueue_buffer buffers[ROUND_BURST];
    uint16_t allowed = send_allowance(loop, player, now);
    uint16_t n = allowed ? virtqueue_take(queue, buffers, allowed) : 0;
    uint32_t build = (uint32_t)traffic->round << 8 | player->index;

    for (uint16_t i = 0; i < n; i++) {
        uint8_t *frame = buffers[i].start + queue->header_size;
        uint32_t size;

        if (home->slot_builds[buffers[i].slot] == build && !traffic->spec.verify) {
            size = traffic_next(traffic, frame);
        } else {
            home->slot_builds[buffers[i].slot] = build;
            size = traffic_build(traffic, frame, queue->header_size);
        }
        if (--player->until_sample == 0) {
            player->until_sample = loop->spec->sample_every;
            traffic_set_time(traffic, frame, __rdtsc());
        }
        player->n_sent_bytes += size;
        buffers[i].size = queue->header_size + size;
    }
    virtqueue_post(queue, buffers, n);
    player->n_sent += n;
    return n;
}

/* Copies a frame that lies in several buffers to one place; returns its size. */
static uint32_t gather(const struct virtqueue *queue, const struct virtqueue_buffer buffers[], unsigned n,
                       uint8_t *frame)
{
    uint32_t size = 0;

    for (unsigned i = 0; i < n; i++) {
        uint32_t skip = i ? 0 : queue->header_size;
        uint32_t part = buffers[i].size - skip;

        if (buffers[i].size < skip || size + part > TRAFFIC_FRAME_MAX)
            return 0;
        memcpy(frame + size, buffers[i].start + skip, part);
        size += part;
    }
    return size;
}

/* Which of the players who share a guest a frame is for: its stamp names the sender, and that one's peer it is. */
static struct player *addressee(const struct loop *loop, struct player *home, const uint8_t *frame,
                                uint32_t size)
{
    struct traffic_stamp stamp;
    size_t offset = home->peer->traffic.stamp_offset;

    if (home->n_sharing == 1 || size < offset + sizeof stamp)
        return home;
    memcpy(&stamp, frame + offset, sizeof stamp);
    if (stamp.sender >= loop->n_players || loop->players[stamp.sender].peer->home != home)
        return home; /* who counts it as damaged */
    return loop->players[stamp.sender].peer;
}

/* Checks one frame, which lies in 'n' buffers of the guest of 'home'. */
static void receive_frame(struct loop *loop, struct player *home, const struct virtqueue_buffer buffers[],
                          unsigned n, uint64_t now)
{
    static uint8_t whole[TRAFFIC_FRAME_MAX];
    const struct virtqueue *queue = guest_receive_queue(&home->guest, 0);
    const uint8_t *frame = buffers[0].start + queue->header_size;
    struct player *player;
    uint32_t size = 0;
    uint64_t time;

    for (unsigned i = 0; i < n; i++)
        size += buffers[i].size;
    size -= queue->header_size;
    player = addressee(loop, home, frame, buffers[0].size - queue->header_size);
    if (player->check.n_received && now - player->last_receive > player->longest_gap)
        player->longest_gap = now - player->last_receive;
    player->last_receive = player->check.now = now;
    time = traffic_check_frame(&player->check, frame, size, buffers[0].size - queue->header_size);
    if (time)
        histogram_add(&loop->result->latencies, now - time);
    if (loop->spec->traffic.verify) {
        const struct virtio_net_hdr *header = (const struct virtio_net_hdr *)buffers[0].start;

        if (n > 1) {
            size = gather(queue, buffers, n, whole);
            frame = whole;
        }
        traffic_verify_frame(&player->check, frame, size, header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
    }
}

static unsigned receive_burst(struct loop *loop, struct player *player)
{
    struct virtqueue *queue = guest_receive_queue(&player->guest, 0);
    bool mergeable = player->guest.features >> VIRTIO_NET_F_MRG_RXBUF & 1;
    struct virtqueue_buffer *buffers = player->pending;
    unsigned n =
        player->n_pending +
        virtqueue_take(queue, buffers + player->n_pending,
                       (uint16_t)(mergeable ? ROUND_PENDING_MAX - player->n_pending : 2 * ROUND_BURST));
    unsigned done = 0, n_frames = 0;
    uint64_t now;

    if (n == player->n_pending)
        return 0;
    now = __rdtsc();
    while (done < n) {
        unsigned n_buffers = 1;

        if (mergeable)
            n_buffers = ((const struct virtio_net_hdr_mrg_rxbuf *)buffers[done].start)->num_buffers;
        if (n_buffers < 1 || n_buffers > ROUND_PENDING_MAX) {
            player->check.n_damaged++;
            n_buffers = 1;
        } else if (done + n_buffers > n) {
            break;
        } else {
            receive_frame(loop, player, &buffers[done], n_buffers, now);
        }
        done += n_buffers;
        n_frames++;
    }
    virtqueue_post(queue, buffers, (uint16_t)done);
    player->n_pending = (uint16_t)(n - done);
    if (player->n_pending)
        memmove(buffers, buffers + done, player->n_pending * sizeof *buffers);
    return n_frames;
}

/* A switch that was restarted is taken back at once: the guests go on with their rings. */
static int check_connections(struct loop *loop, uint64_t now, struct error *error)
{
    loop->next_check = now + ticks_of_us(CHECK_CONNECTION_US);
    for (unsigned i = 0; i < loop->n_players; i++) {
        struct player *player = &loop->players[i];

        if (player->home != player || guest_is_connected(&player->guest))
            continue;
        if (guest_connect(&player->guest, 0, error) == 0)
            player->n_reconnects++;
        else if (error->code == EPROTO)
            return error->code;
    }
    for (unsigned i = 0; i < loop->n_players; i++) {
        struct guest *guest = &loop->players[i].home->guest;

        if (guest_send_queue(guest, 0)->is_broken || guest_receive_queue(guest, 0)->is_broken)
            return error_set(error, EPROTO, "the switch wrote an impossible index or id into a ring of %s",
                             guest->config.path);
    }
    return 0;
}

static void nap(uint32_t us)
{
    struct timespec time = {.tv_nsec = us * 1000L};

    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

/* One turn over all players; returns the number of frames moved. */
static unsigned turn(struct loop *loop, uint64_t now, bool sending)
{
    unsigned n = 0;

    for (unsigned i = 0; i < loop->n_players; i++) {
        struct player *player = &loop->players[i];

        if (sending && player->sends)
            n += send_burst(loop, player, now);
        if (player->home == player)
            n += receive_burst(loop, player);
    }
    if (!n && loop->spec->nap_us)
        nap(loop->spec->nap_us);
    return n;
}

static uint64_t sum_received(const struct loop *loop)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < loop->n_players; i++)
        n += loop->players[i].check.n_received;
    return n;
}

static uint64_t sum_sent(const struct loop *loop)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < loop->n_players; i++)
        n += loop->players[i].n_sent;
    return n;
}

static int send_for_a_time(struct loop *loop, struct error *error)
{
    uint64_t now = loop->start;
    int code = 0;

    while (now < loop->end && !code) {
        unsigned n = turn(loop, now, true);
        uint64_t then = __rdtsc();

        if (n)
            loop->busy_ticks += then - now;
        now = then;
        if (now >= loop->next_check)
            code = check_connections(loop, now, error);
    }
    loop->result->seconds = (double)(now - loop->start) / round_tsc_hz();
    loop->result->n_received = sum_received(loop);
    for (unsigned i = 0; i < loop->n_players; i++)
        loop->result->n_received_bytes += loop->players[i].check.n_bytes;
    return code;
}

/* Until all has come, or nothing came for the time that the spec says. */
static int drain(struct loop *loop, struct error *error)
{
    const uint64_t quiet_ticks = ticks_of_us(loop->spec->drain_seconds * 1e6);
    uint64_t now = __rdtsc();
    uint64_t last = now;
    int code = 0;

    while (now - last < quiet_ticks && !code && sum_received(loop) < sum_sent(loop)) {
        if (turn(loop, now, false))
            last = now;
        now = __rdtsc();
        if (now >= loop->next_check)
            code = check_connections(loop, now, error);
    }
    return code;
}

static uint32_t auto_window(const struct player *player, const struct traffic *traffic)
{
    const struct player *receiver = player->peer->home;
    const struct virtqueue *queue = &receiver->guest.queues[0];
    uint32_t largest = 0, n_frames;

    for (unsigned i = 0; i < traffic->n_sizes; i++)
        largest = traffic->sizes[i].size > largest ? traffic->sizes[i].size : largest;
    largest = (largest + queue->header_size + queue->capacity - 1) / queue->capacity; /* buffers per frame */
    n_frames = queue->n_slots / largest / receiver->n_sharing;
    return n_frames ? n_frames : 1;
}

static int prepare(struct loop *loop, struct round_spec *spec, struct error *error)
{
    static uint16_t round;
    uint32_t window = UINT32_MAX;

    round++;
    for (unsigned i = 0; i < loop->n_players; i++) {
        struct player *player = &loop->players[i];
        uint32_t first_flow;

        if (!guest_is_connected(&player->home->guest))
            return error_set(error, ENOTCONN, "no switch is connected to %s", player->home->guest.config.path);
        player->sends = spec->direction == ROUND_BOTH || (spec->direction == ROUND_FORWARD) == (i % 2 == 0);
        player->n_sent = player->n_sent_bytes = player->n_written_off = player->n_reconnects = 0;
        player->longest_gap = 0;
        player->until_sample = spec->sample_every;
        first_flow = player->traffic.next_flow % spec->traffic.n_flows;
        traffic_init(&player->traffic, &spec->traffic, player->index, player->peer->index, round);
        player->traffic.next_flow = first_flow; /* short rounds together reach all flows */
    }
    for (unsigned i = 0; i < loop->n_players; i++) {
        struct player *player = &loop->players[i];
        uint32_t own_window = auto_window(player, &player->traffic);

        if (traffic_check_init(&player->check, &player->peer->traffic))
            return error_set(error, ENOMEM, "no memory for the state of %u flows", spec->traffic.n_flows);
        window = own_window < window ? own_window : window;
    }
    if (spec->window == ROUND_WINDOW_AUTO)
        spec->window = window;
    return 0;
}

int round_run(struct player players[], unsigned n_players, const struct round_spec *wanted,
              struct round_result *result, struct error *error)
{
    struct round_spec spec = *wanted;
    struct loop loop = {.players = players, .n_players = n_players, .spec = &spec, .result = result};
    int code;

    memset(result, 0, sizeof *result);
    code = prepare(&loop, &spec, error);
    if (code)
        return code;
    loop.rate_per_tick = spec.rate / round_tsc_hz();
    loop.start = __rdtsc();
    loop.end = loop.start + ticks_of_us(spec.seconds * 1e6);
    loop.next_check = loop.start + ticks_of_us(CHECK_CONNECTION_US);
    for (unsigned i = 0; i < n_players; i++)
        players[i].last_receive = loop.start;
    code = send_for_a_time(&loop, error);
    if (!code)
        code = drain(&loop, error);
    if (code)
        return code;

    result->n_sent = sum_sent(&loop);
    result->n_lost = result->n_sent - sum_received(&loop);
    for (unsigned i = 0; i < n_players; i++) {
        const struct player *player = &players[i];
        uint64_t gap = spec.traffic.flow_gaps ? player->check.longest_gap : player->longest_gap;
        double gap_us = (double)gap * 1e6 / round_tsc_hz();

        result->n_reordered += player->check.n_reordered;
        result->n_damaged += player->check.n_damaged;
        result->n_stale += player->check.n_stale;
        result->n_reconnects += player->n_reconnects;
        result->longest_gap_us = gap_us > result->longest_gap_us ? gap_us : result->longest_gap_us;
    }
    result->busy_share = (double)loop.busy_ticks / round_tsc_hz() / result->seconds;
    if (result->n_received)
        result->busy_cycles_per_packet = (double)loop.busy_ticks / (double)result->n_received;
    return 0;
}

static double quantile_us(const struct round_result *result, double quantile)
{
    return (double)histogram_quantile(&result->latencies, quantile) * 1e6 / round_tsc_hz();
}

void round_print(const struct round_spec *spec, const struct round_result *result, FILE *file)
{
    static const char *const directions[] = {"both", "forward", "backward"};
    double mpps = (double)result->n_received / result->seconds / 1e6;
    double gbps = (double)result->n_received_bytes * 8 / result->seconds / 1e9;

    if (spec->traffic.frame_size == TRAFFIC_IMIX)
        fprintf(file, "{\"packet_bytes\": \"imix\", ");
    else
        fprintf(file, "{\"packet_bytes\": %u, ", spec->traffic.frame_size);
    fprintf(file, "\"flows\": %u, \"direction\": \"%s\", \"rate\": %.0f, \"seconds\": %.6f, ",
            spec->traffic.n_flows, directions[spec->direction], spec->rate, result->seconds);
    fprintf(file, "\"sent\": %lu, \"received\": %lu, \"lost\": %ld, \"reordered\": %lu, \"damaged\": %lu, ",
            result->n_sent, result->n_sent - result->n_lost, (long)result->n_lost, result->n_reordered,
            result->n_damaged);
    fprintf(file, "\"stale\": %lu, \"reconnects\": %lu, \"longest_gap_us\": %.1f, ", result->n_stale,
            result->n_reconnects, result->longest_gap_us);
    fprintf(file, "\"mpps\": %.4f, \"gbps\": %.4f, ", mpps, gbps);
    fprintf(file, "\"samples\": %lu, \"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f, \"max_us\": %.2f, ",
            result->latencies.n_values, quantile_us(result, 0.5), quantile_us(result, 0.99),
            quantile_us(result, 0.999), (double)result->latencies.max * 1e6 / round_tsc_hz());
    fprintf(file, "\"generator_busy_share\": %.3f, \"generator_cycles_per_packet\": %.1f}\n",
            result->busy_share, result->busy_cycles_per_packet);
    fflush(file);
}
