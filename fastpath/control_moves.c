/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "fastpath/control_internal.h"
#include "fastpath/move.h"
#include "fastpath/offload.h"

static const char *const result_names[] = {
    [MOVE_DONE] = "done", [MOVE_DEADLINE] = "deadline", [MOVE_CANCELLED] = "cancelled"};

int control_move_by_hand(struct rule *rule, const char *mode, struct error *error)
{
    enum rule_state state = atomic_load_explicit(&rule->state, memory_order_relaxed);
    int result = 0;

    if (!strcmp(mode, "off")) {
        move_back(rule);
        if (state != RULE_ONLOAD)
            control_moved_event(rule, "onload: mode-off");
    } else if (strcmp(mode, "on")) {
        return error_set(error, EINVAL,
                         "The mode of a rule that no vSwitch manages is 'on' or 'off', not '%s'.", mode);
    } else if (state == RULE_ONLOAD) {
        result = move_begin(rule);
        offload_hurry();
    }
    return result ? error_set(error, result, "The rule cannot be moved now: %s.", strerror(result)) : 0;
}

json_t *query_moves(const struct message_query *query, struct error *error)
{
    const struct move_totals *totals = moves_totals();
    json_t *answer = json_pack(
        "{s:I, s:i, s:I, s:I, s:I, s:I, s:f, s:f, s:f}", "begun", (json_int_t)totals->n_begun, "under_way",
        (int)moves_under_way(), "back", (json_int_t)totals->n_back, "pauses", (json_int_t)totals->n_pauses,
        "paused_ns", (json_int_t)totals->paused_ns, "paused_max_ns", (json_int_t)totals->paused_max_ns,
        "p50_us", (double)move_duration_quantile(totals, 0.5) / 1000, "p99_us",
        (double)move_duration_quantile(totals, 0.99) / 1000, "max_us", (double)totals->duration_max_ns / 1000);

    for (enum move_result result = 0; result < MOVE_RESULTS; result++)
        json_object_set_new(answer, result_names[result], json_integer((json_int_t)totals->n_ended[result]));
    return answer;
}
