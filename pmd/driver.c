/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/driver.h"

#include <stdarg.h>
#include <stdio.h>

#include <ethdev_driver.h>
#include <ethdev_vdev.h>
#include <rte_log.h>

#include "pmd/arguments.h"
#include "pmd/representor.h"

RTE_LOG_REGISTER(driver_log_type, pmd.net.vnode, NOTICE)

static void log_line(uint32_t level, const char *format, va_list arguments)
{
    char line[512];

    vsnprintf(line, sizeof line, format, arguments);
    rte_log(level, (uint32_t)driver_log_type, "net_vnode: %s\n", line);
}

#define DEFINE_LOG(name, level)                     \
    void driver_log_##name(const char *format, ...) \
    {                                               \
        va_list arguments;                          \
                                                    \
        va_start(arguments, format);                \
        log_line(level, format, arguments);         \
        va_end(arguments);                          \
    }

DEFINE_LOG(error, RTE_LOG_ERR)
DEFINE_LOG(warning, RTE_LOG_WARNING)
DEFINE_LOG(info, RTE_LOG_NOTICE)

static int probe(struct rte_vdev_device *device)
{
    struct arguments arguments;
    struct error error;
    int result;

    if (rte_eal_process_type() != RTE_PROC_PRIMARY) {
        driver_log_error("a secondary process of DPDK cannot have vnode devices");
        return -ENOTSUP;
    }
    result = arguments_parse(&arguments, rte_vdev_device_name(device), rte_vdev_device_args(device), &error);
    if (!result)
        result = representor_create(device, &arguments, &error);
    if (result)
        driver_log_error("%s", error.text);
    return -result;
}

static int take_away(struct rte_vdev_device *vdev)
{
    struct rte_eth_dev *device = rte_eth_dev_allocated(rte_vdev_device_name(vdev));

    /* NULL: its user has closed it before. */
    return device ? rte_eth_dev_close(device->data->port_id) : 0;
}

static struct rte_vdev_driver vnode_driver = {.probe = probe, .remove = take_away};

RTE_PMD_REGISTER_VDEV(net_vnode, vnode_driver);
RTE_PMD_REGISTER_PARAM_STRING(net_vnode,
                              "fastpath=<socket> vhost=<path> server=<0|1> uplink=<device> port=<name> "
                              "queues=<int> mtu=<int> slice=<name>");
