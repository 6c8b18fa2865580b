/* SPDX-License-Identifier: Apache-2.0 */
/* The client of the guest agent against agents that are played here: honest ones, and others. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "guest-agent/guest_agent_internal.h"
#include "lib/clock.h"

#define ID_PLACE "@" /* in a reply: the number of the request's synchronization */
#define LINES_MAX 8
#define WAIT_MS 20000

/* An agent that answers its requests one by one with these texts, in a thread of its own, and writes down what it was asked. */
struct fake {
    const char *replies[LINES_MAX]; /* "": no answer; NULL: it hangs up */
    size_t flood;                   /* bytes of nothing to begin with */
    bool flood_forever;             /* or that alone, as long as somebody listens */
    char *requests[LINES_MAX];
    char path[108];
    int listener;
    pthread_t thread;
};

static bool say(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        data += sent;
        size -= (size_t)sent;
    }
    return true;
}

static void answer(int fd, const char *request, const char *reply)
{
    const char *id = strstr(request, "\"id\":"), *place = strchr(reply, ID_PLACE[0]);

    if (!id || !place) {
        say(fd, reply, strlen(reply));
        return;
    }
    id += 5;
    say(fd, reply, (size_t)(place - reply));
    say(fd, id, strcspn(id, "}"));
    say(fd, place + 1, strlen(place + 1));
}

static void *play(void *argument)
{
    struct fake *fake = argument;
    int fd = accept(fake->listener, NULL, NULL);
    FILE *file = fdopen(fd, "r");
    char piece[4096];
    size_t room = 0;

    memset(piece, 'x', sizeof piece);
    for (size_t sent = 0; fake->flood_forever || sent < fake->flood; sent += sizeof piece)
        if (!say(fd, piece, sizeof piece))
            break;
    for (unsigned i = 0; i < LINES_MAX && fake->replies[i]; i++) {
        if (getline(&fake->requests[i], &room, file) < 0)
            break;
        room = 0;
        answer(fd, fake->requests[i], fake->replies[i]);
    }
    fclose(file);
    return NULL;
}

static void start(struct fake *fake)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(fake->path, sizeof fake->path, "/tmp/guest-agent-test.%d", getpid());
    strcpy(address.sun_path, fake->path);
    unlink(fake->path);
    fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(bind(fake->listener, (struct sockaddr *)&address, sizeof address), errno);
    assert_return_code(listen(fake->listener, 1), errno);
    assert_int_equal(pthread_create(&fake->thread, NULL, play, fake), 0);
}

static void stop(struct fake *fake)
{
    pthread_join(fake->thread, NULL);
    close(fake->listener);
    unlink(fake->path);
    for (unsigned i = 0; i < LINES_MAX; i++)
        free(fake->requests[i]);
}

/* Runs "words" by a fake agent; returns the code of what failed first. */
static int run(struct fake *fake, const char *const words[], struct guest_exec_result *result,
               struct error *error)
{
    struct guest_agent *agent;
    int code;

    start(fake);
    code = guest_agent_open(&agent, fake->path, WAIT_MS, error);
    if (!code)
        code = guest_agent_exec(agent, words, WAIT_MS, result, error);
    guest_agent_close(agent);
    return code;
}

static const char *const ls[] = {"ls", "-l", "a \"b\"", NULL};

#define SYNC "\xff{\"return\": @}\n"
#define COMPLAINT \
    "{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error, stray '\\uFFFD'\"}}\n"
#define PID "{\"return\": {\"pid\": 7}}\n"
#define EXITED(rest) "{\"return\": {\"exited\": true" rest "}}\n"

