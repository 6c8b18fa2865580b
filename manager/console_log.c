/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/console_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREVIOUS ".1"

/* Copies 'size' bytes of 'from' from 'offset' on. */
static int copy(int from, off_t offset, size_t size, const char *path)
{
    int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600), code = 0;
    ssize_t n = 1;

    if (to < 0)
        return errno;
    for (; size && n > 0; size -= (size_t)(n > 0 ? n : 0))
        n = sendfile(to, from, &offset, size);
    if (n < 0)
        code = errno;
    close(to);
    return code;
}

int console_log_bound(const char *path, uint64_t size_max, struct error *error)
{
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), code = 0;
    char previous[PATH_MAX];
    struct stat status;

    if (fd < 0)
        return errno == ENOENT
                   ? 0
                   : error_set(error, errno, "The log %.100s cannot be opened: %s.", path, strerror(errno));
    snprintf(previous, sizeof previous, "%s" PREVIOUS, path);
    if (fstat(fd, &status))
        code = errno;
    else if (S_ISREG(status.st_mode) && (uint64_t)status.st_size > size_max) {
        code = copy(fd, status.st_size - (off_t)size_max, size_max, previous);
        if (ftruncate(fd, 0) && !code) /* whatever became of the copy: the bound holds */
            code = errno;
    }
    close(fd);
    return code ? error_set(error, code, "The log %.100s cannot be bounded: %s.", path, strerror(code)) : 0;
}

void console_log_remove(const char *path)
{
    char previous[PATH_MAX];

    snprintf(previous, sizeof previous, "%s" PREVIOUS, path);
    unlink(path);
    unlink(previous);
}
