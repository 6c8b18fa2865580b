/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine's files are made of: overlays, seeds, logs of consoles; looked at by the tools of others. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "manager/command.h"
#include "manager/console_log.h"
#include "manager/disk.h"
#include "manager/seed.h"
#include "manager/vm.h"

#define MIB (1u << 20)
#define RUN(...) run((const char *[]){__VA_ARGS__, NULL})

static char folder[] = "/tmp/machine-files-test.XXXXXX";

/* What a program prints. */
static const char *run(const char *const words[])
{
    static char output[65536];
    struct error error = {0};

    if (command_run_with(&(struct command){.words = words, .output = output, .output_size = sizeof output},
                         &error))
        fail_msg("%s", error.text);
    return output;
}

/* The path of a file in the folder; it stays. */
static const char *in_folder(const char *name)
{
    static char paths[32][128];
    char path[128];
    unsigned i = 0;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    while (paths[i][0] && strcmp(paths[i], path) != 0)
        assert_in_range(++i, 0, 31);
    return strcpy(paths[i], path);
}

static bool is_there(const char *name)
{
    return !access(in_folder(name), F_OK);
}

static void write_text(const char *path, const char *text, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

    assert_int_equal(write(fd, text, size), size);
    close(fd);
}

static json_t *info_of(const char *path)
{
    json_t *info = json_loads(RUN("qemu-img", "info", "--output=json", path), 0, NULL);

    assert_non_null(info);
    return info;
}

static const char *text_of(const json_t *info, const char *name)
{
    return json_string_value(json_object_get(info, name));
}

static void make_overlay(const char *image, const char *format, uint64_t size, uint64_t expected_size)
{
    const struct passwd *user = getpwnam(VM_USER);
    struct error error = {0};
    struct stat status;
    json_t *info;

    if (disk_create_overlay(in_folder("disk"), image, size, &error))
        fail_msg("%s", error.text);
    info = info_of(in_folder("disk"));
    assert_string_equal(text_of(info, "format"), "qcow2");
    assert_string_equal(text_of(info, "backing-filename"), image);
    assert_string_equal(text_of(info, "backing-filename-format"), format);
    assert_int_equal(json_integer_value(json_object_get(info, "virtual-size")), expected_size);
    json_decref(info);
    assert_int_equal(stat(in_folder("disk"), &status), 0);
    assert_int_equal(status.st_uid, user->pw_uid);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_false(is_there("disk.new"));
    unlink(in_folder("disk"));
}

static void overlays(void **state)
{
    const char *qcow2 = in_folder("image.qcow2"), *raw = in_folder("an image, raw");

    RUN("qemu-img", "create", "-q", "-f", "qcow2", qcow2, "8M");
    RUN("qemu-img", "create", "-q", "-f", "raw", raw, "4M");
    make_overlay(qcow2, "qcow2", 0, 8 * MIB);
    make_overlay(qcow2, "qcow2", 32 * MIB, 32 * MIB);
    make_overlay(raw, "raw", 0, 4 * MIB);
    RUN("truncate", "-s", "5M", raw);
    write_text(in_folder("disk.new"), "x", 1); /* of one who was killed */
    make_overlay(raw, "raw", 5 * MIB, 5 * MIB);
}

static void refuses(const char *image, uint64_t size, int expected, const char *says)
{
    struct error error = {0};
    int code = disk_create_overlay(in_folder("disk"), image, size, &error);

    if (code != expected || !strstr(error.text, says))
        fail_msg("%s: %d, %s", image, code, error.text);
    assert_false(is_there("disk"));
    assert_false(is_there("disk.new"));
}

