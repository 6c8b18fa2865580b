/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/console.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define TYPED_MAX 4096 /* bytes that the guest has not taken yet; what is typed beyond them is lost */

struct console {
    int socket, input, output, signals;
    char typed[TYPED_MAX];
    size_t n_typed;
};

bool console_is_taken(const char *path)
{
    FILE *file = fopen("/proc/net/unix", "re");
    char line[512];
    bool taken = false;

    /* Num RefCount Protocol Flags Type St Inode Path; state 3 is that of accepted sockets, which have the listener's path. */
    while (file && !taken && fgets(line, sizeof line, file)) {
        unsigned state;
        int place = 0;

        line[strcspn(line, "\n")] = '\0';
        taken = sscanf(line, "%*s %*s %*s %*s %*s %x %*s %n", &state, &place) == 1 && place && state == 3 &&
                !strcmp(line + place, path);
    }
    if (file)
        fclose(file);
    return taken;
}

static int connect_to(const char *path, int *result, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, code;

    if (strlen(path) >= sizeof address.sun_path)
        return error_set(error, ENAMETOOLONG, "The path of the console's socket, %s, is too long.", path);
    if (console_is_taken(path))
        return error_set(error, EBUSY, "Somebody else is attached to the console %s.", path);
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && !connect(fd, (struct sockaddr *)&address, sizeof address)) {
        *result = fd;
        return 0;
    }
    code = errno == EAGAIN ? EBUSY : errno;
    if (fd >= 0)
        close(fd);
    return error_set(error, code, "The console %s cannot be opened: %s; does the machine run?", path,
                     strerror(code));
}

static bool write_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t written = write(fd, data, size);

        if (written < 0 && errno == EAGAIN)
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        else if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        }
    }
    return true;
}

/* Takes what is typed. Returns false at the escape, or the end. */
static bool take_typed(struct console *console)
{
    char piece[1024];
    ssize_t got = read(console->input, piece, sizeof piece);
    const char *escape;
    size_t size;

    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (got <= 0)
        return false;
    escape = memchr(piece, CONSOLE_ESCAPE, (size_t)got);
    size = escape ? (size_t)(escape - piece) : (size_t)got;
    if (size > sizeof console->typed - console->n_typed)
        size = sizeof console->typed - console->n_typed;
    memcpy(console->typed + console->n_typed, piece, size);
    console->n_typed += size;
    return !escape;
}

/* Gives the guest what it takes. Returns false when it is not there any more. */
static bool give_typed(struct console *console)
{
    ssize_t sent = send(console->socket, console->typed, console->n_typed, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (sent < 0)
        return errno == EAGAIN || errno == EINTR;
    console->n_typed -= (size_t)sent;
    memmove(console->typed, console->typed + sent, console->n_typed);
    return true;
}

/* Shows what the guest prints. Returns false when it is not there any more. */
static bool show_printed(struct console *console)
{
    char piece[16384];
    ssize_t got = recv(console->socket, piece, sizeof piece, MSG_DONTWAIT);

    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    return got && write_all(console->output, piece, (size_t)got);
}

static int serve(struct console *console, struct error *error)
{
    bool goes_on = true;

    while (goes_on) {
        struct pollfd ready[] = {
            {.fd = console->socket, .events = (short)(POLLIN | (console->n_typed ? POLLOUT : 0))},
            {.fd = console->input, .events = POLLIN},
            {.fd = console->signals, .events = POLLIN},
        };

        if (poll(ready, 3, -1) < 0 && errno != EINTR)
            return error_set(error, errno, "The console cannot be waited for: %s.", strerror(errno));
        if (ready[2].revents)
            return 0;
        if (ready[1].revents)
            goes_on = take_typed(console);
        if ((ready[0].revents & (POLLIN | POLLHUP | POLLERR) && !show_printed(console)) ||
            (console->n_typed && !give_typed(console)))
            return error_set(error, EPIPE, "The machine has ended.");
    }
    return 0;
}

int console_attach(const char *path, int input, int output, struct error *error)
{
    struct console console = {.socket = -1, .input = input, .output = output};
    struct termios before, raw;
    bool terminal = !tcgetattr(input, &before);
    sigset_t ends, old;
    int code = connect_to(path, &console.socket, error);

    if (code)
        return code;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, &old);
    console.signals = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
    if (console.signals < 0) {
        code = error_set(error, errno, "Signals cannot be waited for: %s.", strerror(errno));
    } else {
        if (terminal) {
            raw = before;
            cfmakeraw(&raw);
            tcsetattr(input, TCSADRAIN, &raw);
        }
        code = serve(&console, error);
        if (terminal)
            tcsetattr(input, TCSADRAIN, &before);
        while (read(console.signals, &(struct signalfd_siginfo){0}, sizeof(struct signalfd_siginfo)) > 0)
            ; /* it has done its work */
        close(console.signals);
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    close(console.socket);
    return code;
}
