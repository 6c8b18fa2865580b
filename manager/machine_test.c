/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines with the small guest in them, joined by a real fast path: they boot, set themselves up, obey the guest agent, reach each
 * other, have consoles, read their seeds; and one that is killed is seen to have stopped.
 *
 * Run from ./run test: VNODE_BUILD is where fast path, command line and guest image are.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-agent/guest_agent.h"
#include "lib/clock.h"
#include "manager/command.h"
#include "manager/disk.h"
#include "manager/seed.h"
#include "manager/vm.h"

#define BOOT_MS 120000 /* emulated, on a machine that has other things to do */
#define EXEC_MS 120000

static char folder[] = "/tmp/machine-test.XXXXXX";
static pid_t fast_path;
static struct vms *vms;

static void must(int code, const struct error *error)
{
    if (code)
        fail_msg("%s", error->text);
}

static const char *in_folder(char path[VM_SOCKET_SIZE], const char *name)
{
    snprintf(path, VM_SOCKET_SIZE, "%s/%s", folder, name);
    return path;
}

static void built(char path[512], const char *name)
{
    snprintf(path, 512, "%s/%s", getenv("VNODE_BUILD"), name);
}

/* Runs the command line tool. */
static void vnode(const char *noun, const char *verb, const char *one, const char *other)
{
    char tool[512], socket[VM_SOCKET_SIZE];
    struct error error = {0};

    built(tool, "cli/vnode");
    must(command_run(
             (const char *[]){tool, "--socket", in_folder(socket, "control"), noun, verb, one, other, NULL},
             &error),
         &error);
}

/* The fast path ends when its parent does. Returns when it says that it is ready. */
static void start_fast_path(void)
{
    char program[512], control[VM_SOCKET_SIZE], log[VM_SOCKET_SIZE], said[256] = "";
    struct sockaddr_un notify = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    in_folder(notify.sun_path, "notify");
    assert_return_code(bind(fd, (struct sockaddr *)&notify, sizeof notify), errno);
    built(program, "fastpath/vnode-fastpath");
    in_folder(control, "control");
    in_folder(log, "fastpath.log");
    fast_path = fork();
    if (!fast_path) {
        int file = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("NOTIFY_SOCKET", notify.sun_path, 1);
        if (dup2(file, STDERR_FILENO) >= 0 && dup2(file, STDOUT_FILENO) >= 0)
            execl(program, program, "--no-huge", "--memory", "64", "--rules-max", "1024", "--cores", "0",
                  "--socket", control, NULL);
        _exit(127);
    }
    while (!strstr(said, "READY=1")) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};

        assert_int_equal(poll(&ready, 1, 60000), 1);
        assert_true(recv(fd, said, sizeof said - 1, 0) > 0);
    }
    close(fd);
    unlink(notify.sun_path);
}

/* A node of the pair: number 1 is "a", 2 is "b". */
static struct vm_spec spec_of(unsigned number)
{
    struct vm_spec spec = {.cpu = 1, .memory = 256 << 20, .n_nics = 1};
    const char *node = number == 1 ? "a" : "b";

    snprintf(spec.name, sizeof spec.name, "pair.%s", node);
    snprintf(spec.kernel, sizeof spec.kernel, "%s/home/guest-kernel", folder);
    snprintf(spec.initrd, sizeof spec.initrd, "%s/home/guest-initrd", folder);
    snprintf(spec.console, sizeof spec.console, "%s/%s.log", folder, node);
    snprintf(spec.console_socket, sizeof spec.console_socket, "%s/%s.console", folder, node);
    snprintf(spec.agent, sizeof spec.agent, "%s/%s.agent", folder, node);
    snprintf(spec.nics[0].socket, sizeof spec.nics[0].socket, "%s/%s.sock", folder, node);
    snprintf(spec.nics[0].mac, sizeof spec.nics[0].mac, "52:54:00:00:00:0%u", number);
    spec.nics[0].queues = 1;
    snprintf(spec.command_line, sizeof spec.command_line,
             "console=ttyS0 quiet panic=-1 mitigations=off vnode.name=%s vnode.if=lan0,52:54:00:00:00:0%u,1400,10.0.0.%u/24,"
             "fd00::%u/64",
             node, number, number, number);
    return spec;
}

