/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/attack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct arena arena;
struct guest attacker;

void attack_begin(const struct guest_config *config)
{
    arena_connect(&arena, &attacker, config);
    if (config->start)
        fast_path_await_up(&arena.fast_path, "attacker");
}

void attack_leave(const char *reason)
{
    if (reason)
        fast_path_await_reason(&arena.fast_path, "attacker", reason);
    guest_destroy(&attacker);
}

void attack_end(const char *reason)
{
    attack_leave(reason);
    arena_check(&arena);
}

struct vhost_user_vring_address attack_ring_address(uint8_t index)
{
    const struct virtqueue *queue = &attacker.queues[index];

    return (struct vhost_user_vring_address){
        .index = index,
        .descriptor = (uintptr_t)queue->split.descriptor,
        .available = (uintptr_t)queue->split.available,
        .used = (uintptr_t)queue->split.used,
    };
}

void arena_opens(void **state)
{
    arena_open(&arena);
}

void arena_closes(void **state)
{
    arena_close(&arena);
}

int attack_remove(void **state)
{
    guest_destroy(&attacker);
    return 0;
}
