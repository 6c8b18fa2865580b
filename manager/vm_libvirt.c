/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines by libvirt's QEMU driver, embedded in this process (qemu:///embed): no daemon, and a machine outlives us, since
 * the driver finds it again by what it keeps in the folder. It wants a configuration that does without virtlogd and control
 * groups: https://libvirt.org/drvqemu.html#embedded-driver. Or by the system's libvirtd, with the system's configuration.
 *
 * QEMU runs as VM_USER, behind its system call filter. libvirt would give every file that a machine uses to that user, the
 * kernel and the images of others, too ("dynamic ownership"); so it does not, and who makes a file for QEMU uses
 * vm_give_file(). A kernel that the user cannot read, in somebody's home, is copied. The sockets of console and agent are made
 * by libvirt, as root; those of NICs by QEMU itself, to which their folder is lent until it has made them: long before the
 * guest runs.
 *
 * Machines are defined, and then started: one that has ended is still there to be seen as stopped. In the manager's folder
 * under /run they do not outlast the host's next boot.
 *
 * libvirt reports by callbacks out of an event loop, which has to run: a thread of ours does nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <libxml/parser.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "manager/vm.h"

#define MESSAGE_SIZE_MAX 120
#define DESCRIPTORS_RESERVED 15
#define TAKEOVER_MS_MAX 5000
#define TAKEOVER_LOOK_MS 2

static const char configuration[] = "stdio_handler = \"file\"\n"
                                    "cgroup_controllers = []\n"
                                    "security_driver = \"none\"\n"
                                    "user = \"" VM_USER "\"\n"
                                    "group = \"" VM_USER "\"\n"
                                    "seccomp_sandbox = 1\n"
                                    "dynamic_ownership = 0\n"
                                    "remember_owner = 0\n";

struct vms {
    virConnectPtr connection;
    char folder[SLICE_PATH_SIZE]; /* "": there is none of our own */
};

static pthread_t loop_thread;
static _Atomic bool loop_ends;
static unsigned n_opens; /* the event loop is libvirt's, one for a process */

/* libvirt says what failed in a sentence of its own, without a full stop; of a long one, with a command's words in it, the end tells. */
static int fail(struct error *error, int code, const char *what, const char *name)
{
    const virError *last = virGetLastError();
    const char *message = last && last->message ? last->message : "nothing";
    size_t size = strlen(message);

    return size > MESSAGE_SIZE_MAX ? error_set(error, code, "%s %s: libvirt says: ...%s.", what, name,
                                               message + size - MESSAGE_SIZE_MAX)
                                   : error_set(error, code, "%s %s: libvirt says: %s.", what, name, message);
}

void vm_reserve_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC); /* for as long as the process lives */
    while (fd >= 0 && fd < DESCRIPTORS_RESERVED);
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

/*
 * Machines that ran before are taken over by threads of libvirt's own, a job each. Nobody joins them, and when the process ends its
 * libraries are taken down under them. No event tells when they are done.
 */
static void await_takeovers(struct vms *vms)
{
    int64_t deadline_ms = clock_ms() + TAKEOVER_MS_MAX;
    virDomainPtr *domains = NULL;
    int n = virConnectListAllDomains(vms->connection, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);

    for (int i = 0; i < n; i++) {
        virDomainControlInfo info;

        while (!virDomainGetControlInfo(domains[i], &info, 0) &&
               (info.state == VIR_DOMAIN_CONTROL_JOB || info.state == VIR_DOMAIN_CONTROL_OCCUPIED) &&
               clock_ms() < deadline_ms)
            poll(NULL, 0, TAKEOVER_LOOK_MS);
        virDomainFree(domains[i]);
    }
    free(domains);
}

