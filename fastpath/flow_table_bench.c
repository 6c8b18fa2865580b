/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ./run bench rules: how fast rules are inserted, found and deleted, what they
 * weigh, and what a lookup costs. Cycles are those of the time stamp counter; each
 * figure is the best of many short rounds, for the cores of a shared host drift
 * and other processes come between.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "fastpath/match_cache.h"
#include "fastpath/packet.h"

#define IN_PORT 1
#define RATE_ROUNDS 5
#define BURSTS 32 /* in one round of lookups: below a millisecond */
#define LOOKUP_ROUNDS_MIN 30

static const uint32_t counts[] = {1000, 100000, 1000000}; /* of rules */

#define N_COUNTS (sizeof counts / sizeof counts[0])

static double lookup_seconds = 1; /* for all rounds of one figure */
static FILE *json;

/* Seconds on one of the CLOCK_* clocks. */
static double now(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

/* xorshift64*: fast enough not to show, random enough to defeat prefetchers. */
static uint64_t random_state = 88172645463325252u;

static inline uint32_t random_below(uint32_t bound)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return ((random_state * 2685821657736338717u >> 32) * bound) >> 32;
}

static void fail(const char *what, const struct error *error)
{
    fprintf(stderr, "%s: %s\n", what, error->text);
    exit(1);
}