static void start(const struct vm_spec *spec)
{
    struct error error = {0};

    must(vm_libvirt.start(vms, spec, &error), &error);
}

/* Runs a command in a guest; returns what it printed. The agent is opened as soon as it answers. */
static const char *exec(const struct vm_spec *spec, const char *const words[], int status)
{
    static char output[8192];
    struct guest_exec_result result;
    struct guest_agent *agent;
    struct error error = {0};
    int code = guest_agent_open(&agent, spec->agent, BOOT_MS, &error);

    if (!code)
        code = guest_agent_exec(agent, words, EXEC_MS, &result, &error);
    guest_agent_close(agent);
    must(code, &error);
    if (result.status != status)
        fail_msg("'%s' ended with %d, not %d: %s %s", words[0], result.status, status, result.output,
                 result.errors);
    snprintf(output, sizeof output, "%s%s", result.output, result.errors);
    guest_exec_result_free(&result);
    return output;
}

#define EXEC(spec, status, ...) exec(spec, (const char *[]){__VA_ARGS__, NULL}, status)

/* Reads from a console until 'text' has come. */
static void expect(int fd, const char *text)
{
    int64_t deadline = clock_ms() + BOOT_MS;
    char seen[4096] = "";
    size_t size = 0;

    while (!strstr(seen, text)) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        ssize_t got;

        assert_int_equal(poll(&ready, 1, (int)(deadline - clock_ms())), 1);
        got = read(fd, seen + size, sizeof seen - 1 - size);
        assert_true(got > 0);
        for (ssize_t i = 0; i < got; i++)
            if (seen[size + i] == '\0')
                seen[size + i] = ' ';
        size += (size_t)got;
        seen[size] = '\0';
    }
}

static int open_console(const struct vm_spec *spec)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, spec->console_socket);
    assert_return_code(connect(fd, (struct sockaddr *)&address, sizeof address), errno);
    return fd;
}

static const char *file_text(const char *path)
{
    static char text[65536];
    FILE *file = fopen(path, "r");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;

    text[size] = '\0';
    if (file)
        fclose(file);
    return text;
}

/* The process of a machine, by what libvirt writes down. */
static pid_t qemu_of(const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "%s/libvirt/run/qemu/%s.pid", folder, name);
    return atoi(file_text(path));
}

/* QEMU runs as the user that it should, and without what nobody needs. */
static void check_process(pid_t pid)
{
    const struct passwd *user = getpwnam(VM_USER);
    static char words[65536];
    char path[64];
    struct stat status;
    size_t size;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d", pid);
    assert_return_code(stat(path, &status), errno);
    assert_int_equal(status.st_uid, user->pw_uid);
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    assert_non_null(strstr(file_text(path), "Seccomp:\t2")); /* a filter */
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    file = fopen(path, "r");
    size = fread(words, 1, sizeof words - 1, file);
    fclose(file);
    for (size_t i = 0; i < size; i++)
        if (!words[i])
            words[i] = ' ';
    words[size] = '\0';
    assert_non_null(strstr(words, "mem-lock=off"));
    assert_null(strstr(words, "usb-"));
    assert_null(strstr(words, "VGA"));
    assert_null(strstr(words, "balloon"));
    assert_null(strstr(words, "pcie-root-port"));
}

