/* SPDX-License-Identifier: Apache-2.0 */
/* Machines' drivers, the real one and the fake, by the same cases; and what libvirt is told. */
#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "manager/batch.h"
#include "manager/command.h"
#include "manager/vm.h"

static char folder[] = "/tmp/vm-test.XXXXXX";

static void must(int code, const struct error *error)
{
    if (code)
        fail_msg("%s", error->text);
}

/* A machine that has nothing to boot from, and tells so on its screen for ever. */
static struct vm_spec spec_of(const char *name)
{
    struct vm_spec spec = {.cpu = 1, .memory = 64 << 20};

    snprintf(spec.name, sizeof spec.name, "%s", name);
    snprintf(spec.console, sizeof spec.console, "%s/%s.console", folder, name);
    snprintf(spec.agent, sizeof spec.agent, "%s/%s.agent", folder, name);
    return spec;
}

static void count(const char *name, void *argument)
{
    assert_true(!strcmp(name, "demo.a") || !strcmp(name, "demo.b"));
    ++*(unsigned *)argument;
}

static unsigned count_all(const struct vm_driver *driver, struct vms *vms)
{
    struct error error;
    unsigned n = 0;

    must(driver->list(vms, count, &n, &error), &error);
    return n;
}

static void machines_come_and_go(const struct vm_driver *driver)
{
    struct vm_spec a = spec_of("demo.a"), b = spec_of("demo.b");
    struct error error = {0};
    struct vms *vms;

    must(driver->open(&vms, folder, &error), &error);
    assert_int_equal(driver->state(vms, "demo.a"), VM_ABSENT);
    must(driver->stop(vms, "demo.a", &error), &error);
    must(driver->start(vms, &a, &error), &error);
    must(driver->start(vms, &b, &error), &error);
    assert_int_equal(driver->start(vms, &a, &error), EEXIST);
    assert_string_equal(error.text, "Machine demo.a runs already.");
    assert_int_equal(driver->state(vms, "demo.a"), VM_RUNNING);
    assert_int_equal(count_all(driver, vms), 2);
    assert_int_not_equal(driver->cpu_time(vms, "demo.b"), 0);
    must(driver->stop(vms, "demo.a", &error), &error);
    assert_int_equal(driver->state(vms, "demo.a"), VM_ABSENT);
    assert_int_equal(driver->state(vms, "demo.b"), VM_RUNNING);
    must(driver->stop(vms, "demo.b", &error), &error);
    assert_int_equal(count_all(driver, vms), 0);
    driver->close(vms);
}

#define SEVERAL 4

struct task {
    const struct vm_driver *driver;
    struct vms *vms;
    struct vm_spec spec;
    int code;
    struct error error;
};

static int start_one(void *argument)
{
    struct task *task = argument;

    return task->code = task->driver->start(task->vms, &task->spec, &task->error);
}

static int stop_one(void *argument)
{
    struct task *task = argument;

    return task->code = task->driver->stop(task->vms, task->spec.name, &task->error);
}

static void do_all(struct task tasks[SEVERAL], int (*function)(void *argument))
{
    struct batch batch;

    batch_begin(&batch, SEVERAL);
    for (unsigned i = 0; i < SEVERAL; i++)
        batch_run(&batch, function, &tasks[i]);
    batch_end(&batch);
    for (unsigned i = 0; i < SEVERAL; i++)
        must(tasks[i].code, &tasks[i].error);
}

static void several_come_and_go_together(const struct vm_driver *driver)
{
    struct task tasks[SEVERAL] = {{.driver = driver}};
    struct error error = {0};
    struct vms *vms;

    must(driver->open(&vms, folder, &error), &error);
    for (unsigned i = 0; i < SEVERAL; i++) {
        char name[VM_NAME_SIZE];

        snprintf(name, sizeof name, "demo.%u", i);
        tasks[i] = (struct task){.driver = driver, .vms = vms, .spec = spec_of(name)};
    }
    do_all(tasks, start_one);
    for (unsigned i = 0; i < SEVERAL; i++)
        assert_int_equal(driver->state(vms, tasks[i].spec.name), VM_RUNNING);
    do_all(tasks, stop_one);
    for (unsigned i = 0; i < SEVERAL; i++)
        assert_int_equal(driver->state(vms, tasks[i].spec.name), VM_ABSENT);
    driver->close(vms);
}

