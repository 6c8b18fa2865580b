/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/fast_path.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/rule_text.h"

#define START_MS 60000 /* DPDK takes its time under sanitizers */
#define WAIT_S 60

struct fast_path common_fast_path;

static void file_in(const struct fast_path *fast_path, const char *name, char path[108])
{
    snprintf(path, 108, "%s/%s", fast_path->directory, name);
}

void fast_path_socket(const struct fast_path *fast_path, const char *name, char path[108])
{
    snprintf(path, 108, "%s/%s.sock", fast_path->directory, name);
}

/* The child: becomes the program, its log goes to a file. */
static void become_program(const struct fast_path *fast_path, const char *program)
{
    char log[108], control[108], notify[108];
    int fd;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    file_in(fast_path, "log", log);
    file_in(fast_path, "control", control);
    file_in(fast_path, "notify", notify);
    setenv("NOTIFY_SOCKET", notify, 1);
    unsetenv("JOURNAL_STREAM");
    fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0 && dup2(fd, STDERR_FILENO) >= 0 && dup2(fd, STDOUT_FILENO) >= 0)
        execl(program, program, "--no-huge", "--memory", "64", "--rules-max", "1024", "--socket", control,
              NULL);
    _exit(127);
}

/* Copies the log to our standard error, for whoever reads why a test failed. */
static void show_log(const struct fast_path *fast_path)
{
    char path[108], line[1024];
    FILE *file;

    file_in(fast_path, "log", path);
    file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        print_error("vnode-fastpath: %s", line);
    if (file)
        fclose(file);
}

void fast_path_fail(const struct fast_path *fast_path, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    show_log(fast_path);
    fail_msg("%s", text);
    abort(); /* not reached: cmocka goes on with the next test */
}

