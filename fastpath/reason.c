/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/reason.h"

static const char *const codes[] = {
#define X(id, code, sentence) code,
    OFFLOAD_REASONS(X)
#undef X
};

static const char *const sentences[] = {
#define X(id, code, sentence) sentence,
    OFFLOAD_REASONS(X)
#undef X
};

const char *offload_reason_code(enum offload_reason reason)
{
    return codes[reason];
}

const char *offload_reason_sentence(enum offload_reason reason)
{
    return sentences[reason];
}
