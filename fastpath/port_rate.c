/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/port_rate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fastpath/segment.h"
#include "fastpath/worker_internal.h"

/*
 * A bucket that is not asked for otherwise holds what the rate gives in BURST_IN_MS, so that a worker may be late, and at
 * least two of the largest packets to be segmented: TCP runs smoothly if it can have one under way while another is paid for. What
 * goes out is dropped where what comes in waits, and TCP begins far too fast on so short a way: it needs a deep bucket not to
 * lose all of a window (docs/performance.md).
 */
#define BURST_IN_MS 10
#define BURST_OUT_MS 200
#define BURST_BYTES_MIN (2 * 65536)

/*
 * A queue is held until its bucket has something worth waking for: QUANTUM_BYTES, but no shorter than it
 * takes a worker to fall asleep and wake up, and no longer than one wants to add to a round-trip time.
 */
#define QUANTUM_BYTES 16384
#define QUANTUM_NS_MIN 100000
#define QUANTUM_NS_MAX 1000000

/* Workers */

/* Holds 'queue', since its bucket is empty: 'due' is. */
static void hold(struct rate_in *rate, struct rate_hold *hold, uint64_t due, uint64_t now)
{
    hold->is_held = true;
    hold->since = now;
    hold->until = rate_refilled(&rate->bucket, due) + rate->quantum;
}

uint16_t rate_in_allowance(struct rate_in *rate, const struct receive_queue *queue,
                           struct port_counters *counters)
{
    struct rate_hold *own = &rate->holds[queue->index];
    uint64_t now = rate_now(), due;

    if (own->is_held) {
        if ((int64_t)(own->until - now) > 0)
            return 0;
        /* It is this queue's turn now, even if the port's others have emptied the bucket again: they could do so each time. */
        own->is_held = false;
        counters->n_holds++;
        counters->held_units += now - own->since;
    } else if (rate_is_empty(&rate->bucket, now, &due)) {
        hold(rate, own, due, now);
        return 0;
    }
    return own->most;
}

bool rate_in_took(struct rate_in *rate, const struct receive_queue *queue, uint16_t n, uint64_t n_bytes)
{
    struct rate_hold *own = &rate->holds[queue->index];
    uint64_t now = rate_now();
    uint64_t due = rate_take(&rate->bucket, n_bytes, now);
    /* A quantum of packets like these. Only twice as many as last time: the next may be larger. */
    uint64_t most = rate->quantum_bytes * n / n_bytes;

    most = most > 2u * own->most ? 2u * own->most : most;
    own->most = (uint16_t)(most < 1 ? 1 : most > BURST_MAX ? BURST_MAX : most);
    if (!rate_is_empty_at(&rate->bucket, due, now))
        return false;
    hold(rate, own, due, now);
    return true;
}

uint16_t rate_out_admit(struct worker *worker, struct port *out, struct packet *const packets[], uint16_t n)
{
    struct rate_bucket *bucket = atomic_load_explicit(&out->rate_out, memory_order_acquire);
    uint32_t sizes[BURST_MAX];
    uint16_t n_admitted;

    if (!bucket)
        return n;
    for (uint16_t i = 0; i < n; i++)
        sizes[i] = packets[i]->size + packet_size_added(packets[i]);
    n_admitted = rate_admit(bucket, sizes, n, rate_now());
    worker_counters(worker, out)->drops[DROP_TX_RATE] += n - n_admitted;
    return n_admitted;
}

/* Control thread */

static int check(const struct port *port, const char *what, uint64_t rate, uint64_t burst, struct error *error)
{
    if (rate && (rate < PORT_RATE_MIN || rate > PORT_RATE_MAX))
        return error_set(error, EINVAL,
                         "Port %s cannot be limited to a %s of %" PRIu64
                         " bit/s; it can be %llu to %llu, or 0 for no limit.",
                         port->spec.name, what, rate, PORT_RATE_MIN, PORT_RATE_MAX);
    if (burst > PORT_BURST_MAX)
        return error_set(error, EINVAL,
                         "Port %s cannot have a burst of %" PRIu64 " bytes; it can be up to %" PRIu64 ".",
                         port->spec.name, burst, PORT_BURST_MAX);
    return 0;
}

static uint64_t burst_of(uint64_t rate, uint64_t asked, uint64_t ms)
{
    uint64_t burst = rate / 8 * ms / 1000;

    if (!rate || asked)
        return rate ? asked : 0;
    burst = burst > BURST_BYTES_MIN ? burst : BURST_BYTES_MIN;
    return burst < PORT_BURST_MAX ? burst : PORT_BURST_MAX;
}

/* What 'asked' means, with the bursts that nobody asked for. */
static struct port_rates effective(const struct port_rates *asked)
{
    struct port_rates rates = *asked;

