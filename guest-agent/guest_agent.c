/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One JSON object a line, each way. An agent may have answers in its pipe for a client that has gone, so a client begins
 * with "guest-sync-delimited": the answer to that has the byte 0xff in front, which is nowhere in JSON, and the number that
 * we made up; everything before it is dropped unread. The agent, in turn, drops what is left of a request when it reads
 * our 0xff, though it complains of it first.
 */
#include "guest-agent/guest_agent.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "guest-agent/guest_agent_internal.h"
#include "lib/clock.h"

#define READ_SIZE 65536
#define TURN_MS 50 /* between two looks, so that it is worth while to let others have the channel */
#define DELIMITER '\xff'

struct guest_agent {
    int fd;
    char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* "": we cannot come back */
    char *line; /* what has come in and was not taken yet; grows as far as GUEST_AGENT_LINE_MAX */
    size_t size, room;
    size_t searched; /* bytes at the line's beginning in which there is no end of it */
    int signals;     /* for the command that runs; -1: none */
};

static int no_memory(struct error *error)
{
    return error_set(error, ENOMEM, "There is no memory for what the guest agent says.");
}

int guest_agent_adopt(struct guest_agent **result, int fd, struct error *error)
{
    struct guest_agent *agent = calloc(1, sizeof *agent);

    *result = agent;
    if (!agent) {
        close(fd);
        return no_memory(error);
    }
    agent->fd = fd;
    agent->signals = -1;
    return 0;
}

void guest_agent_pass_signals(struct guest_agent *agent, int signals)
{
    agent->signals = signals;
}

void guest_agent_close(struct guest_agent *agent)
{
    if (!agent)
        return;
    if (agent->fd >= 0)
        close(agent->fd);
    free(agent->line);
    free(agent);
}

/* Waits for the socket, until 'deadline' at most, also when there is nothing to wait for: a flood ends then, too. */
static int wait_for(const struct guest_agent *agent, short events, int64_t deadline, struct error *error)
{
    for (;;) {
        struct pollfd ready = {.fd = agent->fd, .events = events};
        int64_t left = deadline - clock_ms();
        int n = left > 0 ? poll(&ready, 1, left < 60000 ? (int)left : 60000) : 0;

        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return error_set(error, errno, "Nobody can wait for the guest agent: %s.", strerror(errno));
        if (left <= 0)
            return error_set(
                error, ETIMEDOUT,
                "The guest agent does not answer: is the guest still booting, does qemu-ga run in it, "
                "has somebody else the channel?");
    }
}