static void machines_boot_and_meet(void **state)
{
    struct vm_spec a = spec_of(1), b = spec_of(2);
    const char *addresses;

    start(&a);
    start(&b);
    check_process(qemu_of(a.name));
    assert_string_equal(EXEC(&a, 0, "hostname"), "a\n");
    assert_string_equal(EXEC(&b, 0, "hostname"), "b\n");
    EXEC(&a, 7, "sh", "-c", "exit 7");
    assert_string_equal(EXEC(&a, 0, "sh", "-c", "echo out; echo err >&2"), "out\nerr\n");
    addresses = EXEC(&a, 0, "ip", "address", "show", "lan0");
    assert_non_null(strstr(addresses, "mtu 1400"));
    assert_non_null(strstr(addresses, "inet 10.0.0.1/24"));
    assert_non_null(strstr(addresses, "inet6 fd00::1/64"));
    assert_non_null(
        strstr(EXEC(&a, 0, "ping", "-c", "3", "-i", "0.1", "-W", "10", "10.0.0.2"), " 0% packet loss"));
    assert_non_null(
        strstr(EXEC(&b, 0, "ping", "-c", "3", "-i", "0.1", "-W", "10", "fd00::1"), " 0% packet loss"));
    EXEC(&a, 0, "iperf3", "--version");
    EXEC(&a, 0, "ethtool", "lan0");
    EXEC(&a, 0, "sh", "-c", "ping -c 20 -i 0.2 10.0.0.2 >/dev/null & tcpdump -n -c 1 -i lan0 icmp");
}

/* QEMU writes its log after it has told who is attached, and tells nobody. */
static void expect_log(const char *path, const char *text)
{
    int64_t deadline = clock_ms() + EXEC_MS;

    while (!strstr(file_text(path), text)) {
        assert_true(clock_ms() < deadline);
        poll(NULL, 0, 5);
    }
}

/* One attaches, detaches, attaches again; the log has it all, also what was printed with nobody there. */
static void consoles(void **state)
{
    struct vm_spec a = spec_of(1);
    int fd = open_console(&a);

    dprintf(fd, "echo one $((1 + 1))\n");
    expect(fd, "one 2");
    close(fd);
    EXEC(&a, 0, "sh", "-c", "echo alone >/dev/ttyS0");
    fd = open_console(&a);
    dprintf(fd, "echo three $((2 + 2))\n");
    expect(fd, "three 4");
    close(fd);
    expect_log(a.console, "one 2");
    expect_log(a.console, "alone");
    expect_log(a.console, "three 4");
}

/* The next manager finds what the last one started, and goes on with it. */
static void machines_outlive_their_manager(void **state)
{
    struct vm_spec a = spec_of(1);
    char libvirt[VM_SOCKET_SIZE];
    struct error error = {0};

    vm_libvirt.close(vms);
    vms = NULL;
    must(vm_libvirt.open(&vms, in_folder(libvirt, "libvirt"), &error), &error);
    assert_int_equal(vm_libvirt.state(vms, a.name), VM_RUNNING);
    assert_string_equal(EXEC(&a, 0, "hostname"), "a\n");
}

/* libvirt's thread sees QEMU's end a moment later than we do. */
static void wait_stopped(const char *name)
{
    int64_t deadline = clock_ms() + 30000;

    while (vm_libvirt.state(vms, name) == VM_RUNNING && clock_ms() < deadline)
        poll(NULL, 0, 5);
    assert_int_equal(vm_libvirt.state(vms, name), VM_STOPPED);
}

static void one_is_killed(void **state)
{
    struct vm_spec a = spec_of(1), b = spec_of(2);
    pid_t pid = qemu_of(b.name);
    struct guest_agent *agent;
    struct error error = {0};

    assert_true(pid > 1);
    assert_return_code(kill(pid, SIGKILL), errno);
    wait_stopped(b.name);
    assert_int_equal(vm_libvirt.cpu_time(vms, b.name), 0);
    assert_int_equal(guest_agent_open(&agent, b.agent, 1000, &error), ENOENT);
    assert_int_equal(vm_libvirt.state(vms, a.name), VM_RUNNING);
    start(&b);
    assert_string_equal(EXEC(&b, 0, "hostname"), "b\n");
    assert_non_null(strstr(EXEC(&a, 0, "ping", "-c", "1", "-W", "10", "10.0.0.2"), " 0% packet loss"));
    EXEC(&b, 0, "sh", "-c", "(sleep 0.2; poweroff -f) >/dev/null 2>&1 &");
    wait_stopped(b.name);
    must(vm_libvirt.stop(vms, b.name, &error), &error);
    assert_int_equal(vm_libvirt.state(vms, b.name), VM_ABSENT);
}

