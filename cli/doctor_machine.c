/* SPDX-License-Identifier: Apache-2.0 */
/* The machine itself: rights, processors, memory. */
#include <inttypes.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor.h"
#include "lib/hardware.h"

#define MEMORY_MIB_MIN 1024 /* the daemons, and two of the small guests */
#define MEMORY_MIB_GOOD 2048
#define HUGE_MIB_GOOD 512

static void look_at_rights(const char *root, struct capability *capability)
{
    static const struct {
        unsigned bit;
        const char *name;
    } wanted[] = {
        {CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, {CAP_IPC_LOCK, "CAP_IPC_LOCK"}};
    FILE *file = root_open(root, "/proc/self/status");
    unsigned long long held = 0;
    char line[256];

    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, "CapEff:", 7))
            held = strtoull(line + 7, NULL, 16);
    if (file)
        fclose(file);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (!(held >> wanted[i].bit & 1)) {
            capability_found(capability, CAPABILITY_MISSING, "%s is not held", wanted[i].name);
            capability_mend(capability,
                            "Neither namespaces nor interfaces can be made, and no guest's memory be shared.",
                            "sudo vnode doctor");
            return;
        }
    capability_found(capability, CAPABILITY_READY, "all that is needed may be done");
}

static unsigned count_cpus(const char *root)
{
    FILE *file = root_open(root, "/proc/cpuinfo");
    char line[8192];
    unsigned n = 0;

    while (file && fgets(line, sizeof line, file))
        n += !strncmp(line, "processor", 9);
    if (file)
        fclose(file);
    return n;
}

static void look_at_cpus(const char *root, struct capability *capability)
{
    unsigned n = count_cpus(root);

    capability_found(capability,
                     n >= 2 ? CAPABILITY_READY
                     : n    ? CAPABILITY_FALLBACK
                            : CAPABILITY_MISSING,
                     "%u", n);
    if (n < 2)
        capability_mend(capability,
                        "The fast path's worker shares its CPU with the guests, which costs both much.", "%s",
                        "");
}

static void look_at_isolation(const char *root, struct capability *capability)
{
    unsigned n = count_cpus(root);
    static const char effect[] = "Other programs may interrupt workers: single packets take longer.";
    char isolated[128], range[32] = "1";

    if (root_line(root, isolated, sizeof isolated, "/sys/devices/system/cpu/isolated")) {
        capability_found(capability, CAPABILITY_READY, "CPUs %s", isolated);
        return;
    }
    if (n > 2)
        snprintf(range, sizeof range, "1-%u", n - 1);
    capability_found(capability, CAPABILITY_FALLBACK, "no CPU is isolated");
    if (n < 2) /* somebody has to do the rest */
        capability_mend(capability, effect, "%s", "");
    else
        capability_boot_with(root, capability, effect, "isolcpus=%s nohz_full=%s", range, range);
}

static void look_at_flags(const char *root, struct capability *capability)
{
    bool wide = root_has_word(root, "/proc/cpuinfo", "avx512f"),
         avx2 = root_has_word(root, "/proc/cpuinfo", "avx2");

    capability_found(capability, wide || avx2 ? CAPABILITY_READY : CAPABILITY_FALLBACK, "%s",
                     wide   ? "AVX-512"
                     : avx2 ? "AVX2, no AVX-512"
                            : "neither AVX2 nor AVX-512");
    if (!wide && !avx2)
        capability_mend(capability, "Headers are compared and copied in small steps: each packet costs more.",
                        "%s", "");
}

static void look_at_kvm(const char *root, struct capability *capability)
{
    bool intel = root_has_word(root, "/proc/cpuinfo", "vmx"), amd = root_has_word(root, "/proc/cpuinfo", "svm");
    char command[128];
    const char *why;

    if (hardware_misleads_libvirt(root, command, sizeof command)) {
        capability_found(capability, CAPABILITY_FALLBACK, "/dev/kvm is not open to the user %s", QEMU_USER);
        capability_mend(
            capability,
            "Guests are emulated, ten times slower or more; and they take minutes to start, since libvirt "
            "probes QEMU anew for each of their devices.",
            "%s", command);
        return;
    }
    if (hardware_runs_guests(root, &why)) {
        capability_found(capability, CAPABILITY_READY, "/dev/kvm opens, and the processor has %s",
                         intel ? "vmx" : "svm");
        return;
    }
    capability_found(capability, CAPABILITY_FALLBACK, "%s", why);
    if (intel || amd)
        capability_mend(capability, "Guests are emulated, ten times slower or more.", "modprobe kvm_%s",
                        intel ? "intel" : "amd");
    else
        capability_mend(
            capability,
            "Guests are emulated, ten times slower or more. Virtualization is turned on in the firmware, or, of a "
            "virtual machine, by its host (nested=1).",
            "%s", "");
}