static int send_all(struct guest_agent *agent, const char *data, size_t size, int64_t deadline,
                    struct error *error)
{
    while (size) {
        ssize_t sent = send(agent->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        int code;

        if (sent >= 0) {
            data += sent;
            size -= (size_t)sent;
        } else if (errno == EAGAIN) {
            code = wait_for(agent, POLLOUT, deadline, error);
            if (code)
                return code;
        } else if (errno != EINTR) {
            return error_set(error, EPIPE, "The guest agent cannot be asked: %s; has the machine ended?",
                             strerror(errno));
        }
    }
    return 0;
}

static int make_room(struct guest_agent *agent, struct error *error)
{
    size_t room = agent->room ? agent->room * 2 : READ_SIZE;
    char *line;

    if (agent->size < agent->room)
        return 0;
    if (agent->room >= GUEST_AGENT_LINE_MAX)
        return error_set(error, EMSGSIZE, "The guest agent's answer has more than %u MiB.",
                         GUEST_AGENT_LINE_MAX >> 20);
    if (room > GUEST_AGENT_LINE_MAX)
        room = GUEST_AGENT_LINE_MAX;
    line = realloc(agent->line, room);
    if (!line)
        return no_memory(error);
    agent->line = line;
    agent->room = room;
    return 0;
}

/* Reads what has come in, at least one byte. */
static int receive(struct guest_agent *agent, int64_t deadline, struct error *error)
{
    int code = make_room(agent, error);

    while (!code) {
        ssize_t got;

        code = wait_for(agent, POLLIN, deadline, error);
        if (code)
            break;
        got = recv(agent->fd, agent->line + agent->size, agent->room - agent->size, MSG_DONTWAIT);
        if (got > 0) {
            agent->size += (size_t)got;
            break;
        }
        if (got == 0 || (errno != EAGAIN && errno != EINTR))
            code = error_set(error, EPIPE, "The guest agent's channel was closed: has the machine ended?");
    }
    return code;
}

static void drop(struct guest_agent *agent, size_t size)
{
    agent->size -= size;
    memmove(agent->line, agent->line + size, agent->size);
    agent->searched = 0;
}

/* Receives a line, and parses it. '*reply' is to be freed. */
static int receive_json(struct guest_agent *agent, int64_t deadline, json_t **reply, struct error *error)
{
    json_error_t json_error;
    char *end = NULL;
    int code;

    while (!end) {
        if (agent->searched < agent->size)
            end = memchr(agent->line + agent->searched, '\n', agent->size - agent->searched);
        agent->searched = agent->size;
        code = end ? 0 : receive(agent, deadline, error);
        if (code)
            return code;
    }
    *reply = json_loadb(agent->line, (size_t)(end - agent->line), JSON_ALLOW_NUL, &json_error);
    drop(agent, (size_t)(end + 1 - agent->line));
    if (!json_is_object(*reply)) {
        json_decref(*reply);
        return error_set(error, EPROTO, "The guest agent's answer is no JSON object.");
    }
    return 0;
}

/* Drops everything up to the next delimiter. */
static int skip_to_delimiter(struct guest_agent *agent, int64_t deadline, struct error *error)
{
    for (;;) {
        char *found = agent->size ? memchr(agent->line, DELIMITER, agent->size) : NULL;
        int code;

        if (found) {
            drop(agent, (size_t)(found + 1 - agent->line));
            return 0;
        }
        agent->size = agent->searched = 0;
        code = receive(agent, deadline, error);
        if (code)
            return code;
    }
}

/* Sends a request, with 'before' in front. 'arguments' (may be NULL: none) is taken over. */
static int send_request(struct guest_agent *agent, const char *before, const char *name, json_t *arguments,
                        int64_t deadline, struct error *error)
{
    json_t *request = json_pack("{s:s, s:o*}", "execute", name, "arguments", arguments);
    char *text = request ? json_dumps(request, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    int code;

    json_decref(request);
    if (!text)
        return error_set(error, ENOMEM, "There is no memory for what the guest agent is asked.");
    if (strlen(text) > GUEST_AGENT_REQUEST_MAX) {
        free(text);
        return error_set(error, E2BIG, "The command for the guest agent has more than %u KiB.",
                         GUEST_AGENT_REQUEST_MAX >> 10);
    }
    code = send_all(agent, before, strlen(before), deadline, error);
    if (!code)
        code = send_all(agent, text, strlen(text), deadline, error);
    if (!code)
        code = send_all(agent, "\n", 1, deadline, error);
    free(text);
    return code;
}

/* An error as the agent tells it, without what could do harm on a terminal. */
static int fail_as_told(const char *why, struct error *error)
{
    char text[150];
    size_t size = 0;

    for (; why[size] && size < sizeof text - 1; size++)
        text[size] = (char)(why[size] < ' ' || why[size] > '~' ? '?' : why[size]);
    while (size && text[size - 1] == '.')
        size--;
    text[size] = '\0';
    return error_set(error, EINVAL, "The guest agent says: %s.", text);
}

/* What the agent returned, to be freed; or an error, if that is its answer. */
static int take_return(json_t *reply, json_t **value, struct error *error)
{
    const json_t *failure = json_object_get(reply, "error");
    const char *why = json_string_value(json_object_get(failure, "desc"));

    *value = json_incref(json_object_get(reply, "return"));
    if (*value && !failure)
        return 0;
    json_decref(*value);
    *value = NULL;
    if (why)
        return fail_as_told(why, error);
    return error_set(error, EPROTO, "The guest agent's answer is neither a result nor an error.");
}

/* Asks and waits for the answer: '*value', to be freed. */
static int call(struct guest_agent *agent, const char *name, json_t *arguments, json_t **value,
                struct error *error)
{
    int64_t deadline = clock_ms() + GUEST_AGENT_REPLY_MS;
    json_t *reply = NULL;
    int code = send_request(agent, "", name, arguments, deadline, error);

    *value = NULL;
    if (!code)
        code = receive_json(agent, deadline, &reply, error);
    if (!code) {
        code = take_return(reply, value, error);
        json_decref(reply);
    }
    return code;
}

/* See the beginning of this file. */
static int synchronize(struct guest_agent *agent, int64_t deadline, struct error *error)
{
    uint32_t id = 0;
    int code;

    if (getrandom(&id, sizeof id, 0) != sizeof id)
        return error_set(error, EIO, "The system gives no random numbers.");
    id >>= 1;
    code = send_request(agent, "\xff", "guest-sync-delimited", json_pack("{s:I}", "id", (json_int_t)id),
                        deadline, error);
    while (!code) {
        json_t *reply = NULL;
        bool ours;

        code = skip_to_delimiter(agent, deadline, error);
        if (!code)
            code = receive_json(agent, deadline, &reply, error);
        if (code == EPROTO) { /* what is left of somebody else's */
            code = 0;
            continue;
        }
        ours = !code && json_is_integer(json_object_get(reply, "return")) &&
               json_integer_value(json_object_get(reply, "return")) == id;
        if (!code)
            json_decref(reply);
        if (ours)
            return 0;
    }
    return code;
}

static int connect_to(const char *path, int *result, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof address.sun_path)
        return error_set(error, ENAMETOOLONG, "The path of the guest agent's socket, %s, is too long.", path);
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) {
        int code = errno == EAGAIN ? EBUSY : errno; /* the queue of those who wait is full */

        if (fd >= 0)
            close(fd);
        return error_set(error, code, "The guest agent's socket %s cannot be opened: %s.", path,
                         strerror(code));
    }
    *result = fd;
    return 0;
}