static void runs_commands(void **state)
{
    struct fake fake = {
        .replies = {"{\"return\": 3}\n\xff{\"return\": 17}\n\xffgarbage\n" COMPLAINT SYNC, PID,
                    "{\"return\": {\"exited\": false}}\n",
                    EXITED(", \"exitcode\": 3, \"out-data\": \"aGVsbG8K\", \"err-data\": \"b2ggbm8=\"")}};
    struct guest_exec_result result;
    struct error error = {0};
    const json_t *arguments;
    json_t *request;

    if (run(&fake, ls, &result, &error))
        fail_msg("%s", error.text);
    assert_int_equal(result.status, 3);
    assert_int_equal(result.output_size, 6);
    assert_string_equal(result.output, "hello\n");
    assert_string_equal(result.errors, "oh no");
    assert_false(result.truncated);
    guest_exec_result_free(&result);
    assert_int_equal(fake.requests[0][0], '\xff');
    request = json_loads(fake.requests[1], 0, NULL);
    assert_string_equal(json_string_value(json_object_get(request, "execute")), "guest-exec");
    arguments = json_object_get(request, "arguments");
    assert_string_equal(json_string_value(json_object_get(arguments, "path")), "ls");
    assert_string_equal(json_string_value(json_array_get(json_object_get(arguments, "arg"), 1)), "a \"b\"");
    assert_true(json_is_true(json_object_get(arguments, "capture-output")));
    json_decref(request);
    assert_non_null(strstr(fake.requests[3], "{\"pid\":7}"));
    stop(&fake);
}

static void ends_by_signals_and_truncation(void **state)
{
    struct fake fake = {
        .replies = {SYNC, PID, EXITED(", \"signal\": 9, \"out-data\": \"\", \"out-truncated\": true")}};
    struct guest_exec_result result;
    struct error error = {0};

    assert_int_equal(run(&fake, ls, &result, &error), 0);
    assert_int_equal(result.status, 137);
    assert_true(result.truncated);
    assert_int_equal(result.output_size, 0);
    assert_string_equal(result.errors, "");
    guest_exec_result_free(&result);
    stop(&fake);
}

static void pings(void **state)
{
    struct fake fake = {.replies = {SYNC, "{\"return\": {}}\n"}};
    struct guest_agent *agent;
    struct error error = {0};

    start(&fake);
    assert_int_equal(guest_agent_open(&agent, fake.path, WAIT_MS, &error), 0);
    assert_int_equal(guest_agent_ping(agent, &error), 0);
    assert_int_equal(guest_agent_ping(agent, &error), EPIPE);
    guest_agent_close(agent);
    stop(&fake);
}

static void hostile_replies(void **state)
{
    static const struct {
        const char *replies[4];
        int code;
        const char *says;
    } cases[] = {
        {{SYNC, "{}\n"}, EPROTO, "neither"},
        {{SYNC, "[]\n"}, EPROTO, "no JSON object"},
        {{SYNC, "\n"}, EPROTO, "no JSON object"},
        {{SYNC, "{\"return\": {\"pid\": 1}\n"}, EPROTO, "no JSON object"},
        {{SYNC, "{\"return\": {\"pid\": 1}} x\n"}, EPROTO, "no JSON object"},
        {{SYNC, "\xff\xfe\xfd\n"}, EPROTO, "no JSON object"},
        {{SYNC, "{\"return\": {\"pid\": \"1\"}}\n"}, EPROTO, "which command"},
        {{SYNC, "{\"return\": 5}\n"}, EPROTO, "which command"},
        {{SYNC, "{\"return\": {\"pid\": 99999999999999999999}}\n"}, EPROTO, "no JSON object"},
        {{SYNC, "{\"error\": {\"desc\": \"no \\u001b[2J\\u0007way.\"}}\n"}, EINVAL, "says: no ?[2J?way."},
        {{SYNC, "{\"error\": {\"desc\": 5}}\n"}, EPROTO, "neither"},
        {{SYNC, "{\"error\": 5, \"return\": {}}\n"}, EPROTO, "neither"},
        {{SYNC, PID, "{\"return\": {}}\n"}, EPROTO, "whether"},
        {{SYNC, PID, "{\"return\": {\"exited\": 1}}\n"}, EPROTO, "whether"},
        {{SYNC, PID, EXITED("")}, EPROTO, "how"},
        {{SYNC, PID, EXITED(", \"exitcode\": \"0\"")}, EPROTO, "how"},
        {{SYNC, PID, EXITED(", \"exitcode\": 256")}, EPROTO, "how"},
        {{SYNC, PID, EXITED(", \"exitcode\": -1")}, EPROTO, "how"},
        {{SYNC, PID, EXITED(", \"signal\": 1000")}, EPROTO, "how"},
        {{SYNC, PID, EXITED(", \"exitcode\": 0, \"out-data\": 5")}, EPROTO, "how"},
        {{SYNC, PID, EXITED(", \"exitcode\": 0, \"out-data\": \"abc\"")}, EPROTO, "how"},
        {{SYNC, PID, EXITED(", \"exitcode\": 0, \"out-data\": \"ab=c\"")}, EPROTO, "how"},
        {{SYNC, PID, EXITED(", \"exitcode\": 0, \"out-data\": \"====\"")}, EPROTO, "how"},
        {{SYNC, PID, EXITED(", \"exitcode\": 0, \"out-data\": \"aGk=\", \"err-data\": \"a\\u0000==\"")},
         EPROTO,
         "how"},
        {{SYNC, PID}, EPIPE, "has the machine ended?"},
        {{SYNC}, EPIPE, "has the machine ended?"},
        {{"\xff\xff\xff{\"return\": 1}\n\xff[[[[\n\xff\n"}, EPIPE, "closed"},
    };

    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct guest_exec_result result = {0};
        struct error error = {0};
        struct fake fake = {0};
        int code;

        memcpy(fake.replies, cases[i].replies, sizeof cases[i].replies);
        code = run(&fake, ls, &result, &error);
        if (code != cases[i].code || !strstr(error.text, cases[i].says) || result.output || result.errors)
            fail_msg("case %u: %d, %s", i, code, error.text);
        stop(&fake);
    }
}

