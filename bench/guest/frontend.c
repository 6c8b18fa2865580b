/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/guest/frontend.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/socket.h"

#define SEND_FDS_MAX 64
#define CONNECT_RETRY_MS 10

static int socket_address(const char *path, struct sockaddr_un *address, struct error *error)
{
    if (strlen(path) >= sizeof address->sun_path)
        return error_set(error, ENAMETOOLONG, "the socket path %s is too long", path);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    strcpy(address->sun_path, path);
    return 0;
}

int frontend_open(struct frontend *frontend, const char *path, bool server, struct error *error)
{
    struct sockaddr_un address;
    int code = socket_address(path, &address, error);

    *frontend =
        (struct frontend){.server = server, .listen_fd = -1, .fd = -1, .timeout_ms = FRONTEND_TIMEOUT_MS};
    if (code)
        return code;
    strcpy(frontend->path, path);
    if (!server)
        return 0;

    unlink(path);
    frontend->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (frontend->listen_fd < 0 || bind(frontend->listen_fd, (struct sockaddr *)&address, sizeof address) ||
        listen(frontend->listen_fd, 8)) {
        code = errno;
        frontend_close(frontend);
        return error_set(error, code, "cannot listen on %s: %s", path, strerror(code));
    }
    return 0;
}

void frontend_close(struct frontend *frontend)
{
    frontend_disconnect(frontend);
    if (frontend->listen_fd >= 0) {
        close(frontend->listen_fd);
        unlink(frontend->path);
        frontend->listen_fd = -1;
    }
}

/* One attempt; -1 when the back end is not there (yet). */
static int try_connect(const struct frontend *frontend, int wait_ms)
{
    struct sockaddr_un address;
    int fd;

    if (frontend->server) {
        struct pollfd ready = {.fd = frontend->listen_fd, .events = POLLIN};

        poll(&ready, 1, wait_ms);
        return accept4(frontend->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    }
    socket_address(frontend->path, &address, NULL);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        fd = -1;
        poll(NULL, 0, wait_ms < CONNECT_RETRY_MS ? wait_ms : CONNECT_RETRY_MS);
    }
    return fd;
}

int frontend_connect(struct frontend *frontend, int timeout_ms, struct error *error)
{
    int64_t deadline_ms = clock_ms() + timeout_ms;
    int64_t left_ms = timeout_ms;

    frontend_disconnect(frontend);
    for (;;) {
        frontend->fd = try_connect(frontend, (int)left_ms);
        if (frontend->fd >= 0)
            return 0;
        left_ms = deadline_ms - clock_ms();
        if (left_ms <= 0)
            return error_set(error, ETIMEDOUT, "no back end has connected by %s within %d ms", frontend->path,
                             timeout_ms);
    }
}

void frontend_disconnect(struct frontend *frontend)
{
    if (frontend->fd >= 0)
        close(frontend->fd);
    frontend->fd = -1;
}

