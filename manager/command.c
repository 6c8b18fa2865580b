/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"

#define OUTPUT_SIZE 4096

extern char **environ;

static int spawn(const char *const words[], int output, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    int code = posix_spawn_file_actions_init(&actions);

    if (code)
        return code;
    code = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!code)
        code = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (!code)
        code = posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    if (!code)
        code = posix_spawnp(pid, words[0], &actions, NULL, (char *const *)words, environ);
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

/* Reads the end of what a program prints, until it closes its output. Returns false when that takes too long. */
static bool read_output(int fd, char output[OUTPUT_SIZE])
{
    int64_t deadline = clock_ms() + COMMAND_WAIT_MS;
    size_t size = 0;

    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int64_t left = deadline - clock_ms();
        ssize_t got;

        if (left <= 0 || poll(&ready, 1, (int)left) == 0)
            return false;
        if (size == OUTPUT_SIZE - 1) { /* the end is what tells */
            memmove(output, output + OUTPUT_SIZE / 2, size - OUTPUT_SIZE / 2);
            size -= OUTPUT_SIZE / 2;
        }
        got = read(fd, output + size, OUTPUT_SIZE - 1 - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return true;
        size += (size_t)got;
        output[size] = '\0';
    }
}

/* The last line that is not empty, without what ends a sentence. */
static const char *last_line(char *output)
{
    size_t size = strlen(output);
    char *line;

    while (size && strchr("\n.", output[size - 1]))
        output[--size] = '\0';
    line = strrchr(output, '\n');
    return line ? line + 1 : output;
}

/* The words as one would type them, as far as they fit. */
static const char *spell(const char *const words[], char text[100])
{
    size_t size = 0;

    text[0] = '\0';
    for (; *words && size < 98; words++) {
        snprintf(text + size, 100 - size, "%s%s", size ? " " : "", *words);
        size = strlen(text);
    }
    return text;
}

int command_run(const char *const words[], struct error *error)
{
    char output[OUTPUT_SIZE] = "", spelled[100];
    int pipe_fds[2], status, code;
    bool in_time;
    pid_t pid;

    if (pipe2(pipe_fds, O_CLOEXEC))
        return error_set(error, errno, "'%s' cannot be run: %s.", spell(words, spelled), strerror(errno));
    code = spawn(words, pipe_fds[1], &pid);
    close(pipe_fds[1]);
    if (code) {
        close(pipe_fds[0]);
        return error_set(error, code, "'%s' cannot be run: %s.", spell(words, spelled), strerror(code));
    }
    in_time = read_output(pipe_fds[0], output);
    close(pipe_fds[0]);
    if (!in_time)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!in_time)
        return error_set(error, ETIMEDOUT, "'%s' was not done within %d s.", spell(words, spelled),
                         COMMAND_WAIT_MS / 1000);
    if (status)
        return error_set(error, EIO, "'%s' failed: %.120s.", spell(words, spelled),
                         output[0] ? last_line(output) : "it does not say why");
    return 0;
}