int guest_agent_open(struct guest_agent **result, const char *path, unsigned wait_ms, struct error *error)
{
    int64_t deadline = clock_ms() + wait_ms;
    int fd = -1, code;

    *result = NULL;
    code = connect_to(path, &fd, error);
    if (!code)
        code = guest_agent_adopt(result, fd, error);
    if (!code)
        strcpy((*result)->path, path);
    if (!code)
        code = synchronize(*result, deadline, error);
    if (code) {
        guest_agent_close(*result);
        *result = NULL;
    }
    return code;
}

int guest_agent_ping(struct guest_agent *agent, struct error *error)
{
    json_t *value;
    int code = call(agent, "guest-ping", NULL, &value, error);

    json_decref(value);
    return code;
}

static json_t *exec_arguments(const char *const words[])
{
    json_t *rest = json_array();

    for (const char *const *word = words + 1; *word; word++)
        if (json_array_append_new(rest, json_string(*word))) {
            json_decref(rest);
            return NULL;
        }
    return json_pack("{s:s, s:o, s:b}", "path", words[0], "arg", rest, "capture-output", 1);
}

/* Decodes an output of a command, if the answer has it. */
static bool take_output(const json_t *status, const char *name, char **bytes, size_t *size)
{
    const json_t *text = json_object_get(status, name);

    if (text && !json_is_string(text))
        return false;
    *bytes = base64_decode(text ? json_string_value(text) : "", json_string_length(text), size);
    return *bytes;
}

static int take_result(const json_t *status, struct guest_exec_result *result, struct error *error)
{
    const json_t *code = json_object_get(status, "exitcode"), *signal = json_object_get(status, "signal");
    json_int_t number = json_integer_value(signal ? signal : code);

    if ((!json_is_integer(code) && !json_is_integer(signal)) || number < 0 || number > (signal ? 127 : 255) ||
        !take_output(status, "out-data", &result->output, &result->output_size) ||
        !take_output(status, "err-data", &result->errors, &result->errors_size)) {
        guest_exec_result_free(result);
        return error_set(error, EPROTO, "The guest agent does not say how the command has ended.");
    }
    result->status = (int)number + (signal ? 128 : 0);
    result->truncated = json_is_true(json_object_get(status, "out-truncated")) ||
                        json_is_true(json_object_get(status, "err-truncated"));
    return 0;
}