/* JSON as deep as a megabyte may be makes no stack run over. */
static void depth(void **state)
{
    char *reply = malloc((1 << 20) + 2);
    struct fake fake = {.replies = {SYNC, reply}};
    struct guest_exec_result result;
    struct error error = {0};

    memset(reply, '[', 1 << 20);
    strcpy(reply + (1 << 20), "\n");
    assert_int_equal(run(&fake, ls, &result, &error), EPROTO);
    stop(&fake);
    free(reply);
}

/* An agent that is silent, and one that never ends to talk: both have until the deadline, and cost no more memory than a line. */
static void silence_and_floods(void **state)
{
    struct fake silent = {.replies = {""}}, flood = {.flood_forever = true},
                late = {.flood = 4 << 20, .replies = {SYNC}};
    struct guest_agent *agent;
    struct error error = {0};
    int64_t begin;

    start(&silent);
    begin = clock_ms();
    assert_int_equal(guest_agent_open(&agent, silent.path, 0, &error), ETIMEDOUT);
    assert_null(agent);
    stop(&silent);
    start(&flood);
    assert_int_equal(guest_agent_open(&agent, flood.path, 200, &error), ETIMEDOUT);
    assert_in_range(clock_ms() - begin, 200, 10000);
    stop(&flood);
    start(&late);
    assert_int_equal(guest_agent_open(&agent, late.path, WAIT_MS, &error), 0);
    guest_agent_close(agent);
    stop(&late);
}

static void lines_are_bounded(void **state)
{
    size_t size = GUEST_AGENT_LINE_MAX + 1;
    char *reply = malloc(size + 1);
    struct fake fake = {.replies = {SYNC, reply}};
    struct guest_exec_result result;
    struct error error = {0};

    memset(reply, ' ', size);
    reply[size] = '\0';
    assert_int_equal(run(&fake, ls, &result, &error), EMSGSIZE);
    assert_non_null(strstr(error.text, "more than 48 MiB"));
    stop(&fake);
    free(reply);
}