static void libvirt_close(struct vms *vms)
{
    if (!vms)
        return;
    if (vms->connection && vms->folder[0])
        await_takeovers(vms);
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

/* Opens libvirt by 'uri'; 'where' is for people. */
static int open_uri(struct vms **result, const char *uri, const char *where, struct error *error)
{
    struct vms *vms = calloc(1, sizeof *vms);
    int code;

    *result = NULL;
    if (!vms)
        return error_set(error, ENOMEM, "There is no memory for the connection to libvirt.");
    code = start_loop(error);
    if (code) {
        free(vms);
        return code;
    }
    n_opens++;
    xmlInitParser(); /* machines are described, and started, by several threads: libxml2 wants to be set up before */
    vms->connection = virConnectOpen(uri);
    if (!vms->connection) {
        code = fail(error, EIO, "libvirt cannot be opened in", where);
        libvirt_close(vms);
        return code;
    }
    *result = vms;
    return 0;
}

static int embedded_open(struct vms **result, const char *folder, struct error *error)
{
    char uri[SLICE_PATH_SIZE + 32];
    int code;

    *result = NULL;
    if (!getpwnam(VM_USER))
        return error_set(error, ENOENT,
                         "There is no user " VM_USER ", as whom machines run; Debian's package "
                         "libvirt-daemon-system makes it.");
    code = write_configuration(folder, error);
    if (code)
        return code;
    /* It warns, each time, of what we ask for on purpose, and of memory that is not shared, though it is. Unless somebody wants it: */
    setenv("LIBVIRT_DEBUG", "error", 0);
    vm_remove_remains(folder);
    snprintf(uri, sizeof uri, "qemu:///embed?root=%s", folder);
    code = open_uri(result, uri, folder, error);
    if (!code)
        snprintf((*result)->folder, sizeof(*result)->folder, "%s", folder);
    return code;
}

static int system_open(struct vms **result, const char *folder, struct error *error)
{
    return open_uri(result, "qemu:///system", "the system (is libvirtd running?)", error);
}

/* Whether a domain is a machine of ours. */
static bool is_ours(virDomainPtr domain)
{
    char *mark = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, VM_MARK, 0);

    free(mark);
    return mark;
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

/* libvirt keeps them for ever, and nobody would come for them. */
static void remove_log(const struct vms *vms, const char *name)
{
    char path[SLICE_PATH_SIZE + VM_NAME_SIZE + sizeof "/log/qemu/.log"];

    snprintf(path, sizeof path, "%s/log/qemu/%s.log", vms->folder, name);
    if (*vms->folder)
        unlink(path);
}

/* Ends a domain, if it runs, and forgets it. */
static int forget(const struct vms *vms, virDomainPtr domain, struct error *error)
{
    const char *name = virDomainGetName(domain);
    int code;

    if (!is_ours(domain))
        return error_set(error, EPERM, "Machine %s is somebody else's: it was not made by vnode.", name);
    if (virDomainIsActive(domain) == 1 && virDomainDestroy(domain)) {
        code = fail(error, EIO, "Machine cannot be ended:", name);
        if (virDomainIsActive(domain) == 1)
            return code;
    }
    if (virDomainIsPersistent(domain) == 1 && virDomainUndefine(domain))
        return fail(error, EIO, "Machine cannot be forgotten:", name);
    remove_log(vms, name);
    return 0;
}

static int libvirt_stop(struct vms *vms, const char *name, struct error *error)
{
    virDomainPtr domain = find(vms, name);
    int code;

    if (!domain)
        return 0;
    code = forget(vms, domain, error);
    virDomainFree(domain);
    return code;
}

/* Lends the folders of the NICs' sockets, and counts them. */
static int lend_folders(const struct vm_spec *spec, unsigned *n, struct error *error)
{
    int code = 0;

    for (*n = 0; *n < spec->n_nics; ++*n) {
        char path[VM_SOCKET_SIZE];

        strcpy(path, spec->nics[*n].socket);
        code = vm_lend_folder(dirname(path), error);
        if (code)
            break;
    }
    return code;
}

/* Takes the first 'n' back. */
static void take_folders_back(const struct vm_spec *spec, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char path[VM_SOCKET_SIZE];

        strcpy(path, spec->nics[i].socket);
        vm_take_back_folder(dirname(path));
    }
}

/* Starts a domain that is defined, or forgets it. */
static int create(const struct vms *vms, virDomainPtr domain, const struct vm_spec *spec, struct error *error)
{
    unsigned n_lent;
    int code = lend_folders(spec, &n_lent, error);

    if (!code && virDomainCreate(domain))
        code = fail(error, EIO, "Machine cannot be started:", spec->name);
    take_folders_back(spec, n_lent);
    if (code) {
        virDomainUndefine(domain);
        remove_log(vms, spec->name); /* the error has its end */
    }
    return code;
}

/* Defines a machine, and starts it. */
static int define(struct vms *vms, const struct vm_spec *spec, struct error *error)
{
    char *xml = vm_xml(spec);
    virDomainPtr domain;
    int code;

    if (!xml)
        return error_set(error, ENOMEM, "There is no memory to describe machine %s.", spec->name);
    domain = virDomainDefineXML(vms->connection, xml);
    free(xml);
    if (!domain)
        return fail(error, EINVAL, "Machine cannot be described:", spec->name);
    code = create(vms, domain, spec, error);
    virDomainFree(domain);
    return code;
}

static int libvirt_start(struct vms *vms, const struct vm_spec *spec, struct error *error)
{
    struct vm_spec readable = *spec;
    int code;

    if (libvirt_state(vms, spec->name) == VM_RUNNING)
        return error_set(error, EEXIST, "Machine %s runs already.", spec->name);
    code = libvirt_stop(vms, spec->name, error);
    if (!code)
        code = vm_give_file(spec->console, error);
    if (!code && vms->folder[0] && spec->kernel[0])
        code = vm_make_readable(readable.kernel, vms->folder, error);
    if (!code && vms->folder[0] && spec->kernel[0])
        code = vm_make_readable(readable.initrd, vms->folder, error);
    return code ? code : define(vms, &readable, error);
}

static int libvirt_list(struct vms *vms, void (*found)(const char *name, void *argument), void *argument,
                        struct error *error)
{
    virDomainPtr *domains = NULL;
    int n = virConnectListAllDomains(vms->connection, &domains, 0);

    if (n < 0)
        return fail(error, EIO, "The machines cannot be listed", "");
    for (int i = 0; i < n; i++) {
        if (is_ours(domains[i]))
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
    if (virDomainGetInfo(domain, &info)) /* there is none of one that has stopped */
        info.cpuTime = 0;
    virDomainFree(domain);
    return info.cpuTime;
}

const struct vm_driver vm_libvirt = {
    .name = "libvirt",
    .open = embedded_open,
    .close = libvirt_close,
    .start = libvirt_start,
    .stop = libvirt_stop,
    .state = libvirt_state,
    .list = libvirt_list,
    .cpu_time = libvirt_cpu_time,
};

const struct vm_driver vm_libvirt_system = {
    .name = "libvirt-system",
    .open = system_open,
    .close = libvirt_close,
    .start = libvirt_start,
    .stop = libvirt_stop,
    .state = libvirt_state,
    .list = libvirt_list,
    .cpu_time = libvirt_cpu_time,
};
