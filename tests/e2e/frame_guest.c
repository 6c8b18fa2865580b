/* SPDX-License-Identifier: Apache-2.0 */

/*
 * frame_guest NAME=SOCKET...: plays a guest behind each vhost-user socket, on which a switch connects to it.
 *
 * Commands on standard input, one a line:
 *
 *     send GUEST HEX...            these frames, in this order
 *     stream GUEST WINDOW HEX      the frame again and again, numbered, WINDOW of them under way at a time
 *     stop                         ends the stream
 *     report                       what there is to say of the stream
 *
 * and what it says on standard output:
 *
 *     up GUEST, down GUEST         a switch has connected to the guest, or is gone
 *     frame GUEST HEX              received, unless it is one of a stream
 *     sent N                       answers "send" and "stop": the frames sent by it
 *     stream SENT RECEIVED         answers "report", and before it, for each guest and all numbers that came in without a gap:
 *     run GUEST FIRST LAST         a frame lost, repeated or out of order breaks a run
 *
 * A stream is as fast as its frames arrive, so nothing is lost for want of room, however slow the machine is. Its frames
 * end with a mark and their number. Ends with its standard input.
 */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/guest/guest.h"

#define GUESTS_MAX 8
#define BATCH 32
#define FRAME_SIZE_MAX 2048
#define RUNS_MAX 4096
#define CONNECT_MS 60000
#define SEND_MS 60000
#define LINE_SIZE_MAX (1 << 20)

static const char mark[8] = "numbered";
#define TRAILER_SIZE (sizeof mark + sizeof(uint64_t))

struct run {
    uint64_t first, last;
};

struct player {
    const char *name;
    struct guest guest;
    bool is_up;
    unsigned n_runs;
    struct run runs[RUNS_MAX];
};

static struct player players[GUESTS_MAX];
static unsigned n_players;

static struct {
    struct player *sender; /* NULL: none is under way */
    uint8_t frame[FRAME_SIZE_MAX];
    uint32_t size;
    uint64_t window, n_sent, n_received;
} stream;

static struct player *find_player(const char *name)
{
    for (unsigned i = 0; name && i < n_players; i++)
        if (strcmp(players[i].name, name) == 0)
            return &players[i];
    errx(2, "there is no guest '%s'", name ? name : "");
}

static uint32_t read_hex(const char *text, uint8_t *bytes)
{
    uint32_t size = 0;
    unsigned byte;

    for (; text && sscanf(text, "%2x", &byte) == 1; text += 2) {
        if (size == FRAME_SIZE_MAX)
            errx(2, "a frame has more than %d bytes", FRAME_SIZE_MAX);
        bytes[size++] = (uint8_t)byte;
    }
    if (!size || *text)
        errx(2, "not a frame: '%s'", text ? text : "");
    return size;
}

static void put_frame(struct virtqueue *queue, struct virtqueue_buffer *buffer, const uint8_t *frame,
                      uint32_t size)
{
    memset(buffer->start, 0, queue->header_size);
    memcpy(buffer->start + queue->header_size, frame, size);
    buffer->size = queue->header_size + size;
}

static void send_frame(struct player *player, const char *hex)
{
    struct virtqueue *queue = guest_send_queue(&player->guest, 0);
    struct virtqueue_buffer buffer;
    uint8_t frame[FRAME_SIZE_MAX];
    uint32_t size = read_hex(hex, frame);

    while (!virtqueue_take(queue, &buffer, 1))
        if (!virtqueue_wait(queue, SEND_MS))
            errx(1, "nobody takes the frames of %s", player->name);
    put_frame(queue, &buffer, frame, size);
    virtqueue_post(queue, &buffer, 1);
}

