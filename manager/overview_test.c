/* SPDX-License-Identifier: Apache-2.0 */
/* What a deploy would change; and the events that are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "manager/difference.h"
#include "manager/history.h"

static struct slice *parse(const char *text)
{
    static struct slice_errors errors;
    struct slice *slice = text ? slice_parse(text, strlen(text), &errors) : NULL;

    if (text && !slice)
        fail_msg("%s", errors.list[0].text);
    return slice;
}

/* Checks the way from 'before' to 'after' against "ACTION KIND ITEM DETAILS" lines. */
static void differ(const char *before, const char *after, const char *wanted)
{
    struct slice *one = parse(before), *other = parse(after);
    json_t *list = slice_difference(one, other), *change;
    char text[1024] = "";
    size_t i;

    json_array_foreach(list, i, change)
    {
        const char *action, *kind, *item, *details;

        assert_int_equal(json_unpack(change, "{s:s, s:s, s:s, s:s}", "action", &action, "kind", &kind, "item",
                                     &item, "details", &details),
                         0);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s %s %s%s%s\n", action, kind, item,
                 *details ? ": " : "", details);
    }
    assert_string_equal(text, wanted);
    json_decref(list);
    slice_free(one);
    slice_free(other);
}

#define PAIR "name: p\nnodes: {a: {kind: vm}, b: {kind: netns}}\nlinks: [[a, b]]\n"

static void differences(void **state)
{
    differ(PAIR, PAIR, "");
    differ(NULL, PAIR,
           "create slice p\ncreate node a: vm\ncreate node b: netns\ncreate link a:eth0 - b:eth0\n");
    differ(PAIR, NULL,
           "remove slice p\nremove node a: vm\nremove node b: netns\nremove link a:eth0 - b:eth0\n");
    differ(
        PAIR,
        "name: p\nlease: 8h\nnodes: {a: {kind: vm, cpu: 2, memory: 1GiB}, c: {kind: switch}}\nlinks: [[a, c]]\n",
        "change slice p: lease 0s to 28800s\nremove node b: netns\nchange node a: cpu 1 to 2, memory 256MiB to "
        "1024MiB\ncreate node c: switch\nremove link a:eth0 - b:eth0\ncreate link a:eth0 - c:p1\n");
    differ(
        PAIR,
        "name: p\noffload: {mode: auto}\nnodes: {a: {kind: vm, interfaces: {eth0: {mtu: 9000}}}, b: {kind: netns}}\n"
        "links: [{endpoints: [a, b], rate: 1Gbit}]\n",
        "change slice p: offload.mode on to auto\nchange node a: interface eth0\nchange link a:eth0 - b:eth0: rate "
        "0Mbit to 1000Mbit\n");
    differ("name: p\nnodes: {a: {kind: switch}}\n",
           "name: p\nnodes: {a: {kind: switch, controller: \"tcp:10.0.0.1:6653\", fail-mode: secure}}\n",
           "change node a: controllers, fail-mode\n");
    differ("name: p\nnodes: {a: {kind: vm, image: /a.qcow2}}\n",
           "name: p\nnodes: {a: {kind: vm, cpu-pin: \"1\"}}\n",
           "change node a: image /a.qcow2 to none, cpu-pin none to 1\n");
}

struct seen {
    unsigned n;
    json_int_t first, last;
};

static void see(json_t *event, void *argument)
{
    struct seen *seen = argument;

    seen->last = json_integer_value(json_object_get(event, "n"));
    if (!seen->n++)
        seen->first = seen->last;
}

static void histories_are_bounded(void **state)
{
    static struct history history;
    struct seen seen = {0};

    for (unsigned i = 0; i < HISTORY_MAX + 10; i++)
        history_add(&history, json_pack("{s:s}", "slice", i % 2 ? "odd" : "even"));
    history_each(&history, "", see, &seen);
    assert_int_equal(seen.n, HISTORY_MAX);
    assert_int_equal(seen.first, 11);
    assert_int_equal(seen.last, HISTORY_MAX + 10);
    seen.n = 0;
    history_each(&history, "odd", see, &seen);
    assert_int_equal(seen.n, HISTORY_MAX / 2);
    assert_int_equal(seen.first, 12);
    seen.n = 0;
    history_each(&history, "none", see, &seen);
    assert_int_equal(seen.n, 0);
    history_clear(&history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(differences),
        cmocka_unit_test(histories_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