static void bad_images(void **state)
{
    const char *qcow2 = in_folder("base.qcow2"), *leaning = in_folder("leaning.qcow2");
    const char *split = in_folder("split.qcow2"), *vmdk = in_folder("image.vmdk"), *empty = in_folder("empty");
    const char *broken = in_folder("broken"), *secret = in_folder("secret");
    char option[200];

    RUN("qemu-img", "create", "-q", "-f", "qcow2", qcow2, "8M");
    RUN("qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/hostname", "-F", "raw", "-u", leaning, "8M");
    snprintf(option, sizeof option, "data_file=%s.data", split);
    RUN("qemu-img", "create", "-q", "-f", "qcow2", "-o", option, split, "8M");
    RUN("qemu-img", "create", "-q", "-f", "vmdk", vmdk, "8M");
    write_text(empty, "", 0);
    write_text(broken, "QFI\xfb\0\0\0\3\xff\xff\xff\xff\xff\xff\xff\xff", 16);
    RUN("truncate", "-s", "1M", broken);
    write_text(secret, "secret", 6);
    chmod(secret, 0600);
    refuses(in_folder("nothing"), 0, ENOENT, "cannot be opened");
    refuses("nbd:localhost:10809", 0, EINVAL, "no absolute path");
    refuses(qcow2, 4 * MIB, EINVAL, "A disk of 4 MiB has no room");
    refuses(leaning, 0, EINVAL, "backing file");
    refuses(vmdk, 0, EINVAL, "neither qcow2 nor raw");
    refuses(split, 0, EINVAL, "data in another file");
    refuses(empty, 0, EINVAL, "is empty");
    write_text(empty, "Dear aunt,", 10);
    refuses(empty, 0, EINVAL, "is no image");
    refuses(broken, 0, EIO, "qemu-img");
    refuses(secret, 0, EACCES, "cannot be read by the user libvirt-qemu");
    refuses("/tmp", 0, EIO, "qemu-img");
}

/* In a mount name space of our own. */
static void no_room_for_disks(void **state)
{
    const char *qcow2 = in_folder("small.qcow2"), *full = in_folder("full"), *disk = in_folder("full/disk");
    struct error error = {0};

    RUN("qemu-img", "create", "-q", "-f", "qcow2", qcow2, "8M");
    mkdir(full, 0755);
    assert_return_code(unshare(CLONE_NEWNS), errno);
    assert_return_code(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), errno);
    assert_return_code(mount("tmpfs", full, "tmpfs", 0, "size=64k,mode=755"), errno);
    assert_int_not_equal(disk_create_overlay(disk, qcow2, 0, &error), 0);
    assert_non_null(strstr(error.text, "No space left on device"));
    assert_false(is_there("full/disk"));
    assert_false(is_there("full/disk.new"));
    assert_return_code(umount(full), errno);
}

/* A node's seed, with what one would like to smuggle into YAML. */
static void seeds(void **state)
{
    struct slice_interface interfaces[2] = {
        {.name = "eth0", .mtu = 9000, .n_addresses = 2, .addresses = {"10.0.0.1/24", "fd00::1/64"}},
        {.name = "eth1"}};
    struct slice_node node = {.name = "alpha\nroot: true", .n_interfaces = 2, .interfaces = interfaces};
    const char macs[][18] = {"52:54:00:AB:cd:01", "52:54:00:00:00:02"}, *path = in_folder("seed.iso");
    const json_t *ethernet;
    struct error error = {0};
    json_t *json;

    if (seed_write(path, &node, macs, &error))
        fail_msg("%s", error.text);
    assert_non_null(strstr(RUN("isoinfo", "-d", "-i", path), "Volume id: cidata\n"));
    json = json_loads(RUN("isoinfo", "-R", "-i", path, "-x", "/meta-data"), 0, NULL);
    assert_int_equal(json_object_size(json), 2);
    assert_string_equal(text_of(json, "local-hostname"), node.name);
    assert_string_equal(text_of(json, "instance-id"), node.name);
    json_decref(json);
    assert_string_equal(RUN("isoinfo", "-R", "-i", path, "-x", "/user-data"), "#cloud-config\n{}\n");
    json = json_loads(RUN("isoinfo", "-R", "-i", path, "-x", "/network-config"), 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(json, "version")), 2);
    ethernet = json_object_get(json_object_get(json, "ethernets"), "eth0");
    assert_string_equal(text_of(json_object_get(ethernet, "match"), "macaddress"), "52:54:00:ab:cd:01");
    assert_string_equal(text_of(ethernet, "set-name"), "eth0");
    assert_int_equal(json_integer_value(json_object_get(ethernet, "mtu")), 9000);
    assert_string_equal(json_string_value(json_array_get(json_object_get(ethernet, "addresses"), 1)),
                        "fd00::1/64");
    ethernet = json_object_get(json_object_get(json, "ethernets"), "eth1");
    assert_null(json_object_get(ethernet, "mtu"));
    assert_int_equal(json_array_size(json_object_get(ethernet, "addresses")), 0);
    json_decref(json);
    node.user_data = (char *)"#!/bin/sh\necho hello\n";
    assert_int_equal(seed_write(path, &node, macs, &error), 0);
    assert_string_equal(RUN("isoinfo", "-R", "-i", path, "-x", "/user-data"), node.user_data);
    assert_int_not_equal(seed_write(in_folder("nothing/seed"), &node, macs, &error), 0);
    assert_non_null(strstr(error.text, "nothing/seed"));
    assert_string_equal(RUN("find", folder, "-name", "seed*", "-newer", path), "");
    unlink(path);
}

