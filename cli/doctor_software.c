/* SPDX-License-Identifier: Apache-2.0 */
/* Programs and files that slices need, and daemons that run. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/doctor.h"

/* Where programs are looked for, whatever PATH says. */
static const char *const folders[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
                                      "/usr/bin",        "/sbin",          "/bin"};

static bool find_program(const char *root, const char *name, char path[PATH_MAX])
{
    for (unsigned i = 0; i < sizeof folders / sizeof *folders; i++) {
        char whole[PATH_MAX];

        snprintf(whole, sizeof whole, "%s%s/%s", root, folders[i], name);
        snprintf(path, PATH_MAX, "%s/%s", folders[i], name);
        if (access(whole, X_OK) == 0)
            return true;
    }
    return false;
}

/* The version of an installed Debian package without its epoch, such as "3.1.0-2"; "" when it is not known. */
static void package_version(const char *root, const char *package, char version[64])
{
    FILE *file = root_open(root, "/var/lib/dpkg/status");
    bool here = false, installed = false;
    char line[1024];

    version[0] = '\0';
    while (file && !version[0] && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        if (!strncmp(line, "Package: ", 9)) {
            here = !strcmp(line + 9, package);
            installed = false;
        } else if (here && !strncmp(line, "Status: ", 8)) {
            installed = strstr(line, " installed") != NULL;
        } else if (here && installed && !strncmp(line, "Version: ", 9)) {
            const char *epoch = strchr(line + 9, ':');

            snprintf(version, 64, "%.63s", epoch ? epoch + 1 : line + 9);
        }
    }
    if (file)
        fclose(file);
}

static bool is_older(const char *version, unsigned major, unsigned minor)
{
    unsigned own_major = 0, own_minor = 0;

    return sscanf(version, "%u.%u", &own_major, &own_minor) > 0 &&
           (own_major < major || (own_major == major && own_minor < minor));
}

/* A file that a Debian package brings; 'major', 'minor': its first version that will do. */
static void look_at_package(const char *root, struct capability *capability, bool there, const char *path,
                            const char *package, unsigned major, unsigned minor, const char *effect)
{
    char version[64];

    package_version(root, package, version);
    if (!there) {
        capability_found(capability, capability->is_needed ? CAPABILITY_MISSING : CAPABILITY_FALLBACK,
                         "not installed");
        capability_mend(capability, effect, "apt-get install -y %s", package);
    } else if (version[0] && is_older(version, major, minor)) {
        capability_found(capability, capability->is_needed ? CAPABILITY_MISSING : CAPABILITY_FALLBACK,
                         "%s %s is older than %u.%u", package, version, major, minor);
        capability_mend(capability, effect, "apt-get install -y %s", package);
    } else {
        capability_found(capability, CAPABILITY_READY, "%s%s%s", path, version[0] ? ", " : "", version);
    }
}

static void look_at_program(const char *root, struct capability *capability, const char *name,
                            const char *package, unsigned major, unsigned minor, const char *effect)
{
    char path[PATH_MAX];
    bool there = find_program(root, name, path);

    look_at_package(root, capability, there, path, package, major, minor, effect);
}

static void look_at_vswitch(const char *root, struct capability *capability)
{
    static const char path[] = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";

    look_at_package(root, capability, root_exists(root, "%s", path), path, "openvswitch-switch-dpdk", 3, 1,
                    "Nobody decides about flows: slices have no switches.");
}

static void look_at_ovsdb(const char *root, struct capability *capability)
{
    look_at_program(root, capability, "ovsdb-server", "openvswitch-common", 2, 17,
                    "Neither Open vSwitch nor the manager has a database.");
}

static void look_at_qemu(const char *root, struct capability *capability)
{
    look_at_program(root, capability, "qemu-system-x86_64", "qemu-system-x86", 5, 2,
                    "There are no virtual machines.");
}