static size_t resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (!file || fscanf(file, "%*u %lu", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* A UDP packet of flow 'flow', such as parsing gives. */
static inline struct flow_key flow_key_of(uint32_t flow)
{
    struct flow_key key = {
        .eth_dst = {2, 0, 0, 0, 0, 1},
        .eth_src = {2, 0, 0, 0, 0, 0xff},
        .eth_type = 8,
        .ip_src = {10, flow >> 16, flow >> 8, flow},
        .ip_dst = {10, 255, 0, 1},
        .ip_proto = 17,
        .ip_ttl = 64,
        .l4_src = flow & 0x3ff,
        .l4_dst = 0x901f,
    };

    return key;
}

/* How many of the eight 64-bit words of a key the mask of most figures looks at. */
#define WORDS_USUAL 4

/*
 * The rule for flow 'flow' where there are 'n_masks' masks: protocol, addresses and ports, and as many bits of the
 * source MAC address as tell the masks apart. One packet matches one rule. The masks look at 'n_words' words:
 * 2, WORDS_USUAL, 5 (with the receiver's MAC address), or 8.
 */
static struct rule_spec spec_of(uint32_t flow, uint32_t n_masks, unsigned n_words)
{
    struct rule_spec spec = {
        .id = flow + 1,
        .in_port = IN_PORT,
        .n_actions = 1,
        .key = flow_key_of(flow),
        .actions = {{.type = ACTION_OUTPUT, .port = 2}},
    };

    memset(spec.mask.ip_src, 255, n_words == 8 ? 16 : 4);
    spec.mask.ip_proto = spec.mask.ip_frag = 255;
    spec.mask.l4_src = spec.mask.l4_dst = UINT16_MAX;
    if (n_words == 2)
        return spec;
    spec.mask.eth_type = UINT16_MAX;
    spec.mask.eth_src[5] = flow % n_masks;
    memset(spec.mask.ip_dst, 255, n_words == 8 ? 16 : 4);
    if (n_words >= 5)
        memset(spec.mask.eth_dst, 255, 6);
    if (n_words == 8)
        spec.mask.tunnel_id = UINT32_MAX;
    return spec;
}

static struct flow_tables *create_tables(void)
{
    struct error error;
    struct flow_tables *tables = flow_tables_create(RULES_MAX, &error);

    if (!tables)
        fail("rule table", &error);
    return tables;
}

static void insert_rules(struct flow_tables *tables, uint32_t n_rules, uint32_t n_masks, unsigned n_words)
{
    struct error error;

    for (uint32_t i = 0; i < n_rules; i++) {
        struct rule_spec spec = spec_of(i, n_masks, n_words);

        if (flow_tables_insert(tables, &spec, &error) != 0)
            fail("insert", &error);
    }
}

/* Rates in rules per second of processor time. */
struct rates {
    double insert, query, delete;
    double bytes; /* resident memory per rule */
};

static void measure_rates(uint32_t n_rules, struct rates *best)
{
    size_t before = resident_bytes();
    struct flow_tables *tables = create_tables();
    double start = now(CLOCK_THREAD_CPUTIME_ID), rate;
    uint64_t sum = 0;

    insert_rules(tables, n_rules, 1, WORDS_USUAL);
    flow_tables_reclaim(tables);
    rate = n_rules / (now(CLOCK_THREAD_CPUTIME_ID) - start);
    best->insert = rate > best->insert ? rate : best->insert;
    best->bytes = (double)(resident_bytes() - before) / n_rules;
    start = now(CLOCK_THREAD_CPUTIME_ID);
    for (uint32_t i = 0; i < n_rules; i++) {
        struct rule *rule = flow_tables_find(tables, random_below(n_rules) + 1);

        sum += atomic_load_explicit(&rule->n_packets, memory_order_relaxed);
    }
    rate = n_rules / (now(CLOCK_THREAD_CPUTIME_ID) - start);
    if (sum != 0)
        abort();
    best->query = rate > best->query ? rate : best->query;
    start = now(CLOCK_THREAD_CPUTIME_ID);
    for (uint32_t i = 0; i < n_rules; i++)
        flow_tables_remove(tables, i + 1, NULL);
    flow_tables_reclaim(tables);
    rate = n_rules / (now(CLOCK_THREAD_CPUTIME_ID) - start);
    best->delete = rate > best->delete ? rate : best->delete;
    flow_tables_destroy(tables);
}

/* The counter, after everything before has been done. Stores may still be on their way, as in the worker's loop. */
static inline uint64_t ordered_cycles(void)
{
    uint64_t cycles;

    __asm__ volatile("lfence" : : : "memory");
    cycles = rte_rdtsc();
    __asm__ volatile("lfence" : : : "memory");
    return cycles;
}

/* The better of 'best' and a round of BURSTS bursts that took 'cycles', in cycles per packet. */
static double better(double best, uint64_t cycles)
{
    double mean = (double)cycles / BURSTS / BURST_MAX;

    return mean < best ? mean : best;
}

/* What a worker does with the rules it has found: counts, and sees where the packet goes. */
static inline void use_rules(struct rule *const rules[])
{
    for (int i = 0; i < BURST_MAX; i++) {
        atomic_store_explicit(&rules[i]->n_packets, rules[i]->n_packets + 1, memory_order_relaxed);
        atomic_store_explicit(&rules[i]->n_bytes, rules[i]->n_bytes + 60, memory_order_relaxed);
        if (atomic_load_explicit(&rules[i]->state, memory_order_relaxed) != RULE_OFFLOADED)
            abort();
    }
}

/* Cycles per packet. */
struct costs {
    double lookup;
    double hit; /* lookup, and use of the rule found */
};

/* For bursts of random ones of 'n_flows' flows, for which there are rules; 'cache' may be NULL. */
static struct costs measure_lookup(struct flow_table *table, struct match_cache *cache, uint32_t n_flows)
{
    struct flow_key keys[BURST_MAX];
    struct rule *rules[BURST_MAX];
    struct costs best = {1e9, 1e9};
    double end = now(CLOCK_MONOTONIC) + lookup_seconds;
    unsigned n_rounds = 0;

    do {
        uint64_t lookup = 0, hit = 0;

        for (int burst = 0; burst < BURSTS; burst++) {
            uint64_t begin;

            for (int i = 0; i < BURST_MAX; i++)
                keys[i] = flow_key_of(random_below(n_flows));
            begin = ordered_cycles();
            if (cache)
                match_cache_lookup(cache, table, keys, BURST_MAX, rules);
            else
                flow_table_lookup(table, keys, BURST_MAX, rules);
            lookup += ordered_cycles() - begin;
            use_rules(rules);
            hit += ordered_cycles() - begin;
        }
        best.lookup = better(best.lookup, lookup);
        best.hit = better(best.hit, hit);
    } while (++n_rounds < LOOKUP_ROUNDS_MIN || now(CLOCK_MONOTONIC) < end);
    return best;
}

static void report_rates(uint32_t n_rules)
{
    struct rates best = {0};

    for (int round = 0; round < (n_rules > 500000 ? 3 : RATE_ROUNDS); round++)
        measure_rates(n_rules, &best);
    printf("%9" PRIu32 " %12.0f %12.0f %12.0f %12.0f\n", n_rules, best.insert, best.query, best.delete,
           best.bytes);
    if (json)
        fprintf(json,
                "{\"bench\": \"rules\", \"rules\": %" PRIu32 ", \"inserts_per_second\": %.0f, "
                "\"queries_per_second\": %.0f, \"deletes_per_second\": %.0f, \"bytes_per_rule\": %.0f}\n",
                n_rules, best.insert, best.query, best.delete, best.bytes);
}

static void report_lookup(uint32_t n_rules, uint32_t n_masks, unsigned n_words, uint32_t n_flows,
                          bool with_cache)
{
    struct flow_tables *tables = create_tables();
    struct flow_table *table = flow_tables_get(tables, IN_PORT);
    struct match_cache *cache = with_cache ? match_cache_create() : NULL;
    struct costs costs;

    if (with_cache && !cache)
        abort();
    if (n_masks > 0) {
        insert_rules(tables, n_rules, n_masks, n_words);
    } else {
        struct rule_spec spec = {.id = 1, .in_port = IN_PORT};
        struct error error;

        if (flow_tables_insert(tables, &spec, &error) != 0)
            fail("insert", &error);
    }
    costs = measure_lookup(table, cache, n_flows);
    printf("%9" PRIu32 " %7s%5" PRIu32 " %12u %12" PRIu32 " %12s %12.1f %12.1f\n", n_rules,
           n_masks ? "" : "wild", n_masks, n_masks ? n_words : 0, n_flows, with_cache ? "yes" : "no",
           costs.lookup, costs.hit);
    if (json)
        fprintf(json,
                "{\"bench\": \"rules\", \"rules\": %" PRIu32 ", \"masks\": %" PRIu32
                ", \"words\": %u, \"flows\": %" PRIu32
                ", \"cache\": %s, \"lookup_cycles_per_packet\": %.1f, \"hit_cycles_per_packet\": %.1f}\n",
                n_rules, n_masks, n_masks ? n_words : 0, n_flows, with_cache ? "true" : "false", costs.lookup,
                costs.hit);
    match_cache_destroy(cache);
    flow_tables_destroy(tables);
}

/* The whole of parsing a burst of 64-byte UDP packets of random flows, for the sum with a lookup. */
static void report_parse(void)
{
    static uint8_t heads[BURST_MAX][128] = {{0}};
    struct packet packets[BURST_MAX];
    struct flow_key keys[BURST_MAX];
    double best = 1e9, end = now(CLOCK_MONOTONIC) + lookup_seconds;
    unsigned n_rounds = 0;

    for (int i = 0; i < BURST_MAX; i++) {
        static const uint8_t template[] = {2,    0, 0,  0,  0, 1, 2, 0, 0,    0,    0, 2,  8,  0,
                                           0x45, 0, 0,  46, 0, 0, 0, 0, 64,   17,   0, 0,  10, 0,
                                           0,    1, 10, 0,  0, 2, 4, 0, 0x1f, 0x90, 0, 26, 0,  0};

        memcpy(heads[i], template, sizeof template);
        packets[i] = (struct packet){.head = heads[i], .head_size = 60, .size = 60};
    }
    do {
        uint64_t cycles = 0;

        for (int burst = 0; burst < BURSTS; burst++) {
            cycles -= ordered_cycles();
            for (int i = 0; i < BURST_MAX; i++)
                packet_parse(&packets[i], &keys[i]);
            cycles += ordered_cycles();
        }
        best = better(best, cycles);
    } while (++n_rounds < LOOKUP_ROUNDS_MIN || now(CLOCK_MONOTONIC) < end);
    printf("\nparsing a UDP packet: %.1f cycles\n", best);
    if (json)
        fprintf(json, "{\"bench\": \"rules\", \"parse_cycles_per_packet\": %.1f}\n", best);
}

static void measure_lookups(void)
{
    static const uint32_t masks[] = {1, 2, 4, 16, 64};
    static const unsigned words[] = {2, 5, 8};

    printf("\n%9s %12s %12s %12s %12s %12s %12s\n", "rules", "masks", "mask words", "flows", "cache",
           "cycles/pkt", "and use");
    report_lookup(1, 0, 0, 1, false);
    report_lookup(1, 0, 0, 1000000, false);
    report_lookup(1, 1, WORDS_USUAL, 1, false);
    for (unsigned i = 0; i < N_COUNTS; i++) {
        report_lookup(counts[i], 1, WORDS_USUAL, counts[i], false);
        for (unsigned j = 0; j < sizeof words / sizeof words[0]; j++)
            report_lookup(counts[i], 1, words[j], counts[i], false);
    }
    for (unsigned i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        for (int cache = 0; cache < 2; cache++) {
            report_lookup(10000, masks[i], WORDS_USUAL, 100, cache);
            report_lookup(10000, masks[i], WORDS_USUAL, 1000, cache);
            report_lookup(10000, masks[i], WORDS_USUAL, 10000, cache);
        }
    }
}

static void measure(bool quick)
{
    lookup_seconds = quick ? 0.2 : 1;
    printf("%9s %12s %12s %12s %12s\n", "rules", "inserts/s", "queries/s", "deletes/s", "bytes/rule");
    for (unsigned i = 0; i < N_COUNTS; i++)
        report_rates(counts[i]);
    report_parse();
    measure_lookups();
}

int main(int n_arguments, char **arguments)
{
    static const struct option options[] = {
        {"quick", no_argument, NULL, 'q'},
        {"json", required_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    bool quick = false;
    int option;

    while ((option = getopt_long(n_arguments, arguments, "", options, NULL)) != -1) {
        switch (option) {
        case 'q': quick = true; break;
        case 'j':
            json = fopen(optarg, "a");
            if (!json) {
                fprintf(stderr, "Cannot write to %s: %s.\n", optarg, strerror(errno));
                return 1;
            }
            break;
        default:
            fprintf(option == 'h' ? stdout : stderr, "Use: bench rules [--quick] [--json FILE]\n");
            return option == 'h' ? 0 : 2;
        }
    }
    measure(quick);
    if (json && fclose(json) != 0) {
        perror("json file");
        return 1;
    }
    return 0;
}
