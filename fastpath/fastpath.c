/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/fastpath.h"

#include <dirent.h>
#include <errno.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "fastpath/control.h"
#include "fastpath/doorbell.h"
#include "fastpath/flow_table.h"
#include "fastpath/memory_fault.h"
#include "fastpath/move.h"
#include "fastpath/offload.h"
#include "fastpath/ports.h"
#include "fastpath/rate.h"
#include "fastpath/vhost_port.h"
#include "fastpath/worker.h"
#include "lib/log.h"

static struct flow_tables *tables;
static bool eal_started;
static sigset_t stop_signals;

/* Bytes in hugepages that nobody uses. */
static uint64_t free_huge_bytes(void)
{
    DIR *sizes = opendir("/sys/kernel/mm/hugepages");
    struct dirent *entry;
    uint64_t bytes = 0;

    while (sizes && (entry = readdir(sizes))) {
        char path[512];
        unsigned long kib, pages;
        FILE *file;

        if (sscanf(entry->d_name, "hugepages-%lukB", &kib) != 1)
            continue;
        snprintf(path, sizeof path, "/sys/kernel/mm/hugepages/%s/free_hugepages", entry->d_name);
        file = fopen(path, "r");
        if (!file)
            continue;
        if (fscanf(file, "%lu", &pages) == 1)
            bytes += (uint64_t)pages * kib * 1024;
        fclose(file);
    }
    if (sizes)
        closedir(sizes);
    return bytes;
}

/* Writes DPDK's --lcores: 0 for control on the CPUs that are left over, 1.. for the workers, one CPU each. */
static void format_lcores(const struct options *options, char *text, size_t size)
{
    cpu_set_t usable, left;
    size_t used = 0;
    bool first = true;

    sched_getaffinity(0, sizeof usable, &usable);
    left = usable;
    for (uint16_t i = 0; i < options->n_cores; i++)
        CPU_CLR(options->cores[i], &left);
    if (!CPU_COUNT(&left))
        left = usable;
    used += snprintf(text, size, "0@(");
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && used < size; cpu++) {
        if (CPU_ISSET(cpu, &left)) {
            used += snprintf(text + used, size - used, "%s%u", first ? "" : ",", cpu);
            first = false;
        }
    }
    used += snprintf(text + used, size - used, ")");
    for (uint16_t i = 0; i < options->n_cores && used < size; i++)
        used += snprintf(text + used, size - used, ",%u@%u", i + 1, options->cores[i]);
}

static int start_eal(const struct options *options, struct error *error)
{
    bool huge = !options->no_huge && free_huge_bytes() >= (uint64_t)options->memory_mib << 20;
    char lcores[8192], memory[16];
    const char *arguments[16];
    int n = 0;

    format_lcores(options, lcores, sizeof lcores);
    snprintf(memory, sizeof memory, "%u", options->memory_mib);
    arguments[n++] = "vnode-fastpath";
    arguments[n++] = "--lcores";
    arguments[n++] = lcores;
    arguments[n++] = "-m";
    arguments[n++] = memory;
    arguments[n++] = "--log-level=lib.*:warning";
    arguments[n++] = "--log-level=lib.vhost*:error";
    /* No device is taken on the quiet: an allow list of one that is never there. Ports name theirs. */
    arguments[n++] = "-a";
    arguments[n++] = "0000:00:00.0";
    arguments[n++] = huge ? "--in-memory" : "--no-huge";
    if (!huge) {
        arguments[n++] = "--no-shconf";
        if (!options->no_huge)
            log_info("there are no hugepages for %u MiB; the fast path runs without", options->memory_mib);
    }
    arguments[n] = NULL;
    if (rte_eal_init(n, (char **)arguments) < 0)
        return error_set(error, rte_errno, "DPDK did not start: %s.", rte_strerror(rte_errno));
    eal_started = true;
    return 0;
}

int fastpath_start(const struct options *options, struct error *error)
{
    int result;

    /* Before there are threads, so that all of them leave these signals to the control thread. */
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGTERM);
    sigaddset(&stop_signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stop_signals, NULL);
    result = start_eal(options, error);
    if (result)
        return result;
    memory_fault_install();
    tables = flow_tables_create(options->rules_max, error);
    if (!tables)
        return error->code;
    moves_start(rte_get_tsc_hz(), rte_rdtsc);
    rate_start(rte_get_tsc_hz(), rte_rdtsc);
    ports_init(tables);
    result = doorbell_watch_start();
    if (result)
        return error_set(error, result, "The watch over doorbells did not start: %s.", strerror(result));
    result = offload_init(tables, &options->offload, 0, error);
    if (!result)
        result = workers_start(error);
    if (!result)
        result = control_create(options->socket, options->group, tables, error);
    if (result)
        return result;
    log_info("ready: %u workers, control socket %s", workers_count(), options->socket);
    sd_notify(0, "READY=1");
    return 0;
}

static int watch(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    return fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void serve(int epoll_fd, int signal_fd, int timer_fd)
{
    for (;;) {
        struct epoll_event event;
        uint64_t ticks;

        int n = epoll_pwait2(epoll_fd, &event, 1, control_tick_due(), NULL);

        control_tick();
        if (n < 1)
            continue;
        if (event.data.fd == signal_fd)
            return;
        if (event.data.fd == timer_fd) {
            if (read(timer_fd, &ticks, sizeof ticks) > 0) {
                ports_check();
                vhost_ports_check();
            }
            continue;
        }
        control_dispatch();
        if (control_stop_requested())
            return;
    }
}

int fastpath_run(struct error *error)
{
    const struct itimerspec second = {{.tv_sec = 1}, {.tv_sec = 1}};
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int signal_fd, result = 0;

    signal_fd = signalfd(-1, &stop_signals, SFD_CLOEXEC);
    if (epoll_fd < 0 || watch(epoll_fd, timer_fd) || watch(epoll_fd, signal_fd) ||
        watch(epoll_fd, control_fd()) || timerfd_settime(timer_fd, 0, &second, NULL))
        result = error_set(error, errno, "The control thread could not be set up: %m.");
    else
        serve(epoll_fd, signal_fd, timer_fd);
    sd_notify(0, "STOPPING=1");
    close(signal_fd);
    close(timer_fd);
    close(epoll_fd);
    return result;
}

void fastpath_stop(void)
{
    control_destroy();
    if (workers_count())
        ports_remove_all();
    workers_stop();
    doorbell_watch_stop();
    offload_finish();
    if (tables)
        flow_tables_destroy(tables);
    tables = NULL;
    if (eal_started)
        rte_eal_cleanup();
}