/* As much of the stream as the window and the ring allow. */
static void stream_on(void)
{
    struct virtqueue *queue = guest_send_queue(&stream.sender->guest, 0);
    struct virtqueue_buffer buffers[BATCH];
    int64_t room = (int64_t)(stream.window - (stream.n_sent - stream.n_received));
    uint16_t n;

    if (room <= 0)
        return;
    n = virtqueue_take(queue, buffers, room < BATCH ? (uint16_t)room : BATCH);
    for (uint16_t i = 0; i < n; i++) {
        memcpy(stream.frame + stream.size - sizeof stream.n_sent, &stream.n_sent, sizeof stream.n_sent);
        put_frame(queue, &buffers[i], stream.frame, stream.size);
        stream.n_sent++;
    }
    if (n)
        virtqueue_post(queue, buffers, n);
}

static void start_stream(struct player *sender, const char *window, const char *hex)
{
    stream.size = read_hex(hex, stream.frame);
    stream.window = window ? strtoull(window, NULL, 10) : 0;
    stream.n_sent = stream.n_received = 0;
    if (stream.size + TRAILER_SIZE > FRAME_SIZE_MAX)
        errx(2, "no room for the number in a frame of %u bytes", stream.size);
    memcpy(stream.frame + stream.size, mark, sizeof mark);
    stream.size += TRAILER_SIZE;
    for (unsigned i = 0; i < n_players; i++)
        players[i].n_runs = 0;
    stream.sender = sender;
}

static void note_number(struct player *player, uint64_t number)
{
    stream.n_received++;
    if (player->n_runs && number == player->runs[player->n_runs - 1].last + 1) {
        player->runs[player->n_runs - 1].last = number;
        return;
    }
    if (player->n_runs == RUNS_MAX)
        errx(1, "the stream arrives in more than %d pieces", RUNS_MAX);
    player->runs[player->n_runs++] = (struct run){number, number};
}

static void note_frame(struct player *player, const uint8_t *frame, uint32_t size)
{
    const uint8_t *trailer = frame + size - TRAILER_SIZE;
    uint64_t number;

    if (size > TRAILER_SIZE && memcmp(trailer, mark, sizeof mark) == 0) {
        memcpy(&number, trailer + sizeof mark, sizeof number);
        note_number(player, number);
        return;
    }
    printf("frame %s ", player->name);
    for (uint32_t i = 0; i < size; i++)
        printf("%02x", frame[i]);
    putchar('\n');
}

/* Takes what has arrived; every frame fits one buffer. Returns whether there was anything. */
static bool receive(struct player *player)
{
    struct virtqueue *queue = guest_receive_queue(&player->guest, 0);
    struct virtqueue_buffer buffers[BATCH];
    uint16_t n = virtqueue_take(queue, buffers, BATCH);

    if (queue->is_broken)
        errx(1, "the switch broke the receive ring of %s", player->name);
    for (uint16_t i = 0; i < n; i++)
        if (buffers[i].size > queue->header_size)
            note_frame(player, buffers[i].start + queue->header_size, buffers[i].size - queue->header_size);
    if (n)
        virtqueue_post(queue, buffers, n);
    return n > 0;
}

static void report(void)
{
    for (unsigned i = 0; i < n_players; i++)
        for (unsigned j = 0; j < players[i].n_runs; j++)
            printf("run %s %" PRIu64 " %" PRIu64 "\n", players[i].name, players[i].runs[j].first,
                   players[i].runs[j].last);
    printf("stream %" PRIu64 " %" PRIu64 "\n", stream.n_sent, stream.n_received);
}

static void obey(char *line)
{
    char *command = strtok(line, " \n"), *hex;
    unsigned n = 0;

    if (!command)
        return;
    if (strcmp(command, "send") == 0) {
        struct player *player = find_player(strtok(NULL, " \n"));

        while ((hex = strtok(NULL, " \n"))) {
            send_frame(player, hex);
            n++;
        }
        printf("sent %u\n", n);
    } else if (strcmp(command, "stream") == 0) {
        struct player *player = find_player(strtok(NULL, " \n"));
        const char *window = strtok(NULL, " \n");

        start_stream(player, window, strtok(NULL, " \n"));
    } else if (strcmp(command, "stop") == 0) {
        stream.sender = NULL;
        printf("sent %" PRIu64 "\n", stream.n_sent);
    } else if (strcmp(command, "report") == 0) {
        report();
    } else {
        errx(2, "there is no command '%s'", command);
    }
}

