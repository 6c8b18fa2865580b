/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How a rule moves from the vSwitch to the fast path with no packet overtaking another.
 *
 * Packets of one flow come in by one receive queue q (a sender that spreads a flow over queues has no order to lose).
 * While the rule is onload, the worker of q puts them into ring q to the vSwitch; the vSwitch puts them into any of the
 * rings from the vSwitch of the rule's output ports; the workers of those rings deliver them. Once q's
 * worker executes the rule itself, it delivers at once. So it may begin with that when every packet of the rule that it
 * gave to the vSwitch has been delivered, or dropped on the way. It finds out, without any lock, like this:
 *
 *  1. Control makes a move with an *entry* for every receive queue of the input port, lets rule and queues point to it,
 *     makes the rule RULE_MOVING and wakes the workers. From here on the worker does its part at its *looks*, which come
 *     before the bursts of the queue (move_look()).
 *  2. A look at which packets of the rule were sent since the look before (at the first look: may have been sent) notes the tail
 *     of ring q to the vSwitch. All packets of the rule lie before it.
 *  3. A look that finds that the vSwitch has come back to ring q for more, with nothing unreleased at or behind the tail noted
 *     (packet_ring_came_back()), knows that the vSwitch has output all those packets: it outputs a batch before it comes
 *     back. That is a release by the vSwitch and an acquire here, so the look sees their positions in the rings back: it
 *     notes how far each ring of each output port is filled.
 *  4. A look that finds that all those places have been delivered is done. representor_delivered() is stored, with
 *     release, by the worker of that ring when the burst is in the receiver's queue; so what this worker
 *     sends from now on comes behind it, in the same queue of the receiver, since that is chosen by the headers that leave.
 *  5. From then on the queue's worker executes the rule, while other queues of the port may still send its packets to the vSwitch. When
 *     all queues are done, control makes the rule RULE_OFFLOADED and, behind a quiescent period, frees the move.
 *
 * Packets that are sent to the vSwitch after step 2 lead back to it. So a flow that has a gap as long as a round trip moves
 * without any effect on others. One that has none needs a *pause*: the worker leaves the queue's packets with their sender, looking
 * on, until the entries that asked for it are done. Nothing is copied or held anywhere, nothing can
 * overflow, and one pause serves all the rules that move. What a pause costs is bounded: it is begun only when the vSwitch has, since
 * the first look, dealt with all there was then (so one that hangs stops nobody); it lasts a few times as long
 * as that took, within PAUSE_US_MIN and PAUSE_US_MAX; then its entries fail, which is counted and leaves the rule onload;
 * and a queue is paused for a fourth of the time at most. A NIC does not wait: when its ring is three quarters full, the pause is over
 * (receive_ops.crowded). Without a pause an entry fails after PATIENCE_MS.
 *
 * From the fast path to the vSwitch nothing has to be waited for: the worker delivers what it offloads within the burst, those packets of
 * a burst that go to the vSwitch last (dispatch() in forward.c); so all were delivered when the next one is sent to the vSwitch. The same makes it right that
 * a move fails, or is cancelled, when some queues are done and others are not.
 *
 * A slow vSwitch makes moves long, and a flood of new flows makes many of them; a look at each entry before each burst would then
 * take most of the worker's time, at the cost of all its ports. So when there are more than a few, they are looked at only when one is
 * new, when the vSwitch has come back, while one waits for deliveries, during a pause, and every so often for what else there is
 * (deadlines, gaps, rings that are broken or gone).
 *
 * When things go away:
 *  - The input port has no representor, or another than the one that packets went to: no packet of the old one can come back
 *    but those that the rings back hold already, so the entry is at step 3.
 *  - An output port's representor is gone or another one: what its rings held is lost; representor_detach() lets the
 *    workers finish with the rings before it takes the representor from the port, so nothing is under way behind our back.
 *  - The peer breaks a ring: the entry fails at once.
 *  - A queue that is not ready (no guest, or fewer queues in use) is looked at all the same: its packets may still be
 *    under way.
 *  - The rule is removed, or its input port, or one of its outputs: move_cancel() takes the entries off the queues' lists and
 *    waits for the workers. Workers never take entries off, so there is nobody to wait for who sleeps.
 *
 * Memory: lists of entries are read by workers and written by control, with release and acquire on each pointer; what
 * control takes off is freed behind a quiescent period. An entry's other fields belong to the queue's worker; the end of an entry is told
 * by its 'result' and move->n_open, with release.
 */

