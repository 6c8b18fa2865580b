/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "manager/manager.h"
#include "manager/subreaper.h"
#include "manager/vm.h"

struct options {
    const char *config; /* NULL: the usual file, if there is one */
    bool down, check;
};

static void print_help(void)
{
    puts("Usage: vnode-manager [--config FILE] [--check | --down] [--verbose]\n"
         "\n"
         "Keeps the slices of this machine running: virtual machines, switches, the fast path.\n"
         "\n"
         "  -c, --config FILE  settings, see vnode.yml(5) (default: " CONFIG_PATH ")\n"
         "      --check        only says whether the settings are good\n"
         "      --down         takes the node down: ends all slices' machines and all daemons, the manager,\n"
         "                     too; with the next start they run again\n"
         "  -v, --verbose      logs more\n"
         "      --version      prints the version\n"
         "\n"
         "SIGTERM ends the manager alone: what runs goes on, and the next manager takes it over.");
}

static int usage_error(const char *word, const char *problem)
{
    log_error("%s %s; see --help.", word, problem);
    return 2;
}

/* Returns whether to go on; else '*status' is how to end. */
static bool parse(struct options *options, int argc, char *argv[], int *status)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"check", no_argument, NULL, 'k'},
        {"down", no_argument, NULL, 'd'},
        {"verbose", no_argument, NULL, 'v'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    *status = EXIT_SUCCESS;
    opterr = 0; /* we tell it ourselves */
    while ((option = getopt_long(argc, argv, "c:vh", longs, NULL)) >= 0) {
        if (option == 'c')
            options->config = optarg;
        else if (option == 'k')
            options->check = true;
        else if (option == 'd')
            options->down = true;
        else if (option == 'v')
            log_set_level(LOG_LEVEL_DEBUG);
        else if (option == 'V')
            puts("vnode-manager " VNODE_VERSION);
        else if (option == 'h')
            print_help();
        else
            *status = usage_error(argv[optind - 1], "is no option, or lacks its value");
        if (*status || option == 'V' || option == 'h')
            return false;
    }
    if (optind < argc)
        *status = usage_error(argv[optind], "is not understood");
    else if (options->down && options->check)
        *status = usage_error("--check", "and --down exclude each other");
    return !*status;
}

static bool read_config(const struct options *options, struct config *config)
{
    static struct slice_errors errors;
    const char *path = options->config ? options->config : CONFIG_PATH;
    FILE *file = options->config ? NULL : fopen(path, "re");

    /* Without the option there need not be a file. */
    if (!options->config && !file)
        return config_parse(config, "", 0, &errors);
    if (file)
        fclose(file);
    if (config_read(config, path, &errors))
        return true;
    for (unsigned i = 0; i < errors.n; i++)
        if (errors.list[i].at.line)
            log_error("%s:%u:%u: %s", path, errors.list[i].at.line, errors.list[i].at.column,
                      errors.list[i].text);
        else
            log_error("%s", errors.list[i].text);
    return false;
}

struct run {
    const struct config *config;
    bool down;
};

static int run(void *argument)
{
    const struct run *run = argument;
    struct error error = {0};
    int code = run->down ? manager_take_down(run->config, &error) : manager_run(run->config, false, &error);

    if (code)
        log_error("%s", error.text);
    return code;
}

int main(int argc, char *argv[])
{
    struct options options = {0};
    struct config config;
    int status;

    if (!parse(&options, argc, argv, &status))
        return status;
    if (!read_config(&options, &config))
        return 2;
    if (options.check)
        return EXIT_SUCCESS;
    vm_reserve_descriptors();
    return subreaper_run(run, &(struct run){&config, options.down}) ? EXIT_FAILURE : EXIT_SUCCESS;
}