static void look_at_memory(const char *root, struct capability *capability)
{
    uint64_t mib = root_field(root, "/proc/meminfo", "MemAvailable") / 1024;

    capability_found(capability,
                     mib >= MEMORY_MIB_GOOD  ? CAPABILITY_READY
                     : mib >= MEMORY_MIB_MIN ? CAPABILITY_FALLBACK
                                             : CAPABILITY_MISSING,
                     "%" PRIu64 " MiB available", mib);
    if (mib < MEMORY_MIB_GOOD)
        capability_mend(capability, "There is room for the smallest slices only, or for none.",
                        "ps -eo rss,pid,comm --sort=-rss | head");
}

/* MiB in free hugepages of all sizes, of the machine or with 'node' of one NUMA node. */
static uint64_t free_huge_mib(const char *root, int node)
{
    static const unsigned kib[] = {2048, 1048576};
    uint64_t mib = 0;

    for (unsigned i = 0; i < 2; i++)
        mib += kib[i] / 1024 *
               (node < 0 ? root_number(root, "/sys/kernel/mm/hugepages/hugepages-%ukB/free_hugepages", kib[i])
                         : root_number(
                               root, "/sys/devices/system/node/node%d/hugepages/hugepages-%ukB/free_hugepages",
                               node, kib[i]));
    return mib;
}

static void look_at_hugepages(const char *root, struct capability *capability)
{
    uint64_t mib = free_huge_mib(root, -1);

    capability_found(capability, mib >= HUGE_MIB_GOOD ? CAPABILITY_READY : CAPABILITY_FALLBACK,
                     "%" PRIu64 " MiB free", mib);
    if (mib < HUGE_MIB_GOOD)
        capability_mend(capability,
                        "Fast path and guests use ordinary pages: more misses when the guests are large.",
                        "sysctl -w vm.nr_hugepages=1024");
}

static void look_at_numa(const char *root, struct capability *capability)
{
    unsigned n = root_count(root, "/sys/devices/system/node", "node");
    bool any = free_huge_mib(root, -1) > 0;

    capability_found(capability, CAPABILITY_READY, "%u node%s", n, n == 1 ? "" : "s");
    for (unsigned node = 0; any && n > 1 && node < n; node++) {
        if (free_huge_mib(root, (int)node) > 0)
            continue;
        capability_found(capability, CAPABILITY_FALLBACK, "%u nodes, and no hugepages on node %u", n, node);
        capability_mend(
            capability, "Guests and workers on that node use memory of another one, which is further away.",
            "echo 512 >/sys/devices/system/node/node%u/hugepages/hugepages-2048kB/nr_hugepages", node);
        return;
    }
}

static void look_at_cgroups(const char *root, struct capability *capability)
{
    bool unified = root_exists(root, "/sys/fs/cgroup/cgroup.controllers");
    static const char *const controllers[] = {"cpu", "cpuset", "memory"};

    for (unsigned i = 0; i < 3; i++) {
        if (unified ? root_has_word(root, "/sys/fs/cgroup/cgroup.controllers", controllers[i])
                    : root_exists(root, "/sys/fs/cgroup/%s", controllers[i]))
            continue;
        capability_found(capability, CAPABILITY_FALLBACK, "version %s, without the controller %s",
                         unified ? "2" : "1", controllers[i]);
        capability_mend(capability, "Nothing but the guests' own size bounds what they take of CPU and memory.",
                        "%s", unified ? "" : "mount -t cgroup2 none /sys/fs/cgroup");
        return;
    }
    capability_found(capability, CAPABILITY_READY, "version %s", unified ? "2" : "1");
}

const struct doctor_check doctor_machine[] = {
    {"rights", true, "Interfaces, namespaces and shared memory can be made.", look_at_rights},
    {"cpus", true, "Workers and guests have CPUs of their own.", look_at_cpus},
    {"cpu-isolation", false, "Nothing interrupts the workers.", look_at_isolation},
    {"cpu-flags", false, "Headers are compared and copied by whole cache lines.", look_at_flags},
    {"kvm", false, "Guests run on the processor itself.", look_at_kvm},
    {"memory", true, "There is room for slices.", look_at_memory},
    {"hugepages", false, "Fast path and guests have few misses in their page tables.", look_at_hugepages},
    {"numa", false, "Memory is near to those who use it.", look_at_numa},
    {"cgroups", false, "What slices take of CPU and memory can be bounded.", look_at_cgroups},
    {0},
};
