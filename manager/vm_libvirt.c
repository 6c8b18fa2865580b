/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines by libvirt's QEMU driver, embedded in this process (qemu:///embed): no daemon, and a machine outlives us, since
 * the driver finds it again by what it keeps in the folder. It wants the user libvirt-qemu to be there, and a configuration
 * that does without virtlogd and control groups: https://libvirt.org/drvqemu.html#embedded-driver.
 *
 * libvirt reports by callbacks out of an event loop, which has to run: a thread of ours does nothing else.
 */
#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/vm.h"

static const char configuration[] = "stdio_handler = \"file\"\n"
                                    "cgroup_controllers = []\n"
                                    "security_driver = \"none\"\n"
                                    "user = \"root\"\n"
                                    "group = \"root\"\n"
                                    "dynamic_ownership = 0\n"
                                    "remember_owner = 0\n";

struct vms {
    virConnectPtr connection;
    int timer; /* wakes the event loop */
};

static pthread_t loop_thread;
static _Atomic bool loop_ends;
static unsigned n_opens; /* the event loop is libvirt's, one for a process */

/* libvirt says what failed in a sentence of its own, without a full stop. */
static int fail(struct error *error, int code, const char *what, const char *name)
{
    const virError *last = virGetLastError();

    return error_set(error, code, "%s %s: libvirt says: %.150s.", what, name, last ? last->message : "nothing");
}

static void *run_loop(void *argument)
{
    while (!atomic_load(&loop_ends))
        virEventRunDefaultImpl();
    return NULL;
}

static void wake_loop(int timer, void *argument)
{
}

static void ignore(void *argument, virErrorPtr error)
{
}

static int write_configuration(const char *folder, struct error *error)
{
    char path[SLICE_PATH_SIZE];
    FILE *file;

    snprintf(path, sizeof path, "%s/etc", folder);
    if ((mkdir(folder, 0755) && errno != EEXIST) || (mkdir(path, 0755) && errno != EEXIST))
        return error_set(error, errno, "The folder %s cannot be made: %s.", path, strerror(errno));
    snprintf(path, sizeof path, "%s/etc/qemu.conf", folder);
    file = fopen(path, "we");
    if (!file || fputs(configuration, file) < 0 || fclose(file))
        return error_set(error, errno, "The file %s cannot be written: %s.", path, strerror(errno));
    return 0;
}

static int start_loop(struct error *error)
{
    int code;

    if (n_opens)
        return 0;
    virSetErrorFunc(NULL, ignore); /* what fails is told by us */
    if (virEventRegisterDefaultImpl())
        return fail(error, EIO, "The event loop of", "libvirt cannot be set up");
    atomic_store(&loop_ends, false);
    code = pthread_create(&loop_thread, NULL, run_loop, NULL);
    return code ? error_set(error, code, "No thread can be made for libvirt: %s.", strerror(code)) : 0;
}

static void libvirt_close(struct vms *vms)
{
    if (!vms)
        return;
    if (vms->connection)
        virConnectClose(vms->connection);
    if (n_opens && !--n_opens) {
        int timer;

        atomic_store(&loop_ends, true);
        timer = virEventAddTimeout(0, wake_loop, NULL, NULL);
        pthread_join(loop_thread, NULL);
        virEventRemoveTimeout(timer);
    }
    free(vms);
}

static int libvirt_open(struct vms **result, const char *folder, struct error *error)
{
    struct vms *vms = calloc(1, sizeof *vms);
    char uri[SLICE_PATH_SIZE + 32];
    int code;

    *result = NULL;
    if (!vms)
        return error_set(error, ENOMEM, "There is no memory for the connection to libvirt.");
    code = write_configuration(folder, error);
    if (!code)
        code = start_loop(error);
    if (code) {
        free(vms);
        return code;
    }
    n_opens++;
    snprintf(uri, sizeof uri, "qemu:///embed?root=%s", folder);
    vms->connection = virConnectOpen(uri);
    if (!vms->connection) {
        code = fail(error, EIO, "libvirt cannot be opened in", folder);
        libvirt_close(vms);
        return code;
    }
    *result = vms;
    return 0;
}

/* The domain of a machine, or NULL. */
static virDomainPtr find(struct vms *vms, const char *name)
{
    return virDomainLookupByName(vms->connection, name);
}

static enum vm_state libvirt_state(struct vms *vms, const char *name)
{
    virDomainPtr domain = find(vms, name);
    int state, reason;

    if (!domain)
        return VM_ABSENT;
    if (virDomainGetState(domain, &state, &reason, 0))
        state = VIR_DOMAIN_SHUTOFF;
    virDomainFree(domain);
    return state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_PAUSED ? VM_RUNNING : VM_STOPPED;
}

static int libvirt_start(struct vms *vms, const struct vm_spec *spec, struct error *error)
{
    virDomainPtr domain;
    char *xml;

    if (libvirt_state(vms, spec->name) == VM_RUNNING)
        return error_set(error, EEXIST, "Machine %s runs already.", spec->name);
    xml = vm_xml(spec);
    if (!xml)
        return error_set(error, ENOMEM, "There is no memory to describe machine %s.", spec->name);
    domain = virDomainCreateXML(vms->connection, xml, 0);
    free(xml);
    if (!domain)
        return fail(error, EIO, "Machine cannot be started:", spec->name);
    virDomainFree(domain);
    return 0;
}

static int libvirt_stop(struct vms *vms, const char *name, struct error *error)
{
    virDomainPtr domain = find(vms, name);
    int code = 0;

    if (!domain)
        return 0;
    if (virDomainDestroy(domain) && libvirt_state(vms, name) == VM_RUNNING)
        code = fail(error, EIO, "Machine cannot be ended:", name);
    virDomainFree(domain);
    return code;
}

static int libvirt_list(struct vms *vms, void (*found)(const char *name, void *argument), void *argument,
                        struct error *error)
{
    virDomainPtr *domains = NULL;
    int n = virConnectListAllDomains(vms->connection, &domains, 0);

    if (n < 0)
        return fail(error, EIO, "The machines cannot be listed", "");
    for (int i = 0; i < n; i++) {
        found(virDomainGetName(domains[i]), argument);
        virDomainFree(domains[i]);
    }
    free(domains);
    return 0;
}

static uint64_t libvirt_cpu_time(struct vms *vms, const char *name)
{
    virDomainPtr domain = find(vms, name);
    virDomainInfo info = {0};

    if (!domain)
        return 0;
    if (virDomainGetInfo(domain, &info))
        info.cpuTime = 0;
    virDomainFree(domain);
    return info.cpuTime;
}

const struct vm_driver vm_libvirt = {
    .name = "libvirt",
    .open = libvirt_open,
    .close = libvirt_close,
    .start = libvirt_start,
    .stop = libvirt_stop,
    .state = libvirt_state,
    .list = libvirt_list,
    .cpu_time = libvirt_cpu_time,
};
