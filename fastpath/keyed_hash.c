/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/keyed_hash.h"

#include <stdlib.h>
#include <sys/random.h>

void hash_seed_fill(struct hash_seed *seed)
{
    static_assert(sizeof *seed <= 256, "so much comes whole or not at all, getrandom(2)");
    if (getrandom(seed, sizeof *seed, 0) != sizeof *seed)
        abort();
    seed->last |= 1;
}
