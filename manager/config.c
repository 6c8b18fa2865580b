/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which cores by default: the fast path's worker gets the last CPU, the PMD thread of Open vSwitch the one before it. A worker
 * under traffic uses its CPU fully, and what is not offloaded passes from one to the other and back. On two CPUs with
 * two namespaces that makes no difference that can be measured (round trips of 1.2 to 1.7 ms against 1.1 to 1.3, TCP of 0.7 to 1.0
 * Gbit/s either way, all of it onload): there everything shares both CPUs anyway. Both sleep when there is nothing to do.
 */
#include "manager/config.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "slice/reader.h"

#define FIELD(name) static void read_##name(struct reader *reader, yaml_node_t *node, void *object)

/* A field whose value is read by 'call', with 'config' for the settings. */
#define SETTING(name, call)             \
    FIELD(name)                         \
    {                                   \
        struct config *config = object; \
        call;                           \
    }

static void read_path(struct reader *reader, const yaml_node_t *node, char *to, size_t size)
{
    if (reader_copy(reader, node, to, size) && *to != '/')
        reader_fail(reader, node, "has to be a whole path, which begins with '/', not '%.40s'.", to);
}

static void read_remote(struct reader *reader, const yaml_node_t *node, char *to, size_t size)
{
    if (!reader_copy(reader, node, to, size))
        return;
    if (!strcmp(to, "private"))
        *to = '\0';
    else if (strncmp(to, "unix:/", 6) != 0 && strncmp(to, "tcp:", 4) != 0)
        reader_fail(reader, node, "has to be private, unix:PATH or tcp:ADDRESS:PORT, not '%.40s'.", to);
}

static void read_cores(struct reader *reader, const yaml_node_t *node, char *to, size_t size)
{
    if (reader_copy(reader, node, to, size) && !config_cpu_mask(to))
        reader_fail(reader, node, "has to be CPUs such as 1 or 2-3,5, of 0 to 63, not '%.40s'.", to);
}

#define PATH(name, member) SETTING(name, read_path(reader, node, config->member, sizeof config->member))
#define REMOTE(name, member) SETTING(name, read_remote(reader, node, config->member, sizeof config->member))
#define CORES(name, member) SETTING(name, read_cores(reader, node, config->member, sizeof config->member))
#define BYTES(name, member, low) \
    SETTING(name, reader_quantity(reader, node, QUANTITY_BYTES, low, &config->member))

PATH(run, run)
PATH(state, state)
PATH(schema, schema)
SETTING(group, reader_copy(reader, node, config->group, sizeof config->group))
REMOTE(db, db)
SETTING(hugepages, config->hugepages = reader_choice(reader, node, (const char *const[]){"no", "yes"}, 2) > 0)

PATH(fastpath_program, fastpath.program)
CORES(fastpath_cores, fastpath.cores)
BYTES(fastpath_memory, fastpath.memory, 64 << 20)
SETTING(fastpath_rules, reader_number(reader, node, 1, RULES_MAX, &config->fastpath.rules))

static const struct reader_field fastpath_fields[] = {
    {"program", false, read_fastpath_program},
    {"cores", false, read_fastpath_cores},
    {"memory", false, read_fastpath_memory},
    {"rules", false, read_fastpath_rules},
    {NULL, false, NULL},
};

REMOTE(vswitch_db, vswitch.db)
PATH(vswitch_program, vswitch.program)
PATH(vswitch_driver, vswitch.driver)
PATH(vswitch_schema, vswitch.schema)
CORES(vswitch_cores, vswitch.cores)
BYTES(vswitch_memory, vswitch.memory, 128 << 20)
SETTING(vswitch_sleep, reader_number(reader, node, 0, 10000, &config->vswitch.sleep_us))

static const struct reader_field vswitch_fields[] = {
    {"db", false, read_vswitch_db},         {"program", false, read_vswitch_program},
    {"driver", false, read_vswitch_driver}, {"schema", false, read_vswitch_schema},
    {"cores", false, read_vswitch_cores},   {"memory", false, read_vswitch_memory},
    {"sleep", false, read_vswitch_sleep},   {NULL, false, NULL},
};

SETTING(vm_libvirt, config->vm.system = reader_choice(reader, node,
                                                      (const char *const[]){"embed", "qemu:///system"}, 2) > 0)
PATH(vm_kernel, vm.kernel)
PATH(vm_initrd, vm.initrd)

static const struct reader_field vm_fields[] = {
    {"libvirt", false, read_vm_libvirt},
    {"kernel", false, read_vm_kernel},
    {"initrd", false, read_vm_initrd},
    {NULL, false, NULL},
};

SETTING(capacity_overcommit, reader_number(reader, node, 1, 1000, &config->capacity.overcommit))
BYTES(capacity_reserve, capacity.reserve, 0)
SETTING(capacity_rate, reader_quantity(reader, node, QUANTITY_RATE, 1000, &config->capacity.rate))

