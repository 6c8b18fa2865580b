/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/arena.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define BURST 16
#define FRAME_SIZE 300
#define WAIT_S 60
/* Pools grow a little, and allocators keep what they have. Under the address sanitizer, freed memory is kept. */
#ifdef __SANITIZE_ADDRESS__
#define GROWTH_KIB_MAX (512u << 10)
#else
#define GROWTH_KIB_MAX (8u << 10)
#endif

/* One buffer from the device; false when none came in time. */
static bool take_one(struct virtqueue *queue, struct virtqueue_buffer *buffer)
{
    while (!virtqueue_take(queue, buffer, 1))
        if (!virtqueue_wait(queue, TEST_GUEST_WAIT_MS))
            return false;
    return true;
}

static void fill_frame(uint8_t *frame, uint64_t number)
{
    memset(frame, (uint8_t)number, FRAME_SIZE);
    memset(frame, 2, 12);
    memcpy(frame + 12, "\x88\xb5", 2); /* an EtherType for local experiments */
    memcpy(frame + 14, &number, sizeof number);
}

/* Sends frames numbered from '*number' on. Returns what went wrong, or NULL. */
static const char *exchange(struct guest *from, struct guest *to, unsigned n, uint64_t *number)
{
    struct virtqueue *send = guest_send_queue(from, 0), *receive = guest_receive_queue(to, 0);
    uint8_t expected[FRAME_SIZE];
    struct virtqueue_buffer buffer;

    for (unsigned i = 0; i < n; i++) {
        if (!take_one(send, &buffer))
            return "a buffer that was sent did not come back";
        buffer.size = send->header_size + FRAME_SIZE;
        memset(buffer.start, 0, send->header_size);
        fill_frame(buffer.start + send->header_size, *number + i);
        virtqueue_post(send, &buffer, 1);
    }
    for (unsigned i = 0; i < n; i++) {
        if (!take_one(receive, &buffer))
            return "a frame was lost";
        fill_frame(expected, (*number)++);
        if (buffer.size != receive->header_size + (uint32_t)FRAME_SIZE ||
            memcmp(buffer.start + receive->header_size, expected, FRAME_SIZE) != 0)
            return "a frame was changed, lost or out of order";
        virtqueue_post(receive, &buffer, 1);
    }
    return NULL;
}

static void *run_honest_guests(void *argument)
{
    struct arena *arena = argument;
    uint64_t numbers[2] = {0};

    while (!arena->stop) {
        const char *failure = exchange(&arena->honest[0], &arena->honest[1], BURST, &numbers[0]);

        if (!failure)
            failure = exchange(&arena->honest[1], &arena->honest[0], BURST, &numbers[1]);
        if (failure) {
            arena->failure = failure;
            break;
        }
        arena->n_rounds++;
    }
    return NULL;
}

static unsigned count_fds(pid_t pid)
{
    char path[64];
    unsigned n = 0;
    DIR *directory;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    directory = opendir(path);
    assert_non_null(directory);
    while (readdir(directory))
        n++;
    closedir(directory);
    return n;
}

static struct arena_holdings look(const struct arena *arena)
{
    struct arena_holdings holdings = {.n_fds = count_fds(arena->fast_path.pid)};
    char path[64], line[512];
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/status", (int)arena->fast_path.pid);
    file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        sscanf(line, "VmRSS: %lu", &holdings.resident_kib);
    fclose(file);
    snprintf(path, sizeof path, "/proc/%d/maps", (int)arena->fast_path.pid);
    file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        holdings.n_mappings += strstr(line, "memfd:guest") != NULL;
    fclose(file);
    return holdings;
}

static void create_honest(struct arena *arena, unsigned i)
{
    const char *name = i ? "honest2" : "honest1";
    struct guest_config config;

    test_guest_config(&arena->fast_path, name, &config);
    test_guest_create(&arena->honest[i], &config);
    fast_path_add_guest_port(&arena->fast_path, name, 0);
    test_guest_connect(&arena->honest[i]);
    fast_path_await_up(&arena->fast_path, name);
}

