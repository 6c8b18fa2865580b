/* SPDX-License-Identifier: Apache-2.0 */
/* A terminal (a pty) at a console that is played here. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/console.h"

#define WAIT_MS 20000

static char path[108];
static int listener, machine, terminal;
static pid_t pid;

/* A process at the terminal, attached to the console; its exit status is what console_attach() returned. */
static void attach(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(path, sizeof path, "/tmp/console-test.%d", getpid());
    unlink(path);
    strcpy(address.sun_path, path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(bind(listener, (struct sockaddr *)&address, sizeof address), errno);
    assert_return_code(listen(listener, 1), errno);
    pid = forkpty(&terminal, NULL, NULL, NULL);
    if (!pid)
        _exit(console_attach(path, STDIN_FILENO, STDOUT_FILENO, NULL));
    machine = accept(listener, NULL, NULL);
    assert_true(machine >= 0);
}

static int wait_end(void)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    close(machine);
    close(terminal);
    close(listener);
    unlink(path);
    return WEXITSTATUS(status);
}

static void type(const char *text, size_t size)
{
    assert_int_equal(write(terminal, text, size), size);
}

static void expect(int fd, const char *text)
{
    char seen[256] = "";
    size_t size = 0;

    while (strcmp(seen, text) != 0) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        ssize_t got;

        assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
        got = read(fd, seen + size, sizeof seen - 1 - size);
        assert_true(got > 0);
        size += (size_t)got;
        seen[size] = '\0';
    }
}

/* Whether the terminal echoes; the other end sees that, too. */
static bool is_cooked(void)
{
    struct termios now;

    assert_int_equal(tcgetattr(terminal, &now), 0);
    return now.c_lflag & ECHO && now.c_lflag & ICANON;
}

static void both_ways(void **state)
{
    attach();
    assert_int_equal(write(machine, "login: ", 7), 7);
    expect(terminal, "login: ");
    assert_false(is_cooked());
    type("ls\r\003", 4); /* Ctrl-C is for the guest */
    expect(machine, "ls\r\003");
    assert_true(console_is_taken(path));
    assert_int_equal(console_attach(path, STDIN_FILENO, STDOUT_FILENO, NULL), EBUSY);
    type("bye\x1dnot this", 12);
    expect(machine, "bye");
    assert_int_equal(wait_end(), 0);
    assert_false(console_is_taken(path));
}

static void terminal_is_given_back(void **state)
{
    attach();
    assert_int_equal(write(machine, "x", 1), 1);
    expect(terminal, "x");
    assert_false(is_cooked());
    kill(pid, SIGTERM);
    while (recv(machine, (char[1]){0}, 1, 0) > 0) /* it hangs up when the terminal is as it was */
        ;
    assert_true(is_cooked());
    assert_int_equal(wait_end(), 0);
}

static void machine_ends(void **state)
{
    attach();
    assert_int_equal(write(machine, "last words", 10), 10);
    shutdown(machine, SHUT_RDWR);
    expect(terminal, "last words");
    assert_int_equal(wait_end(), EPIPE);
}

/* A guest that takes nothing keeps nobody from leaving. */
static void guest_hangs(void **state)
{
    char much[1024];

    attach();
    memset(much, 'x', sizeof much);
    for (unsigned i = 0; i < 1024; i++)
        type(much, sizeof much);
    type("\x1d", 1);
    assert_int_equal(wait_end(), 0);
}

static void nobody_there(void **state)
{
    struct error error;

    assert_int_equal(console_attach("/nonexistent/console", 0, 1, &error), ENOENT);
    assert_string_equal(
        error.text, "The console /nonexistent/console cannot be opened: No such file or directory; does the "
                    "machine run?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways),    cmocka_unit_test(terminal_is_given_back),
        cmocka_unit_test(machine_ends), cmocka_unit_test(guest_hangs),
        cmocka_unit_test(nobody_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
