/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

#define SOCKET_DEFAULT "/run/vnode/fastpath.sock"

enum {
    OPTION_NO_HUGE = 256,
    OPTION_RULES_MAX,
    OPTION_OFFLOAD,
    OPTION_TABLE_SIZE,
    OPTION_HOLD,
    OPTION_VERSION
};

static const struct option long_options[] = {
    {"socket", required_argument, NULL, 's'},
    {"group", required_argument, NULL, 'g'},
    {"cores", required_argument, NULL, 'c'},
    {"memory", required_argument, NULL, 'm'},
    {"no-huge", no_argument, NULL, OPTION_NO_HUGE},
    {"rules-max", required_argument, NULL, OPTION_RULES_MAX},
    {"offload", required_argument, NULL, OPTION_OFFLOAD},
    {"table-size", required_argument, NULL, OPTION_TABLE_SIZE},
    {"hold", required_argument, NULL, OPTION_HOLD},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {0},
};

void options_print_help(void)
{
    printf("Usage: vnode-fastpath [OPTION]...\n"
           "Forwards packets between virtual machines and uplinks under a rule table.\n"
           "\n"
           "  -c, --cores LIST     CPUs for the workers, such as 1 or 2-5,7 (default: the last CPU);\n"
           "                       each is used fully while there is traffic\n"
           "  -s, --socket PATH    control socket (default: " SOCKET_DEFAULT ")\n"
           "  -g, --group NAME     let members of this group use the control socket\n"
           "  -m, --memory MIB     memory for packet buffers and tables (default: 256)\n"
           "      --no-huge        do without hugepages, which is also done when there are none\n"
           "      --rules-max N    rules in all (default: 1048576, at most %u)\n"
           "      --offload MODE   which rules of a vSwitch are offloaded: on (default), off, or auto by rate\n"
           "      --table-size N   offloaded rules of a vSwitch at most (default: no limit of its own)\n"
           "      --hold SECONDS   how long rules of a vSwitch that has gone are kept (default: 30)\n"
           "  -v, --verbose        log more\n"
           "  -h, --help           print this and exit\n"
           "      --version        print the version and exit\n"
           "\n"
           "It runs in the foreground until it gets SIGTERM or SIGINT. `vnode` talks to it.\n"
           "Manual: vnode-fastpath(8), vnode(1)\n",
           RULES_MAX);
}

/* Reads a whole number from 'low' to 'high' at '*text', moving past it. */
static bool parse_number(const char **text, unsigned long low, unsigned long high, unsigned long *number)
{
    char *end;

    if (!isdigit((unsigned char)**text))
        return false;
    errno = 0;
    *number = strtoul(*text, &end, 10);
    *text = end;
    return !errno && *number >= low && *number <= high;
}

static bool parse_whole(const char *text, unsigned long low, unsigned long high, uint32_t *number)
{
    unsigned long value;

    if (!parse_number(&text, low, high, &value) || *text)
        return false;
    *number = (uint32_t)value;
    return true;
}

static int parse_mode(const char *text, enum offload_mode *mode, struct error *error)
{
    for (*mode = OFFLOAD_OFF; *mode <= OFFLOAD_AUTO; (*mode)++)
        if (!strcmp(text, offload_mode_name(*mode)))
            return 0;
    return error_set(error, EINVAL, "--offload takes off, on or auto, not \"%s\".", text);
}

static int add_core(struct options *options, unsigned core, const cpu_set_t *usable, struct error *error)
{
    if (!CPU_ISSET(core, usable))
        return error_set(error, EINVAL, "CPU %u, named by --cores, does not exist or is not ours to use.",
                         core);
    for (uint16_t i = 0; i < options->n_cores; i++)
        if (options->cores[i] == core)
            return error_set(error, EINVAL, "--cores names CPU %u twice.", core);
    if (options->n_cores == WORKERS_MAX)
        return error_set(error, EINVAL, "--cores names more than %u CPUs, which is the limit.", WORKERS_MAX);
    options->cores[options->n_cores++] = core;
    return 0;
}

