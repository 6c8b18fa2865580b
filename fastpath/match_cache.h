/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_MATCH_CACHE_H
#define FASTPATH_MATCH_CACHE_H

/*
 * An exact-match cache in front of flow tables with many masks: whole flow key
 * to rule (or to no rule). It holds MATCH_CACHE_ENTRIES keys. Each worker has its own and
 * is the only one to touch it.
 *
 * An entry counts only while its table's version is the one that it was looked up
 * under, so after any change to a table the cache gives what the table gives; a
 * rule found is to be used as one from flow_table_lookup(), between two quiescent
 * states. Tables with few masks are faster asked directly, and are; so are all
 * for a while when the cache finds little.
 */

#include "fastpath/flow_table.h"

#define MATCH_CACHE_ENTRIES 4096

struct match_cache;

/* NULL: no memory. */
struct match_cache *match_cache_create(void);
void match_cache_destroy(struct match_cache *cache);

/* Does what flow_table_lookup() does. */
void match_cache_lookup(struct match_cache *cache, struct flow_table *table, const struct flow_key keys[],
                        uint16_t n, struct rule *rules[]);

/* Packets found in the cache, and packets that were looked for there in vain. The cache's worker writes them. */
struct match_cache_stats {
    _Atomic uint64_t hits;
    _Atomic uint64_t misses;
};

/* Any thread may read them. */
const struct match_cache_stats *match_cache_get_stats(const struct match_cache *cache);

#endif
