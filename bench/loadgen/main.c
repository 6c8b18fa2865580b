/* SPDX-License-Identifier: Apache-2.0 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/loadgen/command.h"

static const char usage[] =
    "Usage: loadgen [OPTION...] SOCKET SOCKET...\n"
    "Plays two guests (or any even number) on vhost-user sockets: each sends to its neighbour and checks\n"
    "what it receives. With --targets=T, the last T sockets are machines that many speak with: each other guest's\n"
    "neighbour is one of them. Commands come from standard input, results go to standard output\n"
    "as JSON.\n"
    "\n"
    "  --cpu=N            run on this core only\n"
    "  --client           connect to the sockets; else listen on them\n"
    "  --no-huge          ordinary pages even when there are hugepages\n"
    "  --ring-size=N      descriptors of each ring (256)\n"
    "  --receive-size=N   bytes of a receive buffer (1518)\n"
    "  --send-size=N      bytes of a send buffer (1518)\n"
    "  --send-pieces=N    descriptors for each frame sent (1)\n"
    "  --indirect         send by indirect descriptors\n"
    "  --packed           packed rings\n"
    "  --in-order         negotiate IN_ORDER\n"
    "  --event-index      negotiate EVENT_IDX\n"
    "  --no-mergeable     do not negotiate mergeable receive buffers\n"
    "  --offloads         negotiate checksum and segmentation offloads, both ways\n"
    "  --targets=N        see above (0)\n"
    "  --help             this text\n";

#define BIT(n) (UINT64_C(1) << (n))
#define OFFLOADS                                                                           \
    (BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | \
     BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6))

#define ANSWER_TIMEOUT_MS 30000

static struct player players[GUESTS_MAX];
static unsigned n_targets;

static uint32_t number(const char *option, const char *text, uint32_t max)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (end == text || *end || value > max)
        errx(2, "--%s takes a number of 0 to %u, not '%s'", option, max, text);
    return (uint32_t)value;
}

static void pin(unsigned cpu)
{
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus))
        err(1, "cannot run on core %u", cpu);
}

enum option_id {
    OPTION_CPU = 1,
    OPTION_CLIENT,
    OPTION_NO_HUGE,
    OPTION_RING_SIZE,
    OPTION_RECEIVE_SIZE,
    OPTION_SEND_SIZE,
    OPTION_SEND_PIECES,
    OPTION_INDIRECT,
    OPTION_PACKED,
    OPTION_IN_ORDER,
    OPTION_EVENT_INDEX,
    OPTION_NO_MERGEABLE,
    OPTION_OFFLOADS,
    OPTION_TARGETS,
    OPTION_HELP,
};

static const struct option long_options[] = {
    {"cpu", required_argument, NULL, OPTION_CPU},
    {"client", no_argument, NULL, OPTION_CLIENT},
    {"no-huge", no_argument, NULL, OPTION_NO_HUGE},
    {"ring-size", required_argument, NULL, OPTION_RING_SIZE},
    {"receive-size", required_argument, NULL, OPTION_RECEIVE_SIZE},
    {"send-size", required_argument, NULL, OPTION_SEND_SIZE},
    {"send-pieces", required_argument, NULL, OPTION_SEND_PIECES},
    {"indirect", no_argument, NULL, OPTION_INDIRECT},
    {"packed", no_argument, NULL, OPTION_PACKED},
    {"in-order", no_argument, NULL, OPTION_IN_ORDER},
    {"event-index", no_argument, NULL, OPTION_EVENT_INDEX},
    {"no-mergeable", no_argument, NULL, OPTION_NO_MERGEABLE},
    {"offloads", no_argument, NULL, OPTION_OFFLOADS},
    {"targets", required_argument, NULL, OPTION_TARGETS},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static void take_option(int option, const char *name, struct guest_config *config)
{
    switch (option) {
    case OPTION_CPU: pin(number(name, optarg, CPU_SETSIZE - 1)); break;
    case OPTION_CLIENT: config->server = false; break;
    case OPTION_NO_HUGE: config->want_huge = false; break;
    case OPTION_RING_SIZE:
        config->receive.size = config->send.size = (uint16_t)number(name, optarg, VIRTQUEUE_SIZE_MAX);
        break;
    case OPTION_RECEIVE_SIZE: config->receive.buffer_size = number(name, optarg, TRAFFIC_FRAME_MAX); break;
    case OPTION_SEND_SIZE: config->send.buffer_size = number(name, optarg, TRAFFIC_FRAME_MAX); break;
    case OPTION_SEND_PIECES:
        config->send.pieces = (uint16_t)number(name, optarg, VIRTQUEUE_PIECES_MAX);
        break;
    case OPTION_INDIRECT:
        config->send.indirect = true;
        config->features |= BIT(VIRTIO_RING_F_INDIRECT_DESC);
        break;
    case OPTION_PACKED:
        config->features |= BIT(VIRTIO_F_RING_PACKED);
        config->features_required |= BIT(VIRTIO_F_RING_PACKED);
        break;
    case OPTION_IN_ORDER: config->features |= BIT(VIRTIO_F_IN_ORDER); break;
    case OPTION_EVENT_INDEX: config->features |= BIT(VIRTIO_RING_F_EVENT_IDX); break;
    case OPTION_NO_MERGEABLE: config->features &= ~BIT(VIRTIO_NET_F_MRG_RXBUF); break;
    case OPTION_OFFLOADS: config->features |= OFFLOADS; break;
    case OPTION_TARGETS: n_targets = number(name, optarg, GUESTS_MAX); break;
    case OPTION_HELP: fputs(usage, stdout); exit(0);
    default: fputs("Try 'loadgen --help'.\n", stderr); exit(2);
    }
}

/* The guest's neighbours are the targets in blocks: of 8 guests and 2 targets, the first 4 speak with the first. */
static void create_player(unsigned index, unsigned n_guests, char *const sockets[], struct guest_config *config)
{
    struct player *player = &players[index];
    struct player *home = NULL;
    unsigned socket = index;
    struct error error;

    player->peer = &players[index ^ 1];
    if (n_targets) {
        unsigned target = index / 2 * n_targets / n_guests;

        socket = index % 2 ? n_guests + target : index / 2;
        for (unsigned i = 1; i < index && index % 2 && !home; i += 2) {
            if (i / 2 * n_targets / n_guests == target)
                home = players[i].home;
        }
    }
    snprintf(config->path, sizeof config->path, "%s", sockets[socket]);
    if (player_create(player, index, config, home, &error))
        errx(1, "%s", error.text);
    /* Open vSwitch answers nobody for seconds while it makes its memory pools. */
    player->guest.frontend.timeout_ms = ANSWER_TIMEOUT_MS;
}

