/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel offers: interfaces, namespaces, devices for guests. */
#include <dirent.h>
#include <limits.h>
#include <string.h>

#include "cli/doctor.h"

/* Whether the kernel has 'symbol', in itself or in a module that is loaded. */
static bool has_symbol(const char *root, const char *symbol)
{
    FILE *file = root_open(root, "/proc/kallsyms");
    char line[512], name[256];
    bool found = false;

    while (file && !found && fgets(line, sizeof line, file))
        found = sscanf(line, "%*s %*s %255s", name) == 1 && !strcmp(name, symbol);
    if (file)
        fclose(file);
    return found;
}

/* Whether module 'name' can be loaded, or is a part of the kernel. */
static bool has_module(const char *root, const char *name)
{
    static const char *const lists[] = {"modules.builtin", "modules.dep"};
    char release[128], word[128], line[8192];
    bool found = false;

    snprintf(word, sizeof word, "/%s.ko", name);
    if (!root_line(root, release, sizeof release, "/proc/sys/kernel/osrelease"))
        return false;
    for (unsigned i = 0; i < 2 && !found; i++) {
        FILE *file = root_open(root, "/lib/modules/%s/%s", release, lists[i]);

        while (file && !found && fgets(line, sizeof line, file)) {
            line[strcspn(line, ":\n")] = '\0';
            found = strstr(line, word) != NULL;
        }
        if (file)
            fclose(file);
    }
    return found;
}

/* A feature that is a module, known by a symbol of it. */
static void look_at_module(const char *root, struct capability *capability, const char *module,
                           const char *symbol, enum capability_state otherwise, const char *effect)
{
    if (has_symbol(root, symbol)) {
        capability_found(capability, CAPABILITY_READY, "in the kernel");
    } else if (has_module(root, module)) {
        capability_found(capability, CAPABILITY_READY, "as the module %s", module);
    } else {
        capability_found(capability, otherwise, "the kernel lacks %s", module);
        capability_mend(capability, effect, "apt-get install -y linux-image-amd64 && reboot");
    }
}

static void look_at_netns(const char *root, struct capability *capability)
{
    bool there = root_exists(root, "/proc/self/ns/net");

    capability_found(capability, there ? CAPABILITY_READY : CAPABILITY_MISSING,
                     there ? "in the kernel" : "the kernel has none");
    if (!there)
        capability_mend(capability, "Nodes of the kind netns cannot be.",
                        "apt-get install -y linux-image-amd64 && reboot");
}

static void look_at_tap(const char *root, struct capability *capability)
{
    if (root_exists(root, "/dev/net/tun")) {
        capability_found(capability, CAPABILITY_READY, "/dev/net/tun");
        return;
    }
    capability_found(capability, CAPABILITY_MISSING, "/dev/net/tun is not there");
    capability_mend(
        capability, "Light nodes and the host have no interfaces on the fast path.",
        has_module(root, "tun") ? "modprobe tun" : "mkdir -p /dev/net && mknod /dev/net/tun c 10 200");
}

static void look_at_veth(const char *root, struct capability *capability)
{
    look_at_module(root, capability, "veth", "veth_newlink", CAPABILITY_MISSING,
                   "Namespaces cannot be joined.");
}

static void look_at_af_xdp(const char *root, struct capability *capability)
{
    if (root_has_word(root, "/proc/net/protocols", "XDP")) {
        capability_found(capability, CAPABILITY_READY, "in the kernel");
        return;
    }
    capability_found(capability, CAPABILITY_FALLBACK, "the kernel lacks AF_XDP sockets");
    capability_mend(capability, "Uplinks by a kernel's interface use AF_PACKET, which copies once more.",
                    "apt-get install -y linux-image-amd64 && reboot");
}

static void look_at_iommu(const char *root, struct capability *capability)
{
    unsigned n = root_count(root, "/sys/kernel/iommu_groups", "");
    bool amd = root_has_word(root, "/proc/cpuinfo", "AuthenticAMD");

    if (n) {
        capability_found(capability, CAPABILITY_READY, "%u groups", n);
        return;
    }
    capability_found(capability, CAPABILITY_FALLBACK, "it is off, or not there");
    capability_boot_with(root, capability,
                         "No device can be given to a guest; ports of the fast path play virtual functions.",
                         "%s", amd ? "iommu=pt" : "intel_iommu=on iommu=pt");
}

static void look_at_vfio(const char *root, struct capability *capability)
{
    if (root_exists(root, "/dev/vfio/vfio")) {
        capability_found(capability, CAPABILITY_READY, "/dev/vfio/vfio");
        return;
    }
    capability_found(capability, CAPABILITY_FALLBACK, "/dev/vfio/vfio is not there");
    capability_mend(capability, "No device can be given to a guest, or driven by DPDK through the IOMMU.",
                    has_module(root, "vfio-pci") ? "modprobe vfio-pci"
                                                 : "apt-get install -y linux-image-amd64 && reboot");
}

static void look_at_sr_iov(const char *root, struct capability *capability)
{
    static const char effect[] = "Ports of the fast path play virtual functions.";
    char path[PATH_MAX], first[64] = "", found[128] = "";
    unsigned long n_enabled = 0;
    struct dirent *entry;
    DIR *folder;

    snprintf(path, sizeof path, "%s/sys/class/net", root);
    folder = opendir(path);
    while (folder && (entry = readdir(folder))) {
        unsigned long total = root_number(root, "/sys/class/net/%s/device/sriov_totalvfs", entry->d_name);
        unsigned long n = root_number(root, "/sys/class/net/%s/device/sriov_numvfs", entry->d_name);
        size_t size = strlen(found);

        if (!total || entry->d_name[0] == '.')
            continue;
        if (!first[0])
            snprintf(first, sizeof first, "%.60s", entry->d_name);
        n_enabled += n;
        snprintf(found + size, sizeof found - size, "%s%.60s: %lu of %lu", size ? ", " : "", entry->d_name, n,
                 total);
    }
    if (folder)
        closedir(folder);
    if (n_enabled) {
        capability_found(capability, CAPABILITY_READY, "virtual functions of %s", found);
        return;
    }
    if (first[0]) {
        capability_found(capability, CAPABILITY_FALLBACK, "virtual functions of %s", found);
        capability_mend(capability, effect, "echo 4 >/sys/class/net/%s/device/sriov_numvfs", first);
    } else {
        capability_found(capability, CAPABILITY_FALLBACK, "no NIC has virtual functions");
        capability_mend(capability, effect, "%s", "");
    }
}

const struct doctor_check doctor_kernel[] = {
    {"netns", true, "Nodes of the kind netns.", look_at_netns},
    {"tap", true, "Interfaces of light nodes and of the host on the fast path.", look_at_tap},
    {"veth", true, "Namespaces can be joined.", look_at_veth},
    {"af-xdp", false, "Uplinks by a kernel's interface, without a NIC of the fast path's own.", look_at_af_xdp},
    {"iommu", false, "Devices can be given to guests.", look_at_iommu},
    {"vfio", false, "Devices can be given to guests, or driven by DPDK.", look_at_vfio},
    {"sr-iov", false, "Guests can have virtual functions of a NIC.", look_at_sr_iov},
    {0},
};