static void look_at_libvirt(const char *root, struct capability *capability)
{
    static const char path[] = "/usr/lib/" VNODE_MULTIARCH "/libvirt/connection-driver/libvirt_driver_qemu.so";

    look_at_package(root, capability, root_exists(root, "%s", path), path, "libvirt-daemon-driver-qemu", 7, 0,
                    "Nobody starts virtual machines.");
}

static void look_at_ip(const char *root, struct capability *capability)
{
    look_at_program(root, capability, "ip", "iproute2", 0, 0, "Light nodes cannot be set up.");
}

static void look_at_ethtool(const char *root, struct capability *capability)
{
    look_at_program(
        root, capability, "ethtool", "ethtool", 0, 0,
        "The flow tables of NICs cannot be written: no offload past Open vSwitch with virtual functions.");
}

/* The file 'name' in this program's build, if that is where it runs, or where it is installed; false: nowhere. */
static bool find_own(const char *root, const char *built, const char *const installed[], char path[PATH_MAX])
{
    char own[PATH_MAX / 2];
    ssize_t size = root[0] ? -1 : readlink("/proc/self/exe", own, sizeof own - 1);

    if (size > 0) {
        own[size] = '\0';
        *strrchr(own, '/') = '\0';
        snprintf(path, PATH_MAX, "%s/../%s", own, built);
        if (access(path, F_OK) == 0)
            return true;
    }
    for (; *installed; installed++) {
        snprintf(path, PATH_MAX, "%s", *installed);
        if (root_exists(root, "%s", path))
            return true;
    }
    return false;
}

static void look_at_fastpath(const char *root, struct capability *capability)
{
    static const char *const installed[] = {"/usr/local/sbin/vnode-fastpath", "/usr/sbin/vnode-fastpath", NULL};
    char path[PATH_MAX];

    if (find_own(root, "fastpath/vnode-fastpath", installed, path)) {
        capability_found(capability, CAPABILITY_READY, "%.180s", path);
        return;
    }
    capability_found(capability, CAPABILITY_MISSING, "vnode-fastpath is not installed");
    capability_mend(capability, "Nothing is forwarded.", "./run build && ninja -C build install");
}

/* A folder of 'path', or above it, into which others than the owner of the root can write; NULL: none. */
static const char *open_folder(const char *root, char *path)
{
    char whole[PATH_MAX];
    struct stat top, status;
    char *end;

    snprintf(whole, sizeof whole, "%s/", root);
    if (stat(whole, &top))
        return NULL;
    while ((end = strrchr(path, '/')) && end != path) {
        *end = '\0';
        snprintf(whole, sizeof whole, "%s%s", root, path);
        if (!stat(whole, &status) && (status.st_mode & S_IWOTH || status.st_uid != top.st_uid))
            return path;
    }
    return NULL;
}

static void look_at_driver(const char *root, struct capability *capability)
{
    static const char *const installed[] = {"/usr/local/lib/" VNODE_MULTIARCH "/vnode/librte_net_vnode.so",
                                            "/usr/lib/" VNODE_MULTIARCH "/vnode/librte_net_vnode.so", NULL};
    char path[PATH_MAX], whole[PATH_MAX];
    const char *folder;

    if (!find_own(root, "pmd/librte_net_vnode.so", installed, path)) {
        capability_found(capability, CAPABILITY_MISSING, "librte_net_vnode.so is not installed");
        capability_mend(capability, "Open vSwitch cannot hand its flows over.",
                        "./run build && ninja -C build install");
        return;
    }
    /* Of a build's folder what counts is where it is. */
    if (root[0] || !realpath(path, whole))
        snprintf(whole, sizeof whole, "%s", path);
    folder = open_folder(root, whole);
    if (!folder) {
        capability_found(capability, CAPABILITY_READY, "%.180s", path);
        return;
    }
    capability_found(capability, CAPABILITY_MISSING, "others than root can write into %.150s", folder);
    capability_mend(capability, "DPDK refuses to load the driver: Open vSwitch cannot hand its flows over.",
                    "chown root: %.200s && chmod go-w %.200s", folder, folder);
}

