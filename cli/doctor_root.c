/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/doctor.h"

static void make_path(char path[PATH_MAX], const char *root, const char *format, va_list values)
{
    int size = snprintf(path, PATH_MAX, "%s", root);

    if (size < PATH_MAX)
        vsnprintf(path + size, PATH_MAX - (size_t)size, format, values);
}

bool root_exists(const char *root, const char *format, ...)
{
    char path[PATH_MAX];
    va_list values;

    va_start(values, format);
    make_path(path, root, format, values);
    va_end(values);
    return access(path, F_OK) == 0;
}

static FILE *open_file(const char *root, const char *format, va_list values)
{
    char path[PATH_MAX];

    make_path(path, root, format, values);
    return fopen(path, "re");
}

FILE *root_open(const char *root, const char *format, ...)
{
    va_list values;
    FILE *file;

    va_start(values, format);
    file = open_file(root, format, values);
    va_end(values);
    return file;
}

static bool first_line(FILE *file, char *line, size_t size)
{
    bool found = file && fgets(line, (int)size, file);

    if (file)
        fclose(file);
    if (!found)
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return line[0] != '\0';
}

bool root_line(const char *root, char *line, size_t size, const char *format, ...)
{
    va_list values;
    FILE *file;

    va_start(values, format);
    file = open_file(root, format, values);
    va_end(values);
    return first_line(file, line, size);
}

uint64_t root_number(const char *root, const char *format, ...)
{
    va_list values;
    char line[64];
    FILE *file;

    va_start(values, format);
    file = open_file(root, format, values);
    va_end(values);
    return first_line(file, line, sizeof line) ? strtoull(line, NULL, 10) : 0;
}

uint64_t root_field(const char *root, const char *path, const char *name)
{
    FILE *file = root_open(root, "%s", path);
    size_t size = strlen(name);
    uint64_t value = 0;
    char line[256];

    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, name, size) && line[size] == ':') {
            value = strtoull(line + size + 1, NULL, 10);
            break;
        }
    if (file)
        fclose(file);
    return value;
}

static bool has_word(const char *line, const char *word)
{
    size_t size = strlen(word);

    for (const char *at = strstr(line, word); at; at = strstr(at + 1, word))
        if ((at == line || isspace((unsigned char)at[-1])) && (!at[size] || isspace((unsigned char)at[size])))
            return true;
    return false;
}

bool root_has_word(const char *root, const char *path, const char *word)
{
    FILE *file = root_open(root, "%s", path);
    bool found = false;
    char line[8192];

    while (file && !found && fgets(line, sizeof line, file))
        found = has_word(line, word);
    if (file)
        fclose(file);
    return found;
}

unsigned root_count(const char *root, const char *path, const char *prefix)
{
    char whole[PATH_MAX];
    const struct dirent *entry;
    unsigned n = 0;
    DIR *folder;

    snprintf(whole, sizeof whole, "%s%s", root, path);
    folder = opendir(whole);
    while (folder && (entry = readdir(folder)))
        n += entry->d_name[0] != '.' && !strncmp(entry->d_name, prefix, strlen(prefix));
    if (folder)
        closedir(folder);
    return n;
}

void capability_found(struct capability *capability, enum capability_state state, const char *format, ...)
{
    va_list values;

    capability->state = state;
    va_start(values, format);
    vsnprintf(capability->found, sizeof capability->found, format, values);
    va_end(values);
}

void capability_mend(struct capability *capability, const char *effect, const char *format, ...)
{
    va_list values;

    snprintf(capability->effect, sizeof capability->effect, "%s", effect);
    va_start(values, format);
    vsnprintf(capability->command, sizeof capability->command, format, values);
    va_end(values);
}

void capability_boot_with(const char *root, struct capability *capability, const char *effect,
                          const char *format, ...)
{
    char parameters[128];
    va_list values;

    va_start(values, format);
    vsnprintf(parameters, sizeof parameters, format, values);
    va_end(values);
    snprintf(capability->effect, sizeof capability->effect, "%s The kernel would need: %s", effect, parameters);
    /* Other boot loaders have ways of their own. */
    if (root_exists(root, "/etc/default/grub"))
        snprintf(capability->command, sizeof capability->command,
                 "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&%s /' /etc/default/grub && update-grub && reboot",
                 parameters);
}
