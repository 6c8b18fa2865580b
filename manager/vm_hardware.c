/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev/kvm alone proves nothing: a nested host may offer one on which guests hang. Where KVM works, the kernel sees the
 * processor's extension.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "manager/vm.h"

static bool has_extension(void)
{
    char line[8192];
    FILE *file = fopen("/proc/cpuinfo", "re");
    bool found = false;

    while (file && !found && fgets(line, sizeof line, file))
        found = !strncmp(line, "flags", 5) && (strstr(line, " vmx") || strstr(line, " svm"));
    if (file)
        fclose(file);
    return found;
}

bool vm_hardware_works(const char **why)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    const char *reason = NULL;

    if (fd < 0)
        reason = "/dev/kvm cannot be opened";
    else if (!has_extension())
        reason = "the processor shows neither vmx nor svm";
    if (fd >= 0)
        close(fd);
    if (why)
        *why = reason ? reason : "";
    return !reason;
}