static void libvirt(void **state)
{
    machines_come_and_go(&vm_libvirt);
    several_come_and_go_together(&vm_libvirt);
}

/* The system's libvirtd, but with folders of its own, in a mount name space of this thread and its children. */
static pid_t start_libvirtd(void)
{
    static const char *const folders[] = {"/run", "/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt",
                                          "/var/log/libvirt"};
    struct sockaddr_un notify = {.sun_family = AF_UNIX, .sun_path = "/run/notify"};
    char said[256] = "";
    FILE *file;
    pid_t pid;
    int fd;

    assert_return_code(unshare(CLONE_NEWNS), errno);
    assert_return_code(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), errno);
    for (unsigned i = 0; i < sizeof folders / sizeof *folders; i++)
        assert_return_code(mount("tmpfs", folders[i], "tmpfs", 0, "mode=755"), errno);
    file = fopen("/etc/libvirt/qemu.conf", "w");
    fputs("stdio_handler = \"file\"\ncgroup_controllers = []\nsecurity_driver = \"none\"\n", file);
    assert_int_equal(fclose(file), 0);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_return_code(bind(fd, (struct sockaddr *)&notify, sizeof notify), errno);
    pid = fork();
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("NOTIFY_SOCKET", notify.sun_path, 1);
        if (freopen("/dev/null", "w", stderr))
            execlp("libvirtd", "libvirtd", NULL);
        _exit(127);
    }
    while (!strstr(said, "READY=1")) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};

        assert_int_equal(poll(&ready, 1, 60000), 1);
        memset(said, 0, sizeof said);
        assert_true(recv(fd, said, sizeof said - 1, 0) > 0);
    }
    close(fd);
    return pid;
}

/* Machines of others are none of ours. */
static void leaves_others_alone(void)
{
    static const char xml[] = "<domain type='qemu'><name>other.machine</name><memory>65536</memory>"
                              "<os><type>hvm</type></os></domain>";
    const char *const define[] = {"virsh", "-c", "qemu:///system", "define", "/run/other.xml", NULL};
    FILE *file = fopen("/run/other.xml", "w");
    struct error error = {0};
    struct vms *vms;

    fputs(xml, file);
    assert_int_equal(fclose(file), 0);
    must(command_run(define, &error), &error);
    must(vm_libvirt_system.open(&vms, NULL, &error), &error);
    assert_int_equal(count_all(&vm_libvirt_system, vms), 0);
    assert_int_equal(vm_libvirt_system.stop(vms, "other.machine", &error), EPERM);
    assert_string_equal(error.text, "Machine other.machine is somebody else's: it was not made by vnode.");
    vm_libvirt_system.close(vms);
}

