/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/drop.h"

static const char *const names[] = {
#define X(id, name, sentence) name,
    DROP_REASONS(X)
#undef X
};

static const char *const sentences[] = {
#define X(id, name, sentence) sentence,
    DROP_REASONS(X)
#undef X
};

const char *drop_reason_name(enum drop_reason reason)
{
    return names[reason];
}

const char *drop_reason_sentence(enum drop_reason reason)
{
    return sentences[reason];
}
