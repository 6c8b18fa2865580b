/* SPDX-License-Identifier: Apache-2.0 */
/* Machines' drivers, the real one and the fake, by the same cases; and what libvirt is told. */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

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

static void libvirt(void **state)
{
    machines_come_and_go(&vm_libvirt);
}

static void fake(void **state)
{
    machines_come_and_go(&vm_fake);
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
    assert_non_null(strstr(xml, "name=\"host_mtu\" type=\"unsigned\" value=\"9000\"/>"));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptions),
        cmocka_unit_test(fake),
        cmocka_unit_test(libvirt),
        cmocka_unit_test(machines_outlive_their_manager),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
