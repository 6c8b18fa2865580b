/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/worker.h"

const char *worker_stage_name(enum worker_stage stage)
{
    static const char *const names[] = {
        [WORKER_STAGE_RECEIVE] = "receive", [WORKER_STAGE_SURVEY] = "survey",
        [WORKER_STAGE_RULES] = "rules",     [WORKER_STAGE_SEND] = "send",
        [WORKER_STAGE_RELEASE] = "release",
    };

    return names[stage];
}