static const struct reader_field capacity_fields[] = {
    {"overcommit", false, read_capacity_overcommit},
    {"reserve", false, read_capacity_reserve},
    {"rate", false, read_capacity_rate},
    {NULL, false, NULL},
};

SETTING(fastpath, reader_fields(reader, node, fastpath_fields, config))
SETTING(vswitch, reader_fields(reader, node, vswitch_fields, config))
SETTING(vm, reader_fields(reader, node, vm_fields, config))
SETTING(capacity, reader_fields(reader, node, capacity_fields, config))

static const struct reader_field fields[] = {
    {"run", false, read_run},
    {"state", false, read_state},
    {"schema", false, read_schema},
    {"group", false, read_group},
    {"db", false, read_db},
    {"hugepages", false, read_hugepages},
    {"fastpath", false, read_fastpath},
    {"vswitch", false, read_vswitch},
    {"vm", false, read_vm},
    {"capacity", false, read_capacity},
    {NULL, false, NULL},
};

uint64_t config_cpu_mask(const char *list)
{
    uint64_t mask = 0;

    for (;;) {
        char *end;
        unsigned long first, last;

        if (!isdigit((unsigned char)*list))
            return 0;
        first = last = strtoul(list, &end, 10);
        if (*end == '-') {
            if (!isdigit((unsigned char)end[1]))
                return 0;
            last = strtoul(end + 1, &end, 10);
        }
        if (first > last || last > 63)
            return 0;
        for (; first <= last; first++)
            mask |= UINT64_C(1) << first;
        if (!*end)
            return mask;
        if (*end != ',')
            return 0;
        list = end + 1;
    }
}

/*
 * A file of ours: in a build tree the one that was built, beside this program's own folder; else where it is installed.
 */
static void find_own(char path[SLICE_PATH_SIZE], const char *built, const char *installed)
{
    char own[SLICE_PATH_SIZE];
    ssize_t size = readlink("/proc/self/exe", own, sizeof own - 1);
    char *slash, *whole;

    snprintf(path, SLICE_PATH_SIZE, "%s", installed);
    if (size < 0)
        return;
    own[size] = '\0';
    slash = strrchr(own, '/');
    if (!slash || (size_t)(slash - own) + strlen(built) + 2 > sizeof own)
        return;
    strcpy(slash + 1, built);
    whole = realpath(own, NULL);
    if (whole && strlen(whole) < SLICE_PATH_SIZE)
        strcpy(path, whole);
    free(whole);
}

static void set_defaults(struct config *config)
{
    long n_cpus = sysconf(_SC_NPROCESSORS_ONLN);

    *config = (struct config){.run = "/run/vnode", .state = "/var/lib/vnode"};
    snprintf(config->fastpath.cores, sizeof config->fastpath.cores, "%ld", n_cpus > 1 ? n_cpus - 1 : 0);
    snprintf(config->vswitch.cores, sizeof config->vswitch.cores, "%ld", n_cpus > 1 ? n_cpus - 2 : 0);
    config->fastpath.memory = UINT64_C(256) << 20;
    config->fastpath.rules = 1 << 20;
    config->vswitch.memory = UINT64_C(2048) << 20;
    config->vswitch.sleep_us = 200;
    config->capacity.overcommit = 8;
    config->capacity.reserve = UINT64_C(1536) << 20;
    config->capacity.rate = UINT64_C(10000000000);
    strcpy(config->vswitch.program, "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk");
    strcpy(config->vswitch.schema, "/usr/share/openvswitch/vswitch.ovsschema");
    find_own(config->fastpath.program, "../fastpath/vnode-fastpath", VNODE_SBINDIR "/vnode-fastpath");
    find_own(config->vswitch.driver, "../pmd/librte_net_vnode.so", VNODE_LIBDIR "/librte_net_vnode.so");
    find_own(config->vm.kernel, "../guest-image/guest-kernel", VNODE_DATADIR "/guest-kernel");
    find_own(config->vm.initrd, "../guest-image/guest-initrd", VNODE_DATADIR "/guest-initrd");
    find_own(config->schema, "../manager/vnode.ovsschema", VNODE_DATADIR "/vnode.ovsschema");
}

bool config_parse(struct config *config, const char *text, size_t size, struct slice_errors *errors)
{
    struct reader reader;
    yaml_node_t *root;

    memset(errors, 0, sizeof *errors);
    set_defaults(config);
    if (strspn(text, " \t\r\n") == size)
        return true;
    root = reader_open(&reader, text, size, errors);
    if (root)
        reader_fields(&reader, root, fields, config);
    reader_close(&reader);
    slice_errors_sort(errors);
    return !errors->n;
}

bool config_read(struct config *config, const char *path, struct slice_errors *errors)
{
    size_t size;
    char *text = slice_read_file(path, &size, errors);
    bool good = text && config_parse(config, text, size, errors);

    free(text);
    return good;
}
