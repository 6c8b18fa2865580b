/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "slice/quantity.h"
#include "slice/slice.h"

#include "slice/slice_paths.h"

static struct slice_errors errors;

static struct slice *parse(const char *text)
{
    struct slice *slice = slice_parse(text, strlen(text), &errors);

    if (!slice)
        for (unsigned i = 0; i < errors.n; i++)
            print_error("%u:%u: %s\n", errors.list[i].at.line, errors.list[i].at.column, errors.list[i].text);
    assert_non_null(slice);
    return slice;
}

/* The text must be refused, and the only error be this one. */
static void refuse(const char *text, unsigned line, unsigned column, const char *sentence)
{
    struct slice *slice = slice_parse(text, strlen(text), &errors);

    assert_null(slice);
    for (unsigned i = 1; i < errors.n; i++)
        print_error("one too many: %s\n", errors.list[i].text);
    assert_string_equal(errors.list[0].text, sentence);
    assert_int_equal(errors.list[0].at.line, line);
    assert_int_equal(errors.list[0].at.column, column);
    assert_int_equal(errors.n, 1);
}

static void quantities(void **state)
{
    static const struct {
        enum quantity quantity;
        const char *text;
        int code;
        uint64_t value;
    } cases[] = {
        {QUANTITY_BYTES, "256MiB", 0, 256 << 20},
        {QUANTITY_BYTES, "1.5 GiB", 0, UINT64_C(3) << 29},
        {QUANTITY_BYTES, "0B", 0, 0},
        {QUANTITY_BYTES, "256", EINVAL, 0},
        {QUANTITY_BYTES, "256Mib", EINVAL, 0},
        {QUANTITY_BYTES, "-1MiB", EINVAL, 0},
        {QUANTITY_BYTES, "", EINVAL, 0},
        {QUANTITY_BYTES, "1.MiB", EINVAL, 0},
        {QUANTITY_BYTES, "99999999999TiB", ERANGE, 0},
        {QUANTITY_BYTES, "99999999999999999999999B", ERANGE, 0},
        {QUANTITY_RATE, "2.5Gbit", 0, 2500000000},
        {QUANTITY_RATE, "500Mbit", 0, 500000000},
        {QUANTITY_RATE, "500MB", EINVAL, 0},
        {QUANTITY_PACKET_RATE, "1kpps", 0, 1000},
        {QUANTITY_TIME, "8h", 0, 28800000},
        {QUANTITY_TIME, "0.5ms", 0, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t value = 0;

        assert_int_equal(quantity_parse(cases[i].quantity, cases[i].text, &value), cases[i].code);
        if (!cases[i].code)
            assert_int_equal(value, cases[i].value);
    }
}

static void whole_slice(void **state)
{
    struct slice *slice =
        parse("name: demo\n"
              "lease: 8h\n"
              "budget: {cpu: 4, memory: 4GiB, rate: 2Gbit, rules: 4096}\n"
              "nodes:\n"
              "  a: {kind: vm, cpu: 2, memory: 512MiB, disk: 8GiB, image: /x.qcow2, cpu-pin: 2-3,\n"
              "      interfaces: {eth0: {mac: '52:54:00:00:00:01', mtu: 9000, queues: 2,\n"
              "                          address: [10.0.0.1/24, 'fd00::1/64']}}}\n"
              "  t: {kind: netns}\n"
              "  sw: {kind: switch, controller: 'tcp:127.0.0.1:6653', fail-mode: secure}\n"
              "  up: {kind: connector, device: eth1, vlan: 100}\n"
              "links:\n"
              "  - {endpoints: ['a:eth0', 'sw:p7'], rate: 500Mbit, min: 200Mbit}\n"
              "  - [t, sw]\n"
              "  - [sw, up]\n"
              "offload: {mode: auto, promote: 2kpps, demote: 10pps, hold: 1s}\n");
    const struct slice_node *vm = &slice->nodes[0], *bridge = &slice->nodes[2];

    assert_string_equal(slice->name, "demo");
    assert_int_equal(slice->lease_ms, 28800000);
    assert_int_equal(slice->budget.rules, 4096);
    assert_int_equal(slice->n_nodes, 4);
    assert_int_equal(vm->kind, NODE_VM);
    assert_int_equal(vm->cpu, 2);
    assert_int_equal(vm->memory, 512 << 20);
    assert_string_equal(vm->image, "/x.qcow2");
    assert_string_equal(vm->cpu_pin, "2-3");
    assert_int_equal(vm->n_interfaces, 1);
    assert_int_equal(vm->interfaces[0].queues, 2);
    assert_int_equal(vm->interfaces[0].n_addresses, 2);
    assert_string_equal(vm->interfaces[0].addresses[1], "fd00::1/64");
    assert_true(bridge->fail_secure);
    assert_string_equal(bridge->controllers[0], "tcp:127.0.0.1:6653");
    assert_int_equal(bridge->n_interfaces, 3);
    assert_string_equal(bridge->interfaces[0].name, "p7");
    assert_string_equal(bridge->interfaces[1].name, "p1");
    assert_string_equal(bridge->interfaces[2].name, "p2");
    assert_string_equal(slice->nodes[1].interfaces[0].name, "eth0");
    assert_int_equal(slice->nodes[3].vlan, 100);
    assert_int_equal(slice->n_links, 3);
    assert_int_equal(slice->links[0].rate, 500000000);
    assert_int_equal(slice->links[1].ends[1].interface, 1);
    assert_int_equal(slice->nodes[3].interfaces[0].link, 2);
    assert_int_equal(slice->offload.mode, SLICE_OFFLOAD_AUTO);
    assert_int_equal(slice->offload.promote, 2000);
    assert_int_equal(slice_cpu(slice), 2);
    slice_free(slice);
}

static void defaults(void **state)
{
    struct slice *slice = parse("name: pair\nnodes: {a: {kind: vm}, b: {kind: vm}}\nlinks: [[a, b], [a, b]]\n");

    assert_int_equal(slice->nodes[0].cpu, 1);
    assert_int_equal(slice->nodes[0].memory, 256 << 20);
    assert_string_equal(slice->nodes[0].image, "");
    assert_int_equal(slice->nodes[0].n_interfaces, 2);
    assert_string_equal(slice->nodes[1].interfaces[1].name, "eth1");
    assert_int_equal(slice->offload.mode, SLICE_OFFLOAD_ON);
    assert_int_equal(slice->offload.demote, 100);
    slice_free(slice);
}

static void mistakes_are_told_with_their_place(void **state)
{
    refuse("", 1, 1, "The file is empty.");
    refuse("[", 2, 1, "The file is no YAML: did not find expected node content.");
    refuse("name: x\n", 1, 1, "The file lacks 'nodes'.");
    refuse("name: x\nnodes: {a: {kind: vm, memroy: 1GiB}}\n", 2, 23,
           "nodes.a has no key 'memroy'; did you mean 'memory'?");
    refuse("name: x\nnodes: {a: {kind: netns, cpu: 1}}\n", 2, 26,
           "nodes.a has no key 'cpu'; possible are: kind, interfaces.");
    refuse("name: x\nnodes: {a: {kind: vm, memory: 256}}\n", 2, 31,
           "nodes.a.memory has to be a number with its unit, such as 256MiB or 4GiB, not '256'.");
    refuse("name: x\nnodes: {a: {kind: wm}}\n", 2, 19,
           "nodes.a has to be vm, netns, switch or connector, not 'wm'.");
    refuse("name: x\nnodes: {a: {}}\n", 2, 12, "nodes.a lacks 'kind': vm, netns, switch or connector.");
    refuse("name: x\nnodes:\n  a: {kind: vm}\n  a: {kind: vm}\n", 4, 3,
           "nodes has the key 'a' twice, first in line 3.");
    refuse("name: 1x\nnodes: {}\n", 1, 7,
           "name is no name: a letter, then letters, digits, '-' and '_', at most 31 in all.");
    refuse("name: x\nnodes: &n {}\nlinks: *n\n", 3, 8,
           "The file has an alias (*NAME); write out what it stands for.");
    refuse("name: x\nnodes: {u: {kind: connector}}\n", 2, 12, "nodes.u lacks 'device'.");
    refuse("name: x\nnodes: {u: {kind: connector, device: 'a,b'}}\n", 2, 38,
           "nodes.u.device has to be an interface or a PCI address, such as eth1 or 0000:01:00.0, not 'a,b'.");
    refuse("name: x\nnodes: {a: {kind: vm, interfaces: {eth0: {mac: '01:00:00:00:00:00'}}}}\n", 2, 48,
           "nodes.a.interfaces.eth0.mac is a multicast address; an interface's has an even first byte.");
    refuse("name: x\nnodes: {a: {kind: vm, interfaces: {eth0: {address: 10.0.0.1}}}}\n", 2, 52,
           "nodes.a.interfaces.eth0.address has to be an address with its prefix length, such as 10.0.0.1/24, not "
           "'10.0.0.1'.");
    refuse("name: x\nnodes: {}\noffload: {promote: 10pps, demote: 10pps}\n", 3, 10,
           "offload has a demote that is not less than its promote.");
    refuse("name: x\nnodes: {s: {kind: switch, controller: 'udp:1'}}\n", 2, 39,
           "nodes.s.controller has to be a controller such as tcp:127.0.0.1:6653, not 'udp:1'.");
    refuse("name: \"x\\ty\"\nnodes: {}\n", 1, 7, "name has control characters.");
}

#define TWO "name: x\nnodes: {a: {kind: vm}, b: {kind: vm}}\n"

static void mistakes_in_links(void **state)
{
    refuse(TWO "links: [[a, c]]\n", 3, 13, "links[0][1] names the node 'c', which is not there.");
    refuse(TWO "links: [[a, a]]\n", 3, 9, "links[0] joins node 'a' to itself.");
    refuse(TWO "links: [[a]]\n", 3, 9,
           "links[0] has to be a list of two ends, such as [a, sw] or [\"a:eth0\", \"sw:p1\"].");
    refuse(TWO "links: [['a:eth0', b], ['a:eth0', b]]\n", 3, 25,
           "links[1][0] is taken: 'a:eth0' has a link already, that of line 3.");
    refuse(TWO "links: [{endpoints: [a, b], rate: 1Mbit, min: 2Mbit}]\n", 3, 9,
           "links[0] guarantees more (min) than it lets through (rate).");
    refuse(TWO "links: [['a:', b]]\n", 3, 10,
           "links[0][0] has to be NODE or NODE:INTERFACE, such as a:eth0, not 'a:'.");
    refuse("name: x\nnodes: {a: {kind: vm}, u: {kind: connector, device: eth1}}\nlinks: [[a, u], [a, u]]\n",
           3, 21, "links[1][1] is one more interface than the 1 that node 'u' can have.");
}

static void budgets_are_kept(void **state)
{
    refuse("name: x\nbudget: {cpu: 1}\nnodes: {a: {kind: vm}, b: {kind: vm}}\n", 1, 1,
           "The nodes need 2 CPUs, 1 more than the budget has.");
    refuse("name: x\nbudget: {memory: 300MiB}\nnodes: {a: {kind: vm}, b: {kind: vm}}\n", 1, 1,
           "The nodes need 512 MiB of memory, 212 MiB more than the budget has.");
    refuse("name: x\nbudget: {rate: 1Mbit}\nnodes: {a: {kind: vm}, b: {kind: vm}}\n"
           "links: [{endpoints: [a, b], min: 2Mbit}]\n",
           1, 1, "The links guarantee 2 Mbit/s, 1 Mbit/s more than the budget has.");
}

static void interfaces_agree(void **state)
{
    refuse("name: x\nnodes:\n  a: {kind: vm, interfaces: {e: {mac: '52:54:00:00:00:0a'}}}\n"
           "  b: {kind: vm, interfaces: {e: {mac: '52:54:00:00:00:0A'}}}\n",
           4, 30, "nodes.b.interfaces.e.mac is that of node 'a', too.");
    refuse("name: x\nnodes:\n  a: {kind: vm, interfaces: {e: {mtu: 9000}}}\n"
           "  b: {kind: vm, interfaces: {e: {mtu: 1500}}}\nlinks: [[a, b]]\n",
           5, 9, "links[0] joins interfaces with MTUs of 9000 and 1500 bytes.");
}

/* Several at once, in the order of their places; and not without end. */
static void many_mistakes(void **state)
{
    char text[4096] = "name: x\nnodes:\n";
    static const char three[] = "nodes: {a: {kind: vm, cpu: 0}}\nname: '-'\nwhat: 1\n";

    assert_null(slice_parse(three, strlen(three), &errors));
    assert_int_equal(errors.n, 3);
    assert_int_equal(errors.list[0].at.line, 1);
    assert_int_equal(errors.list[1].at.line, 2);
    assert_int_equal(errors.list[2].at.line, 3);
    for (unsigned i = 0; i < 50; i++)
        sprintf(text + strlen(text), "  n%u: {kind: nothing}\n", i);
    assert_null(slice_parse(text, strlen(text), &errors));
    assert_int_equal(errors.n, SLICE_ERRORS_MAX);
    assert_true(errors.more);
}

static void deep_and_large_files(void **state)
{
    char *text = malloc(SLICE_FILE_SIZE_MAX + 2);

    memset(text, '[', SLICE_FILE_SIZE_MAX + 1);
    assert_null(slice_parse(text, SLICE_FILE_SIZE_MAX + 1, &errors));
    assert_null(slice_parse(text, SLICE_FILE_SIZE_MAX, &errors));
    assert_int_equal(errors.n, 1);
    free(text);
}

static void whole(const char *text, const char *wanted)
{
    char *result = slice_with_whole_paths(text, strlen(text), "/home/me", &errors);

    if (!result)
        fail_msg("%s", errors.list[0].text);
    assert_string_equal(result, wanted);
    free(result);
}

static void paths_are_made_whole(void **state)
{
    static const char bom[] = "\xef\xbb\xbfname: x\nnodes: {a: {kind: vm, image: a}}\n";
    static const char relative[] = "name: x\nnodes: {a: {kind: vm, image: a}}\n";
    struct slice *slice;

    whole("name: x\nnodes: {a: {kind: vm}}\n", "name: x\nnodes: {a: {kind: vm}}\n");
    whole("name: x\nnodes: {a: {kind: vm, image: /a}}\n", "name: x\nnodes: {a: {kind: vm, image: /a}}\n");
    whole(
        "name: x # \xc3\xa4\nnodes:\n  a: {kind: vm, image: d/a.qcow2 }\n  b:\n    image: '../b c'\n    kind: vm # c\n",
        "name: x # \xc3\xa4\nnodes:\n  a: {kind: vm, image: \"/home/me/d/a.qcow2\" }\n  b:\n    image: \"/home/me/../b "
        "c\"\n    kind: vm # c\n");
    whole("name: x\nnodes: {a: {kind: vm, image: 'a\"b\\c'}}\n",
          "name: x\nnodes: {a: {kind: vm, image: \"/home/me/a\\\"b\\\\c\"}}\n");
    assert_null(slice_with_whole_paths(bom, sizeof bom - 1, "/", &errors));
    assert_null(slice_with_whole_paths("[", 1, "/", &errors));
    slice = parse(relative);
    assert_string_equal(slice_find_relative_path(slice)->name, "a");
    slice_free(slice);
}

static void files(void **state)
{
    assert_null(slice_parse_file("/nonexistent.vn.yml", &errors));
    assert_string_equal(errors.list[0].text, "/nonexistent.vn.yml cannot be read: No such file or directory.");
    assert_int_equal(errors.list[0].at.line, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantities),
        cmocka_unit_test(whole_slice),
        cmocka_unit_test(defaults),
        cmocka_unit_test(mistakes_are_told_with_their_place),
        cmocka_unit_test(mistakes_in_links),
        cmocka_unit_test(budgets_are_kept),
        cmocka_unit_test(interfaces_agree),
        cmocka_unit_test(many_mistakes),
        cmocka_unit_test(deep_and_large_files),
        cmocka_unit_test(paths_are_made_whole),
        cmocka_unit_test(files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