    rates.burst_in = burst_of(asked->in, asked->burst_in, BURST_IN_MS);
    rates.burst_out = burst_of(asked->out, asked->burst_out, BURST_OUT_MS);
    return rates;
}

void port_get_rates(uint16_t id, struct port_rates *rates)
{
    *rates = effective(&port_by_id(id)->rates);
}

/* 'size' zeroed bytes that share no line with others. */
static void *allocate(size_t size)
{
    void *memory = aligned_alloc(64, size);

    return memory ? memset(memory, 0, size) : NULL;
}

static struct rate_in *make_in(uint64_t rate, uint64_t burst, const struct rate_in *old)
{
    struct rate_in *in = allocate(sizeof *in);
    uint64_t now = rate_now(), least, most;

    if (!in)
        return NULL;
    rate_bucket_init(&in->bucket, rate, burst, now);
    if (old)
        rate_bucket_inherit(&in->bucket, &old->bucket, now);
    least = rate_units(QUANTUM_NS_MIN);
    most = rate_units(QUANTUM_NS_MAX);
    in->quantum = rate_cost(&in->bucket, QUANTUM_BYTES);
    in->quantum = in->quantum < least ? least : in->quantum > most ? most : in->quantum;
    /* A shallow bucket has to be emptied often. */
    if (in->quantum > (uint64_t)in->bucket.tolerance / 2)
        in->quantum = (uint64_t)in->bucket.tolerance / 2;
    in->quantum_bytes = (uint64_t)(((unsigned __int128)in->quantum << 32) / in->bucket.byte_cost);
    for (unsigned i = 0; i < QUEUES_MAX; i++)
        in->holds[i].most = 1;
    return in;
}

static struct rate_bucket *make_out(uint64_t rate, uint64_t burst, const struct rate_bucket *old)
{
    struct rate_bucket *out = allocate(sizeof *out);
    uint64_t now = rate_now();

    if (!out)
        return NULL;
    rate_bucket_init(out, rate, burst, now);
    if (old)
        rate_bucket_inherit(out, old, now);
    return out;
}

static struct rate_in *publish_in(struct port *port, struct rate_in *in)
{
    struct rate_in *old = atomic_load(&port->receive[0]->rate);

    for (uint16_t i = 0; i < port->n_receive; i++) {
        atomic_store_explicit(&port->receive[i]->rate, in, memory_order_release);
        /* It may sleep until a time that has lost its meaning. */
        worker_wake(port->receive[i]);
    }
    return old;
}

static uint64_t changed(uint64_t value, uint64_t change)
{
    return change == PORT_RATE_KEEP ? value : change;
}

/* Puts the limits 'rates' to use, where they are others than those 'before'. */
static int replace(struct port *port, const struct port_rates *before, const struct port_rates *rates,
                   struct error *error)
{
    bool change_in = rates->in != before->in || rates->burst_in != before->burst_in;
    bool change_out = rates->out != before->out || rates->burst_out != before->burst_out;
    struct rate_bucket *out = atomic_load(&port->rate_out);
    struct rate_in *in = atomic_load(&port->receive[0]->rate);

    in = change_in && rates->in ? make_in(rates->in, rates->burst_in, in) : NULL;
    out = change_out && rates->out ? make_out(rates->out, rates->burst_out, out) : NULL;
    if ((change_in && rates->in && !in) || (change_out && rates->out && !out)) {
        free(in);
        free(out);
        return error_set(error, ENOMEM, "There is no memory for the rates of port %s.", port->spec.name);
    }
    if (change_in)
        in = publish_in(port, in);
    if (change_out)
        out = atomic_exchange(&port->rate_out, out);
    /* What a worker takes from the old bucket until then is forgotten: a burst. */
    workers_synchronize();
    free(in);
    free(out);
    return 0;
}

int port_set_rates(uint16_t id, const struct port_rates *change, struct error *error)
{
    struct port *port = port_by_id(id);
    const struct port_rates asked = {.in = changed(port->rates.in, change->in),
                                     .burst_in = changed(port->rates.burst_in, change->burst_in),
                                     .out = changed(port->rates.out, change->out),
                                     .burst_out = changed(port->rates.burst_out, change->burst_out)};
    const struct port_rates before = effective(&port->rates), rates = effective(&asked);
    int result = check(port, "rate", asked.in, asked.burst_in, error);

    if (!result)
        result = check(port, "rate_out", asked.out, asked.burst_out, error);
    if (!result)
        result = replace(port, &before, &rates, error);
    if (!result)
        port->rates = asked;
    return result;
}

void port_free_rates(struct port *port)
{
    if (port->n_receive)
        free(atomic_load(&port->receive[0]->rate));
    free(atomic_load(&port->rate_out));
}
