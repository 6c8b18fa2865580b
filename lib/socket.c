/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/socket.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool connects(const struct sockaddr_un *address, int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    bool answer = fd >= 0 && !connect(fd, (const struct sockaddr *)address, sizeof *address);

    if (fd >= 0)
        close(fd);
    return answer;
}

bool socket_answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path)
        return false;
    strcpy(address.sun_path, path);
    return connects(&address, SOCK_STREAM) || connects(&address, SOCK_SEQPACKET);
}

void socket_attach_fds(struct msghdr *header, void *control, const int fds[], unsigned n_fds)
{
    size_t size = n_fds * sizeof(int);
    struct cmsghdr *rights;

    memset(control, 0, CMSG_SPACE(size));
    header->msg_control = control;
    header->msg_controllen = CMSG_SPACE(size);
    rights = CMSG_FIRSTHDR(header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(rights), fds, size);
}