#include "fastpath/move_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "fastpath/offload_rule.h"
#include "fastpath/worker_internal.h"

#define PAUSE_AFTER_US 50  /* a flow without gaps gets so much time to have one */
#define PATIENCE_MS 20     /* for what does not hold anybody up */
#define PAUSE_US_MIN 2000  /* limits of a pause: that, and more when the vSwitch takes long ... */
#define PAUSE_US_MAX 10000 /* ... but not more than that */
#define LOOK_US_EACH \
    1 /* between two looks at many entries for which nothing has happened, for each of them */

struct move_times move_times;

static struct {
    uint64_t hz;
    uint64_t (*clock)(void);
    struct move *first; /* of those under way */
    unsigned n_moves;
    struct move_queue *queues[PORTS_MAX][QUEUES_MAX];
    struct move_totals totals;      /* less what living queues count themselves */
    struct move_totals with_queues; /* for moves_totals() */
} moves;

void moves_start(uint64_t hz, uint64_t (*clock)(void))
{
    moves.hz = hz;
    moves.clock = clock;
    move_times = (struct move_times){.pause_after = hz / 1000000 * PAUSE_AFTER_US,
                                     .patience = hz / 1000 * PATIENCE_MS,
                                     .pause_min = hz / 1000000 * PAUSE_US_MIN,
                                     .pause_max = hz / 1000000 * PAUSE_US_MAX,
                                     .look_each = hz / 1000000 * LOOK_US_EACH};
}

static uint64_t to_ns(uint64_t ticks)
{
    return ticks / moves.hz * 1000000000 + ticks % moves.hz * 1000000000 / moves.hz;
}

/* Durations */

/* Classes: 0 to 7 ns one each, then eight for each power of two. */
static unsigned duration_class(uint64_t ns)
{
    unsigned power = ns < 8 ? 2 : 63 - (unsigned)__builtin_clzll(ns), class;

    class = ns < 8 ? (unsigned)ns : (power - 2) * 8 + (unsigned)(ns >> (power - 3)) % 8;
    return class < MOVE_DURATION_CLASSES ? class : MOVE_DURATION_CLASSES - 1;
}

/* The longest duration of a class. */
static uint64_t class_end(unsigned class)
{
    unsigned power = class / 8 + 2;

    return class < 8 ? class : ((uint64_t)(class % 8 + 9) << (power - 3)) - 1;
}

uint64_t move_duration_quantile(const struct move_totals *totals, double share)
{
    uint64_t n = totals->n_ended[MOVE_DONE], seen = 0;

    for (unsigned class = 0; n && class < MOVE_DURATION_CLASSES; class ++) {
        seen += totals->n_durations[class];
        if ((double)seen >= share * (double)n) {
            uint64_t end = class_end(class);

            return end < totals->duration_max_ns ? end : totals->duration_max_ns;
        }
    }
    return 0;
}

static void add_queue_counts(struct move_totals *totals, const struct move_queue *queue)
{
    uint64_t longest = to_ns(atomic_load_explicit(&queue->paused_max_ticks, memory_order_relaxed));

    totals->n_pauses += atomic_load_explicit(&queue->n_pauses, memory_order_relaxed);
    totals->paused_ns += to_ns(atomic_load_explicit(&queue->paused_ticks, memory_order_relaxed));
    if (totals->paused_max_ns < longest)
        totals->paused_max_ns = longest;
}

const struct move_totals *moves_totals(void)
{
    moves.with_queues = moves.totals;
    for (unsigned port = 0; port < PORTS_MAX; port++)
        for (unsigned i = 0; i < QUEUES_MAX; i++)
            if (moves.queues[port][i])
                add_queue_counts(&moves.with_queues, moves.queues[port][i]);
    return &moves.with_queues;
}

/* Making and unmaking moves */

static bool has_output(const struct move *move, uint16_t port)
{
    for (unsigned i = 0; i < move->n_outputs; i++)
        if (move->outputs[i].port == port)
            return true;
    return false;
}