bool frontend_is_connected(struct frontend *frontend)
{
    char byte;
    ssize_t got;

    if (frontend->fd < 0)
        return false;
    got = recv(frontend->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

int frontend_send(struct frontend *frontend, const void *bytes, size_t size, const int fds[], unsigned n_fds,
                  struct error *error)
{
    union {
        char bytes[CMSG_SPACE(SEND_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec piece = {.iov_base = (void *)bytes, .iov_len = size};
    struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1};

    if (n_fds > SEND_FDS_MAX)
        return error_set(error, EINVAL, "cannot send %u descriptors at once", n_fds);
    if (n_fds)
        socket_attach_fds(&header, control.bytes, fds, n_fds);
    while (piece.iov_len) {
        ssize_t sent = sendmsg(frontend->fd, &header, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return error_set(error, errno, "cannot send to the back end at %s: %s", frontend->path,
                             strerror(errno));
        piece.iov_base = (char *)piece.iov_base + sent;
        piece.iov_len -= (size_t)sent;
        header.msg_control = NULL;
        header.msg_controllen = 0;
    }
    return 0;
}

/* Takes the descriptors out of a received message: those that fit into 'fds', the rest is closed. */
static void take_fds(struct msghdr *header, int fds[], unsigned *n_fds)
{
    for (struct cmsghdr *item = CMSG_FIRSTHDR(header); item; item = CMSG_NXTHDR(header, item)) {
        unsigned n = (unsigned)((item->cmsg_len - CMSG_LEN(0)) / sizeof(int));

        if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS)
            continue;
        for (unsigned i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(item) + i * sizeof fd, sizeof fd);
            if (fds && *n_fds < VHOST_USER_FDS_MAX)
                fds[(*n_fds)++] = fd;
            else
                close(fd);
        }
    }
}

/* Reads exactly 'size' bytes. */
static int receive_bytes(struct frontend *frontend, void *bytes, size_t size, int fds[], unsigned *n_fds,
                         struct error *error)
{
    int64_t deadline_ms = clock_ms() + frontend->timeout_ms;
    size_t done = 0;

    while (done < size) {
        union {
            char bytes[CMSG_SPACE(SEND_FDS_MAX * sizeof(int))];
            struct cmsghdr align;
        } control;
        struct iovec piece = {.iov_base = (char *)bytes + done, .iov_len = size - done};
        struct msghdr header = {.msg_iov = &piece,
                                .msg_iovlen = 1,
                                .msg_control = control.bytes,
                                .msg_controllen = sizeof control.bytes};
        struct pollfd ready = {.fd = frontend->fd, .events = POLLIN};
        int64_t left_ms = deadline_ms - clock_ms();
        ssize_t got;

        if (poll(&ready, 1, left_ms > 0 ? (int)left_ms : 0) == 0)
            return error_set(error, ETIMEDOUT, "the back end at %s has not answered within %d ms",
                             frontend->path, frontend->timeout_ms);
        got = recvmsg(frontend->fd, &header, MSG_CMSG_CLOEXEC);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set(error, errno, "cannot read from the back end at %s: %s", frontend->path,
                             strerror(errno));
        if (got == 0)
            return error_set(error, ECONNRESET, "the back end at %s has closed the connection", frontend->path);
        take_fds(&header, fds, n_fds);
        done += (size_t)got;
    }
    return 0;
}

int frontend_receive(struct frontend *frontend, struct vhost_user_message *message, int fds[],
                     unsigned *n_fds, struct error *error)
{
    unsigned n_ignored = 0;
    unsigned *n = n_fds ? n_fds : &n_ignored;
    int code;

    *n = 0;
    code = receive_bytes(frontend, message, VHOST_USER_HEADER_SIZE, fds, n, error);
    if (code)
        return code;
    if (message->size > sizeof message->payload)
        return error_set(error, EPROTO, "the back end at %s sends a message of %u bytes", frontend->path,
                         message->size);
    return receive_bytes(frontend, &message->payload, message->size, fds, n, error);
}

static int send_request(struct frontend *frontend, uint32_t request, uint32_t flags, const void *payload,
                        uint32_t size, const int fds[], unsigned n_fds, struct error *error)
{
    struct vhost_user_message message = {.request = request, .flags = VHOST_USER_VERSION | flags, .size = size};

    if (size > sizeof message.payload)
        return error_set(error, EMSGSIZE, "a payload of %u bytes is too long for vhost-user request %u", size,
                         request);
    if (size)
        memcpy(&message.payload, payload, size);
    return frontend_send(frontend, &message, VHOST_USER_HEADER_SIZE + size, fds, n_fds, error);
}

static int receive_reply(struct frontend *frontend, uint32_t request, struct vhost_user_message *reply,
                         int *fd, struct error *error)
{
    int fds[VHOST_USER_FDS_MAX];
    unsigned n_fds;
    int code = frontend_receive(frontend, reply, fds, &n_fds, error);

    if (fd)
        *fd = n_fds ? fds[0] : -1;
    for (unsigned i = fd ? 1 : 0; i < n_fds; i++)
        close(fds[i]);
    if (!code && (reply->request != request || !(reply->flags & VHOST_USER_REPLY)))
        return error_set(error, EPROTO, "the back end at %s answers request %u with message %u, flags 0x%x",
                         frontend->path, request, reply->request, reply->flags);
    return code;
}

int frontend_request(struct frontend *frontend, uint32_t request, const void *payload, uint32_t size,
                     const int fds[], unsigned n_fds, struct error *error)
{
    bool acknowledged = frontend->protocol_features & 1u << VHOST_USER_PROTOCOL_F_REPLY_ACK;
    struct vhost_user_message reply;
    int code = send_request(frontend, request, acknowledged ? VHOST_USER_NEED_REPLY : 0, payload, size, fds,
                            n_fds, error);

    if (code || !acknowledged)
        return code;
    code = receive_reply(frontend, request, &reply, NULL, error);
    if (!code && (reply.size != sizeof(uint64_t) || reply.payload.u64))
        return error_set(error, EPROTO, "the back end at %s says that request %u failed", frontend->path,
                         request);
    return code;
}

int frontend_ask(struct frontend *frontend, uint32_t request, const void *payload, uint32_t size,
                 struct vhost_user_message *reply, int *fd, struct error *error)
{
    int code = send_request(frontend, request, 0, payload, size, NULL, 0, error);

    return code ? code : receive_reply(frontend, request, reply, fd, error);
}

int frontend_set_u64(struct frontend *frontend, uint32_t request, uint64_t value, struct error *error)
{
    return frontend_request(frontend, request, &value, sizeof value, NULL, 0, error);
}

int frontend_set_vring(struct frontend *frontend, uint32_t request, uint32_t index, uint32_t num,
                       struct error *error)
{
    struct vhost_user_vring_state state = {.index = index, .num = num};

    return frontend_request(frontend, request, &state, sizeof state, NULL, 0, error);
}

int frontend_set_vring_fd(struct frontend *frontend, uint32_t request, uint8_t index, int fd,
                          struct error *error)
{
    uint64_t value = fd < 0 ? index | VHOST_USER_NO_FD : index;

    return frontend_request(frontend, request, &value, sizeof value, &fd, fd < 0 ? 0 : 1, error);
}

static int ask_u64(struct frontend *frontend, uint32_t request, uint64_t *value, struct error *error)
{
    struct vhost_user_message reply;
    int code = frontend_ask(frontend, request, NULL, 0, &reply, NULL, error);

    if (code)
        return code;
    if (reply.size != sizeof *value)
        return error_set(error, EPROTO, "the back end at %s answers request %u with %u bytes", frontend->path,
                         request, reply.size);
    *value = reply.payload.u64;
    return 0;
}

static int negotiate_protocol(struct frontend *frontend, uint64_t wanted, struct error *error)
{
    uint64_t offered;
    uint64_t n_queue_pairs = 1;
    int code = ask_u64(frontend, VHOST_USER_GET_PROTOCOL_FEATURES, &offered, error);

    if (!code)
        code = frontend_set_u64(frontend, VHOST_USER_SET_PROTOCOL_FEATURES, offered & wanted, error);
    if (code)
        return code;
    frontend->protocol_features = offered & wanted;
    if (frontend->protocol_features & 1u << VHOST_USER_PROTOCOL_F_MQ)
        code = ask_u64(frontend, VHOST_USER_GET_QUEUE_NUM, &n_queue_pairs, error);
    frontend->n_queue_pairs_max = n_queue_pairs > UINT16_MAX ? UINT16_MAX : (uint16_t)n_queue_pairs;
    return code;
}

int frontend_negotiate(struct frontend *frontend, uint64_t features, uint64_t required,
                       uint64_t protocol_features, struct error *error)
{
    const uint64_t protocol_bit = UINT64_C(1) << VHOST_USER_F_PROTOCOL_FEATURES;
    int code;

    frontend->protocol_features = 0;
    frontend->n_queue_pairs_max = 1;
    code = ask_u64(frontend, VHOST_USER_GET_FEATURES, &frontend->features_offered, error);
    if (code)
        return code;
    if (required & ~frontend->features_offered)
        return error_set(error, EPROTO, "the back end at %s lacks the features 0x%llx", frontend->path,
                         (unsigned long long)(required & ~frontend->features_offered));
    if (protocol_features && frontend->features_offered & protocol_bit) {
        code = negotiate_protocol(frontend, protocol_features, error);
        features |= protocol_bit;
    }
    frontend->features = features & frontend->features_offered;
    if (!code)
        code = frontend_request(frontend, VHOST_USER_SET_OWNER, NULL, 0, NULL, 0, error);
    if (!code)
        code = frontend_set_u64(frontend, VHOST_USER_SET_FEATURES, frontend->features, error);
    return code;
}