static void libvirt_of_the_system(void **state)
{
    pid_t pid = start_libvirtd();

    machines_come_and_go(&vm_libvirt_system);
    several_come_and_go_together(&vm_libvirt_system);
    leaves_others_alone();
    kill(pid, SIGTERM);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void fake(void **state)
{
    machines_come_and_go(&vm_fake);
    several_come_and_go_together(&vm_fake);
}

/* Machines are there again when the manager is started anew; and one that cannot start leaves nothing. */
static void machines_outlive_their_manager(void **state)
{
    struct vm_spec a = spec_of("demo.a"), bad = spec_of("demo.b");
    struct error error = {0};
    struct vms *vms;

    must(vm_libvirt.open(&vms, folder, &error), &error);
    must(vm_libvirt.start(vms, &a, &error), &error);
    strcpy(bad.kernel, "/nonexistent/kernel");
    assert_int_equal(vm_libvirt.start(vms, &bad, &error), EIO);
    assert_non_null(strstr(error.text, "demo.b"));
    vm_libvirt.close(vms);
    must(vm_libvirt.open(&vms, folder, &error), &error);
    assert_int_equal(vm_libvirt.state(vms, "demo.a"), VM_RUNNING);
    assert_int_equal(vm_libvirt.state(vms, "demo.b"), VM_ABSENT);
    must(vm_libvirt.stop(vms, "demo.a", &error), &error);
    vm_libvirt.close(vms);
}

static void descriptions(void **state)
{
    struct vm_spec spec = spec_of("demo.a");
    char *xml;

    spec.n_nics = 2;
    spec.nics[0] = (struct vm_nic){"52:54:00:00:00:01", "/run/<a>&b.sock", 1, 0};
    spec.nics[1] = (struct vm_nic){"52:54:00:00:00:02", "/run/c.sock", 4, 9000};
    strcpy(spec.kernel, "/boot/k");
    strcpy(spec.cpu_pin, "2-3");
    xml = vm_xml(&spec);
    assert_non_null(strstr(xml, "<domain type=\"qemu\""));
    assert_non_null(strstr(xml, "path=\"/run/&lt;a&gt;&amp;b.sock\" mode=\"server\""));
    assert_non_null(strstr(xml, "<qemu:device alias=\"ua-net1\">"));
    assert_non_null(strstr(xml, "<driver queues=\"4\" rx_queue_size=\"1024\"/>"));
    assert_non_null(strstr(xml, "<qemu:property name=\"host_mtu\" type=\"unsigned\" value=\"9000\"/>"));
    assert_non_null(strstr(xml, "cpuset=\"2-3\">1</vcpu>"));
    assert_non_null(strstr(xml, "<memory unit=\"KiB\">65536</memory>"));
    assert_non_null(strstr(xml, "<access mode=\"shared\"/>"));
    assert_null(strstr(xml, "hugepages"));
    assert_null(strstr(xml, "<disk"));
    free(xml);
    spec.hardware = spec.huge = true;
    spec.kernel[0] = '\0';
    strcpy(spec.disk, "/d.qcow2");
    strcpy(spec.seed, "/s.iso");
    strcpy(spec.numa_node, "1");
    strcpy(spec.console_socket, "/c.sock");
    xml = vm_xml(&spec);
    assert_non_null(strstr(xml, "<domain type=\"kvm\""));
    assert_null(strstr(xml, "vectors"));
    assert_null(strstr(xml, "<kernel>"));
    assert_non_null(strstr(xml, "<hugepages"));
    assert_non_null(strstr(xml, "<source file=\"/d.qcow2\"/>"));
    assert_non_null(strstr(xml, "<readonly/>"));
    assert_non_null(strstr(xml, "<memory mode=\"preferred\" nodeset=\"1\"/>"));
    assert_non_null(strstr(xml, "<source mode=\"bind\" path=\"/c.sock\"/>"));
    assert_non_null(strstr(xml, "value=\"org.qemu.guest_agent.0\""));
    free(xml);
}

static int make_folder(void **state)
{
    return mkdtemp(folder) ? chmod(folder, 0711) : -1; /* for QEMU's user to get through */
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    return remove(path);
}

static int remove_folder(void **state)
{
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* "system" as an argument: that case alone, since a process in which QEMU's driver was embedded finds no other one any more. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptions),
        cmocka_unit_test(fake),
        cmocka_unit_test(libvirt),
        cmocka_unit_test(machines_outlive_their_manager),
    };
    const struct CMUnitTest system_tests[] = {
        cmocka_unit_test(libvirt_of_the_system),
    };

    return argc > 1 ? cmocka_run_group_tests(system_tests, make_folder, remove_folder)
                    : cmocka_run_group_tests(tests, make_folder, remove_folder);
}