/* Reads "2-5,7"; NULL stands for the last CPU that we may use. */
static int parse_cores(struct options *options, const char *list, struct error *error)
{
    const char *text = list;
    cpu_set_t usable;
    int result = 0;

    if (sched_getaffinity(0, sizeof usable, &usable))
        return error_set(error, errno, "The CPUs that may be used are not known: %m.");
    if (!list) {
        for (int core = CPU_SETSIZE - 1; core >= 0; core--)
            if (CPU_ISSET(core, &usable))
                return add_core(options, core, &usable, error);
        return error_set(error, EINVAL, "There is no CPU to use.");
    }
    do {
        unsigned long first, last;

        if (!parse_number(&text, 0, CPU_SETSIZE - 1, &first))
            return error_set(error, EINVAL, "--cores takes a list such as 1 or 2-5,7; \"%s\" is none.", list);
        last = first;
        if (*text == '-' && (text++, !parse_number(&text, first, CPU_SETSIZE - 1, &last)))
            return error_set(error, EINVAL, "--cores takes a list such as 1 or 2-5,7; \"%s\" is none.", list);
        for (unsigned long core = first; core <= last && !result; core++)
            result = add_core(options, core, &usable, error);
    } while (!result && *text++ == ',');
    if (!result && text[-1])
        return error_set(error, EINVAL, "--cores takes a list such as 1 or 2-5,7; \"%s\" is none.", list);
    return result;
}

int options_parse(struct options *options, int argc, char *argv[], struct error *error)
{
    const char *cores = NULL;
    int option;

    *options =
        (struct options){.socket = SOCKET_DEFAULT,
                         .memory_mib = 256,
                         .rules_max = 1u << 20,
                         .offload = {.mode = OFFLOAD_ON, .orphans_hold_s = OFFLOAD_ORPHANS_HOLD_S_DEFAULT}};
    opterr = 0;
    while ((option = getopt_long(argc, argv, "s:g:c:m:vh", long_options, NULL)) != -1) {
        switch (option) {
        case 's': options->socket = optarg; break;
        case 'g': options->group = optarg; break;
        case 'c': cores = optarg; break;
        case 'm':
            if (!parse_whole(optarg, 64, 1u << 20, &options->memory_mib))
                return error_set(error, EINVAL, "--memory takes a number of MiB from 64 up; \"%s\" is none.",
                                 optarg);
            break;
        case OPTION_NO_HUGE: options->no_huge = true; break;
        case OPTION_RULES_MAX:
            if (!parse_whole(optarg, 1, RULES_MAX, &options->rules_max))
                return error_set(error, EINVAL, "--rules-max takes a number from 1 to %u; \"%s\" is none.",
                                 RULES_MAX, optarg);
            break;
        case OPTION_OFFLOAD:
            if (parse_mode(optarg, &options->offload.mode, error))
                return EINVAL;
            break;
        case OPTION_TABLE_SIZE:
            if (!parse_whole(optarg, 0, RULES_MAX, &options->offload.table_size))
                return error_set(error, EINVAL, "--table-size takes a number from 0 to %u; \"%s\" is none.",
                                 RULES_MAX, optarg);
            break;
        case OPTION_HOLD:
            if (!parse_whole(optarg, 0, OFFLOAD_ORPHANS_HOLD_MAX_S, &options->offload.orphans_hold_s))
                return error_set(error, EINVAL, "--hold takes seconds from 0 to %u; \"%s\" is no such number.",
                                 OFFLOAD_ORPHANS_HOLD_MAX_S, optarg);
            break;
        case 'v': log_set_level(LOG_LEVEL_DEBUG); break;
        case 'h': options->help = true; return 0;
        case OPTION_VERSION: options->version = true; return 0;
        default:
            return error_set(error, EINVAL, "%s is no option, or lacks its value; see --help.",
                             argv[optind - 1]);
        }
    }
    if (optind < argc)
        return error_set(error, EINVAL, "\"%s\" is not understood: there are options only; see --help.",
                         argv[optind]);
    options->offload.rules_max = options->rules_max;
    return parse_cores(options, cores, error);
}
