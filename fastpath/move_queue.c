/* SPDX-License-Identifier: Apache-2.0 */

/* The workers' part of moves: what a look at a receive queue does. move.c has the whole story. */

#include "fastpath/move_internal.h"
#include "fastpath/offload_rule.h"
#include "fastpath/representor.h"
#include "lib/compiler.h"

/* So many entries are looked at before each burst, whether something has happened or not. */
#define LOOK_FREELY 4

/* A queue is paused for one part of the time in this many at most. */
#define PAUSED_PART 4

/* Tells control about the end of 'entry'. */
static void entry_end(struct move_queue *queue, struct move_entry *entry, enum move_entry_result result,
                      uint64_t now)
{
    struct move *move = entry->move;

    entry->ended = now;
    entry->covered = false;
    if (result == MOVE_ENTRY_FAILED)
        atomic_store_explicit(&move->failed, true, memory_order_relaxed);
    atomic_store_explicit(&entry->result, result, memory_order_release);
    atomic_fetch_sub_explicit(&queue->n_open, 1, memory_order_relaxed);
    /* Last, and release: control may take the move away now, though not before our next quiescent state. */
    atomic_fetch_sub_explicit(&move->n_open, 1, memory_order_acq_rel);
}

/* Step 2: notes where the packets are that went to the vSwitch. */
static void note_sent(struct move_entry *entry, struct representor *representor)
{
    uint16_t index = entry->queue->index;

    entry->handle = representor ? representor_handle(representor) : 0;
    entry->position = representor ? representor_tail(representor, index) : 0;
    entry->sent = false;
    entry->returning = false;
}

static void begin(struct move_entry *entry, struct representor *representor, uint64_t now)
{
    entry->begun = true;
    entry->since = now;
    note_sent(entry, representor);
    entry->first_handle = entry->handle;
    entry->first_position = entry->position;
}

/* Whether the vSwitch has dealt with all before 'position' of the ring that it has, or had, from 'handle'. */
static bool dealt_with(struct representor *representor, const struct move_entry *entry, uint32_t handle,
                       uint64_t position)
{
    return !representor || representor_handle(representor) != handle ||
           representor_came_back(representor, entry->queue->index, position);
}

/* Step 3: notes what the vSwitch has returned. False: it says what cannot be. */
static bool note_returned(struct move_entry *entry)
{
    struct move_place *place = entry->places;

    for (unsigned i = 0; i < entry->move->n_outputs; i++) {
        const struct move_output *output = &entry->move->outputs[i];
        struct port *port = port_by_id(output->port);
        struct representor *representor =
            port ? atomic_load_explicit(&port->representor, memory_order_acquire) : NULL;

        for (uint16_t j = 0; j < output->n_queues; j++, place++) {
            place->handle = representor ? representor_handle(representor) : 0;
            if (representor && !representor_returned(representor, j, &place->position))
                return false;
        }
    }
    return true;
}

/* Step 4: whether all that has been delivered, or cannot be any more. */
static bool is_delivered(const struct move_entry *entry)
{
    const struct move_place *place = entry->places;

    for (unsigned i = 0; i < entry->move->n_outputs; i++) {
        const struct move_output *output = &entry->move->outputs[i];
        struct port *port = port_by_id(output->port);
        struct representor *representor =
            port ? atomic_load_explicit(&port->representor, memory_order_acquire) : NULL;

        for (uint16_t j = 0; j < output->n_queues; j++, place++)
            if (representor && representor_handle(representor) == place->handle &&
                representor_delivered(representor, j) < place->position)
                return false;
    }
    return true;
}

/* Takes 'entry' as far as it goes. */
static void entry_advance(struct move_queue *queue, struct move_entry *entry, uint64_t now)
{
    struct representor *representor =
        atomic_load_explicit(&entry->queue->port->representor, memory_order_acquire);

    if (unlikely(atomic_load_explicit(&entry->move->failed, memory_order_relaxed))) {
        entry_end(queue, entry, MOVE_ENTRY_FAILED, now);
        return;
    }
    if (!entry->begun) {
        begin(entry, representor, now);
    } else if (entry->sent) {
        note_sent(entry, representor);
        entry->sent_again = true;
    }
    if (!entry->answered && dealt_with(representor, entry, entry->first_handle, entry->first_position)) {
        entry->answered = true;
        entry->answer_ticks = now - entry->since;
    }
    if (!entry->returning) {
        if (!dealt_with(representor, entry, entry->handle, entry->position)) {
            if (representor_is_broken(representor, entry->queue->index))
                entry_end(queue, entry, MOVE_ENTRY_FAILED, now);
            return;
        }
        if (!note_returned(entry)) {
            entry_end(queue, entry, MOVE_ENTRY_FAILED, now);
            return;
        }
        entry->returning = true;
    }
    if (is_delivered(entry))
        entry_end(queue, entry, MOVE_ENTRY_DONE, now);
}

/* How long a pause may last that a vSwitch needs which took 'answer_ticks' before. */
static uint64_t pause_limit(uint64_t answer_ticks)
{
    uint64_t limit = move_times.pause_min + 2 * answer_ticks;

    return limit < move_times.pause_max ? limit : move_times.pause_max;
}