/* Looks whether the command 'pid' has ended. */
static int look(struct guest_agent *agent, json_int_t pid, bool *ended, struct guest_exec_result *result,
                struct error *error)
{
    json_t *status;
    int code = call(agent, "guest-exec-status", json_pack("{s:I}", "pid", pid), &status, error);

    if (code)
        return code;
    *ended = json_is_true(json_object_get(status, "exited"));
    if (*ended)
        code = take_result(status, result, error);
    else if (!json_is_false(json_object_get(status, "exited")))
        code = error_set(error, EPROTO, "The guest agent does not say whether the command has ended.");
    json_decref(status);
    return code;
}

/* Gives the command 'pid' the signals that have come for it. */
static int pass_signals(struct guest_agent *agent, json_int_t pid, struct error *error)
{
    struct signalfd_siginfo info;
    int code = 0;

    while (!code && agent->signals >= 0 && read(agent->signals, &info, sizeof info) == sizeof info) {
        json_t *arguments =
            json_pack("{s:s, s:[o, o]}", "path", "kill", "arg", json_sprintf("-%u", info.ssi_signo),
                      json_sprintf("%" JSON_INTEGER_FORMAT, pid));
        json_t *started = NULL;

        code = call(agent, "guest-exec", arguments, &started, error);
        json_decref(started);
    }
    return code;
}

/* Waits until the next look, or until there is a signal to be passed on. */
static void pause_for(const struct guest_agent *agent, int64_t pause_ms)
{
    poll(&(struct pollfd){.fd = agent->signals, .events = POLLIN}, 1, (int)pause_ms);
}

/*
 * Waits until the next look. If that takes longer, others have their turn on the channel meanwhile: commands that run for long do not
 * keep it for themselves.
 */
static int await_look(struct guest_agent *agent, int64_t pause_ms, struct error *error)
{
    int fd, code;

    if (pause_ms < TURN_MS || !agent->path[0]) {
        pause_for(agent, pause_ms); /* the agent does not tell by itself */
        return 0;
    }
    close(agent->fd);
    agent->fd = -1;
    agent->size = agent->searched = 0;
    pause_for(agent, pause_ms);
    code = connect_to(agent->path, &fd, error);
    if (code)
        return code;
    agent->fd = fd;
    return synchronize(agent, clock_ms() + GUEST_AGENT_REPLY_MS, error);
}

int guest_agent_exec(struct guest_agent *agent, const char *const words[], unsigned wait_ms,
                     struct guest_exec_result *result, struct error *error)
{
    int64_t deadline = wait_ms ? clock_ms() + wait_ms : INT64_MAX, pause_ms = GUEST_AGENT_POLL_MIN_MS;
    json_t *arguments = exec_arguments(words), *started, *pid;
    bool ended = false;
    json_int_t number;
    int code;

    *result = (struct guest_exec_result){0};
    if (!arguments)
        return error_set(error, EINVAL, "The words of the command '%.100s' are not all UTF-8.", words[0]);
    code = call(agent, "guest-exec", arguments, &started, error);
    if (code)
        return code;
    pid = json_object_get(started, "pid");
    number = json_integer_value(pid);
    if (!json_is_integer(pid))
        code = error_set(error, EPROTO, "The guest agent does not say which command it has started.");
    json_decref(started);
    while (!code) {
        code = look(agent, number, &ended, result, error);
        if (code || ended)
            break;
        if (clock_ms() + pause_ms > deadline)
            code = error_set(error, ETIMEDOUT, "'%.100s' was not done within %u ms; it goes on in the guest.",
                             words[0], wait_ms);
        else
            code = await_look(agent, pause_ms, error);
        if (!code)
            code = pass_signals(agent, number, error);
        pause_ms = pause_ms * 3 / 2 < GUEST_AGENT_POLL_MAX_MS ? pause_ms * 3 / 2 : GUEST_AGENT_POLL_MAX_MS;
    }
    return code;
}

void guest_exec_result_free(struct guest_exec_result *result)
{
    free(result->output);
    free(result->errors);
    result->output = result->errors = NULL;
}
