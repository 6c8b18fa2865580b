/* SPDX-License-Identifier: Apache-2.0 */
/* What the host has for machines. */
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manager/vm.h"

/* Adds a list such as "0-3,8" to a set. Returns false when it is none. */
static bool parse_cpus(const char *text, cpu_set_t *set)
{
    CPU_ZERO(set);
    for (;;) {
        char *end;
        unsigned long first = strtoul(text, &end, 10), last = first;

        if (end == text)
            return false;
        if (*end == '-') {
            text = end + 1;
            last = strtoul(text, &end, 10);
            if (end == text)
                return false;
        }
        if (last < first || last >= CPU_SETSIZE)
            return false;
        for (; first <= last; first++)
            CPU_SET(first, set);
        if (*end != ',')
            return !*end || *end == '\n';
        text = end + 1;
    }
}

static bool read_cpus(const char *path, cpu_set_t *set)
{
    char line[4096];
    FILE *file = fopen(path, "re");
    bool good = file && fgets(line, sizeof line, file) && parse_cpus(line, set);

    if (file)
        fclose(file);
    return good;
}

void vm_numa_node(const char *cpus, char node[8])
{
    static const char folder[] = "/sys/devices/system/node/node";
    cpu_set_t wanted, there, both;
    glob_t found;

    node[0] = '\0';
    if (!parse_cpus(cpus, &wanted) || glob("/sys/devices/system/node/node[0-9]*/cpulist", 0, NULL, &found))
        return;
    for (size_t i = 0; i < found.gl_pathc && found.gl_pathc > 1; i++) {
        if (!read_cpus(found.gl_pathv[i], &there))
            continue;
        CPU_AND(&both, &wanted, &there);
        if (CPU_EQUAL(&both, &wanted))
            snprintf(node, 8, "%ld", strtol(found.gl_pathv[i] + strlen(folder), NULL, 10));
    }
    globfree(&found);
}
