/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/request.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct request request;
static struct error error;

static int parse(const char *line)
{
    return request_parse(line, strlen(line), &request, &error);
}

static void requests_are_read(void **state)
{
    assert_int_equal(
        parse("{\"id\":7,\"method\":\"deploy\",\"params\":{\"spec\":\"name: a\\n\",\"reserve\":true}}"), 0);
    assert_int_equal(request.id, 7);
    assert_int_equal(request.method, REQUEST_DEPLOY);
    assert_string_equal(request.spec, "name: a\n");
    assert_true(request.reserve && !request.dry_run);
    request_free(&request);
    assert_int_equal(
        parse("{\"id\":8,\"method\":\"restart\",\"params\":{\"slice\":\"demo\",\"node\":\"a\"}}"), 0);
    assert_int_equal(request.method, REQUEST_RESTART);
    assert_string_equal(request.slice, "demo");
    assert_string_equal(request.node, "a");
    request_free(&request);
    assert_int_equal(parse("{\"id\":9,\"method\":\"list\"}"), 0);
    assert_int_equal(parse("{\"id\":9,\"method\":\"events\",\"params\":{\"follow\":true}}"), 0);
    assert_true(request.follow);
}

static void nonsense_is_refused(void **state)
{
    static const struct {
        const char *line, *sentence;
        uint64_t id;
    } cases[] = {
        {"", "The request is no JSON: '[' or '{' expected near end of file.", 0},
        {"[]", "A request has to be a JSON object.", 0},
        {"{}", "A request needs an 'id', a number from 1 to 2^53.", 0},
        {"{\"id\":0,\"method\":\"list\"}", "A request needs an 'id', a number from 1 to 2^53.", 0},
        {"{\"id\":-1,\"method\":\"list\"}", "A request needs an 'id', a number from 1 to 2^53.", 0},
        {"{\"id\":\"1\",\"method\":\"list\"}", "A request needs an 'id', a number from 1 to 2^53.", 0},
        {"{\"id\":9007199254740993,\"method\":\"list\"}", "A request needs an 'id', a number from 1 to 2^53.",
         0},
        {"{\"id\":1}", "A request has the members 'id', 'method' and 'params', and no others.", 1},
        {"{\"id\":1,\"method\":\"list\",\"what\":1}",
         "A request has the members 'id', 'method' and 'params', and no others.", 1},
        {"{\"id\":1,\"method\":\"fly\"}", "There is no method 'fly'.", 1},
        {"{\"id\":1,\"method\":[1]}", "There is no method ''.", 1},
        {"{\"id\":1,\"method\":\"list\",\"params\":[]}", "'params' has to be a JSON object.", 1},
        {"{\"id\":1,\"method\":\"list\",\"params\":{\"slice\":\"a\"}}",
         "The method 'list' has no parameter 'slice'.", 1},
        {"{\"id\":1,\"method\":\"inspect\"}", "The method 'inspect' needs the parameter 'slice'.", 1},
        {"{\"id\":1,\"method\":\"start\",\"params\":{\"slice\":\"a\"}}",
         "The method 'start' needs the parameter 'node'.", 1},
        {"{\"id\":1,\"method\":\"inspect\",\"params\":{\"slice\":\"../etc\"}}",
         "The parameter 'slice' has to be a name: a letter, then letters, digits, '-' and '_', at most 31 in all.",
         1},
        {"{\"id\":1,\"method\":\"inspect\",\"params\":{\"slice\":\"abcdefghijabcdefghijabcdefghijab\"}}",
         "The parameter 'slice' has to be a name: a letter, then letters, digits, '-' and '_', at most 31 in all.",
         1},
        {"{\"id\":1,\"method\":\"events\",\"params\":{\"follow\":1}}",
         "The parameter 'follow' has to be true or false.", 1},
        {"{\"id\":1,\"method\":\"deploy\",\"params\":{\"spec\":1}}",
         "The parameter 'spec' has to be a slice file's text of at most 1048576 bytes.", 1},
        {"{\"id\":1,\"id\":2,\"method\":\"list\"}",
         "The request is no JSON: duplicate object key near '\"id\"'.", 0},
        {"{\"id\":1,\"method\":\"list\"} x", "The request is no JSON: end of file expected near 'x'.", 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(parse(cases[i].line), EINVAL);
        assert_string_equal(error.text, cases[i].sentence);
        assert_int_equal(request.id, cases[i].id);
        assert_null(request.spec);
    }
}

/* Every beginning of a good line, and every line with one byte that is another, is a request or refused with a sentence. */
static void damaged_lines(void **state)
{
    static const char good[] =
        "{\"id\":7,\"method\":\"deploy\",\"params\":{\"spec\":\"name: a\\n\",\"dry_run\":true}}";
    char line[sizeof good];

    for (size_t size = 0; size < sizeof good - 1; size++) {
        assert_int_equal(request_parse(good, size, &request, &error), EINVAL);
        for (unsigned byte = 0; byte < 256; byte++) {
            memcpy(line, good, sizeof good);
            line[size] = (char)byte;
            error.text[0] = '\0';
            if (request_parse(line, sizeof good - 1, &request, &error))
                assert_true(error.text[0] && !request.spec);
            else
                assert_non_null(request.spec);
            request_free(&request);
        }
    }
}

static void long_lines(void **state)
{
    static char line[REQUEST_SIZE_MAX + 64];
    char *end;

    memset(line, '[', REQUEST_SIZE_MAX + 1);
    assert_int_equal(request_parse(line, REQUEST_SIZE_MAX + 1, &request, &error), EINVAL);
    assert_string_equal(error.text, "The request is no JSON: it is too long.");
    assert_int_equal(request_parse(line, REQUEST_SIZE_MAX, &request, &error), EINVAL);
    end = stpcpy(line, "{\"id\":1,\"method\":\"deploy\",\"params\":{\"spec\":\"");
    memset(end, 'a', SLICE_FILE_SIZE_MAX);
    strcpy(end + SLICE_FILE_SIZE_MAX, "\"}}");
    assert_int_equal(parse(line), 0);
    request_free(&request);
    strcpy(end + SLICE_FILE_SIZE_MAX, "a\"}}");
    assert_int_equal(parse(line), EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_read),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(damaged_lines),
        cmocka_unit_test(long_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
