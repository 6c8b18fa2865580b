/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's files of a machine NAME with the number N: run/qemu/NAME.xml, run/qemu/NAME.pid, and folders with N in their names. */
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "manager/command.h"
#include "manager/vm.h"

#define PATH_SIZE (SLICE_PATH_SIZE + 64)

/* Whether the process of a pid file has become QEMU, and has not ended. */
static bool is_qemu(const char *pid_path)
{
    char link[32], program[SLICE_PATH_SIZE];
    FILE *file = fopen(pid_path, "re");
    ssize_t size = -1;
    int pid = 0;

    if (file && fscanf(file, "%d", &pid) == 1) {
        snprintf(link, sizeof link, "/proc/%d/exe", pid);
        size = readlink(link, program, sizeof program - 1);
    }
    if (file)
        fclose(file);
    program[size > 0 ? size : 0] = '\0';
    return strstr(program, "/qemu-");
}

/* The number in a machine's file, <domain ... id='N'; 0: there is none. */
static int number_in(const char *path)
{
    FILE *file = fopen(path, "re");
    char line[256], *place = NULL;
    int number = 0;

    while (file && !place && fgets(line, sizeof line, file))
        place = strstr(line, "<domain ") ? strstr(line, " id='") : NULL;
    if (place)
        sscanf(place, " id='%d'", &number);
    if (file)
        fclose(file);
    return number;
}

static void remove_folders(const char *folder, int number)
{
    static const char *const patterns[] = {"lib/qemu/domain-%d-*", "lib/qemu/ram/%d-*",
                                           "lib/qemu/channel/target/domain-%d-*"};
    char pattern[64], path[PATH_SIZE];
    glob_t found;

    for (unsigned i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        snprintf(pattern, sizeof pattern, patterns[i], number);
        snprintf(path, sizeof path, "%s/%s", folder, pattern);
        if (glob(path, 0, NULL, &found))
            continue;
        for (size_t j = 0; j < found.gl_pathc; j++)
            command_run((const char *const[]){"rm", "-rf", found.gl_pathv[j], NULL}, NULL);
        globfree(&found);
    }
}

void vm_remove_remains(const char *folder)
{
    char path[PATH_SIZE];
    glob_t found;

    snprintf(path, sizeof path, "%s/run/qemu/*.xml", folder);
    if (glob(path, 0, NULL, &found))
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *xml = found.gl_pathv[i];
        int size = (int)(strlen(xml) - strlen(".xml")), number;

        snprintf(path, sizeof path, "%.*s.pid", size, xml);
        if (is_qemu(path))
            continue;
        number = number_in(xml);
        if (number > 0)
            remove_folders(folder, number);
        unlink(path);
        unlink(xml);
    }
    globfree(&found);
}
