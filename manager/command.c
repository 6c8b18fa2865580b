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
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"

#define OUTPUT_SIZE 4096
#define SPELLED_SIZE 64 /* of a command in an error, which is to have room for the rest */
#define MESSAGE_SIZE_MAX 120
#define WORDS_MAX 64 /* of a program that another user runs */

extern char **environ;

/* Its standard output goes to 'output', else to 'errors', where its standard error goes. */
static int spawn(const char *const words[], int output, int errors, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    int code = posix_spawn_file_actions_init(&actions);

    if (code)
        return code;
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    code = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!code)
        code = posix_spawn_file_actions_adddup2(&actions, output >= 0 ? output : errors, STDOUT_FILENO);
    if (!code)
        code = posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
    if (!code)
        code = posix_spawnp(pid, words[0], &actions, &attributes, (char *const *)words, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

/* The same as another user, without any of our privileges. */
static int spawn_as(const char *user, const char *const words[], int output, int errors, pid_t *pid)
{
    const char *all[WORDS_MAX] = {"setpriv",       "--reuid",        user, "--regid", user,
                                  "--init-groups", "--no-new-privs", "--"};
    unsigned n = 8;

    if (!user || geteuid())
        return spawn(words, output, errors, pid);
    while (*words && n < WORDS_MAX - 1)
        all[n++] = *words++;
    return *words ? E2BIG : spawn(all, output, errors, pid);
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

/* The words as one would type them; the first ones, if they are too many. */
static const char *spell(const char *const words[], char text[SPELLED_SIZE])
{
    size_t size = 0;

    text[0] = '\0';
    for (; *words && size < SPELLED_SIZE - 1; words++)
        size += (size_t)snprintf(text + size, SPELLED_SIZE - size, "%s%s", size ? " " : "", *words);
    if (*words || size >= SPELLED_SIZE)
        strcpy(text + SPELLED_SIZE - 4, "...");
    return text;
}

/* Of a line that is too long the end, which says why. */
static const char *end_of(const char *line)
{
    size_t size = strlen(line);

    return size > MESSAGE_SIZE_MAX ? line + size - MESSAGE_SIZE_MAX : line;
}

/* Reads what went to standard output. */
static int take_output(int fd, const struct command *command, struct error *error)
{
    char spelled[SPELLED_SIZE];
    ssize_t got = pread(fd, command->output, command->output_size, 0);

    if (got < 0)
        return error_set(error, errno, "What '%s' printed cannot be read: %s.",
                         spell(command->words, spelled), strerror(errno));
    if ((size_t)got == command->output_size)
        return error_set(error, EMSGSIZE, "'%s' printed more than %zu bytes.", spell(command->words, spelled),
                         command->output_size - 1);
    command->output[got] = '\0';
    return 0;
}

/* Waits for the end of a program whose standard error comes from 'fd'. */
static int wait_for_end(const struct command *command, pid_t pid, int fd, struct error *error)
{
    char errors[OUTPUT_SIZE] = "", spelled[SPELLED_SIZE];
    bool in_time = read_output(fd, errors);
    int status;

    if (!in_time)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!in_time)
        return error_set(error, ETIMEDOUT, "'%s' was not done within %d s.", spell(command->words, spelled),
                         COMMAND_WAIT_MS / 1000);
    if (status) {
        const char *line = errors[0] ? last_line(errors) : "it does not say why", *end = end_of(line);

        return error_set(error, EIO, "'%s' failed: %s%s.", spell(command->words, spelled),
                         end > line ? "..." : "", end);
    }
    return 0;
}

int command_run_with(const struct command *command, struct error *error)
{
    int pipe_fds[2] = {-1, -1}, output = -1, code = 0;
    char spelled[SPELLED_SIZE];
    pid_t pid;

    if (command->output)
        output = memfd_create("output", MFD_CLOEXEC);
    if ((command->output && output < 0) || pipe2(pipe_fds, O_CLOEXEC))
        code = errno;
    if (!code)
        code = spawn_as(command->user, command->words, output, pipe_fds[1], &pid);
    close(pipe_fds[1]);
    if (code)
        error_set(error, code, "'%s' cannot be run: %s.", spell(command->words, spelled), strerror(code));
    else
        code = wait_for_end(command, pid, pipe_fds[0], error);
    if (!code && command->output)
        code = take_output(output, command, error);
    close(pipe_fds[0]);
    close(output);
    return code;
}

int command_run(const char *const words[], struct error *error)
{
    return command_run_with(&(struct command){.words = words}, error);
}