static void look_at_image(const char *root, struct capability *capability)
{
    static const char *const installed[] = {"/usr/local/share/vnode/guest-kernel",
                                            "/usr/share/vnode/guest-kernel", NULL};
    char path[PATH_MAX];

    if (find_own(root, "guest-image/guest-kernel", installed, path)) {
        capability_found(capability, CAPABILITY_READY, "%.180s", path);
        return;
    }
    capability_found(capability, CAPABILITY_FALLBACK, "the small guest is not built");
    capability_mend(capability, "Only virtual machines with images of their own can be.",
                    "ninja -C build guest-image/guest-kernel install");
}

const struct doctor_check doctor_software[] = {
    {"fastpath", true, "Forwards packets.", look_at_fastpath},
    {"vswitch", true, "Decides about flows.", look_at_vswitch},
    {"driver", true, "Brings Open vSwitch's flows to the fast path.", look_at_driver},
    {"ovsdb-server", true, "Keeps what slices there are.", look_at_ovsdb},
    {"qemu", true, "Runs virtual machines.", look_at_qemu},
    {"libvirt", true, "Starts and watches virtual machines.", look_at_libvirt},
    {"ip", true, "Sets up light nodes.", look_at_ip},
    {"ethtool", false, "Writes the flow tables of NICs.", look_at_ethtool},
    {"guest-image", false, "Virtual machines need no image of their own.", look_at_image},
    {0},
};

/* Whether somebody listens on a Unix socket whose name ends with 'name'; '*path' gets its whole name. */
static bool listens(const char *root, const char *name, char path[128])
{
    FILE *file = root_open(root, "/proc/net/unix");
    bool found = false;
    char line[512];

    while (file && !found && fgets(line, sizeof line, file)) {
        unsigned flags;

        /* Num: RefCount Protocol Flags Type St Inode Path; __SO_ACCEPTCON is 1 << 16. */
        if (sscanf(line, "%*s %*s %*s %x %*s %*s %*s %127s", &flags, path) == 2 && flags & 1u << 16) {
            size_t size = strlen(path), wanted = strlen(name);

            found = size >= wanted && !strcmp(path + size - wanted, name);
        }
    }
    if (file)
        fclose(file);
    return found;
}

static void look_at_daemon(const char *root, struct capability *capability, const char *socket,
                           const char *effect, const char *command)
{
    char path[128];

    if (listens(root, socket, path)) {
        capability_found(capability, CAPABILITY_READY, "listens on %s", path);
        return;
    }
    capability_found(capability, CAPABILITY_MISSING, "nobody listens on %s", socket);
    capability_mend(capability, effect, "%s", command);
}

static void look_for_fastpath(const char *root, struct capability *capability)
{
    look_at_daemon(root, capability, "/run/vnode/fastpath.sock", "No packet is forwarded.",
                   "systemctl start vnode-fastpath");
}

static void look_for_manager(const char *root, struct capability *capability)
{
    bool installed = root_exists(root, "/usr/local/lib/systemd/system/vnode-manager.service") ||
                     root_exists(root, "/usr/lib/systemd/system/vnode-manager.service");

    look_at_daemon(root, capability, "/run/vnode/manager.sock", "No slice can be deployed.",
                   installed ? "systemctl start vnode-manager" : "./run node");
}

static void look_for_vswitch(const char *root, struct capability *capability)
{
    look_at_daemon(root, capability, "/run/openvswitch/db.sock",
                   "There is no Open vSwitch of the system's; the manager runs one of its own.",
                   "systemctl start openvswitch-switch");
}

const struct doctor_check doctor_daemons[] = {
    {"fastpath-running", false, "Packets are forwarded.", look_for_fastpath},
    {"manager-running", false, "Slices can be deployed.", look_for_manager},
    {"vswitch-running", false, "The system's Open vSwitch can be used.", look_for_vswitch},
    {0},
};