static void serve_once(struct arena *arena)
{
    struct guest_config config;
    struct guest guest;

    arena_config(arena, &config);
    arena_connect(arena, &guest, &config);
    fast_path_await_up(&arena->fast_path, "attacker");
    arena_echo(&guest, 100);
    guest_destroy(&guest);
    fast_path_await_reason(&arena->fast_path, "attacker", "no guest is connected");
}

void arena_open(struct arena *arena)
{
    memset(arena, 0, sizeof *arena);
    arena->fast_path.may_warn = true;
    fast_path_start(&arena->fast_path);
    for (unsigned i = 0; i < 2; i++)
        create_honest(arena, i);
    fast_path_add_listening_port(&arena->fast_path, "attacker", 2);
    fast_path_add_rule(&arena->fast_path, "in=honest1 actions=output:honest2");
    fast_path_add_rule(&arena->fast_path, "in=honest2 actions=output:honest1");
    fast_path_add_rule(&arena->fast_path, "in=attacker actions=output:attacker");
    assert_int_equal(pthread_create(&arena->thread, NULL, run_honest_guests, arena), 0);
    arena->before = look(arena);
    serve_once(arena);
    arena->before.resident_kib = look(arena).resident_kib;
}

void arena_close(struct arena *arena)
{
    arena->stop = true;
    pthread_join(arena->thread, NULL);
    for (unsigned i = 0; i < 2; i++)
        guest_destroy(&arena->honest[i]);
    fast_path_stop(&arena->fast_path);
}

void arena_config(const struct arena *arena, struct guest_config *config)
{
    test_guest_config(&arena->fast_path, "attacker", config);
    config->server = false;
    config->n_regions = 2;
    config->receive.size = config->send.size = 64;
}

void arena_connect(const struct arena *arena, struct guest *guest, const struct guest_config *config)
{
    time_t deadline = time(NULL) + WAIT_S;
    struct error error = {0};
    int code;

    test_guest_create(guest, config);
    do
        code = guest_connect(guest, TEST_GUEST_WAIT_MS, &error);
    while (code && time(NULL) < deadline);
    if (code)
        fast_path_fail(&arena->fast_path, "%s", error.text);
}

const char *arena_try_echo(struct guest *guest, unsigned n)
{
    const char *failure = NULL;
    uint64_t number = 0;

    for (unsigned done = 0; done < n && !failure; done += BURST)
        failure = exchange(guest, guest, BURST, &number);
    return failure;
}

void arena_echo(struct guest *guest, unsigned n)
{
    const char *failure = arena_try_echo(guest, n);

    if (failure)
        fail_msg("%s", failure);
}

void arena_await_rounds(struct arena *arena, uint64_t n)
{
    uint64_t wanted = arena->n_rounds + n;
    time_t deadline = time(NULL) + WAIT_S;

    while (arena->n_rounds < wanted && !arena->failure && time(NULL) < deadline)
        fast_path_drops(&arena->fast_path, "honest1", NULL); /* a question takes its time: no need to sleep */
    if (arena->failure)
        fast_path_fail(&arena->fast_path, "between the honest guests %s", arena->failure);
    if (arena->n_rounds < wanted)
        fast_path_fail(&arena->fast_path, "the honest guests stand still");
}

void arena_check(struct arena *arena)
{
    time_t deadline = time(NULL) + WAIT_S;
    struct arena_holdings now;

    assert_int_equal(kill(arena->fast_path.pid, 0), 0);
    arena_await_rounds(arena, 10);
    assert_int_equal(fast_path_drops(&arena->fast_path, "honest1", NULL), 0);
    assert_int_equal(fast_path_drops(&arena->fast_path, "honest2", NULL), 0);
    serve_once(arena);
    do
        now = look(arena);
    while ((now.n_fds > arena->before.n_fds || now.n_mappings > arena->before.n_mappings) &&
           time(NULL) < deadline);
    assert_int_equal(now.n_fds, arena->before.n_fds);
    assert_int_equal(now.n_mappings, arena->before.n_mappings);
    if (now.resident_kib > arena->before.resident_kib + GROWTH_KIB_MAX)
        fast_path_fail(&arena->fast_path, "the fast path has grown from %lu to %lu KiB",
                       arena->before.resident_kib, now.resident_kib);
}
