/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/hardware.h"

#define USER 64055
#define GROUP 107

static bool may_open(uid_t owner, gid_t group, mode_t mode)
{
    static const gid_t groups[] = {64055, GROUP};
    const struct stat file = {.st_uid = owner, .st_gid = group, .st_mode = S_IFCHR | mode};

    return hardware_may_open(&file, USER, groups, 2);
}

static void owner_group_and_others_have_their_bits(void **state)
{
    assert_true(may_open(0, GROUP, 0660));
    assert_false(may_open(0, 0, 0660));
    assert_false(may_open(0, GROUP, 0600));
    assert_false(may_open(0, GROUP, 0640));
    assert_true(may_open(0, 0, 0666));
    assert_false(may_open(0, 0, 0664));
    assert_true(may_open(USER, 0, 0600));
}

static void the_first_class_that_fits_decides(void **state)
{
    assert_false(may_open(USER, GROUP, 0066));
    assert_false(may_open(0, GROUP, 0606));
}

static void root_may_open_all(void **state)
{
    const struct stat file = {.st_uid = 1, .st_gid = 1, .st_mode = S_IFCHR};

    assert_true(hardware_may_open(&file, 0, NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owner_group_and_others_have_their_bits),
        cmocka_unit_test(the_first_class_that_fits_decides),
        cmocka_unit_test(root_may_open_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
