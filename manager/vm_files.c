/* SPDX-License-Identifier: Apache-2.0 */
/* Files and folders of QEMU's user. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

int vm_open_folder(const char *path, struct error *error)
{
    const struct passwd *user = getpwnam(VM_USER);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int code = fd < 0 ? errno : 0;

    if (!code && !user)
        code = ENOENT;
    if (!code && (fchown(fd, (uid_t)-1, user->pw_gid) || fchmod(fd, 01771)))
        code = errno;
    if (fd >= 0)
        close(fd);
    if (code)
        return error_set(error, code, "The folder %s cannot be opened to the user " VM_USER ": %s.", path,
                         strerror(code));
    return 0;
}