/* The guest reads its seed, and writes to its disk, of which the image sees nothing. */
static void disks_and_seeds(void **state)
{
    static char script[] = "#!/bin/sh\n";
    struct vm_spec b = spec_of(2);
    struct slice_interface interface = {.name = "lan0", .n_addresses = 1, .addresses = {"10.0.0.2/24"}};
    struct slice_node node = {.name = "b", .n_interfaces = 1, .interfaces = &interface, .user_data = script};
    const char macs[][18] = {"52:54:00:00:00:02"}, *text;
    char image[VM_SOCKET_SIZE];
    struct error error = {0};

    snprintf(b.disk, sizeof b.disk, "%s/b.qcow2", folder);
    snprintf(b.seed, sizeof b.seed, "%s/b.iso", folder);
    in_folder(image, "image.raw");
    must(command_run((const char *[]){"qemu-img", "create", "-q", "-f", "raw", image, "4M", NULL}, &error),
         &error);
    must(disk_create_overlay(b.disk, image, 0, &error), &error);
    must(seed_write(b.seed, &node, macs, &error), &error);
    strcpy(b.cpu_pin, "0");
    start(&b);
    EXEC(&b, 0, "mount", "-t", "iso9660", "-o", "ro", "/dev/vdb", "/mnt");
    text = EXEC(&b, 0, "sh", "-c", "cat /mnt/*");
    assert_non_null(strstr(text, "\"local-hostname\": \"b\""));
    assert_non_null(strstr(text, "#!/bin/sh\n"));
    assert_non_null(strstr(text, "\"macaddress\": \"52:54:00:00:00:02\""));
    EXEC(&b, 0, "sh", "-c", "echo written >/dev/vda && sync && head -c 7 /dev/vda");
    must(command_run((const char *[]){"cmp", "-n", "4194304", image, "/dev/zero", NULL}, &error), &error);
    must(vm_libvirt.stop(vms, b.name, &error), &error);
}

static int set_up(void **state)
{
    char libvirt[VM_SOCKET_SIZE], home[VM_SOCKET_SIZE], from[2][512], vhost[160];
    struct error error = {0};

    if (!mkdtemp(folder) || chmod(folder, 0711)) /* for QEMU's user to get through */
        return -1;
    built(from[0], "guest-image/guest-kernel");
    built(from[1], "guest-image/guest-initrd");
    mkdir(in_folder(home, "home"), 0700); /* as is somebody's who has built the guest there */
    must(command_run((const char *[]){"cp", from[0], from[1], home, NULL}, &error), &error);
    start_fast_path();
    for (unsigned i = 1; i <= 2; i++) {
        struct vm_spec spec = spec_of(i);

        snprintf(vhost, sizeof vhost, "vhost=%s", spec.nics[0].socket);
        vnode("port", "add", spec.name, vhost);
    }
    vnode("rule", "add", "in=pair.a", "actions=output:pair.b");
    vnode("rule", "add", "in=pair.b", "actions=output:pair.a");
    must(vm_libvirt.open(&vms, in_folder(libvirt, "libvirt"), &error), &error);
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    return remove(path);
}

static int tear_down(void **state)
{
    char text[VM_SOCKET_SIZE];
    struct error error = {0};
    int status, code = 0;

    if (vms) {
        vm_libvirt.stop(vms, "pair.a", &error);
        vm_libvirt.stop(vms, "pair.b", &error);
        vm_libvirt.close(vms);
    }
    if (fast_path > 0) {
        kill(fast_path, SIGTERM);
        waitpid(fast_path, &status, 0);
        code = status;
    }
    if (strstr(file_text(in_folder(text, "fastpath.log")), "error:"))
        code = -1;
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) || code;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(machines_boot_and_meet),
        cmocka_unit_test(consoles),
        cmocka_unit_test(machines_outlive_their_manager),
        cmocka_unit_test(one_is_killed),
        cmocka_unit_test(disks_and_seeds),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