static const char *content(const char *name)
{
    return RUN("cat", in_folder(name));
}

static void console_logs(void **state)
{
    const char *log = in_folder("log");
    struct error error = {0};

    assert_int_equal(console_log_bound(log, 10, &error), 0);
    write_text(log, "0123456789", 10);
    assert_int_equal(console_log_bound(log, 10, &error), 0);
    assert_string_equal(content("log"), "0123456789");
    assert_false(is_there("log.1"));
    write_text(log, "abc", 3);
    assert_int_equal(console_log_bound(log, 10, &error), 0);
    assert_string_equal(content("log"), "");
    assert_string_equal(content("log.1"), "3456789abc");
    write_text(log, "ABCDEFGHIJK", 11);
    assert_int_equal(console_log_bound(log, 10, &error), 0);
    assert_string_equal(content("log.1"), "BCDEFGHIJK");
    console_log_remove(log);
    assert_false(is_there("log") || is_there("log.1"));
}

/* Programs may run as others, and do not print without bound. */
static void commands(void **state)
{
    const char *const id[] = {"id", "-un", NULL}, *const many[] = {"seq", "100000", NULL};
    char output[64];
    struct error error = {0};

    assert_int_equal(
        command_run_with(
            &(struct command){.words = id, .user = VM_USER, .output = output, .output_size = sizeof output},
            &error),
        0);
    assert_string_equal(output, VM_USER "\n");
    assert_int_equal(
        command_run_with(&(struct command){.words = many, .output = output, .output_size = sizeof output},
                         &error),
        EMSGSIZE);
    assert_string_equal(error.text, "'seq 100000' printed more than 63 bytes.");
}

static mode_t mode_of(const char *path)
{
    struct stat status;

    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 07777;
}

/* Machines of one slice start at the same time. */
static void folders_are_lent_until_the_last_has_done(void **state)
{
    const char *one = in_folder("one"), *other = in_folder("other"), *none = in_folder("none");
    struct error error = {0};

    assert_int_equal(mkdir(one, 0755) || mkdir(other, 0755), 0);
    assert_int_equal(vm_lend_folder(one, &error), 0);
    assert_int_equal(vm_lend_folder(other, &error), 0);
    assert_int_equal(vm_lend_folder(one, &error), 0);
    assert_int_equal(mode_of(one), 01771);
    vm_take_back_folder(one);
    vm_take_back_folder(other);
    assert_int_equal(mode_of(one), 01771);
    assert_int_equal(mode_of(other), 0755);
    vm_take_back_folder(one);
    assert_int_equal(mode_of(one), 0755);
    assert_int_equal(vm_lend_folder(none, &error), ENOENT);
    assert_non_null(strstr(error.text, none));
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
        cmocka_unit_test(commands),
        cmocka_unit_test(overlays),
        cmocka_unit_test(bad_images),
        cmocka_unit_test(seeds),
        cmocka_unit_test(console_logs),
        cmocka_unit_test(no_room_for_disks),
        cmocka_unit_test(folders_are_lent_until_the_last_has_done),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