int main(int argc, char **argv)
{
    struct guest_config config;
    unsigned n_sockets, n_guests, n_players;
    int option;
    int which = 0;

    guest_config_default(&config, "");
    while ((option = getopt_long(argc, argv, "", long_options, &which)) != -1)
        take_option(option, option == '?' ? "" : long_options[which].name, &config);
    n_sockets = (unsigned)(argc - optind);
    if (n_targets && (n_sockets < 2 * n_targets || n_sockets - n_targets > GUESTS_MAX / 2))
        errx(2, "with %u targets, give as many sockets of guests at least, up to %d, and those of the targets",
             n_targets, GUESTS_MAX / 2);
    if (!n_targets && (!n_sockets || n_sockets % 2 || n_sockets > GUESTS_MAX))
        errx(2, "give an even number of sockets, up to %d", GUESTS_MAX);
    n_guests = n_sockets - n_targets;
    n_players = n_targets ? 2 * n_guests : n_guests;
    signal(SIGPIPE, SIG_IGN);

    for (unsigned i = 0; i < n_players; i++)
        create_player(i, n_guests, argv + optind, &config);
    command_serve(players, n_players, stdin, stdout);
    for (unsigned i = 0; i < n_players; i++)
        player_destroy(&players[i]);
    return 0;
}