/* The command goes on for longer than one waits. */
static void commands_have_a_deadline(void **state)
{
    static const char running[] = "{\"return\": {\"exited\": false}}\n";
    struct fake fake = {.replies = {SYNC, PID, running, running, running, running}};
    struct guest_exec_result result;
    struct guest_agent *agent;
    struct error error = {0};

    start(&fake);
    assert_int_equal(guest_agent_open(&agent, fake.path, WAIT_MS, &error), 0);
    assert_int_equal(guest_agent_exec(agent, ls, 1, &result, &error), ETIMEDOUT);
    assert_string_equal(error.text, "'ls' was not done within 1 ms; it goes on in the guest.");
    guest_agent_close(agent);
    stop(&fake);
}

static void signals_are_passed_on(void **state)
{
    static const char running[] = "{\"return\": {\"exited\": false}}\n";
    struct fake fake = {
        .replies = {SYNC, PID, running, "{\"return\": {\"pid\": 8}}\n", EXITED(", \"signal\": 2")}};
    struct guest_exec_result result;
    struct guest_agent *agent;
    struct error error = {0};
    sigset_t signals, before;
    int fd;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, &before);
    fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    assert_true(fd >= 0);
    start(&fake);
    assert_int_equal(guest_agent_open(&agent, fake.path, WAIT_MS, &error), 0);
    guest_agent_pass_signals(agent, fd);
    assert_return_code(kill(getpid(), SIGINT), errno);
    assert_int_equal(guest_agent_exec(agent, ls, WAIT_MS, &result, &error), 0);
    assert_int_equal(result.status, 130);
    assert_non_null(strstr(fake.requests[3], "{\"path\":\"kill\",\"arg\":[\"-2\",\"7\"]}"));
    guest_exec_result_free(&result);
    guest_agent_close(agent);
    stop(&fake);
    close(fd);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void nobody_there(void **state)
{
    char path[200];
    struct guest_agent *agent;
    struct error error = {0};

    assert_int_equal(guest_agent_open(&agent, "/nonexistent/agent", 1, &error), ENOENT);
    assert_non_null(strstr(error.text, "/nonexistent/agent"));
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(guest_agent_open(&agent, path, 1, &error), ENAMETOOLONG);
    guest_agent_close(NULL);
}

static void words_are_checked(void **state)
{
    const char *bad[] = {"ls", "\xff", NULL}, *big[] = {"ls", NULL, NULL};
    char *text = calloc(1, GUEST_AGENT_REQUEST_MAX + 1);
    struct fake one = {.replies = {SYNC}}, other = {.replies = {SYNC}};
    struct guest_exec_result result;
    struct error error = {0};

    assert_int_equal(run(&one, bad, &result, &error), EINVAL);
    stop(&one);
    big[1] = memset(text, 'x', GUEST_AGENT_REQUEST_MAX);
    assert_int_equal(run(&other, big, &result, &error), E2BIG);
    stop(&other);
    free(text);
}

static void base64(void **state)
{
    static const struct {
        const char *text, *bytes;
    } good[] = {{"", ""},        {"Zg==", "f"},        {"Zm8=", "fo"},
                {"Zm9v", "foo"}, {"Zm9vYg==", "foob"}, {"+/+/", "\xfb\xff\xbf"}};
    static const char *const bad[] = {"Z", "Zg", "Zg=", "Z===", "Zg==Zg==", "Zm9v\n", "Zm-_", "\0\0\0\0"};
    size_t size;

    for (unsigned i = 0; i < sizeof good / sizeof *good; i++) {
        char *bytes = base64_decode(good[i].text, strlen(good[i].text), &size);

        assert_non_null(bytes);
        assert_int_equal(size, strlen(good[i].bytes));
        assert_string_equal(bytes, good[i].bytes);
        free(bytes);
    }
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(base64_decode(bad[i], bad[i][0] ? strlen(bad[i]) : 4, &size));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_commands),
        cmocka_unit_test(ends_by_signals_and_truncation),
        cmocka_unit_test(pings),
        cmocka_unit_test(hostile_replies),
        cmocka_unit_test(depth),
        cmocka_unit_test(silence_and_floods),
        cmocka_unit_test(lines_are_bounded),
        cmocka_unit_test(commands_have_a_deadline),
        cmocka_unit_test(signals_are_passed_on),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(words_are_checked),
        cmocka_unit_test(base64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
