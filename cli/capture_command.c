/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/pcapng.h"
#include "proto/capture.h"
#include "proto/packet_ring.h"
#include "proto/value_text.h"

#define BATCH 32 /* frames taken from one ring at once */

struct capture {
    struct cli *cli;
    const char *port;
    FILE *stream;
    uint64_t n_packets, n_max; /* n_max 0: no limit */
    uint32_t snap_size;
    uint32_t handle, n_rings;
    int doorbell_fd, signal_fd;
    bool port_gone;
    int write_error; /* errno value of the output's failure */
    struct packet_ring_memory memory;
    struct packet_ring_consumer rings[PACKET_RING_COUNT_MAX];

    /* frames of each ring that are peeked and not written yet */
    struct packet_ring_frame frames[PACKET_RING_COUNT_MAX][BATCH];
    uint16_t n[PACKET_RING_COUNT_MAX], next[PACKET_RING_COUNT_MAX];
};

static bool is_full(const struct capture *capture)
{
    return capture->n_max && capture->n_packets == capture->n_max;
}

/* The ring whose next frame is the oldest, or n_rings when all are empty. */
static uint32_t oldest(struct capture *capture)
{
    uint32_t found = capture->n_rings;

    for (uint32_t i = 0; i < capture->n_rings; i++) {
        if (capture->next[i] == capture->n[i]) {
            if (capture->n[i])
                packet_ring_release(&capture->rings[i]);
            capture->n[i] = packet_ring_peek(&capture->rings[i], capture->frames[i], BATCH);
            capture->next[i] = 0;
        }
        if (capture->next[i] < capture->n[i] &&
            (found == capture->n_rings || capture->frames[i][capture->next[i]].metadata <
                                              capture->frames[found][capture->next[found]].metadata))
            found = i;
    }
    return found;
}

/* Between two looks at the signals: a port that never pauses could keep us writing for ever. */
#define DRAIN_MAX 1024

/* Writes what is in the rings, up to 'max' packets. Each worker has one, so they are merged by time. */
static void drain(struct capture *capture, uint64_t max)
{
    static uint8_t data[FRAME_SIZE_MAX];
    uint32_t ring;

    while (max-- && !is_full(capture) && !ferror(capture->stream) &&
           (ring = oldest(capture)) < capture->n_rings) {
        const struct packet_ring_frame *frame = &capture->frames[ring][capture->next[ring]++];

        memcpy(data, frame->data, frame->size);
        pcapng_write_packet(capture->stream, frame->metadata, data, frame->size,
                            capture_packet_size(frame->mark), capture_direction_of(frame->mark) == CAPTURE_OUT);
        capture->n_packets++;
    }
}

/* Whether all rings are empty, and will ring the doorbell when that changes. */
static bool may_sleep(struct capture *capture)
{
    for (uint32_t i = 0; i < capture->n_rings; i++)
        if (!packet_ring_may_sleep(&capture->rings[i]))
            return false;
    return true;
}

static int handle_event(struct capture *capture)
{
    struct message message;
    struct message_event event;
    struct error error;

    if (client_receive(capture->cli->client, &message, &error))
        return cli_fail_error(&error);
    message_close_fds(&message);
    if (message.header.type == MESSAGE_EVENT && message_get_event(&message.body, &event) &&
        event.kind == EVENT_PORT_REMOVED && !strcmp(event.name, capture->port))
        capture->port_gone = true;
    return EXIT_OK;
}

/* Until Ctrl-C, the number of packets asked for, the end of the port or of who reads. */
static int run(struct capture *capture)
{
    struct pollfd fds[] = {
        {.fd = capture->doorbell_fd, .events = POLLIN},
        {.fd = capture->signal_fd, .events = POLLIN},
        {.fd = client_fd(capture->cli->client), .events = POLLIN},
    };
    uint64_t counter;
    int code;

    for (;;) {
        drain(capture, DRAIN_MAX);
        if (fflush(capture->stream) || ferror(capture->stream)) {
            capture->write_error = errno;
            return EXIT_OK;
        }
        if (is_full(capture) || capture->port_gone)
            return EXIT_OK;
        if (poll(fds, 3, may_sleep(capture) ? -1 : 0) < 0 && errno != EINTR)
            return cli_fail(EXIT_REFUSED, "Cannot wait for packets: %s.", strerror(errno));
        for (uint32_t i = 0; i < capture->n_rings; i++)
            packet_ring_awake(&capture->rings[i]);
        if (fds[0].revents && read(capture->doorbell_fd, &counter, sizeof counter) < 0 && errno != EAGAIN)
            return cli_fail(EXIT_REFUSED, "Cannot read the doorbell: %s.", strerror(errno));
        if (fds[1].revents)
            return EXIT_OK;
        code = fds[2].revents ? handle_event(capture) : EXIT_OK;
        if (code)
            return code;
    }
}

static int attach(struct capture *capture, struct message *reply)
{
    struct message_rings rings;
    struct error error;
    int result;

    if (reply->header.type != MESSAGE_RINGS || reply->n_fds != 2 ||
        !message_get_rings(&reply->body, &rings) || rings.n_queues > PACKET_RING_COUNT_MAX)
        return cli_fail(EXIT_REFUSED, "The fast path's reply is malformed; are the versions of both the same?");
    result = packet_ring_map(&capture->memory, reply->fds[0], &error);
    for (uint32_t i = 0; i < rings.n_queues && !result; i++)
        result = packet_ring_consumer_attach(&capture->rings[i], &capture->memory, i, &error);
    if (result)
        return cli_fail(EXIT_REFUSED, "%s", error.text);
    capture->handle = rings.handle;
    capture->n_rings = rings.n_queues;
    capture->doorbell_fd = reply->fds[1];
    reply->n_fds = 1; /* the doorbell is ours */
    return EXIT_OK;
}

