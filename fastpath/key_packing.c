/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/key_packing.h"

static_assert(sizeof((struct rule){0}.words) == sizeof(struct flow_key), "a rule has room for each key");
static_assert(offsetof(struct rule, words) % sizeof(uint64_t) == 0, "packed words are words of the rule");
static_assert(sizeof(struct flow_key) == RULE_LANES * sizeof(uint64_t), "as many lanes as words");

void key_packing_init(struct key_packing *packing, const struct flow_key *mask)
{
    const uint64_t *words = (const uint64_t *)mask;
    uint64_t common = UINT64_MAX;

    memset(packing, 0, sizeof *packing);
    for (unsigned i = 0; i < RULE_LANES; i++) {
        unsigned lane = RULE_LANE(packing->n_words);

        if (words[i] == 0)
            continue;
        packing->order[lane] = i;
        packing->mask[lane] = words[i];
        packing->lanes[i] = lane;
        packing->words |= 1u << i;
        packing->n_words++;
    }
    /*
     * Rule 0 consists of ones, see key_packing_pack_none(). Only where the mask does too, a packed key can look
     * like it. Where that is so of the whole first line, the second one has to say no.
     */
    for (unsigned i = 0; i < RULE_WORDS_FIRST; i++)
        common &= packing->mask[RULE_LANE(i)];
    packing->one_line = packing->n_words <= RULE_WORDS_FIRST && common != UINT64_MAX;
}

void key_packing_pack(const struct key_packing *packing, const struct flow_key *key, struct rule *rule)
{
#ifdef __AVX512F__
    __m512i ordered = _mm512_permutexvar_epi64(_mm512_load_si512(packing->order), _mm512_load_si512(key));
    __m512i packed = _mm512_and_si512(ordered, _mm512_load_si512(packing->mask));

    _mm512_mask_store_epi64(rule, LANES_FIRST_LINE, packed);
    _mm512_mask_store_epi64((uint64_t *)rule + RULE_LANES, LANES_SECOND_LINE, packed);
#else
    const uint64_t *words = (const uint64_t *)key;

    for (unsigned i = 0; i < RULE_LANES; i++)
        rule->words[i] = words[packing->order[RULE_LANE(i)]] & packing->mask[RULE_LANE(i)];
#endif
}

/*
 * All ones. For rule_matches() to call that equal, all words that it compares must be ones in the masked key. If
 * it compares the first line, the mask has a bit of 0 there. If it compares both, these are eight
 * words: either the mask has no word of 0, and then vlan_ad, which is at most 3, is among them; or
 * it has, and then the last word is 0 in each packed key.
 */
void key_packing_pack_none(struct rule *rule)
{
    memset(rule->words, 255, sizeof rule->words);
}
