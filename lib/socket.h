/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VNODE_SOCKET_H
#define VNODE_SOCKET_H

#include <stdbool.h>
#include <sys/socket.h>

/* Whether somebody listens on the unix socket at 'path', stream or seqpacket. */
bool socket_answers(const char *path);

/*
 * Makes 'n_fds' > 0 file descriptors (SCM_RIGHTS, unix(7)) the ancillary data of 'header'. 'control' has room for
 * CMSG_SPACE(n_fds * sizeof(int)) bytes, aligned for struct cmsghdr, and has to live until the message is sent.
 */
void socket_attach_fds(struct msghdr *header, void *control, const int fds[], unsigned n_fds);

#endif