static int start(struct capture *capture)
{
    struct message_capture request = {.snap_size = capture->snap_size};
    struct message_ok ok;
    struct message reply;
    struct error error;
    int code = cli_connect(capture->cli);

    if (code)
        return code;
    capture->port = cli_port_name(capture->cli, capture->port, &code);
    if (!capture->port)
        return code;
    if (strlen(capture->port) >= sizeof request.name)
        return cli_fail(EXIT_REFUSED, "There is no port '%s'; 'vnode port list' shows the ports.",
                        capture->port);
    strcpy(request.name, capture->port);
    wire_put_u32(client_begin(capture->cli->client, MESSAGE_SUBSCRIBE), 1u << EVENT_PORT_REMOVED);
    code = cli_call_ok(capture->cli, &ok);
    if (code)
        return code;
    message_put_capture(client_begin(capture->cli->client, MESSAGE_CAPTURE_START), &request);
    if (client_call(capture->cli->client, &reply, &error))
        return cli_fail_error(&error);
    code = attach(capture, &reply);
    message_close_fds(&reply);
    return code;
}

static int open_output(struct capture *capture, const char *file)
{
    if (strcmp(file, "-")) {
        capture->stream = fopen(file, "we");
        if (!capture->stream)
            return cli_fail(EXIT_REFUSED, "Cannot write %s: %s.", file, strerror(errno));
        return EXIT_OK;
    }
    if (isatty(STDOUT_FILENO))
        return cli_fail(EXIT_USAGE,
                        "Packets are no text for a terminal: pipe them, for example into tcpdump -r -.");
    capture->stream = stdout;
    return EXIT_OK;
}

/* What is still in the rings is written when the fast path has let go of them, then the statistics. */
static int finish(struct capture *capture, const char *file, int code)
{
    struct message_ok ok;
    struct timespec now;
    uint64_t n_missed = 0;

    if (code == EXIT_OK && !capture->port_gone) {
        wire_put_u32(client_begin(capture->cli->client, MESSAGE_CAPTURE_STOP), capture->handle);
        code = cli_call_ok(capture->cli, &ok);
    }
    drain(capture, UINT64_MAX);
    for (uint32_t i = 0; i < capture->n_rings; i++)
        n_missed += packet_ring_n_dropped(&capture->rings[i]);
    clock_gettime(CLOCK_REALTIME, &now);
    pcapng_write_end(capture->stream, now.tv_sec * 1000000000ull + now.tv_nsec, capture->n_packets, n_missed);
    if (fflush(capture->stream) && !capture->write_error)
        capture->write_error = errno;
    /* Who reads our output may have seen enough. */
    if (capture->write_error && capture->write_error != EPIPE)
        return cli_fail(EXIT_REFUSED, "Cannot write %s: %s.", file, strerror(capture->write_error));
    fprintf(stderr, "%llu packets captured, %llu missed%s\n", (unsigned long long)capture->n_packets,
            (unsigned long long)n_missed, capture->port_gone ? "; the port was removed" : "");
    return code;
}

static int parse_arguments(struct capture *capture, int *argc, char **argv, const char **file)
{
    const char *snap_size = "0", *count = "0";
    uint64_t number;

    if (cli_take_option(argc, argv, "-w", file) < 0 || cli_take_option(argc, argv, "-s", &snap_size) < 0 ||
        cli_take_option(argc, argv, "-c", &count) < 0 || *argc != 1 || !*file)
        return cli_usage(capture->cli);
    if (!number_parse(snap_size, FRAME_SIZE_MAX, &number))
        return cli_fail(EXIT_USAGE, "'-s %s': a packet has 0 (all of it) to %d bytes.", snap_size,
                        FRAME_SIZE_MAX);
    capture->snap_size = number;
    if (!number_parse(count, UINT64_MAX, &capture->n_max))
        return cli_fail(EXIT_USAGE, "'-c %s': write how many packets to capture.", count);
    capture->port = argv[0];
    return EXIT_OK;
}

int command_capture(struct cli *cli, int argc, char **argv)
{
    static struct capture capture = {.doorbell_fd = -1, .signal_fd = -1};
    const char *file = NULL;
    sigset_t signals;
    int code;

    capture.cli = cli;
    code = parse_arguments(&capture, &argc, argv, &file);
    if (code)
        return code;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    capture.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    code = start(&capture);
    if (!code)
        code = open_output(&capture, file); /* not before: what the file holds goes by that */
    if (!code) {
        pcapng_write_start(capture.stream, capture.port, capture.snap_size);
        code = run(&capture);
        code = finish(&capture, file, code);
    }
    packet_ring_unmap(&capture.memory);
    if (capture.doorbell_fd >= 0)
        close(capture.doorbell_fd);
    close(capture.signal_fd);
    if (capture.stream && capture.stream != stdout)
        fclose(capture.stream);
    return code;
}
