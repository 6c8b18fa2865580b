/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev/kvm alone proves nothing: a nested host may offer one on which guests hang. Where KVM works, the kernel sees the
 * processor's extension.
 */
#include "lib/hardware.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PATH_SIZE 4096
#define GROUPS_MAX 64 /* of QEMU's user, who is in two or three */

static FILE *open_under(const char *root, const char *name)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof path, "%s%s", root, name);
    return fopen(path, "re");
}

static bool has_extension(const char *root)
{
    FILE *file = open_under(root, "/proc/cpuinfo");
    bool found = false;
    char line[8192];

    while (file && !found && fgets(line, sizeof line, file))
        found = !strncmp(line, "flags", 5) && (strstr(line, " vmx") || strstr(line, " svm"));
    if (file)
        fclose(file);
    return found;
}

bool hardware_may_open(const struct stat *file, uid_t uid, const gid_t groups[], size_t n_groups)
{
    unsigned shift = file->st_uid == uid ? 6 : 0; /* the first class that fits decides */

    for (size_t i = 0; i < n_groups && !shift; i++)
        shift = file->st_gid == groups[i] ? 3 : 0;
    return !uid || (file->st_mode >> shift & 6) == 6;
}

struct user {
    uid_t uid;
    size_t n_groups; /* 0: there is no such user */
    gid_t groups[GROUPS_MAX];
    char group[64]; /* name of the first one */
};

/* QEMU_USER, a system's own user and so in the file; the first group is from there, the others are those that list it. */
static void find_user(const char *root, struct user *found)
{
    FILE *users = open_under(root, "/etc/passwd"), *file = open_under(root, "/etc/group");
    const struct passwd *user;
    const struct group *group;

    *found = (struct user){.group = "kvm"};
    while (users && !found->n_groups && (user = fgetpwent(users)))
        if (!strcmp(user->pw_name, QEMU_USER)) {
            found->uid = user->pw_uid;
            found->groups[found->n_groups++] = user->pw_gid;
        }
    while (file && found->n_groups && (group = fgetgrent(file))) {
        if (group->gr_gid == found->groups[0])
            snprintf(found->group, sizeof found->group, "%s", group->gr_name);
        for (char **member = group->gr_mem; *member && found->n_groups < GROUPS_MAX; member++)
            if (!strcmp(*member, QEMU_USER))
                found->groups[found->n_groups++] = group->gr_gid;
    }
    if (users)
        fclose(users);
    if (file)
        fclose(file);
}

bool hardware_misleads_libvirt(const char *root, char *command, size_t size)
{
    char path[PATH_SIZE];
    struct stat device;
    struct user user;

    snprintf(path, sizeof path, "%s/dev/kvm", root);
    find_user(root, &user);
    /* Who has given it an access control list has thought about who may open it. */
    if (!user.n_groups || stat(path, &device) || getxattr(path, "system.posix_acl_access", NULL, 0) > 0 ||
        hardware_may_open(&device, user.uid, user.groups, user.n_groups))
        return false;
    snprintf(command, size, "chgrp %s /dev/kvm && chmod 660 /dev/kvm", user.group);
    return true;
}

bool hardware_runs_guests(const char *root, const char **why)
{
    const char *reason = NULL;
    char path[PATH_SIZE], command[128];
    int fd;

    snprintf(path, sizeof path, "%s/dev/kvm", root);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        reason = "/dev/kvm cannot be opened";
    else if (!has_extension(root))
        reason = "the processor shows neither vmx nor svm";
    else if (hardware_misleads_libvirt(root, command, sizeof command))
        reason = "/dev/kvm is not open to " QEMU_USER;
    if (fd >= 0)
        close(fd);
    if (why)
        *why = reason ? reason : "";
    return !reason;
}