/* Fills in the ports that 'rule' outputs to. One that does not exist has no representor that could hold packets. */
static void find_outputs(struct move *move, const struct rule *rule)
{
    for (unsigned i = 0; i < rule->n_actions; i++) {
        const struct action *action = &rule->actions[i];
        const struct port *port = action->type == ACTION_OUTPUT ? port_by_id(action->port) : NULL;

        if (!port || has_output(move, port->id))
            continue;
        move->outputs[move->n_outputs++] = (struct move_output){port->id, port->n_receive};
        move->n_places += port->n_receive;
    }
}

static struct move *move_create(struct rule *rule, const struct port *port)
{
    struct move outputs = {.n_outputs = 0};
    struct move *move;
    struct move_place *places;

    find_outputs(&outputs, rule);
    move = calloc(1, sizeof *move + port->n_receive * (sizeof move->entries[0] +
                                                       outputs.n_places * sizeof(struct move_place)));
    if (!move)
        return NULL;
    *move = outputs;
    move->rule = rule;
    move->n_entries = port->n_receive;
    atomic_store_explicit(&move->n_open, port->n_receive, memory_order_relaxed);
    places = (struct move_place *)&move->entries[move->n_entries];
    for (unsigned i = 0; i < move->n_entries; i++) {
        move->entries[i].move = move;
        move->entries[i].queue = port->receive[i];
        move->entries[i].places = places + i * move->n_places;
    }
    return move;
}

/* Makes sure that every queue of 'port' has its move_queue. */
static bool get_queues(const struct port *port)
{
    for (uint16_t i = 0; i < port->n_receive; i++) {
        struct move_queue **queue = &moves.queues[port->id][i];

        if (!*queue)
            *queue = calloc(1, sizeof **queue);
        if (!*queue)
            return false;
    }
    return true;
}

static struct move_queue *queue_of(const struct move_entry *entry)
{
    return moves.queues[entry->queue->port->id][entry->queue->index];
}

/* Shows 'entry' to the worker of its queue. */
static void entry_publish(struct move_entry *entry)
{
    struct move_queue *queue = queue_of(entry);
    struct move_entry *first = atomic_load_explicit(&queue->entries, memory_order_relaxed);

    atomic_store_explicit(&entry->next, first, memory_order_relaxed);
    if (first)
        first->previous = entry;
    else if (!atomic_load_explicit(&entry->queue->moves, memory_order_relaxed))
        queue->paused =
            false; /* That pause ended when the last of its entries was cancelled. Nobody looks here now. */
    /* Before it is seen: the worker subtracts. */
    atomic_fetch_add_explicit(&queue->n_open, 1, memory_order_relaxed);
    atomic_store_explicit(&queue->entries, entry, memory_order_release);
    atomic_fetch_add_explicit(&queue->n_published, 1, memory_order_release);
    atomic_store_explicit(&entry->queue->moves, queue, memory_order_release);
    worker_wake(entry->queue);
}

/* Takes 'entry' off its list. A worker that is just there goes on from it, so its own pointer stays. */
static void entry_unlink(struct move_entry *entry)
{
    struct move_queue *queue = queue_of(entry);
    struct move_entry *next = atomic_load_explicit(&entry->next, memory_order_relaxed);

    atomic_store_explicit(entry->previous ? &entry->previous->next : &queue->entries, next,
                          memory_order_release);
    if (next)
        next->previous = entry->previous;
    if (!atomic_load_explicit(&queue->entries, memory_order_relaxed))
        atomic_store_explicit(&entry->queue->moves, NULL, memory_order_relaxed);
}

int move_begin(struct rule *rule)
{
    const struct port *port = port_by_id(rule->in_port);
    struct move *move;

    if (!port)
        return ENOENT;
    if (moves.n_moves == MOVES_MAX)
        return EBUSY;
    move = move_create(rule, port);
    if (!move || !get_queues(port)) {
        free(move);
        return ENOMEM;
    }
    move->began = moves.clock();
    move->next = moves.first;
    if (moves.first)
        moves.first->previous = move;
    moves.first = move;
    moves.n_moves++;
    moves.totals.n_begun++;
    atomic_store_explicit(&rule_offload(rule)->move, move, memory_order_relaxed);
    /* Release: a worker that sees the state sees the move. */
    atomic_store_explicit(&rule->state, RULE_MOVING, memory_order_release);
    for (unsigned i = 0; i < move->n_entries; i++)
        entry_publish(&move->entries[i]);
    return 0;
}

