/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/vhost_socket.h"

#include <errno.h>
#include <rte_vhost.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fastpath/vhost_setup.h"
#include "lib/socket.h"

int vhost_socket_prepare(const struct port_spec *spec, struct error *error)
{
    struct stat status;

    if (!spec->server || lstat(spec->path, &status))
        return 0;
    if (!S_ISSOCK(status.st_mode))
        return error_set(error, EEXIST, "Port %s cannot listen on %s: a file that is no socket is there.",
                         spec->name, spec->path);
    if (socket_answers(spec->path))
        return error_set(error, EADDRINUSE, "Port %s cannot listen on %s: another process does.", spec->name,
                         spec->path);
    unlink(spec->path);
    return 0;
}

int vhost_socket_open(const struct port_spec *spec, const struct rte_vhost_device_ops *device_ops)
{
    uint64_t flags = spec->server ? 0 : RTE_VHOST_USER_CLIENT | RTE_VHOST_USER_NO_RECONNECT;

    if (rte_vhost_driver_register(spec->path, flags))
        return EIO;
    if (!rte_vhost_driver_set_features(spec->path, VHOST_OFFERED_FEATURES) &&
        !rte_vhost_driver_callback_register(spec->path, device_ops) &&
        (!rte_vhost_driver_start(spec->path) || !spec->server))
        return 0;
    rte_vhost_driver_unregister(spec->path);
    return EIO;
}
