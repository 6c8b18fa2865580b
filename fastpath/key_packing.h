/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_KEY_PACKING_H
#define FASTPATH_KEY_PACKING_H

/*
 * How a mask's rules store their keys: *packed*, that is only the words in which the mask has bits, under the mask
 * and in the order of the key, then words of zero. Most masks look at few words (those of rules
 * for IPv4 at five, with both MAC addresses), so that the packed key mostly ends in the
 * rule's first cache line. Which words those are, the packing knows and not the rule.
 *
 * Packed keys, all eight words of them, are equal exactly when the keys are equal under the mask.
 */

#include <stdbool.h>
#include <stddef.h>

#include "fastpath/flow_table.h"
#include "fastpath/wide.h"

#define RULE_LANES 8

/*
 * Where in its cache line word 'i' of a rule's packed key stands, its *lane*. No two share one: the words
 * of both lines make one vector.
 */
#define RULE_WORDS_BEGIN (offsetof(struct rule, words) / sizeof(uint64_t))
#define RULE_LANE(i) ((RULE_WORDS_BEGIN + (i)) % RULE_LANES)
#define RULE_WORDS_FIRST (RULE_LANES - RULE_WORDS_BEGIN) /* words in the first line */

struct key_packing {
    uint64_t order[RULE_LANES] __attribute__((aligned(64))); /* by lane: which word of a key belongs there */
    uint64_t mask[RULE_LANES];                               /* ... and its mask; 0: nothing is there */
    uint64_t lanes[RULE_LANES];                              /* by word of a key: its lane */
    uint8_t words;                                           /* bitmap: the words of a key that have one */
    uint8_t n_words;
    bool one_line; /* the first line of a rule says whether it matches */
};

/* Makes '*packing' the one of 'mask'. */
void key_packing_init(struct key_packing *packing, const struct flow_key *mask);

/* Gives 'rule' the packed 'key', of which only what the mask covers counts. Before readers see the rule. */
void key_packing_pack(const struct key_packing *packing, const struct flow_key *key, struct rule *rule);

/* Gives 'rule' a packed key that rule_matches() finds equal to no packet's key, under whatever mask. */
void key_packing_pack_none(struct rule *rule);

#ifdef __AVX512F__
#define LANES_FIRST_LINE (256 - (1 << RULE_WORDS_BEGIN))
#define LANES_SECOND_LINE ((1 << RULE_WORDS_BEGIN) - 1)

/* The packed key of 'rule', by lane; of the first line only if 'one_line', with zeroes for the rest. */
static inline __m512i rule_lanes(const struct rule *rule, bool one_line)
{
    __m512i first = _mm512_maskz_load_epi64(LANES_FIRST_LINE, rule);

    return one_line ? first
                    : _mm512_mask_load_epi64(first, LANES_SECOND_LINE, (const uint64_t *)rule + RULE_LANES);
}
#endif

/* Writes the key of 'rule', a whole one with zeroes where the mask has them, to '*key'. */
static inline void key_packing_unpack(const struct key_packing *packing, const struct rule *rule,
                                      struct flow_key *key)
{
#ifdef __AVX512F__
    __m512i lanes = rule_lanes(rule, packing->n_words <= RULE_WORDS_FIRST);

    _mm512_store_si512(
        key, _mm512_maskz_permutexvar_epi64(packing->words, _mm512_load_si512(packing->lanes), lanes));
#else
    uint64_t *words = (uint64_t *)key;

    memset(key, 0, sizeof *key);
    for (unsigned i = 0; i < packing->n_words; i++)
        words[packing->order[RULE_LANE(i)]] = rule->words[i];
#endif
}

/*
 * Whether the masked 'key' is that of 'rule'. 'one_line' is the packing's: for callers that have a loop for
 * each case. If it is set, the second line is not touched.
 */
static inline bool rule_matches(const struct key_packing *packing, const struct flow_key *key,
                                const struct rule *rule, bool one_line)
{
#ifdef __AVX512F__
    __m512i ordered = _mm512_permutexvar_epi64(_mm512_load_si512(packing->order), _mm512_load_si512(key));
    __m512i difference =
        _mm512_ternarylogic_epi64(ordered, _mm512_load_si512(packing->mask), rule_lanes(rule, one_line),
                                  0x6a /* (ordered & mask) ^ lanes */);

    return _mm512_test_epi64_mask(difference, difference) == 0;
#else
    const uint64_t *words = (const uint64_t *)key;
    uint64_t difference = 0;

    for (unsigned i = 0; i < (one_line ? RULE_WORDS_FIRST : RULE_LANES); i++)
        difference |= (words[packing->order[RULE_LANE(i)]] & packing->mask[RULE_LANE(i)]) ^ rule->words[i];
    return difference == 0;
#endif
}

#endif
