/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_MOVE_FAKE_H
#define FASTPATH_MOVE_FAKE_H

/*
 * Moves without packets, for tests of what decides about moves: move_fake.c stands in for move.c. A move ends as the test
 * wishes, at the next moves_reap() that it allows.
 */

#include <stdbool.h>

#include "fastpath/move.h"

struct fake_moves {
    bool held;               /* moves do not end */
    enum move_result result; /* how they end */
    int begin_code;          /* what move_begin() fails with; 0: it does not */
    unsigned n_begun, n_back, n_cancelled;
};

extern struct fake_moves fake_moves;

/* Forgets all moves. */
void fake_moves_reset(void);

#endif
