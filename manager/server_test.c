/* SPDX-License-Identifier: Apache-2.0 */
/* The socket, and peers who send half of things, too much, or do not read. */
#include "manager/server.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/server-test.XXXXXX";
static char path[64];
static uv_loop_t loop;
static struct server *server;
static unsigned n_requests;
static uint64_t last_peer;
static struct request last; /* without its spec */

/* Answers, but to 'events'; to 'usage' with a megabyte. */
static void on_request(uint64_t peer, const struct request *request, void *argument)
{
    n_requests++;
    last_peer = peer;
    last = *request;
    last.spec = NULL;
    if (request->method == REQUEST_USAGE) {
        char *large = malloc(1 << 20);

        memset(large, 'x', (1 << 20) - 1);
        large[(1 << 20) - 1] = '\0';
        server_send(server, peer, json_pack("{s:I, s:s}", "id", (json_int_t)request->id, "result", large));
        free(large);
    } else if (request->method != REQUEST_EVENTS) {
        server_send(server, peer, json_pack("{s:I, s:s}", "id", (json_int_t)request->id, "result", "done"));
    }
}

static int open_server(void **state)
{
    struct error error;

    n_requests = 0;
    uv_loop_init(&loop);
    if (server_open(&server, &loop, path, "", on_request, NULL, &error))
        fail_msg("%s", error.text);
    return 0;
}

static int close_server(void **state)
{
    server_close(server);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_not_equal(access(path, F_OK), 0);
    return 0;
}

static int join(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    strcpy(address.sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void put(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Runs the server until a line, or the end ("") has come. */
static const char *get(int fd)
{
    static char line[512];
    size_t size = 0;

    for (;;) {
        ssize_t got = recv(fd, line + size, 1, 0);

        if (got == 0 || (got < 0 && errno != EAGAIN))
            break;
        if (got < 0)
            uv_run(&loop, UV_RUN_ONCE);
        else if (line[size++] == '\n' || size == sizeof line - 1)
            break;
    }
    line[size] = '\0';
    return line;
}

static void requests_are_answered(void **state)
{
    struct stat status;
    int fd = join();

    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    put(fd, "{\"id\":1,\"method\":\"list\"}\n{\"id\":2,\"method\":\"inspect\",\"params\":{\"slice\":\"a\"}}\n");
    assert_string_equal(get(fd), "{\"id\":1,\"result\":\"done\"}\n");
    assert_string_equal(get(fd), "{\"id\":2,\"result\":\"done\"}\n");
    assert_string_equal(last.slice, "a");
    put(fd, "{\"id\":3,\"method\":\"fly\"}\n");
    assert_string_equal(
        get(fd), "{\"id\":3,\"error\":{\"code\":\"invalid\",\"text\":\"There is no method 'fly'.\"}}\n");
    put(fd, "\n");
    assert_non_null(
        strstr(get(fd), "{\"id\":0,\"error\":{\"code\":\"invalid\",\"text\":\"The request is no JSON"));
    put(fd, "{\"id\":4,\"meth");
    uv_run(&loop, UV_RUN_NOWAIT);
    put(fd, "od\":\"list\"}\n");
    assert_string_equal(get(fd), "{\"id\":4,\"result\":\"done\"}\n");
    close(fd);
}

static void answers_to_peers_that_have_gone(void **state)
{
    int fd = join();

    put(fd, "{\"id\":1,\"method\":\"events\"}\n");
    while (!n_requests)
        uv_run(&loop, UV_RUN_ONCE);
    assert_true(server_send(server, last_peer, json_object()));
    close(fd);
    uv_run(&loop, UV_RUN_ONCE);
    assert_false(server_send(server, last_peer, json_object()));
    fd = join();
    put(fd, "{\"id\":1,\"method\":\"list\"}\n");
    assert_string_equal(get(fd), "{\"id\":1,\"result\":\"done\"}\n");
    close(fd);
}

static void lines_without_end_are_refused(void **state)
{
    static char piece[65536];
    int fd = join();
    size_t sent = 0;
    ssize_t size = 0;

    memset(piece, ' ', sizeof piece);
    while (sent <= REQUEST_SIZE_MAX + sizeof piece) {
        size = send(fd, piece, sizeof piece, MSG_NOSIGNAL);
        if (size > 0)
            sent += (size_t)size;
        else if (errno != EAGAIN)
            break;
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_string_equal(
        get(fd), "{\"id\":0,\"error\":{\"code\":\"invalid\",\"text\":\"The request is too long.\"}}\n");
    assert_string_equal(get(fd), "");
    close(fd);
}

static void half_lines_time_out(void **state)
{
    int fd = join();

    put(fd, "{\"id\":1");
    assert_string_equal(get(fd), "");
    close(fd);
}

static void who_does_not_read_is_dropped(void **state)
{
    int fd = join(), other;

    for (unsigned i = 0; i < 3 * SERVER_OUTPUT_MAX >> 20; i++) {
        if (send(fd, "{\"id\":1,\"method\":\"usage\"}\n", 26, MSG_NOSIGNAL) < 0)
            break;
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_in_range(n_requests, 8, 12);
    other = join();
    put(other, "{\"id\":1,\"method\":\"list\"}\n");
    assert_string_equal(get(other), "{\"id\":1,\"result\":\"done\"}\n");
    close(other);
    close(fd);
}

static void too_many_are_turned_away(void **state)
{
    int fds[SERVER_PEERS_MAX + 1];

    for (unsigned i = 0; i <= SERVER_PEERS_MAX; i++) {
        fds[i] = join();
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_string_equal(get(fds[SERVER_PEERS_MAX]), "");
    put(fds[0], "{\"id\":1,\"method\":\"list\"}\n");
    assert_string_equal(get(fds[0]), "{\"id\":1,\"result\":\"done\"}\n");
    close(fds[0]);
    uv_run(&loop, UV_RUN_ONCE);
    fds[0] = join();
    put(fds[0], "{\"id\":1,\"method\":\"list\"}\n");
    assert_string_equal(get(fds[0]), "{\"id\":1,\"result\":\"done\"}\n");
    for (unsigned i = 0; i <= SERVER_PEERS_MAX; i++)
        close(fds[i]);
}

/* A second server does not take the first one's socket; a dead one's is replaced. */
static void sockets_of_the_living_stay(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct server *second;
    struct error error;
    uv_loop_t other;
    int fd, dead;

    uv_loop_init(&other);
    assert_int_equal(server_open(&second, &other, path, "", on_request, NULL, &error), EADDRINUSE);
    assert_int_equal(server_open(&second, &other, path, "no-such-group", on_request, NULL, &error), ENOENT);
    fd = join();
    put(fd, "{\"id\":1,\"method\":\"list\"}\n");
    assert_string_equal(get(fd), "{\"id\":1,\"result\":\"done\"}\n");
    close(fd);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/dead", folder);
    dead = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(dead, (struct sockaddr *)&address, sizeof address), 0);
    close(dead);
    assert_int_equal(server_open(&second, &other, address.sun_path, "", on_request, NULL, &error), 0);
    server_close(second);
    uv_run(&other, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&other), 0);
}

static int make_folder(void **state)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/socket", folder);
    return 0;
}

static int remove_folder(void **state)
{
    return rmdir(folder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_server, close_server)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_are_answered),         TEST(answers_to_peers_that_have_gone),
        TEST(lines_without_end_are_refused), TEST(half_lines_time_out),
        TEST(who_does_not_read_is_dropped),  TEST(too_many_are_turned_away),
        TEST(sockets_of_the_living_stay),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
