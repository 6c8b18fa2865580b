/* SPDX-License-Identifier: Apache-2.0 */
/* Files and folders of QEMU's user. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/command.h"
#include "manager/vm.h"

int vm_give_file(const char *path, struct error *error)
{
    const struct passwd *user = getpwnam(VM_USER);
    int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    int code = fd < 0 ? errno : 0;

    if (!code && !user)
        code = ENOENT;
    if (!code && (fchown(fd, user->pw_uid, user->pw_gid) || fchmod(fd, 0600)))
        code = errno;
    if (fd >= 0)
        close(fd);
    if (code)
        return error_set(error, code, "The file %s cannot be made for the user " VM_USER ": %s.", path,
                         strerror(code));
    return 0;
}

/* Gives a folder to a group, with this mode. */
static int set_folder(const char *path, gid_t group, mode_t mode)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), code = 0;

    if (fd < 0)
        return errno;
    if (fchown(fd, (uid_t)-1, group) || fchmod(fd, mode))
        code = errno;
    close(fd);
    return code;
}

int vm_lend_folder(const char *path, struct error *error)
{
    const struct passwd *user = getpwnam(VM_USER);
    int code = user ? set_folder(path, user->pw_gid, 01771) : ENOENT;

    if (code)
        return error_set(error, code, "The folder %s cannot be opened to the user " VM_USER ": %s.", path,
                         strerror(code));
    return 0;
}

void vm_take_back_folder(const char *path)
{
    set_folder(path, getegid(), 0755);
}

int vm_make_readable(char path[SLICE_PATH_SIZE], const char *folder, struct error *error)
{
    const char *const test[] = {"test", "-r", path, NULL};
    const char *base = strrchr(path, '/');
    char copy[SLICE_PATH_SIZE];
    int code;

    if (access(path, R_OK) || !command_run_with(&(struct command){.words = test, .user = VM_USER}, NULL))
        return 0; /* what nobody can read, QEMU tells */
    if (snprintf(copy, sizeof copy, "%s/%s", folder, base ? base + 1 : path) >= (int)sizeof copy)
        return error_set(error, ENAMETOOLONG, "A copy of %.100s would have too long a name.", path);
    /* Only a copy that differs is made anew. */
    code = command_run((const char *[]){"install", "-C", "-m", "644", path, copy, NULL}, error);
    if (!code)
        strcpy(path, copy);
    return code;
}
