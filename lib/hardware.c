/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev/kvm alone proves nothing: a nested host may offer one on which guests hang. Where KVM works, the kernel sees the
 * processor's extension.
 */
#include "lib/hardware.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 4096

static bool has_extension(const char *root)
{
    char line[8192], path[PATH_SIZE];
    bool found = false;
    FILE *file;

    snprintf(path, sizeof path, "%s/proc/cpuinfo", root);
    file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file))
        found = !strncmp(line, "flags", 5) && (strstr(line, " vmx") || strstr(line, " svm"));
    if (file)
        fclose(file);
    return found;
}

bool hardware_runs_guests(const char *root, const char **why)
{
    const char *reason = NULL;
    char path[PATH_SIZE];
    int fd;

    snprintf(path, sizeof path, "%s/dev/kvm", root);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        reason = "/dev/kvm cannot be opened";
    else if (!has_extension(root))
        reason = "the processor shows neither vmx nor svm";
    if (fd >= 0)
        close(fd);
    if (why)
        *why = reason ? reason : "";
    return !reason;
}
