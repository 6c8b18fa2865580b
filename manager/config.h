/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_CONFIG_H
#define MANAGER_CONFIG_H

/*
 * The manager's settings: one YAML file, vnode.yml(5), in which everything has a default that works.
 *
 *     struct slice_errors errors;
 *     struct config config;
 *
 *     if (!config_read(&config, "/etc/vnode/vnode.yml", &errors))
 *         for (unsigned i = 0; i < errors.n; i++)
 *             printf("%u:%u: %s\n", errors.list[i].at.line, errors.list[i].at.column, errors.list[i].text);
 *
 * What a default depends on, such as the number of CPUs, is looked up when the file is read.
 */

#include <stdbool.h>

#include "slice/slice.h"

#define CONFIG_PATH "/etc/vnode/vnode.yml"
#define CONFIG_RUN_SIZE 64 /* of the run folder: sockets in it have to fit sockaddr_un */

struct config {
    char run[CONFIG_RUN_SIZE];   /* sockets and process ids, gone at the next boot */
    char state[SLICE_PATH_SIZE]; /* databases, disks, logs */
    char group[32];              /* whose members may use the manager's socket; "": root alone */
    char db[SLICE_PATH_SIZE];    /* our database, "unix:..." or "tcp:..."; "": a private server */
    bool hugepages;

    struct {
        char program[SLICE_PATH_SIZE];
        char cores[64]; /* of the workers */
        uint64_t memory;
        uint64_t rules;
    } fastpath;

    struct {
        char db[SLICE_PATH_SIZE]; /* of an Open vSwitch that others run; "": a private one */
        char program[SLICE_PATH_SIZE];
        char driver[SLICE_PATH_SIZE]; /* librte_net_vnode.so */
        char schema[SLICE_PATH_SIZE];
        char cores[64]; /* of its PMD threads */
        uint64_t memory;
        uint64_t sleep_us; /* for which an idle PMD thread may sleep */
    } vswitch;

    struct {
        bool system; /* machines by the libvirt daemon, qemu:///system; else by libvirt in this process */
        char kernel[SLICE_PATH_SIZE];
        char initrd[SLICE_PATH_SIZE];
    } vm;

    struct {
        uint64_t overcommit; /* virtual CPUs for each of the machine's */
        uint64_t reserve;    /* memory that slices do not get */
        uint64_t rate;       /* bit/s that can be guaranteed */
    } capacity;

    char schema[SLICE_PATH_SIZE]; /* of our database */
};

/* Reads the file 'path'. Returns whether it is good; else its mistakes are in 'errors'. */
bool config_read(struct config *config, const char *path, struct slice_errors *errors);

/* The same for a text; an empty one leaves all defaults. */
bool config_parse(struct config *config, const char *text, size_t size, struct slice_errors *errors);

/* Turns a list of CPUs, "1" or "2-3,5", into a mask; 0: it is none, or names one beyond 63. */
uint64_t config_cpu_mask(const char *list);

#endif
