/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/move_fake.h"

#include <errno.h>
#include <string.h>

struct fake_moves fake_moves;

static struct rule *under_way[MOVES_MAX];
static unsigned n_under_way;

void fake_moves_reset(void)
{
    fake_moves = (struct fake_moves){0};
    n_under_way = 0;
}

static enum rule_state state_of(const struct rule *rule)
{
    return atomic_load_explicit(&rule->state, memory_order_relaxed);
}

static void set_state(struct rule *rule, enum rule_state state)
{
    atomic_store_explicit(&rule->state, (uint8_t)state, memory_order_relaxed);
}

int move_begin(struct rule *rule)
{
    if (fake_moves.begin_code)
        return fake_moves.begin_code;
    if (n_under_way == MOVES_MAX)
        return EBUSY;
    assert(state_of(rule) == RULE_ONLOAD);
    set_state(rule, RULE_MOVING);
    under_way[n_under_way++] = rule;
    fake_moves.n_begun++;
    return 0;
}

void move_cancel(struct rule *rule)
{
    unsigned i = 0;

    if (state_of(rule) != RULE_MOVING)
        return;
    while (under_way[i] != rule)
        i++;
    under_way[i] = under_way[--n_under_way];
    set_state(rule, RULE_ONLOAD);
    fake_moves.n_cancelled++;
}

void move_back(struct rule *rule)
{
    move_cancel(rule);
    fake_moves.n_back += state_of(rule) == RULE_OFFLOADED;
    set_state(rule, RULE_ONLOAD);
}

unsigned moves_reap(move_ended *ended)
{
    struct rule *rules[MOVES_MAX];
    unsigned n = n_under_way;

    if (fake_moves.held)
        return 0;
    memcpy(rules, under_way, n * sizeof *rules);
    n_under_way = 0;
    for (unsigned i = 0; i < n; i++)
        set_state(rules[i], fake_moves.result == MOVE_DONE ? RULE_OFFLOADED : RULE_ONLOAD);
    for (unsigned i = 0; i < n; i++)
        ended(rules[i], fake_moves.result, 1000);
    return n;
}

unsigned moves_under_way(void)
{
    return n_under_way;
}

const struct move_totals *moves_totals(void)
{
    static struct move_totals totals;

    totals.n_begun = fake_moves.n_begun;
    totals.n_back = fake_moves.n_back;
    totals.n_ended[MOVE_CANCELLED] = fake_moves.n_cancelled;
    return &totals;
}

uint64_t move_duration_quantile(const struct move_totals *totals, double share)
{
    return 0;
}
