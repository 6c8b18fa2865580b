/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct config config;
static struct slice_errors errors;

static void accept(const char *text)
{
    if (!config_parse(&config, text, strlen(text), &errors))
        fail_msg("%u:%u: %s", errors.list[0].at.line, errors.list[0].at.column, errors.list[0].text);
}

static void refuse(const char *text, unsigned line, unsigned column, const char *sentence)
{
    assert_false(config_parse(&config, text, strlen(text), &errors));
    assert_string_equal(errors.list[0].text, sentence);
    assert_int_equal(errors.list[0].at.line, line);
    assert_int_equal(errors.list[0].at.column, column);
}

static void nothing_has_to_be_said(void **state)
{
    accept("");
    assert_string_equal(config.run, "/run/vnode");
    assert_string_equal(config.state, "/var/lib/vnode");
    assert_string_equal(config.db, "");
    assert_int_not_equal(config_cpu_mask(config.fastpath.cores), 0);
    assert_int_not_equal(config_cpu_mask(config.vswitch.cores), 0);
    assert_int_equal(config.capacity.overcommit, 8);
    accept("\n \n");
}

static void everything_can_be_said(void **state)
{
    accept("run: /run/x\nstate: /var/x\nschema: /s\ngroup: vnode\ndb: tcp:10.0.0.1:6640\nhugepages: yes\n"
           "fastpath: {program: /f, cores: \"2-3\", memory: 1GiB, rules: 5}\n"
           "vswitch: {db: \"unix:/run/openvswitch/db.sock\", program: /v, driver: /d, schema: /o, cores: 1, memory: 256MiB, sleep: 0}\n"
           "vm: {libvirt: \"qemu:///system\", kernel: /k, initrd: /i}\n"
           "capacity: {overcommit: 1, reserve: 0B, rate: 40Gbit}\n");
    assert_string_equal(config.run, "/run/x");
    assert_string_equal(config.group, "vnode");
    assert_string_equal(config.db, "tcp:10.0.0.1:6640");
    assert_true(config.hugepages);
    assert_string_equal(config.fastpath.cores, "2-3");
    assert_int_equal(config.fastpath.memory, 1 << 30);
    assert_int_equal(config.fastpath.rules, 5);
    assert_string_equal(config.vswitch.db, "unix:/run/openvswitch/db.sock");
    assert_string_equal(config.vswitch.driver, "/d");
    assert_int_equal(config.vswitch.sleep_us, 0);
    assert_true(config.vm.system);
    assert_string_equal(config.vm.initrd, "/i");
    assert_int_equal(config.capacity.reserve, 0);
    assert_true(config.capacity.rate == UINT64_C(40000000000));
    accept("db: private\n");
    assert_string_equal(config.db, "");
}

static void mistakes_have_places(void **state)
{
    refuse("runs: /x\n", 1, 1, "The file has no key 'runs'; did you mean 'run'?");
    refuse("run: x\n", 1, 6, "run has to be a whole path, which begins with '/', not 'x'.");
    refuse("fastpath:\n  cores: 1-\n", 2, 10,
           "fastpath.cores has to be CPUs such as 1 or 2-3,5, of 0 to 63, not '1-'.");
    refuse("vswitch: {memory: 512}\n", 1, 19,
           "vswitch.memory has to be a number with its unit, such as 256MiB or 4GiB, not '512'.");
    refuse("db: here\n", 1, 5, "db has to be private, unix:PATH or tcp:ADDRESS:PORT, not 'here'.");
    refuse("hugepages: 1\n", 1, 12, "hugepages has to be no or yes, not '1'.");
    refuse("capacity: {overcommit: 0}\n", 1, 24,
           "capacity.overcommit has to be a whole number from 1 to 1000, not '0'.");
    refuse("- a\n", 1, 1, "The file has to be a mapping of keys to values.");
    assert_false(config_read(&config, "/nonexistent", &errors));
    assert_string_equal(errors.list[0].text, "/nonexistent cannot be read: No such file or directory.");
}

static void sample_says_the_defaults(void **state)
{
    struct config defaults;

    accept("");
    defaults = config;
    if (!config_read(&config, getenv("VNODE_SAMPLE"), &errors))
        fail_msg("%u:%u: %s", errors.list[0].at.line, errors.list[0].at.column, errors.list[0].text);
    assert_string_equal(config.run, defaults.run);
    assert_string_equal(config.state, defaults.state);
    assert_int_equal(config.fastpath.memory, defaults.fastpath.memory);
    assert_int_equal(config.fastpath.rules, defaults.fastpath.rules);
    assert_int_equal(config.vswitch.memory, defaults.vswitch.memory);
    assert_int_equal(config.vswitch.sleep_us, defaults.vswitch.sleep_us);
    assert_memory_equal(&config.capacity, &defaults.capacity, sizeof config.capacity);
}

static void cpu_masks(void **state)
{
    static const struct {
        const char *list;
        uint64_t mask;
    } cases[] = {{"0", 1},
                 {"1", 2},
                 {"2-3,5", 0x2c},
                 {"63", UINT64_C(1) << 63},
                 {"0-63", UINT64_MAX},
                 {"", 0},
                 {"64", 0},
                 {"3-2", 0},
                 {"1,", 0},
                 {",1", 0},
                 {"1-", 0},
                 {"a", 0},
                 {"1 2", 0},
                 {"-1", 0},
                 {"99999999999999999999", 0}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(config_cpu_mask(cases[i].list) == cases[i].mask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_has_to_be_said),
        cmocka_unit_test(everything_can_be_said),
        cmocka_unit_test(mistakes_have_places),
        cmocka_unit_test(sample_says_the_defaults),
        cmocka_unit_test(cpu_masks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