/* Executes the lines that are there. Returns false at the end of input. */
static bool read_commands(void)
{
    static char text[LINE_SIZE_MAX];
    static size_t size;
    ssize_t n = read(STDIN_FILENO, text + size, sizeof text - size);
    char *line = text, *end;

    if (n <= 0)
        return n < 0 && errno == EINTR;
    size += (size_t)n;
    while ((end = memchr(line, '\n', size - (size_t)(line - text)))) {
        *end = '\0';
        obey(line);
        line = end + 1;
    }
    size -= (size_t)(line - text);
    memmove(text, line, size);
    if (size == sizeof text)
        errx(2, "a line is too long");
    return true;
}

/* Takes in who knocks, and sees who has gone. */
static void look_at_connection(struct player *player)
{
    struct error error;

    if (player->is_up && !guest_is_connected(&player->guest)) {
        guest_disconnect(&player->guest);
        player->is_up = false;
        printf("down %s\n", player->name);
    } else if (!player->is_up && !guest_connect(&player->guest, CONNECT_MS, &error)) {
        virtqueue_want_call(guest_receive_queue(&player->guest, 0), true);
        player->is_up = true;
        printf("up %s\n", player->name);
    } /* else it hung up at once: a switch that looks whether we are there */
}

/* Waits for commands, connections, their ends and frames, or with a stream only looks for them. */
static bool await(void)
{
    struct pollfd fds[1 + 2 * GUESTS_MAX] = {{.fd = STDIN_FILENO, .events = POLLIN}};
    uint64_t count;

    for (unsigned i = 0; i < n_players; i++) {
        struct guest *guest = &players[i].guest;

        fds[1 + 2 * i] = (struct pollfd){
            .fd = players[i].is_up ? guest->frontend.fd : guest->frontend.listen_fd, .events = POLLIN};
        fds[2 + 2 * i] = (struct pollfd){.fd = players[i].is_up ? guest_receive_queue(guest, 0)->call_fd : -1,
                                         .events = POLLIN};
    }
    fflush(stdout);
    if (poll(fds, 1 + 2 * n_players, stream.sender ? 0 : -1) < 0)
        return errno == EINTR;
    for (unsigned i = 0; i < n_players; i++) {
        if (fds[1 + 2 * i].revents)
            look_at_connection(&players[i]);
        /* The event is taken before the frames: whatever comes later raises it again. */
        if (fds[2 + 2 * i].revents && read(fds[2 + 2 * i].fd, &count, sizeof count) < 0 && errno != EAGAIN)
            err(1, "call");
    }
    return !fds[0].revents || read_commands();
}

static void make_player(struct player *player, char *argument)
{
    char *path = strchr(argument, '=');
    struct guest_config config;
    struct error error;

    if (!path)
        errx(2, "'%s' is not NAME=SOCKET", argument);
    *path++ = '\0';
    player->name = argument;
    guest_config_default(&config, path);
    config.want_huge = false;
    config.receive = (struct virtqueue_config){.size = 1024, .pieces = 1, .buffer_size = FRAME_SIZE_MAX};
    config.send = config.receive;
    if (guest_create(&player->guest, &config, &error))
        errx(1, "%s", error.text);
    player->guest.frontend.timeout_ms = CONNECT_MS;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc - 1 > GUESTS_MAX)
        errx(2, "use: frame_guest NAME=SOCKET..., up to %d guests", GUESTS_MAX);
    for (; n_players < (unsigned)argc - 1; n_players++)
        make_player(&players[n_players], argv[1 + n_players]);
    printf("ready\n");
    do {
        if (stream.sender)
            stream_on();
        for (unsigned i = 0; i < n_players; i++)
            while (players[i].is_up && receive(&players[i]))
                continue;
    } while (await());
    for (unsigned i = 0; i < n_players; i++)
        guest_destroy(&players[i].guest);
    return 0;
}
