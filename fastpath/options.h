/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_OPTIONS_H
#define FASTPATH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "fastpath/offload.h"
#include "lib/error.h"
#include "lib/limits.h"

/* The command line of vnode-fastpath. */
struct options {
    const char *socket;          /* control socket */
    const char *group;           /* that may use it; NULL: the owner only */
    unsigned cores[WORKERS_MAX]; /* CPUs of the workers */
    uint16_t n_cores;
    bool no_huge;        /* do not use hugepages even if there are some */
    uint32_t memory_mib; /* DPDK's memory */
    uint32_t rules_max;
    struct offload_options offload;
    bool help, version;
};

/* Reads the command line. EINVAL with a sentence when it makes no sense. */
int options_parse(struct options *options, int argc, char *argv[], struct error *error);

/* Writes what --help prints to standard output. */
void options_print_help(void);

#endif
