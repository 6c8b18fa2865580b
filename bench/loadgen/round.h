/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LOADGEN_ROUND_H
#define LOADGEN_ROUND_H

/*
 * One round of load: players 2k and 2k + 1 are peers; each sends to the other, or one of them does. A player has a
 * guest of its own, or several share one, as the machine that many others speak with (main.c, --targets). A round
 * has a time of sending, and then waits for what is still under way. Everything happens in the calling
 * thread, which does not sleep in a round unless naps are asked for.
 *
 * With a window, a guest has at most so many frames under way; without one, the rings alone bound it. Frames
 * that do not arrive for a time while a window is full are written off, so that a switch that drops does
 * not stop the round. If it was only slow, there are more under way then than the receiver has room for.
 */

#include <stdio.h>

#include "bench/guest/guest.h"
#include "bench/loadgen/histogram.h"
#include "bench/loadgen/traffic.h"

#define GUESTS_MAX 16
#define ROUND_BURST 32
#define ROUND_PENDING_MAX 128

enum round_direction { ROUND_BOTH, ROUND_FORWARD, ROUND_BACKWARD };

struct round_spec {
    double seconds;
    double rate; /* frames per second and sending guest; 0: as fast as possible */
    enum round_direction direction;
    uint32_t window; /* frames under way per sending guest; 0: no limit; ROUND_WINDOW_AUTO: as many as the
                              receiver's buffers hold */
    uint32_t sample_every;    /* each n-th frame carries the time */
    double drain_seconds;     /* without a frame: nothing more is under way */
    double write_off_seconds; /* without a frame, while a window is full */
    uint32_t nap_us;          /* at least, after a turn in which no frame moved: others need this core, too */
    struct traffic_spec traffic;
};

#define ROUND_WINDOW_AUTO UINT32_MAX

struct player {
    struct guest guest;
    struct player *home; /* whose guest it speaks through: itself, or the first of those who share it */
    unsigned n_sharing;  /* of its guest, who have it as their home */
    struct player *peer;
    uint8_t index;
    bool sends;

    /* of the round */
    struct traffic traffic;     /* what it sends */
    struct traffic_check check; /* of what its peer sends */
    uint32_t *slot_builds; /* per send slot of its guest: the round and player for which its frame was built */
    uint64_t n_sent, n_sent_bytes;
    uint64_t n_written_off;
    uint64_t last_receive; /* TSC */
    uint64_t longest_gap;  /* TSC ticks without a frame, since the first one */
    uint64_t n_reconnects;
    uint32_t until_sample;

    /* received buffers of a frame that is not complete yet, between bursts */
    struct virtqueue_buffer pending[ROUND_PENDING_MAX];
    uint16_t n_pending;
};

struct round_result {
    double seconds;                                /* of sending, as measured */
    uint64_t n_sent, n_received, n_received_bytes; /* received: while sending lasted */
    uint64_t n_lost, n_reordered, n_damaged, n_stale;
    uint64_t n_reconnects;
    double longest_gap_us;         /* without a frame for a guest, or for a flow (flow_gaps) */
    double busy_share;             /* of the loop's time in turns that moved frames */
    double busy_cycles_per_packet; /* of the load generator: sending and receiving one frame */
    struct histogram latencies;    /* TSC ticks */
};

/* TSC ticks per second, measured once. */
double round_tsc_hz(void);

/* Makes a player with an own guest of this description, or on the guest of 'home'. 0, or an errno value with a sentence. */
int player_create(struct player *player, unsigned index, const struct guest_config *config,
                  struct player *home, struct error *error);
void player_destroy(struct player *player);

/* Runs a round with 'n_players' (even) connected players, each at the place of its index. Returns 0, or an errno value with a sentence. */
int round_run(struct player players[], unsigned n_players, const struct round_spec *spec,
              struct round_result *result, struct error *error);

/* One JSON object on one line. */
void round_print(const struct round_spec *spec, const struct round_result *result, FILE *file);

#endif