static int listen_for_readiness(const struct fast_path *fast_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    file_in(fast_path, "notify", address.sun_path);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static bool is_ready(int fd)
{
    char text[256];
    ssize_t size;

    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    if (poll(&poll_fd, 1, START_MS) != 1)
        return false;
    size = recv(fd, text, sizeof text - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    return strstr(text, "READY=1") != NULL;
}

void fast_path_start(struct fast_path *fast_path)
{
    const char *program = getenv("VNODE_FASTPATH");
    struct error error = {0};
    char path[108];
    int notify_fd;

    assert_non_null(program);
    strcpy(fast_path->directory, "/tmp/vnode-test.XXXXXX");
    assert_non_null(mkdtemp(fast_path->directory));
    notify_fd = listen_for_readiness(fast_path);
    fast_path->pid = fork();
    assert_true(fast_path->pid >= 0);
    if (!fast_path->pid)
        become_program(fast_path, program);
    if (!is_ready(notify_fd))
        fast_path_fail(fast_path, "%s did not become ready", program);
    close(notify_fd);
    file_in(fast_path, "control", path);
    fast_path->client = client_connect(path, "test", &error);
    if (!fast_path->client)
        fail_msg("%s", error.text);
}

static bool log_is_clean(const struct fast_path *fast_path)
{
    char path[108], line[1024];
    bool clean = true;
    FILE *file;

    file_in(fast_path, "log", path);
    file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        clean &= !strstr(line, "warning: ") && !strstr(line, "error: ") && !strstr(line, "ERROR");
    fclose(file);
    return clean;
}

void fast_path_stop(struct fast_path *fast_path)
{
    char path[108];
    int status;
    bool clean;

    client_close(fast_path->client);
    kill(fast_path->pid, SIGTERM);
    assert_int_equal(waitpid(fast_path->pid, &status, 0), fast_path->pid);
    clean = log_is_clean(fast_path);
    if ((!clean && !fast_path->may_warn) || status)
        show_log(fast_path);
    file_in(fast_path, "log", path);
    unlink(path);
    file_in(fast_path, "notify", path);
    unlink(path);
    if (rmdir(fast_path->directory))
        fail_msg("the fast path left something in %s", fast_path->directory);
    if (status)
        fail_msg("the fast path ended with status 0x%x", (unsigned)status);
    assert_true(clean || fast_path->may_warn);
}

static void call(struct fast_path *fast_path)
{
    struct error error = {0};

    if (client_call(fast_path->client, NULL, &error))
        fail_msg("%s", error.text);
}

static void add_port(struct fast_path *fast_path, const char *name, struct message_port_add *port)
{
    char path[108];

    fast_path_socket(fast_path, name, path);
    snprintf(port->name, sizeof port->name, "%s", name);
    snprintf(port->target, sizeof port->target, "%s", path);
    message_put_port_add(client_begin(fast_path->client, MESSAGE_PORT_ADD), port);
    call(fast_path);
}

void fast_path_add_guest_port(struct fast_path *fast_path, const char *name, uint16_t mtu)
{
    struct message_port_add port = {.kind = MESSAGE_PORT_VHOST, .n_queues = 1, .mtu = mtu};

    add_port(fast_path, name, &port);
}

void fast_path_add_listening_port(struct fast_path *fast_path, const char *name, uint16_t n_queues)
{
    struct message_port_add port = {
        .kind = MESSAGE_PORT_VHOST, .flags = MESSAGE_PORT_SERVER, .n_queues = n_queues};

    add_port(fast_path, name, &port);
}

void fast_path_remove_port(struct fast_path *fast_path, const char *name)
{
    struct message_port_name port;

    snprintf(port.name, sizeof port.name, "%s", name);
    message_put_port_name(client_begin(fast_path->client, MESSAGE_PORT_REMOVE), &port);
    call(fast_path);
}

void fast_path_set_limit(struct fast_path *fast_path, const char *name, const char *limit, uint64_t value)
{
    struct message_query change = {
        .question = "port/set", .n_arguments = 2, .arguments = {{"port", name, (uint16_t)strlen(name)}}};
    char text[24];

    snprintf(change.arguments[1].name, sizeof change.arguments[1].name, "%s", limit);
    change.arguments[1].size = (uint16_t)snprintf(text, sizeof text, "%" PRIu64, value);
    change.arguments[1].value = text;
    message_put_query(client_begin(fast_path->client, MESSAGE_CHANGE), &change);
    call(fast_path);
}

/* What port/show says; the caller frees it. */
static json_t *show_port(struct fast_path *fast_path, const char *name)
{
    struct message_argument argument = {.name = "port", .value = name, .size = (uint16_t)strlen(name)};
    struct error error = {0};
    char *text = client_query(fast_path->client, "port/show", &argument, 1, 0, &error);
    json_t *object;

    if (!text)
        fast_path_fail(fast_path, "%s", error.text);
    object = json_loads(text, 0, NULL);
    free(text);
    assert_non_null(object);
    return object;
}

static int find_port(const char *name, void *argument)
{
    json_t *object = show_port(argument, name);
    int id = (int)json_integer_value(json_object_get(object, "id"));

    json_decref(object);
    return id;
}

void fast_path_add_rule(struct fast_path *fast_path, const char *text)
{
    const struct rule_text_ports ports = {find_port, fast_path};
    struct wire_writer *body;
    struct wire_rule rule;
    struct error error = {0};
    uint8_t *count;

    if (rule_parse(text, RULE_TEXT_WHOLE, &ports, &rule, &error))
        fast_path_fail(fast_path, "%s", error.text);
    body = client_begin(fast_path->client, MESSAGE_RULE_ADD);
    count = message_begin_items(body);
    assert_true(wire_put_rule(body, &rule));
    message_end_items(count, 1);
    call(fast_path);
}

/* Each question takes as long as the control thread takes to answer: no need to sleep between two. */
static bool in_time(time_t *deadline)
{
    if (!*deadline)
        *deadline = time(NULL) + WAIT_S;
    return time(NULL) < *deadline;
}

void fast_path_await_up(struct fast_path *fast_path, const char *name)
{
    time_t deadline = 0;
    bool up = false;

    while (!up && in_time(&deadline)) {
        json_t *object = show_port(fast_path, name);

        up = json_is_true(json_object_get(object, "up"));
        json_decref(object);
    }
    if (!up)
        fast_path_fail(fast_path, "port %s did not come up", name);
}

void fast_path_await_reason(struct fast_path *fast_path, const char *name, const char *words)
{
    char reason[128] = "";
    time_t deadline = 0;
    bool found = false;

    while (!found && in_time(&deadline)) {
        json_t *object = show_port(fast_path, name);
        const char *said = json_string_value(json_object_get(object, "reason"));

        snprintf(reason, sizeof reason, "%s", said ? said : "");
        found = !json_is_true(json_object_get(object, "up")) && strstr(reason, words);
        json_decref(object);
    }
    if (!found)
        fast_path_fail(fast_path, "port %s says \"%s\", not \"%s\"", name, reason, words);
}

uint64_t fast_path_drops(struct fast_path *fast_path, const char *name, const char *reason)
{
    json_t *object = show_port(fast_path, name), *value;
    json_t *drops = json_object_get(json_object_get(object, "stats"), "drops");
    uint64_t n = 0;
    const char *key;

    assert_true(json_is_object(drops) && (!reason || json_object_get(drops, reason)));
    json_object_foreach(drops, key, value) if (!reason || !strcmp(key, reason)) n +=
        (uint64_t)json_integer_value(value);
    json_decref(object);
    return n;
}

void fast_path_await_drops(struct fast_path *fast_path, const char *name, const char *reason, uint64_t n)
{
    time_t deadline = 0;

    while (in_time(&deadline))
        if (fast_path_drops(fast_path, name, reason) >= n)
            return;
    fast_path_fail(fast_path, "port %s has not dropped %lu packets as %s", name, (unsigned long)n, reason);
}

uint64_t fast_path_counter(struct fast_path *fast_path, const char *name, const char *counter)
{
    json_t *object = show_port(fast_path, name);
    json_t *value = json_object_get(json_object_get(object, "stats"), counter);
    uint64_t n = (uint64_t)json_integer_value(value);

    assert_true(json_is_integer(value));
    json_decref(object);
    return n;
}

void fast_path_starts(void **state)
{
    fast_path_start(&common_fast_path);
}

void fast_path_ends_without_a_warning(void **state)
{
    fast_path_stop(&common_fast_path);
}