/* Takes 'move' away from workers that do not hold it yet, and gives its rule a state. */
static void move_retire(struct move *move, enum rule_state state)
{
    atomic_store_explicit(&move->rule->state, state, memory_order_relaxed);
    for (unsigned i = 0; i < move->n_entries; i++)
        entry_unlink(&move->entries[i]);
    if (move->previous)
        move->previous->next = move->next;
    else
        moves.first = move->next;
    if (move->next)
        move->next->previous = move->previous;
    moves.n_moves--;
}

/* Frees 'move', which was retired before all workers were quiescent. */
static void move_free(struct move *move)
{
    for (unsigned i = 0; i < move->n_entries; i++) {
        struct move_entry *entry = &move->entries[i];

        /* The worker has subtracted those that it brought to an end. */
        if (atomic_load_explicit(&entry->result, memory_order_acquire) == MOVE_ENTRY_OPEN)
            atomic_fetch_sub_explicit(&queue_of(entry)->n_open, 1, memory_order_relaxed);
    }
    free(move);
}

void move_cancel(struct rule *rule)
{
    struct move *move;

    if (atomic_load_explicit(&rule->state, memory_order_relaxed) != RULE_MOVING)
        return;
    move = atomic_load_explicit(&rule_offload(rule)->move, memory_order_relaxed);
    move_retire(move, RULE_ONLOAD);
    workers_synchronize();
    atomic_store_explicit(&rule_offload(rule)->move, NULL, memory_order_relaxed);
    move_free(move);
    moves.totals.n_ended[MOVE_CANCELLED]++;
}

void move_back(struct rule *rule)
{
    uint8_t state = atomic_load_explicit(&rule->state, memory_order_relaxed);

    if (state == RULE_MOVING) {
        move_cancel(rule);
    } else if (state == RULE_OFFLOADED) {
        atomic_store_explicit(&rule->state, RULE_ONLOAD, memory_order_relaxed);
        moves.totals.n_back++;
    }
}

/* From move_begin() until the last of its workers was done. */
static uint64_t duration_ns(const struct move *move)
{
    uint64_t ended = move->began;

    for (unsigned i = 0; i < move->n_entries; i++)
        if (move->entries[i].ended > ended)
            ended = move->entries[i].ended;
    return to_ns(ended - move->began);
}

static enum move_result account(const struct move *move, uint64_t duration)
{
    if (atomic_load_explicit(&move->failed, memory_order_relaxed)) {
        moves.totals.n_ended[MOVE_DEADLINE]++;
        return MOVE_DEADLINE;
    }
    moves.totals.n_ended[MOVE_DONE]++;
    moves.totals.n_durations[duration_class(duration)]++;
    if (moves.totals.duration_max_ns < duration)
        moves.totals.duration_max_ns = duration;
    return MOVE_DONE;
}

/* Takes the finished moves off the list of all, sets their rules' states, and returns them as a list. */
static struct move *retire_finished(void)
{
    struct move *finished = NULL, *next;

    for (struct move *move = moves.first; move; move = next) {
        next = move->next;
        /* Acquire: what the workers wrote into the entries is there. */
        if (atomic_load_explicit(&move->n_open, memory_order_acquire) > 0)
            continue;
        move_retire(move,
                    atomic_load_explicit(&move->failed, memory_order_relaxed) ? RULE_ONLOAD : RULE_OFFLOADED);
        move->next = finished;
        finished = move;
    }
    return finished;
}

unsigned moves_reap(move_ended *ended)
{
    struct move *finished = retire_finished();
    unsigned n = 0;

    if (!finished)
        return 0;
    workers_synchronize();
    for (struct move *move = finished; move; move = move->next)
        atomic_store_explicit(&rule_offload(move->rule)->move, NULL, memory_order_relaxed);
    while (finished) {
        struct move *move = finished;
        struct rule *rule = move->rule;
        uint64_t duration = duration_ns(move);
        enum move_result result = account(move, duration);

        finished = move->next;
        move_free(move);
        ended(rule, result, duration);
        n++;
    }
    return n;
}

unsigned moves_under_way(void)
{
    return moves.n_moves;
}

void moves_forget_port(const struct port *port)
{
    for (uint16_t i = 0; i < QUEUES_MAX; i++) {
        struct move_queue **queue = &moves.queues[port->id][i];

        if (!*queue)
            continue;
        add_queue_counts(&moves.totals, *queue);
        free(*queue);
        *queue = NULL;
    }
}