static void pause_end(struct move_queue *queue, uint64_t now)
{
    uint64_t ticks = now - queue->paused_at;
    /* Longer is a pause only when this worker was not running. */
    uint64_t counted = ticks < queue->pause_limit ? ticks : queue->pause_limit;

    queue->paused = false;
    queue->pause_allowed = now + (PAUSED_PART - 1) * counted;
    atomic_store_explicit(&queue->paused_ticks, queue->paused_ticks + ticks, memory_order_relaxed);
    if (queue->paused_max_ticks < ticks)
        atomic_store_explicit(&queue->paused_max_ticks, ticks, memory_order_relaxed);
}

static void pause_begin(struct move_queue *queue, uint64_t now)
{
    queue->paused = true;
    queue->paused_at = now;
    atomic_store_explicit(&queue->n_pauses, queue->n_pauses + 1, memory_order_relaxed);
}

/*
 * What becomes of an entry that is still open. Returns whether it needs the pause under way (and it is not so that the queue
 * 'must_go_on'), or one that could begin now ('may_pause').
 */
static bool entry_wait(struct move_queue *queue, struct move_entry *entry, bool may_pause, bool must_go_on,
                       uint64_t now)
{
    uint64_t age = now - entry->since, limit;

    if (queue->paused && entry->covered) {
        if (!must_go_on && now - queue->paused_at <= queue->pause_limit)
            return true;
        entry_end(queue, entry, MOVE_ENTRY_FAILED, now);
        return false;
    }
    if (!entry->answered || !entry->sent_again) {
        if (age > move_times.patience)
            entry_end(queue, entry, MOVE_ENTRY_FAILED, now);
        return false;
    }
    if (!may_pause || age < move_times.pause_after)
        return false;
    limit = pause_limit(entry->answer_ticks);
    if (queue->pause_limit < limit)
        queue->pause_limit = limit;
    entry->covered = true;
    return true;
}

/* Whether what waits in 'receive' is about to run over. */
static bool is_crowded(struct receive_queue *receive)
{
    return atomic_load_explicit(&receive->ready, memory_order_acquire) && receive->ops->crowded &&
           receive->ops->crowded(receive);
}

/* Whether something has happened that could take entries further. */
static bool look_is_due(const struct move_queue *queue, uint32_t n_published, uint64_t progress, uint64_t now)
{
    return queue->paused || queue->delivering || n_published != queue->seen_entries ||
           progress != queue->seen_to || now >= queue->next_look;
}

/* Takes all open entries as far as they go. Returns whether one needs a pause. */
static bool look_at_entries(struct move_queue *queue, bool may_pause, bool must_go_on, uint64_t now)
{
    bool needed = false;
    unsigned n = 0;

    queue->delivering = false;
    for (struct move_entry *entry = atomic_load_explicit(&queue->entries, memory_order_acquire); entry;
         entry = atomic_load_explicit(&entry->next, memory_order_acquire), n++) {
        if (atomic_load_explicit(&entry->result, memory_order_relaxed) != MOVE_ENTRY_OPEN)
            continue;
        entry_advance(queue, entry, now);
        if (atomic_load_explicit(&entry->result, memory_order_relaxed) != MOVE_ENTRY_OPEN)
            continue;
        queue->delivering |= entry->returning;
        needed |= entry_wait(queue, entry, may_pause, must_go_on, now);
    }
    queue->next_look = n > LOOK_FREELY ? now + n * move_times.look_each : now;
    return needed;
}

bool move_look(struct receive_queue *receive, uint64_t now)
{
    struct move_queue *queue = atomic_load_explicit(&receive->moves, memory_order_acquire);
    struct representor *representor;
    uint64_t progress;
    uint32_t n_published;
    bool may_pause, must_go_on, needed = false;

    /* Control takes the pointer away at any time. */
    if (!queue)
        return false;
    representor = atomic_load_explicit(&receive->port->representor, memory_order_acquire);
    /* Before the entries are looked at: what changes meanwhile is a reason to look again. */
    progress = representor ? representor_progress(representor, receive->index) : 0;
    n_published = atomic_load_explicit(&queue->n_published, memory_order_acquire);
    if (!look_is_due(queue, n_published, progress, now))
        return false;
    queue->seen_to = progress;
    queue->seen_entries = n_published;
    must_go_on = queue->paused && is_crowded(receive);
    may_pause = !queue->paused && now >= queue->pause_allowed;
    if (may_pause)
        queue->pause_limit = 0;
    if (atomic_load_explicit(&queue->n_open, memory_order_relaxed) > 0)
        needed = look_at_entries(queue, may_pause, must_go_on, now);
    if (queue->paused && !needed)
        pause_end(queue, now);
    else if (!queue->paused && needed)
        pause_begin(queue, now);
    return queue->paused;
}

bool move_pending(const struct receive_queue *receive)
{
    const struct move_queue *queue = atomic_load_explicit(&receive->moves, memory_order_acquire);

    return queue && atomic_load_explicit(&queue->n_open, memory_order_relaxed) > 0;
}

bool move_onload(const struct rule *rule, const struct receive_queue *receive)
{
    struct move *move;
    struct move_entry *entry;

    move = atomic_load_explicit(&rule_offload(rule)->move, memory_order_relaxed);
    entry = &move->entries[receive->index];
    if (atomic_load_explicit(&entry->result, memory_order_relaxed) == MOVE_ENTRY_DONE)
        return false;
    entry->sent = true;
    return true;
}
