/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_ATTACK_H
#define TESTS_ATTACK_H

/*
 * A program of attacks: tests that share one arena, which the first of them opens and the last one closes,
 * and in which each attacks with a guest of its own, or several one after the other.
 *
 *     static void some_attack(void **state)
 *     {
 *         struct guest_config config;
 *
 *         arena_config(&arena, &config);
 *         attack_begin(&config);
 *         ... something hostile with 'attacker' ...
 *         attack_end("why its port was stopped");
 *     }
 *
 *     const struct CMUnitTest tests[] = {
 *         cmocka_unit_test(arena_opens),
 *         ATTACK_TEST(some_attack),
 *         cmocka_unit_test(arena_closes),
 *     };
 */

#include "tests/integration/arena.h"

extern struct arena arena;
extern struct guest attacker;

/* Connects 'attacker' to the port "attacker"; one that is to start by itself is served when this returns. */
void attack_begin(const struct guest_config *config);

/* Removes 'attacker', as soon as its port is down and says why with 'reason' among others; NULL: at once. */
void attack_leave(const char *reason);

/* The same, and checks that nobody took harm: see arena_check(). */
void attack_end(const char *reason);

/* Where 'attacker' has ring 'index', a split one, in its own addresses. */
struct vhost_user_vring_address attack_ring_address(uint8_t index);

/* Tests, not set-up and tear-down of the group: cmocka does not count failures of those. */
void arena_opens(void **state);
void arena_closes(void **state);

/* A row of cmocka's table; a test that fails in the middle leaves no attacker behind. */
#define ATTACK_TEST(name) cmocka_unit_test_teardown(name, attack_remove)
int attack_remove(void **state);

#endif
