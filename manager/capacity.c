/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/capacity.h"

#include <unistd.h>

struct admission_capacity capacity_of(const struct config *config)
{
    uint64_t n_cpus = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t reserve = config->capacity.reserve;

    return (struct admission_capacity){
        .amounts =
            {
                [RESOURCE_CPU] = n_cpus * config->capacity.overcommit,
                [RESOURCE_MEMORY] = memory > reserve ? memory - reserve : 0,
                [RESOURCE_RATE] = config->capacity.rate,
                [RESOURCE_RULES] = config->fastpath.rules,
                [RESOURCE_PORTS] = PORTS_MAX,
            },
    };
}
