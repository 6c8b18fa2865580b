/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/netns.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/command.h"

#define FOLDER "/run/netns"
#define KILL_ROUNDS 100 /* a program may make others while we look */

#define RUN(error, ...) command_run((const char *const[]){__VA_ARGS__, NULL}, error)

bool netns_exists(const char *name)
{
    char path[sizeof FOLDER + 1 + NETNS_NAME_SIZE];

    snprintf(path, sizeof path, FOLDER "/%s", name);
    return access(path, F_OK) == 0;
}

int netns_add(const char *name, struct error *error)
{
    int code;

    if (netns_exists(name))
        return 0;
    code = RUN(error, "ip", "netns", "add", name);
    if (!code)
        code = RUN(error, "ip", "-n", name, "link", "set", "lo", "up");
    if (code)
        netns_remove(name, NULL);
    return code;
}

/* Addresses, and up. What the fast path gets from a veth has to be finished: it cannot tell which checksum is not. */
static int set_up(const char *name, const struct slice_interface *interface, const char *host,
                  struct error *error)
{
    int code = RUN(error, "ip", "netns", "exec", name, "ethtool", "-K", interface->name, "tx", "off", "tso",
                   "off", "gso", "off");

    for (unsigned i = 0; i < interface->n_addresses && !code; i++)
        code = RUN(error, "ip", "-n", name, "address", "add", interface->addresses[i], "dev", interface->name,
                   "nodad");
    if (!code)
        code = RUN(error, "ip", "-n", name, "link", "set", interface->name, "up");
    if (!code)
        code = RUN(error, "ip", "link", "set", host, "up");
    return code;
}

int netns_add_interface(const char *name, const struct slice_interface *interface, const char *host,
                        struct error *error)
{
    char mtu[8];
    int code;

    snprintf(mtu, sizeof mtu, "%u", interface->mtu ? interface->mtu : 1500);
    RUN(NULL, "ip", "link", "del", host);
    if (interface->mac[0])
        code = RUN(error, "ip", "link", "add", host, "mtu", mtu, "type", "veth", "peer", "name",
                   interface->name, "address", interface->mac, "mtu", mtu, "netns", name);
    else
        code = RUN(error, "ip", "link", "add", host, "mtu", mtu, "type", "veth", "peer", "name",
                   interface->name, "mtu", mtu, "netns", name);
    if (!code)
        code = set_up(name, interface, host, error);
    if (code)
        RUN(NULL, "ip", "link", "del", host);
    return code;
}

/* Whether process 'pid' is in the namespace that 'status' is the file of. */
static bool is_inside(const char *pid, const struct stat *status)
{
    struct stat own;
    char path[300];

    snprintf(path, sizeof path, "/proc/%s/ns/net", pid);
    return !stat(path, &own) && own.st_ino == status->st_ino && own.st_dev == status->st_dev;
}

/* Kills what runs in the namespace; returns whether there was anything. */
static bool kill_inside(const struct stat *status)
{
    DIR *processes = opendir("/proc");
    const struct dirent *entry;
    bool found = false;

    while (processes && (entry = readdir(processes))) {
        long pid = strtol(entry->d_name, NULL, 10);

        if (pid > 1 && pid != getpid() && is_inside(entry->d_name, status))
            found |= !kill((pid_t)pid, SIGKILL);
    }
    if (processes)
        closedir(processes);
    return found;
}

int netns_remove(const char *name, struct error *error)
{
    char path[sizeof FOLDER + 1 + NETNS_NAME_SIZE];
    struct stat status, own;

    snprintf(path, sizeof path, FOLDER "/%s", name);
    if (stat(path, &status))
        return 0;
    if (stat("/proc/self/ns/net", &own))
        return error_set(error, errno, "The own network namespace cannot be told: %s.", strerror(errno));
    /* A namespace that was never finished may be an empty file, and ours is never one of a slice. */
    if (own.st_ino != status.st_ino || own.st_dev != status.st_dev)
        for (unsigned round = 0; round < KILL_ROUNDS && kill_inside(&status); round++)
            ;
    return RUN(error, "ip", "netns", "del", name);
}
